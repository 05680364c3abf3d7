"""The shaper between real sockets of this machine; 127.0.0.2 is an address of it, too."""

import asyncio
import socket
import time

import pytest

from origin.demo.pathway_shaper import BUFFER_SIZE, CHUNK_SIZE, PathwayShaper, Shape


def _has_second_address():
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.2", 0))
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(not _has_second_address(), reason="127.0.0.2 is not local here")


@pytest.fixture
async def echo():
    """A server that answers each line in capitals, and `big` with 400 kB."""

    async def serve(reader, writer):
        while line := await reader.readline():
            writer.write(b"x" * 400_000 if line == b"big\n" else line.upper())
            await writer.drain()
        writer.write(b"bye")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[:2]
    server.close()
    await server.wait_closed()


@pytest.fixture
async def shaper(echo):
    shaper = PathwayShaper(("127.0.0.2", 0), echo, Shape())
    await shaper.start()
    yield shaper
    await shaper.stop()


async def _open(shaper):
    return await asyncio.open_connection("127.0.0.2", shaper.port)


async def _ask(reader, writer, line=b"hello\n"):
    writer.write(line)
    return await reader.readline()


async def _is_cut(reader):
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def test_bytes_pass_unchanged_and_the_end_is_passed_on(shaper):
    reader, writer = await _open(shaper)
    assert await _ask(reader, writer) == b"HELLO\n"
    writer.write_eof()
    assert await reader.read() == b"bye"
    writer.close()


async def test_a_round_trip_takes_twice_the_latency(shaper):
    reader, writer = await _open(shaper)
    shaper.shape = Shape(latency_ms=40)
    started_s = time.perf_counter()
    await _ask(reader, writer)
    writer.close()

    assert time.perf_counter() - started_s >= 0.08


async def test_a_shape_changes_for_connections_that_are_open_but_not_for_what_is_on_its_way(shaper):
    slow, other = await _open(shaper), await _open(shaper)
    shaper.shape = Shape(latency_ms=2000)
    late = asyncio.create_task(_ask(*slow))
    await asyncio.sleep(0.2)  # it is on its way
    shaper.shape = Shape()

    assert await _ask(*other) == b"HELLO\n"
    assert not late.done()
    assert await late == b"HELLO\n"
    for _, writer in (slow, other):
        writer.close()


async def test_bytes_stay_in_order_under_jitter(shaper):
    shaper.shape = Shape(jitter_ms=20)
    reader, writer = await _open(shaper)
    for n in range(30):
        writer.write(b"line %d\n" % n)
        await asyncio.sleep(0.001)
    lines = [await reader.readline() for _ in range(30)]
    writer.close()

    assert lines == [b"LINE %d\n" % n for n in range(30)]


async def test_a_late_last_answer_is_not_lost_when_the_server_closes(shaper):
    shaper.shape = Shape(bandwidth_bps=20_000_000, latency_ms=10)
    reader, writer = await _open(shaper)
    writer.write(b"big\n")
    writer.write_eof()
    assert len(await reader.read()) == 400_000 + len(b"bye")
    writer.close()


async def test_bandwidth_is_limited(shaper):
    shaper.shape = Shape(bandwidth_bps=8_000_000)
    reader, writer = await _open(shaper)
    started_s = time.perf_counter()
    writer.write(b"big\n")
    await reader.readexactly(400_000)
    writer.close()

    assert time.perf_counter() - started_s >= 0.35


async def test_latency_does_not_limit_throughput_within_the_buffer(shaper):
    shaper.shape = Shape(latency_ms=400)
    reader, writer = await _open(shaper)
    one_by_one = asyncio.create_task(asyncio.sleep(0.4 * BUFFER_SIZE / CHUNK_SIZE))
    writer.write(b"big\n")
    await reader.readexactly(BUFFER_SIZE)
    writer.close()

    assert not one_by_one.done()
    one_by_one.cancel()


async def test_a_failing_pathway_cuts_connections_and_can_recover(shaper):
    reader, writer = await _open(shaper)
    await _ask(reader, writer)
    shaper.shape = Shape(failing=True)
    assert await _is_cut(reader)
    writer.transport.abort()
    reader, writer = await _open(shaper)
    assert await _is_cut(reader)
    writer.transport.abort()

    shaper.shape = Shape()
    reader, writer = await _open(shaper)
    assert await _ask(reader, writer) == b"HELLO\n"
    writer.close()


async def test_a_dead_target_is_a_closed_connection():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        shaper = PathwayShaper(("127.0.0.2", 0), taken.getsockname(), Shape())
        await shaper.start()
        reader, writer = await _open(shaper)
        assert await _is_cut(reader)
        writer.transport.abort()
        await shaper.stop()


async def test_stopping_ends_connections_and_frees_the_port(echo):
    shaper = PathwayShaper(("127.0.0.2", 0), echo, Shape(latency_ms=5000))
    await shaper.start()
    port = shaper.port
    reader, writer = await _open(shaper)
    writer.write(b"hello\n")
    await asyncio.sleep(0.05)
    await shaper.stop()
    assert await _is_cut(reader)
    writer.transport.abort()

    again = PathwayShaper(("127.0.0.2", port), echo, Shape())
    await again.start()
    await again.stop()
