"""What may be served: standing of tracks from the catalogue, presentations from the store."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import accumulate

from core.catalogue import Status, Track
from core.errors import ForbiddenError, IntegrityError, InvalidInputError, NotFoundError
from core.model import MediaFile, Presentation, Rendition
from origin.dependencies import Origin
from origin.shield.single_flight import SingleFlightCache
from packager.manifest.places import no_such_file, presentation_key
from packager.manifest.published import read_presentation

TRACK_TTL_S = 5.0
"""How long media of a track is served after its withdrawal, at most, by this origin."""
MAX_TRACKS = 100_000
"""Tracks whose standing is remembered."""

_PARSED_FACTOR = 8  # a parsed presentation takes about so many times its JSON (measured)


class WithdrawnError(ForbiddenError):
    """The track was taken back by who owns it."""

    slug = "track-withdrawn"


@dataclass(frozen=True, slots=True)
class Described:
    """A presentation, and where each segment of each of its files starts."""

    presentation: Presentation
    size: int
    _starts: dict[str, tuple[int, ...]]

    def segment_span(self, file: MediaFile, number: int) -> tuple[int, int]:
        """The half-open range of segment *number* in its file.

        Raises:
            NotFoundError: There are not so many segments.
        """
        starts = self._starts.get(file.key)
        if starts is None:
            head = file.init_size + file.index_size
            starts = self._starts[file.key] = tuple(accumulate(file.segment_sizes, initial=head))
        if not 1 <= number < len(starts):
            raise no_such_file()
        return starts[number - 1], starts[number]


class Library:
    """The origin's cached view of the catalogue and of what lies in the store."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._tracks: SingleFlightCache[str, tuple[Track | None]] = SingleFlightCache(
            MAX_TRACKS, lambda _: 1, clock=origin.clock, ttl_s=TRACK_TTL_S
        )
        self._presentations: SingleFlightCache[tuple[str, str], Described] = SingleFlightCache(
            origin.limits.presentation_cache_size, lambda d: d.size * _PARSED_FACTOR
        )

    async def published(self, track_id: str) -> Track:
        """The track as it stands now.

        Raises:
            NotFoundError: There is none.
            WithdrawnError: It may not be played any more.
        """
        return _playable(await self._look_up(track_id))

    async def check_standing(self, track_id: str) -> None:
        """As `published`, but what is known may be `TRACK_TTL_S` old."""

        async def fetch() -> tuple[Track | None]:
            return (await self._look_up(track_id),)

        (track,), _ = await self._tracks.get(track_id, fetch)
        _playable(track)

    async def describe(self, track_id: str, generation: str) -> Described:
        """A generation of a track, the current one or one before.

        Raises:
            NotFoundError: It is not in the store.
            IntegrityError: The object there is not its description.
        """

        async def fetch() -> Described:
            body = await self._origin.store.get(presentation_key(track_id, generation))
            # in a thread: the description of a day-long recording takes a while to read
            presentation = await asyncio.to_thread(
                read_presentation, body, track_id=track_id, generation=generation
            )
            return Described(presentation, len(body), {})

        try:
            described, _ = await self._presentations.get((track_id, generation), fetch)
        except NotFoundError:
            raise no_such_file() from None
        return described

    async def described_as_current(self, track: Track) -> Described:
        """The generation that the catalogue calls published.

        Raises:
            IntegrityError: It is not in the store, or as for `describe`.
        """
        track_id, generation = track.entry.track_id, track.entry.generation
        try:
            return await self.describe(track_id, generation)
        except NotFoundError:
            raise IntegrityError(
                f"the description of track {track_id}, generation {generation}, is missing",
                hint="restore it from a backup, or ingest its master again",
            ) from None

    @asynccontextmanager
    async def promised(self, presentation: Presentation, media: MediaFile) -> AsyncIterator[None]:
        """Around a read of *media*: that the store has not what *presentation* names is our fault.

        Raises:
            IntegrityError: It is missing, or shorter than it was.
            NotFoundError: The whole generation was removed meanwhile.
        """
        try:
            yield
        except (NotFoundError, InvalidInputError) as error:  # the latter: the range starts behind
            key = presentation_key(presentation.track_id, presentation.generation)
            try:
                await self._origin.store.head(key)  # what is removed begins with this
            except NotFoundError:
                raise no_such_file() from None
            raise IntegrityError(
                f"{media.key} is missing, or shorter than it should be",
                hint="tonearm track verify says what else is",
            ) from error

    async def aclose(self) -> None:
        """End what is being fetched."""
        await self._tracks.aclose()
        await self._presentations.aclose()

    async def _look_up(self, track_id: str) -> Track | None:
        return await asyncio.to_thread(self._origin.catalogue.get, track_id)


def rendition_named(p: Presentation, name: str) -> Rendition:
    """The rendition *name* of *p*, or NotFoundError."""
    rendition = p.rendition(name)
    if rendition is None:
        raise no_such_file()
    return rendition


def _playable(track: Track | None) -> Track:
    if track is None:
        raise NotFoundError("there is no such track", hint="tracks appear when they are published")
    if track.status is Status.WITHDRAWN:
        raise WithdrawnError("this track has been withdrawn")
    return track
