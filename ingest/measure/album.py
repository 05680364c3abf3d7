"""Loudness of an album: one programme made of its tracks. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from core.model import Loudness
from ingest.measure.loudness import Energies, programme


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What a track brings to its album."""

    energies: Energies
    true_peak_dbtp: float | None


def album_loudness(tracks: Iterable[Heard]) -> Loudness:
    """The loudness of *tracks*, at least one, played one after the other."""
    heard = list(tracks)
    peaks = [track.true_peak_dbtp for track in heard if track.true_peak_dbtp is not None]
    return programme([track.energies for track in heard], max(peaks, default=None))
