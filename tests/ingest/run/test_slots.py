"""Slots and the barrier: who waits for whom, and what becomes of work that nobody wants."""

import asyncio
import threading

import numpy as np
import pytest

from core.errors import ConflictError
from ingest.encode.children import CancelledByUserError
from ingest.measure.album import Heard, album_loudness
from ingest.run.barrier import AlbumBarrier
from ingest.run.slots import Slots, gather

WAIT_LIMIT_S = 30
KINDS = ("read", "ask", "encode", "package")


@pytest.fixture
async def slots():
    one = Slots(jobs=3)
    yield one
    one.close()


async def reached(event):
    """Wait for a thread's event without stopping the loop."""
    assert await asyncio.to_thread(event.wait, WAIT_LIMIT_S)


async def test_a_job_of_each_kind_goes_on_while_all_encoders_are_busy(slots):
    release, started = threading.Event(), threading.Barrier(4)

    def encoder():
        started.wait(WAIT_LIMIT_S)
        release.wait(WAIT_LIMIT_S)
        return "encoded"

    encoders = [asyncio.create_task(slots.encode(encoder)) for _ in range(3)]
    await asyncio.to_thread(started.wait, WAIT_LIMIT_S)
    others = [await getattr(slots, kind)(str, kind) for kind in KINDS if kind != "encode"]
    release.set()

    assert others == ["read", "ask", "package"]
    assert await asyncio.gather(*encoders) == ["encoded"] * 3


async def test_no_more_encoders_run_than_jobs(slots):
    lock, running, most = threading.Lock(), 0, 0

    def encoder():
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.01)
        with lock:
            running -= 1

    await gather([slots.encode(encoder) for _ in range(20)])

    assert most == 3


@pytest.mark.parametrize("kind", KINDS)
async def test_what_work_raises_is_raised(slots, kind):
    def work():
        raise ConflictError("no", hint="yes")

    with pytest.raises(ConflictError, match="no"):
        await getattr(slots, kind)(work)


@pytest.mark.parametrize("kind", KINDS)
async def test_cancelled_work_that_runs_is_waited_for(slots, kind):
    started, release, ended = (threading.Event() for _ in range(3))

    def work():
        started.set()
        release.wait(WAIT_LIMIT_S)
        ended.set()

    task = asyncio.create_task(getattr(slots, kind)(work))
    await reached(started)
    for _ in range(3):  # nobody is quicker for being impatient
        task.cancel()
        await asyncio.sleep(0.02)
    assert not task.done()
    release.set()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_cancelled_work_that_nobody_has_begun_is_never_begun(slots):
    started, release, begun = threading.Barrier(4), threading.Event(), threading.Event()

    def busy():
        started.wait(WAIT_LIMIT_S)
        release.wait(WAIT_LIMIT_S)

    tasks = [asyncio.create_task(slots.encode(busy)) for _ in range(3)]
    await asyncio.to_thread(started.wait, WAIT_LIMIT_S)
    waiting = asyncio.create_task(slots.encode(begun.set))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    release.set()
    await asyncio.gather(*tasks)

    assert not begun.is_set()
    assert not slots.children.cancelled  # nothing that ran was cancelled


@pytest.mark.parametrize("kind", ["read", "encode"])
async def test_cancelling_long_work_ends_its_processes(slots, kind):
    started = threading.Event()

    def work():
        with slots.children.started(["sh", "-c", "sleep 1000"]) as process:
            started.set()
            process.wait()
        slots.children.check()

    task = asyncio.create_task(getattr(slots, kind)(work))
    await reached(started)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(CancelledByUserError):
        slots.children.check()


async def test_a_rung_that_fails_does_not_end_the_encoders_of_other_tracks(slots):
    started = threading.Event()

    def slow():
        started.wait(WAIT_LIMIT_S)

    def failing():
        raise ConflictError("a file does not decrypt")

    async def fail():
        await slots.package(failing)

    async def succeed():
        try:
            await slots.package(slow)
        finally:
            started.set()

    asyncio.get_running_loop().call_later(0.05, started.set)
    with pytest.raises(ConflictError, match="does not decrypt"):
        await gather([succeed(), fail()])

    slots.children.check()


async def test_gathered_results_keep_their_order():
    async def after(delay_s):
        await asyncio.sleep(delay_s)
        return delay_s

    assert await gather([after(0.02), after(0.0), after(0.01)]) == [0.02, 0.0, 0.01]
    assert await gather([]) == []


def heard(level, peak):
    return Heard(np.full(40, level), peak)


async def test_tracks_of_an_album_wait_for_the_last_and_get_the_same():
    barrier, order = AlbumBarrier([1, 2, 3]), []

    async def track(position):
        loudness = await barrier.loudness(position, heard(0.1 / position, -float(position)))
        order.append(position)
        return loudness

    first, second = asyncio.create_task(track(3)), asyncio.create_task(track(1))
    await asyncio.sleep(0.01)
    assert order == []
    third = asyncio.create_task(track(2))

    loudnesses = await asyncio.gather(first, second, third)
    tracks = [heard(0.1 / n, -float(n)) for n in (1, 2, 3)]
    assert loudnesses == [album_loudness(tracks)] * 3
    assert sorted(order) == [1, 2, 3]


async def test_a_track_that_leaves_is_not_waited_for_and_does_not_count():
    barrier = AlbumBarrier([1, 2])
    waiting = asyncio.create_task(barrier.loudness(1, heard(0.1, -1.0)))
    await asyncio.sleep(0)
    assert not waiting.done()

    barrier.leave(2)
    barrier.leave(2)

    assert await waiting == album_loudness([heard(0.1, -1.0)])


async def test_a_track_that_fails_after_it_was_heard_still_counts():
    barrier = AlbumBarrier([1, 2])
    first = asyncio.create_task(barrier.loudness(1, heard(0.1, -1.0)))
    second = asyncio.create_task(barrier.loudness(2, heard(0.2, -2.0)))
    await second
    barrier.leave(2)

    assert (await first).true_peak_dbtp == -1.0
