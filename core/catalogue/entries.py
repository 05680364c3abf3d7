"""What the catalogue holds, as frozen values."""

from dataclasses import dataclass
from enum import StrEnum

from core import ids
from core.errors import InvalidInputError
from core.model import Loudness, Scheme, Tier


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


def check_entry(entry: TrackEntry) -> None:
    """Raise InvalidInputError when a field of *entry* is out of its bounds."""
    ids.TRACK_ID.check(entry.track_id)
    ids.GENERATION.check(entry.generation)
    ids.TITLE.check(entry.title)
    ids.ARTIST.check(entry.artist)
    ids.check_regions(entry.regions)
    for digest in (entry.master_sha256, entry.recipe_sha256):
        ids.SHA256.check(digest)
    if entry.album_id is not None:
        ids.ALBUM_ID.check(entry.album_id)
    if entry.duration_ticks <= 0 or entry.timescale <= 0:
        raise InvalidInputError(f"track {entry.track_id} has no duration")
    position = entry.album_position
    if position is not None and (entry.album_id is None or position < 1):
        raise InvalidInputError(f"track {entry.track_id} has no place {position} in an album")
