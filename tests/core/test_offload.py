"""Blocking calls off the loop: bounded, in order, and nobody waits for ever."""

import asyncio
import threading

import pytest

from core.errors import UnavailableError
from core.storage import offload as offloading
from core.storage.offload import Offload


@pytest.fixture
async def pool():
    pool = Offload("test-pool", 2)
    yield pool
    await pool.aclose()


async def test_a_call_returns_and_raises_what_it_does(pool):
    def fails(text, *, end):
        raise ValueError(text + end)

    assert await pool.run(int, "12", base=5) == 7
    with pytest.raises(ValueError, match="ab"):
        await pool.run(fails, "a", end="b")


async def test_calls_run_beside_the_loop_in_threads_with_the_pools_name(pool):
    name = await pool.run(lambda: threading.current_thread().name)

    assert name.startswith("test-pool")


async def test_no_more_calls_run_than_the_pool_has_threads(pool):
    full, left = threading.Barrier(3), threading.Barrier(3)
    running = []

    def call():
        running.append(1)
        full.wait(10)
        left.wait(10)

    calls = [asyncio.create_task(pool.run(call)) for _ in range(6)]
    for rounds in (1, 2, 3):  # two calls and this test meet, while four, two and no calls wait
        await asyncio.to_thread(full.wait, 10)
        assert len(running) == 2 * rounds
        await asyncio.to_thread(left.wait, 10)
    await asyncio.gather(*calls)


async def test_beyond_the_limit_a_call_is_refused_and_later_taken(pool, monkeypatch):
    monkeypatch.setattr(offloading, "MAX_PENDING", 3)
    gate = threading.Event()
    waiting = [asyncio.create_task(pool.run(gate.wait, 10)) for _ in range(3)]
    await asyncio.sleep(0)

    with pytest.raises(UnavailableError, match="test-pool has 3 calls waiting"):
        await pool.run(int)

    gate.set()
    assert await asyncio.gather(*waiting) == [True] * 3
    assert await pool.run(int) == 0


async def test_a_caller_that_gives_up_leaves_the_call_to_finish_and_its_place_free(
    pool, monkeypatch
):
    monkeypatch.setattr(offloading, "MAX_PENDING", 1)
    gate, done = threading.Event(), threading.Event()

    def call():
        gate.wait(10)
        done.set()

    caller = asyncio.create_task(pool.run(call))
    await asyncio.sleep(0.01)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    gate.set()
    assert await asyncio.to_thread(done.wait, 10)
    for _ in range(1000):  # the place is given back on the loop, a moment after the call's end
        try:
            assert await pool.run(int) == 0
        except UnavailableError:
            await asyncio.sleep(0.005)
        else:
            return
    pytest.fail("the place of a call that ended was never free again")


async def test_a_failure_that_nobody_waits_for_is_no_warning(pool, caplog):
    def fails():
        raise ValueError("lost")

    caller = asyncio.create_task(pool.run(fails))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await pool.aclose()

    assert caplog.records == []


async def test_closing_waits_for_what_runs_and_drops_what_waits():
    pool, gate, ran = Offload("closing", 1), threading.Event(), []
    first = asyncio.create_task(pool.run(gate.wait, 10))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(pool.run(ran.append, 2))
    await asyncio.sleep(0)
    closing = asyncio.create_task(pool.aclose())
    await asyncio.sleep(0.01)
    gate.set()
    await closing

    assert await first is True
    with pytest.raises(asyncio.CancelledError):
        await second
    assert ran == []
    with pytest.raises(RuntimeError):
        await pool.run(int)
