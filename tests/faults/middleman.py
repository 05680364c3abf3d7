"""A TCP server between a client and a real server, in a thread with an event loop of its own.

What stands between two parties must go on while the test blocks, and while the loop of the party
under test is busy; hence the thread. Tests are synchronous towards it::

    with LinkRelay(("127.0.0.1", port), Link(rtt_s=0.08)) as relay:
        get(f"http://127.0.0.1:{relay.port}/")

A subclass says what happens to a connection, in `serve`. Connections that are under way when it
stops are cut off.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

Address = tuple[str, int]
T = TypeVar("T")

CHUNK_SIZE = 16 * 1024
"""Bytes that are read, and treated, as one."""
CONNECT_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 10.0
MAX_CONNECTIONS = 512
"""At once; more are reset."""


class Middleman:
    """Listens on *host* and *port*; port 0 takes a free one, see `port`."""

    def __init__(self, target: Address, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.target, self.host, self.port = target, host, port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where HTTP clients reach it, without a slash at the end."""
        return f"http://{self.host}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.run(self.listen())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.run(self.hush())
        finally:
            self._end()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What happens to a connection of a client."""
        raise NotImplementedError

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of *work*, which runs in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(STOP_TIMEOUT_S)

    def call(self, work: Callable[[], T]) -> T:
        """The result of *work*, called in the server's thread: so that it sees a whole state."""

        async def called() -> T:
            return work()

        return self.run(called())

    async def listen(self) -> None:
        """Take connections, from now on or again."""
        self._server = await asyncio.start_server(
            self._accept, self.host, self.port, limit=CHUNK_SIZE, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def hush(self) -> None:
        """Refuse connections, and reset those that there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the real server."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await asyncio.open_connection(*self.target, limit=CHUNK_SIZE)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # start_server's own task is not ours to cancel: asyncio would log that
        task = asyncio.ensure_future(self._guarded(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        await asyncio.wait([task])

    async def _guarded(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) > MAX_CONNECTIONS:
            reset(writer)
            return
        try:
            await self.serve(reader, writer)
        except (OSError, TimeoutError, EOFError):  # either side went away: so does the other
            reset(writer)
        except asyncio.CancelledError:
            reset(writer)
        finally:
            writer.close()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_TIMEOUT_S)
        self._loop.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a RST, as a crashed host or a firewall does; nothing more is sent."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        with contextlib.suppress(OSError):
            # lingering for 0 s: close() then resets
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
