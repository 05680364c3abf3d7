"""A miss is fetched once, whoever goes away; memory stays within its budget."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import RestoringError, UnavailableError
from origin.shield import single_flight
from origin.shield.single_flight import SingleFlightCache, Source


class Fetch:
    """A fetch that waits for the test."""

    def __init__(self, value=b"value", error=None):
        self.calls, self.value, self.error = 0, value, error
        self.gate = asyncio.Event()

    async def __call__(self):
        self.calls += 1
        await self.gate.wait()
        if self.error:
            raise self.error
        return self.value


async def started(cache, fetch, count, key="k"):
    tasks = [asyncio.create_task(cache.get(key, fetch)) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_the_first_asks_and_the_others_wait():
    cache, fetch = SingleFlightCache(1000, len), Fetch()
    tasks = await started(cache, fetch, 5)
    fetch.gate.set()

    results = await asyncio.gather(*tasks)

    assert fetch.calls == 1
    assert [source for _, source in results] == [Source.MISS] + [Source.COLLAPSED] * 4
    assert (await cache.get("k", fetch))[1] is Source.HIT


async def test_a_leader_that_goes_away_leaves_the_others_served():
    cache, fetch = SingleFlightCache(1000, len), Fetch()
    leader, *followers = await started(cache, fetch, 4)
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    fetch.gate.set()

    assert [value for value, _ in await asyncio.gather(*followers)] == [b"value"] * 3
    assert fetch.calls == 1


async def test_when_all_go_away_the_value_is_there_for_the_next():
    cache, fetch = SingleFlightCache(1000, len), Fetch()
    tasks = await started(cache, fetch, 3)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    fetch.gate.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert (await cache.get("k", fetch))[1] is Source.HIT
    assert fetch.calls == 1


async def test_a_failure_reaches_all_who_wait_and_is_not_kept():
    cache, fetch = SingleFlightCache(1000, len), Fetch(error=RestoringError("cold"))
    tasks = await started(cache, fetch, 3)
    fetch.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in results} == {RestoringError}
    fetch.error = None

    assert await cache.get("k", fetch) == (b"value", Source.MISS)


async def test_a_failure_that_nobody_waits_for_is_no_warning():
    cache, fetch = SingleFlightCache(1000, len), Fetch(error=RestoringError("cold"))
    (task,) = await started(cache, fetch, 1)
    task.cancel()
    fetch.gate.set()
    await asyncio.gather(task, return_exceptions=True)
    await cache.aclose()


async def test_too_many_fetches_at_a_time_are_refused():
    cache, fetch = SingleFlightCache(1 << 20, len), Fetch()
    tasks = []
    for number in range(single_flight.MAX_FLIGHTS):
        tasks += await started(cache, fetch, 1, key=number)

    with pytest.raises(UnavailableError, match="too many"):
        await cache.get("one more", fetch)
    joined = await started(cache, fetch, 1, key=0)
    fetch.gate.set()
    await asyncio.gather(*tasks, *joined)


async def test_a_fetch_that_hangs_ends(monkeypatch):
    monkeypatch.setattr(single_flight, "FLIGHT_TIMEOUT_S", 0.01)
    cache = SingleFlightCache(1000, len)

    with pytest.raises(UnavailableError, match="too slow"):
        await cache.get("k", Fetch())


async def test_closing_ends_what_is_under_way():
    cache, fetch = SingleFlightCache(1000, len), Fetch()
    (task,) = await started(cache, fetch, 1)

    await cache.aclose()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_is_not_used_goes_first():
    cache = SingleFlightCache(800, len)

    async def put(key):
        async def fetch():
            return bytes(100)

        return await cache.get(key, fetch)

    for key in range(8):
        await put(key)
    await put(0)
    await put("new")

    assert cache.peek(0) is not None
    assert cache.peek(1) is None


async def test_a_giant_is_handed_out_and_not_kept():
    cache = SingleFlightCache(800, len)

    async def fetch():
        return bytes(101)

    assert len((await cache.get("giant", fetch))[0]) == 101
    assert cache.weight == 0


async def test_values_end_when_their_time_is_over():
    now_s = 0.0
    cache = SingleFlightCache(1000, len, clock=lambda: now_s, ttl_s=5)

    async def fetch():
        return b"x"

    await cache.get("k", fetch)
    now_s = 4.9
    assert (await cache.get("k", fetch))[1] is Source.HIT
    now_s = 5.0
    assert (await cache.get("k", fetch))[1] is Source.MISS


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 200)), max_size=60))
def test_the_budget_is_kept_whatever_is_asked_for(asks):
    async def run():
        cache = SingleFlightCache(800, len)
        for key, size in asks:

            async def fetch(size=size):
                return bytes(size)

            await cache.get(key, fetch)
            assert cache.weight <= 800
            assert cache.weight == sum(len(cache.peek(k) or b"") for k in range(21))

    asyncio.run(run())
