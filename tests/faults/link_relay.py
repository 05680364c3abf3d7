"""A link of a length and a width: what is far away, or behind a narrow line, on one machine.

Every byte takes half a round trip each way. The first byte of a connection takes one round trip
more, because the kernel of this machine completes the TCP handshake before the relay sees it: a
request on a fresh connection is answered after two round trips, a later one after one. The
bandwidth is shared by all connections, in each direction by itself, in the order in which chunks
come.

The link may be changed while it runs: slowed, widened, stalled (nothing arrives, nothing is lost,
until it goes on) or refused (connections are reset, and new ones refused by the kernel). What is on
its way arrives as it was planned.

`flights` tells of each chunk when it was taken in, when it was due and when it was handed over, in
seconds of the relay's own clock: a test asks these, not its watch, whether the link is what it
says.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field, replace

from tests.faults.middleman import CHUNK_SIZE, Address, Middleman, reset

BUFFER_SIZE = 512 * 1024
"""Bytes under way in one direction of one connection; above, the sender is held back."""
MAX_FLIGHTS = 100_000
"""That are remembered; older ones are forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How long and how wide.

    Attributes:
        rtt_s: A round trip.
        bandwidth_bps: Bits a second in each direction, of all connections; None for no limit.
        stalled: Nothing arrives until it is no longer so.
        refused: Nobody listens.
    """

    rtt_s: float = 0.0
    bandwidth_bps: float | None = None
    stalled: bool = False
    refused: bool = False

    def __post_init__(self) -> None:
        assert self.rtt_s >= 0
        assert self.bandwidth_bps is None or self.bandwidth_bps > 0


@dataclass(frozen=True, slots=True)
class Flight:
    """One chunk on its way.

    Attributes:
        connection: Number of the connection, from 0.
        up: From the client to the server.
        opened_s: When the relay saw the connection.
        taken_s: When it was read from its sender.
        due_s: When it arrives.
        given_s: When it was handed over; never before it was due.
    """

    connection: int
    up: bool
    size: int
    opened_s: float
    taken_s: float
    due_s: float
    given_s: float


@dataclass(slots=True)
class _Lane:
    """One direction of the link: when the wire is free again."""

    free_s: float = 0.0


@dataclass(slots=True)
class _Pipe:
    """One direction of a connection: chunks, each with when it was taken and when it is due."""

    connection: int
    up: bool
    opened_s: float
    open_s: float
    chunks: deque[tuple[bytes, float, float]] = field(default_factory=deque)
    size: int = 0
    ended: bool = False
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)


class LinkRelay(Middleman):
    """Forwards bytes to *target*, as `link` says."""

    def __init__(
        self, target: Address, link: Link, *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        super().__init__(target, host=host, port=port)
        self._link = replace(link, stalled=False, refused=False)
        self._first = link
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._lanes = {True: _Lane(), False: _Lane()}
        self._flights: deque[Flight] = deque(maxlen=MAX_FLIGHTS)
        self._count = 0

    async def listen(self) -> None:
        """Begin as the first link said."""
        await super().listen()
        await self._change(self._first)

    @property
    def link(self) -> Link:
        """How it is now; set it at any time."""
        return self._link

    @link.setter
    def link(self, link: Link) -> None:
        self.run(self._change(link))

    @property
    def flights(self) -> list[Flight]:
        """What has arrived, in that order."""
        return self.call(lambda: list(self._flights))

    @property
    def connections(self) -> int:
        """How many there were."""
        return self.call(lambda: self._count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward both ways until both have ended."""
        opened_s = self._loop.time()
        open_s = opened_s + self._link.rtt_s  # when the client would know it, over a real link
        number, self._count = self._count, self._count + 1
        far_reader, far_writer = await self.connect()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(
                    self._pump(reader, far_writer, _Pipe(number, True, opened_s, open_s))
                )
                group.create_task(
                    self._pump(far_reader, writer, _Pipe(number, False, opened_s, open_s))
                )
        except* OSError:
            reset(far_writer)
            reset(writer)
        finally:
            far_writer.close()

    async def _change(self, link: Link) -> None:
        before, self._link = self._link, link
        if link.stalled:
            self._flowing.clear()
        else:
            self._flowing.set()
        if link.refused and not before.refused:
            await self.hush()
        elif before.refused and not link.refused:
            await super().listen()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pipe: _Pipe
    ) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._depart(reader, pipe))
            group.create_task(self._arrive(pipe, writer))

    async def _depart(self, reader: asyncio.StreamReader, pipe: _Pipe) -> None:
        lane = self._lanes[pipe.up]
        while chunk := await reader.read(CHUNK_SIZE):
            taken_s = self._loop.time()
            sent_s = max(taken_s, pipe.open_s)
            if sent_s > taken_s:  # until then the wire is the others'
                await asyncio.sleep(sent_s - taken_s)
            link = self._link
            if link.bandwidth_bps is not None:
                sent_s = max(lane.free_s, sent_s) + len(chunk) * 8 / link.bandwidth_bps
                lane.free_s = sent_s
            async with pipe.changed:
                last_s = pipe.chunks[-1][2] if pipe.chunks else 0.0
                due_s = max(last_s, sent_s + link.rtt_s / 2)  # bytes stay in order
                pipe.chunks.append((chunk, taken_s, due_s))
                pipe.size += len(chunk)
                pipe.changed.notify_all()
                await pipe.changed.wait_for(lambda: pipe.size < BUFFER_SIZE)
        async with pipe.changed:
            pipe.ended = True
            pipe.changed.notify_all()

    async def _arrive(self, pipe: _Pipe, writer: asyncio.StreamWriter) -> None:
        while True:
            async with pipe.changed:
                await pipe.changed.wait_for(lambda: pipe.chunks or pipe.ended)
                if not pipe.chunks:
                    break
                chunk, taken_s, due_s = pipe.chunks[0]
            await asyncio.sleep(max(0.0, due_s - self._loop.time()))
            await self._flowing.wait()
            given_s = self._loop.time()
            writer.write(chunk)
            await writer.drain()
            name = pipe.connection, pipe.up
            self._flights.append(Flight(*name, len(chunk), pipe.opened_s, taken_s, due_s, given_s))
            async with pipe.changed:
                pipe.chunks.popleft()
                pipe.size -= len(chunk)
                pipe.changed.notify_all()
        if writer.can_write_eof():
            writer.write_eof()
