"""State in this process: for one server, and for tests."""

import heapq

from core.errors import UnavailableError
from core.state.limits import check_entry, check_key

MAX_ENTRIES = 100_000
"""Values that a memory state holds unless told otherwise."""

SWEEP_LIMIT = 32
"""Expired values removed by one write."""


class MemoryState:
    """A `StateStore` of at most *max_entries* values; a put beyond raises UnavailableError."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._entries: dict[str, tuple[bytes, float]] = {}
        self._expiries: list[tuple[float, str]] = []  # a heap; holds outdated pairs, too
        self._max_entries = max_entries

    async def put(self, key: str, value: bytes, *, ttl_s: float, now_s: float) -> None:
        check_entry(key, value, ttl_s)
        self._set(key, value, now_s + ttl_s, now_s)

    async def put_if_absent(
        self, key: str, value: bytes, *, ttl_s: float, now_s: float
    ) -> bytes | None:
        check_entry(key, value, ttl_s)
        if (present := self._get(key, now_s)) is not None:
            return present
        self._set(key, value, now_s + ttl_s, now_s)
        return None

    async def get(self, key: str, *, now_s: float) -> bytes | None:
        check_key(key)
        return self._get(key, now_s)

    async def compare_and_put(
        self, key: str, old: bytes, value: bytes, *, ttl_s: float, now_s: float
    ) -> bool:
        check_entry(key, value, ttl_s)
        if self._get(key, now_s) != old:
            return False
        self._set(key, value, now_s + ttl_s, now_s)
        return True

    async def delete(self, key: str) -> None:
        check_key(key)
        self._entries.pop(key, None)

    async def aclose(self) -> None:
        """Nothing to give back."""

    def __len__(self) -> int:
        return len(self._entries)

    def _get(self, key: str, now_s: float) -> bytes | None:
        value, expires_s = self._entries.get(key, (None, now_s))
        return value if expires_s > now_s else None

    def _set(self, key: str, value: bytes, expires_s: float, now_s: float) -> None:
        self._sweep(now_s)
        if key not in self._entries and len(self._entries) >= self._max_entries:
            raise UnavailableError(f"the memory state is full: {self._max_entries} values")
        self._entries[key] = (value, expires_s)
        heapq.heappush(self._expiries, (expires_s, key))
        if len(self._expiries) > 2 * len(self._entries) + SWEEP_LIMIT:
            self._expiries = [(expiry, key) for key, (_, expiry) in self._entries.items()]
            heapq.heapify(self._expiries)

    def _sweep(self, now_s: float) -> None:
        for _ in range(SWEEP_LIMIT):
            if not self._expiries or self._expiries[0][0] > now_s:
                return
            expires_s, key = heapq.heappop(self._expiries)
            if key in self._entries and self._entries[key][1] == expires_s:
                del self._entries[key]
