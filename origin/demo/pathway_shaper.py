"""A slow network in front of a fast server: makes one machine's addresses look like CDNs.

A plain TCP forwarder. What it cannot do: the kernel completes the TCP handshake before the
forwarder sees it, so a connection opens without delay; every byte after that is late.
"""

import asyncio
import random
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

CHUNK_SIZE = 16 * 1024
"""Bytes that are delayed as one."""
BUFFER_SIZE = 256 * 1024
"""Bytes on their way in one direction of one connection; above, the sender is held back."""
MAX_CONNECTIONS = 512
"""At once; more are closed."""
CONNECT_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 2.0
"""How long `stop` waits for connections to go."""
_DRAW = random.SystemRandom().random  # shares no state with anybody who seeds `random`


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a pathway behaves.

    Attributes:
        latency_ms: Added to each direction: a round trip takes twice as long.
        jitter_ms: Up to so much more, drawn for each chunk; bytes stay in order.
        bandwidth_bps: Of all connections together, each direction; None for no limit.
        failing: Connections are cut off at once.
    """

    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    bandwidth_bps: int | None = None
    failing: bool = False

    def __post_init__(self) -> None:
        assert self.latency_ms >= 0
        assert self.jitter_ms >= 0
        assert self.bandwidth_bps is None or self.bandwidth_bps > 0


@dataclass(slots=True)
class _Lane:
    """One direction of the whole pathway: when the wire is free again."""

    free_s: float = 0.0


@dataclass(slots=True)
class _Flight:
    """Chunks of one direction of one connection, with the time at which each arrives."""

    chunks: deque[tuple[float, bytes]] = field(default_factory=deque)
    size: int = 0
    ended: bool = False
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)


class PathwayShaper:
    """Listens on *listen* and forwards to *target*, a (host, port), as `shape` says.

    `shape` may be set at any time; what is already on its way arrives as planned. *listen* is a
    (host, port), where 0 takes a free port: see `port`; or a socket that listens already.

    Args:
        draw: Random numbers in [0, 1), for the jitter.
    """

    def __init__(
        self,
        listen: tuple[str, int] | socket.socket,
        target: tuple[str, int],
        shape: Shape,
        *,
        draw: Callable[[], float] = _DRAW,
    ) -> None:
        self._listen, self._target = listen, target
        self._shape, self._draw = shape, draw
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._lanes = (_Lane(), _Lane())

    @property
    def shape(self) -> Shape:
        """How the pathway behaves now."""
        return self._shape

    @shape.setter
    def shape(self, shape: Shape) -> None:
        self._shape = shape
        if shape.failing:
            self._cut()

    @property
    def port(self) -> int:
        """Where it listens; only between `start` and `stop`."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: The address cannot be listened on.
        """
        if isinstance(self._listen, tuple):
            host, port = self._listen
            server = asyncio.start_server(self._accept, host, port, limit=CHUNK_SIZE)
        else:
            server = asyncio.start_server(self._accept, sock=self._listen, limit=CHUNK_SIZE)
        self._server = await server

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        if self._server is None:
            return
        self._server.close()
        self._cut()
        if self._connections:
            await asyncio.wait(self._connections, timeout=STOP_TIMEOUT_S)
        await self._server.wait_closed()
        self._server = None

    def _cut(self) -> None:
        for task in self._connections:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # start_server's own task is not ours to cancel: asyncio would log that
        task = asyncio.ensure_future(self._forward(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        await asyncio.wait([task])

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._shape.failing or len(self._connections) > MAX_CONNECTIONS:
            writer.transport.abort()
            return
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                onward = await asyncio.open_connection(*self._target, limit=CHUNK_SIZE)
        except (OSError, TimeoutError):
            writer.transport.abort()
            return
        ends: tuple[asyncio.StreamWriter, ...] = (writer, onward[1])
        up, down = self._lanes
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, onward[1], up))
                group.create_task(self._pump(onward[0], writer, down))
        except* OSError:
            pass  # either side went away: the other learns it below
        else:
            for end in ends:
                end.close()  # sends what is left
            ends = ()
        finally:
            for end in ends:
                end.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lane: _Lane
    ) -> None:
        flight = _Flight()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._depart(reader, flight, lane))
            group.create_task(self._arrive(flight, writer))

    async def _depart(self, reader: asyncio.StreamReader, flight: _Flight, lane: _Lane) -> None:
        clock = asyncio.get_running_loop().time
        due_s = 0.0
        while chunk := await reader.read(CHUNK_SIZE):
            shape = self._shape
            lane.free_s = max(lane.free_s, clock())
            if shape.bandwidth_bps is not None:
                lane.free_s += len(chunk) * 8 / shape.bandwidth_bps
            delay_ms = shape.latency_ms + shape.jitter_ms * self._draw()
            due_s = max(due_s, lane.free_s + delay_ms / 1000)
            async with flight.changed:
                flight.chunks.append((due_s, chunk))
                flight.size += len(chunk)
                flight.changed.notify_all()
                await flight.changed.wait_for(lambda: flight.size < BUFFER_SIZE)
        async with flight.changed:
            flight.ended = True
            flight.changed.notify_all()

    async def _arrive(self, flight: _Flight, writer: asyncio.StreamWriter) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            async with flight.changed:
                await flight.changed.wait_for(lambda: flight.chunks or flight.ended)
                if not flight.chunks:
                    break
                due_s, chunk = flight.chunks.popleft()
            if (wait_s := due_s - clock()) > 0:
                await asyncio.sleep(wait_s)
            writer.write(chunk)
            await writer.drain()
            async with flight.changed:
                flight.size -= len(chunk)
                flight.changed.notify_all()
        if writer.can_write_eof():
            writer.write_eof()
