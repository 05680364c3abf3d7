"""Licences from the vault, off the event loop, many at a time.

A hop to a thread and back costs more than the look-up it is for, so requests that arrive while the
thread is busy wait together and go in one hop. An idle key server hops at once.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from core.errors import UnavailableError
from core.model import Tier
from core.storage.offload import Offload
from keyserver.vault import LicensedKey, Vault

MAX_WAITING = 1024
"""Look-ups that may wait; half a second of work. More are refused."""
MAX_BATCH = 32
"""Look-ups of one hop: a packager's request waits for no longer than these."""

Keys = tuple[LicensedKey, ...]


@dataclass(frozen=True, slots=True)
class _Lookup:
    kids: Sequence[UUID]
    track_id: str
    tier: Tier
    answer: "asyncio.Future[Keys]"


class Lookups:
    """Asks *vault* in a thread of *offload*."""

    def __init__(self, vault: Vault, offload: Offload) -> None:
        self._vault = vault
        self._offload = offload
        self._waiting: deque[_Lookup] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def licence(self, kids: Sequence[UUID], *, track_id: str, tier: Tier) -> Keys:
        """What `Vault.licence` returns or raises.

        Raises:
            UnavailableError: `MAX_WAITING` look-ups are waiting already.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise UnavailableError("the key server is busy", retry_after_s=1)
        answer: asyncio.Future[Keys] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Lookup(kids, track_id, tier, answer))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        while self._waiting:
            size = min(MAX_BATCH, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(size)]
            try:
                results = await self._offload.run(self._look_up, batch)
            except Exception as error:  # noqa: BLE001  handed to those who wait, or they hang
                results = [error] * size
            for lookup, result in zip(batch, results, strict=True):
                if lookup.answer.done():
                    continue  # its caller is gone
                if isinstance(result, Exception):
                    lookup.answer.set_exception(result)
                else:
                    lookup.answer.set_result(result)

    def _look_up(self, batch: Sequence[_Lookup]) -> list[Keys | Exception]:
        return [self._one(lookup) for lookup in batch]

    def _one(self, lookup: _Lookup) -> Keys | Exception:
        try:
            return self._vault.licence(lookup.kids, track_id=lookup.track_id, tier=lookup.tier)
        except Exception as error:  # noqa: BLE001  its caller raises it, the others go on
            return error
