"""What the catalogue holds, as frozen values."""

import re
from dataclasses import dataclass
from enum import StrEnum

from core.errors import InvalidInputError
from core.model import Loudness, Scheme, Tier

_TRACK_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_GENERATION = re.compile(r"[0-9a-f]{16}")
_REGION = re.compile(r"[a-z0-9-]{1,16}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

MAX_TEXT = 500
"""Characters of a title, an artist or an album id."""

MAX_REGIONS = 300
"""Region groups of one track."""


class Status(StrEnum):
    """Whether players may have a track."""

    PUBLISHED = "published"
    WITHDRAWN = "withdrawn"


class Tail(StrEnum):
    """Where a track's bytes behind the intro are."""

    HOT = "hot"
    COLD = "cold"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackEntry:
    """A track as it is published: one generation and its terms.

    Attributes:
        regions: Rights-region groups; ``("ww",)`` if the track may be heard everywhere.
        duration_ticks: Samples of the master at `timescale` Hz.
        album_position: Place in the album, from 1; None outside of albums.
    """

    track_id: str
    generation: str
    title: str
    artist: str
    regions: tuple[str, ...]
    master_sha256: str
    recipe_sha256: str
    tiers: tuple[Tier, ...]
    schemes: tuple[Scheme, ...]
    duration_ticks: int
    timescale: int
    loudness: Loudness
    album_id: str | None = None
    album_position: int | None = None

    @property
    def duration_s(self) -> float:
        """The track's exact length."""
        return self.duration_ticks / self.timescale


@dataclass(frozen=True, slots=True)
class Track:
    """A track of the catalogue: its current generation and what became of it."""

    entry: TrackEntry
    status: Status
    tail: Tail
    published_at_s: float


@dataclass(frozen=True, slots=True)
class Publication:
    """One line of a track's history; `kept` until the generation's objects are deleted."""

    track_id: str
    number: int
    generation: str
    master_sha256: str
    recipe_sha256: str
    published_at_s: float
    kept: bool


def check_track_id(track_id: str) -> str:
    """The id itself; InvalidInputError if it is none."""
    if not _TRACK_ID.fullmatch(track_id):
        raise InvalidInputError(
            f"{track_id[:80]!r} is no track id",
            hint="1 to 64 of a-z, 0-9, - and _, starting with a letter or digit",
        )
    return track_id


def check_entry(entry: TrackEntry) -> None:
    """Raise InvalidInputError when a field of *entry* is out of its bounds."""
    check_track_id(entry.track_id)
    texts = (entry.title, entry.artist, entry.album_id or "")
    digests = (entry.master_sha256, entry.recipe_sha256)
    album = (entry.album_id, entry.album_position)
    problems = {
        "generation": not _GENERATION.fullmatch(entry.generation),
        "title, artist or album": any(len(text) > MAX_TEXT for text in texts),
        "regions": not 0 < len(entry.regions) <= MAX_REGIONS
        or not all(_REGION.fullmatch(region) for region in entry.regions),
        "digests": not all(_SHA256.fullmatch(digest) for digest in digests),
        "duration": entry.duration_ticks <= 0 or entry.timescale <= 0,
        "album position": (album[1] is not None) and (album[0] is None or album[1] < 1),
    }
    if wrong := [name for name, is_wrong in problems.items() if is_wrong]:
        raise InvalidInputError(f"track {entry.track_id}: unusable {', '.join(wrong)}")
