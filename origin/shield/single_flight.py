"""A cache of bounded size in which a miss is fetched once, however many ask for it.

Theory of operation. A key is in one of three states: *kept* (its value is in `_entries`), *in
flight* (its fetch is in `_flights`), or neither.

    neither ─► in flight ─► kept ─► neither, when it is the least recently used or too old
                   └──────► neither, when the fetch fails or its value is too large to keep

The flight is a task of its own, and everyone who asked waits for it behind a shield: whoever asked
first may go away without hurting the others, and the flight goes on even if all of them do, so that
the next one to ask finds the value. All that a flight owes happens without an `await` in between:
it leaves `_flights`, and its value enters `_entries`, in one step of the event loop. So whoever
asks sees one of the states above and nothing between them, and no lock is needed.

A value goes to everyone who waited; so does a failure, which is not kept: the next one to ask
fetches again. A flight that takes `FLIGHT_TIMEOUT_S` fails for all who wait for it. Beyond
`MAX_FLIGHTS` a new key is refused at once, while those who join a flight are never refused.
`aclose` ends the flights, and with them the requests that wait.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from core.errors import UnavailableError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MAX_FLIGHTS = 256
"""Fetches under way at a time in one cache; one more is answered with 503."""
FLIGHT_TIMEOUT_S = 20.0
"""How long a fetch may take before all who wait for it are answered with 503."""


class Source(StrEnum):
    """Where a value came from, in the words of Cache-Status (RFC 9211)."""

    HIT = "hit"
    MISS = "fwd=uri-miss; stored"
    COLLAPSED = "fwd=uri-miss; collapsed"


@dataclass(frozen=True, slots=True)
class _Entry(Generic[V]):
    value: V
    weight: int
    until_s: float


class SingleFlightCache(Generic[K, V]):
    """Least recently used values, up to *capacity* by *weigh*.

    Args:
        capacity: In the unit of *weigh*, mostly bytes. A value that is larger than an eighth of
            it is handed out and not kept: it would push out everything else.
        weigh: What a value costs.
        clock: Seconds; asked only if *ttl_s* is given.
        ttl_s: How long a value is good; None for ever.
    """

    def __init__(
        self,
        capacity: int,
        weigh: Callable[[V], int],
        *,
        clock: Callable[[], float] = lambda: 0.0,
        ttl_s: float | None = None,
    ) -> None:
        self._capacity = capacity
        self._weigh = weigh
        self._clock = clock
        self._ttl_s = ttl_s
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._flights: dict[K, asyncio.Task[V]] = {}
        self.weight = 0

    def peek(self, key: K) -> V | None:
        """The value if it is here and good."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._ttl_s is not None and self._clock() >= entry.until_s:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    async def get(self, key: K, fetch: Callable[[], Awaitable[V]]) -> tuple[V, Source]:
        """The value of *key*, from here or from *fetch*.

        Raises:
            UnavailableError: Too many fetches are under way, or this one takes too long.
        """
        value = self.peek(key)
        if value is not None:
            return value, Source.HIT
        flight, source = self._flights.get(key), Source.COLLAPSED
        if flight is None:
            if len(self._flights) >= MAX_FLIGHTS:
                raise UnavailableError("too many objects are being fetched", retry_after_s=1)
            flight, source = asyncio.create_task(self._fly(key, fetch)), Source.MISS
            flight.add_done_callback(_look_at)
            self._flights[key] = flight
        return await asyncio.shield(flight), source

    async def aclose(self) -> None:
        """End the fetches that are under way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def _fly(self, key: K, fetch: Callable[[], Awaitable[V]]) -> V:
        try:
            async with asyncio.timeout(FLIGHT_TIMEOUT_S):
                value = await fetch()
        except TimeoutError:
            raise UnavailableError("the store is too slow", retry_after_s=2) from None
        finally:
            del self._flights[key]
        self._keep(key, value)
        return value

    def _keep(self, key: K, value: V) -> None:
        weight = self._weigh(value)
        if weight > self._capacity // 8:
            return
        self._drop(key)
        until_s = 0.0 if self._ttl_s is None else self._clock() + self._ttl_s
        self._entries[key] = _Entry(value, weight, until_s)
        self.weight += weight
        while self.weight > self._capacity:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: K) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.weight -= entry.weight


def _look_at(flight: asyncio.Task[object]) -> None:
    """Everyone who waited may be gone: an exception that nobody fetches is not a warning."""
    if not flight.cancelled():
        flight.exception()
