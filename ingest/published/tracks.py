"""Tracks of the catalogue, as commands ask for them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from core.errors import NotFoundError

if TYPE_CHECKING:  # slow to import, and help must be quick
    from core.catalogue import Catalogue, Track

PAGE = 500
"""Tracks fetched from the catalogue at a time."""


def track_named(catalogue: "Catalogue", track_id: str) -> "Track":
    """The track *track_id*, withdrawn or not.

    Raises:
        NotFoundError: There is none.
    """
    track = catalogue.get(track_id)
    if track is None:
        raise NotFoundError(f"there is no track {track_id}", hint="see: tonearm track list")
    return track


def all_tracks(catalogue: "Catalogue") -> "Iterator[Track]":
    """Every track, by its ID; a page at a time, so that a catalogue of any size fits."""
    after = ""
    while page := catalogue.list(after, PAGE):
        yield from page
        after = page[-1].entry.track_id
