"""Where the tracks of an album wait for each other."""

import asyncio
from collections.abc import Collection

from core.model import Loudness
from ingest.measure.album import Heard, album_loudness


class AlbumBarrier:
    """Each track that was heard waits until every other one was heard, too, or has left.

    A track that fails must leave, or the others wait for ever.
    """

    def __init__(self, positions: Collection[int]) -> None:
        self._awaited = set(positions)
        self._heard: dict[int, Heard] = {}
        self._complete = asyncio.Event()

    async def loudness(self, position: int, heard: Heard) -> Loudness:
        """Bring in the track at *position*; the loudness of all, when all are in."""
        self._heard[position] = heard
        self.leave(position)
        await self._complete.wait()
        return album_loudness(self._heard[place] for place in sorted(self._heard))

    def leave(self, position: int) -> None:
        """Do not wait for this track any more: it failed, or was heard."""
        self._awaited.discard(position)
        if not self._awaited:
            self._complete.set()
