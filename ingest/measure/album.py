"""Loudness of an album: one programme made of the tracks of a run, known when all were heard."""

import asyncio
from dataclasses import dataclass

from core.model import Loudness
from ingest.measure.loudness import Energies, programme


@dataclass(frozen=True, slots=True)
class Heard:
    """What a track brings to its album."""

    energies: Energies
    true_peak_dbtp: float | None


class Album:
    """Gathers tracks by their place; each waits until every other one was heard or has left."""

    def __init__(self) -> None:
        self._awaited: set[int] = set()
        self._heard: dict[int, Heard] = {}
        self._complete = asyncio.Event()

    def expect(self, places: set[int]) -> None:
        """Say which tracks there will be."""
        self._awaited = set(places)

    async def loudness(self, place: int, heard: Heard) -> Loudness:
        """Bring one track in; the loudness of all, when all are in."""
        self._heard[place] = heard
        self.leave(place)
        await self._complete.wait()
        tracks = [self._heard[place] for place in sorted(self._heard)]
        peaks = [track.true_peak_dbtp for track in tracks if track.true_peak_dbtp is not None]
        return programme([track.energies for track in tracks], max(peaks, default=None))

    def leave(self, place: int) -> None:
        """Do not wait for this track any more: it failed, or was heard."""
        self._awaited.discard(place)
        if not self._awaited:
            self._complete.set()
