"""The routing table of a router, shared through the state store.

Every process takes measurements; none is the leader. Once an epoch each one applies what it saw
to the stored table by compare-and-put, and goes on with the result. So workers agree, a restart
begins with the last good table, and without a working store the process simply goes on alone.
"""

from collections import deque

from cdn_router import snapshot
from cdn_router.belief import Observation
from cdn_router.scoring import Table
from core.errors import ToolkitError
from core.state.protocol import StateStore

MAX_PENDING = 10_000
"""Measurements that wait for the next epoch; more push out the oldest."""
TABLE_TTL_S = 7 * 24 * 3600
"""A table older than this is not better than the configured order."""
SYNC_ATTEMPTS = 4
"""Tries to write when others write, too; then what was seen counts in this process only."""
_KEY = "router/table"


class Knowledge:
    """A table, and the measurements that are not yet in it."""

    def __init__(self, table: Table, state: StateStore) -> None:
        self.table = table
        self._state = state
        self._pending: deque[Observation] = deque(maxlen=MAX_PENDING)

    def note(self, seen: Observation) -> None:
        """Take a measurement; it counts from the next epoch on."""
        self._pending.append(seen)

    async def sync(self, *, now_s: float) -> bool:
        """Apply what is pending, decide, and share the result; False if the store failed."""
        taken = list(self._pending)
        self._pending.clear()
        try:
            for _ in range(SYNC_ATTEMPTS):
                stored = await self._state.get(_KEY, now_s=now_s)
                table = self._advanced(stored, taken, now_s)
                if await self._write(stored, snapshot.dump(table), now_s):
                    self.table = table
                    return True
        except (ToolkitError, OSError):
            pass
        _apply(self.table, taken, now_s)
        return False

    def _advanced(self, stored: bytes | None, taken: list[Observation], now_s: float) -> Table:
        try:
            table = snapshot.load(stored, self.table) if stored else self.table
        except ValueError:
            table = self.table  # written by another version: ours replaces it
        if table is self.table:
            # a copy: the attempt may fail
            table = snapshot.load(snapshot.dump(table), self.table)
        _apply(table, taken, now_s)
        return table

    async def _write(self, stored: bytes | None, data: bytes, now_s: float) -> bool:
        if stored is None:
            present = await self._state.put_if_absent(_KEY, data, ttl_s=TABLE_TTL_S, now_s=now_s)
            return present is None
        return await self._state.compare_and_put(_KEY, stored, data, ttl_s=TABLE_TTL_S, now_s=now_s)


def _apply(table: Table, taken: list[Observation], now_s: float) -> None:
    for seen in taken:
        table.observe(seen)
    table.decide(now_s)
