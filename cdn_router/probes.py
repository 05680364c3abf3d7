"""Active probes: how far each pathway is from this router, whether or not listeners use it.

A probe opens a fresh connection, so that the TCP handshake gives one round trip without the
server's think time, then asks for `/healthz` and takes the time to the first byte.
"""

import asyncio
import socket
import ssl
import time
from functools import cache
from urllib.parse import SplitResult, urlsplit

from cdn_router.belief import Observation
from core.model import Pathway

PROBE_TIMEOUT_S = 3.0
"""For name, connection and first byte together; later is as good as never."""
MAX_CONCURRENT = 8
"""Probes under way at once."""
MAX_HEAD_SIZE = 1024
"""Bytes that are read of the answer."""


async def probe_all(
    pathways: tuple[Pathway, ...], region: str, *, now_s: float
) -> list[Observation]:
    """Probe every pathway once.

    A round in which nothing answers says nothing about any pathway: it is this router that is
    cut off, or there is nothing better to go to. All failures are then left out.
    """
    gate = asyncio.Semaphore(MAX_CONCURRENT)

    async def one(pathway: Pathway) -> Observation:
        async with gate:
            rtt_ms, first_byte_ms = await _probe(pathway)
        return Observation(region, pathway.id, now_s, None, rtt_ms, first_byte_ms)

    seen = await asyncio.gather(*(one(p) for p in pathways))
    return [] if all(o.failed for o in seen) else seen


async def _probe(pathway: Pathway) -> tuple[float | None, float | None]:
    """Round trip and time to first byte in ms; None for what did not happen."""
    url = urlsplit(pathway.base_url)
    port = url.port or (443 if url.scheme == "https" else 80)
    rtt_ms = None
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            connection, rtt_ms = await _connect(url.hostname or "", port)
            try:
                return rtt_ms, await _first_byte(connection, url)
            finally:
                connection.close()
    except (OSError, TimeoutError, ssl.SSLError, asyncio.IncompleteReadError):
        return rtt_ms, None


async def _connect(host: str, port: int) -> tuple[socket.socket, float]:
    loop = asyncio.get_running_loop()
    # resolved first: the time a name takes is not the pathway's
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = addresses[0]
    connection = socket.socket(family, kind, protocol)
    try:
        connection.setblocking(False)
        started_s = time.perf_counter()
        await loop.sock_connect(connection, address)
    except BaseException:
        connection.close()
        raise
    return connection, (time.perf_counter() - started_s) * 1000


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()  # reads all certificates: once


async def _first_byte(connection: socket.socket, url: SplitResult) -> float | None:
    secure = url.scheme == "https"
    reader, writer = await asyncio.open_connection(
        sock=connection.dup(),
        ssl=_tls() if secure else None,
        server_hostname=url.hostname if secure else None,
        limit=MAX_HEAD_SIZE,
    )
    try:
        started_s = time.perf_counter()
        writer.write(
            f"GET /healthz HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n"
            "User-Agent: tonearm-router\r\n\r\n".encode()
        )
        head = await reader.readexactly(12)  # HTTP/1.1 200
        elapsed_ms = (time.perf_counter() - started_s) * 1000
    finally:
        writer.transport.abort()
    # a 404 comes from a living edge; a 5xx from one that cannot reach what is behind it
    alive = head.startswith(b"HTTP/1.") and b"100" <= head[9:12] < b"500"
    return elapsed_ms if alive else None
