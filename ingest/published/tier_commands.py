"""`tonearm tier`: where the bytes of tracks are, and moving them."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from core.errors import RestoringError, ToolkitError
from core.output import Table, format_size, json_option, print_error, print_json, print_note
from core.wiring import Wiring
from ingest.published.tracks import all_tracks, track_named

if TYPE_CHECKING:  # slow to import, and help must be quick
    from core.catalogue import Catalogue, Tail, Track
    from core.storage.tiered import StoredFile, TieredStore

INTRO_SEGMENTS = 2
"""Segments of each rendition that stay hot, behind init and index."""


@dataclass(frozen=True, slots=True)
class TrackPlaces:
    """Where a track's media files are; `tail` is ``mixed`` after an interrupted move."""

    track_id: str
    generation: str
    tail: str
    files: int
    hot_size: int
    cold_size: int


@click.group()
def tier() -> None:
    """Show and move what is kept hot or cold."""


@tier.command()
@click.argument("tracks", nargs=-1)
@json_option
@click.pass_obj
def status(wiring: Wiring, tracks: tuple[str, ...], *, as_json: bool) -> None:
    """Show where the bytes of TRACKS are, of all tracks if none is named."""

    async def show(catalogue: "Catalogue", store: "TieredStore") -> None:
        printer = _Printer(as_json=as_json)
        named = [track_named(catalogue, name) for name in tracks]
        for track in named if tracks else all_tracks(catalogue):
            printer.print(await _places(store, track))

    _with_parts(wiring, show)


@tier.command()
@click.argument("tracks", nargs=-1, required=True)
@json_option
@click.pass_obj
def demote(wiring: Wiring, tracks: tuple[str, ...], *, as_json: bool) -> None:
    """Move the tails of TRACKS to the cold store; the intros stay hot, the tracks play on."""
    from core.catalogue import Tail

    _move(wiring, tracks, Tail.COLD, as_json=as_json)


@tier.command()
@click.argument("tracks", nargs=-1, required=True)
@json_option
@click.pass_obj
def promote(wiring: Wiring, tracks: tuple[str, ...], *, as_json: bool) -> None:
    """Bring the tails of TRACKS back to the hot store, checked against their hashes."""
    from core.catalogue import Tail

    _move(wiring, tracks, Tail.HOT, as_json=as_json)


def _move(wiring: Wiring, tracks: tuple[str, ...], tail: "Tail", *, as_json: bool) -> None:
    """Move track after track; what fails is reported, the others go on."""
    failed: list[str] = []
    printer = _Printer(as_json=as_json)

    async def move(catalogue: "Catalogue", store: "TieredStore") -> None:
        with _progress() as advance:
            for name in dict.fromkeys(tracks):
                try:
                    track = track_named(catalogue, name)
                    await _move_track(store, track, tail, advance)
                    generation = track.entry.generation
                    if not catalogue.set_tail(name, tail, generation=generation):
                        print_note(f"{name}: a newer generation was published")
                    printer.print(await _places(store, track))
                except ToolkitError as error:
                    failed.append(name)
                    print_error(error, about=name)

    _with_parts(wiring, move)
    if failed:
        raise click.exceptions.Exit(1)


async def _move_track(
    store: "TieredStore", track: "Track", tail: "Tail", advance: Callable[[str, int, int], None]
) -> None:
    files = await _movable(store, track)
    restoring: RestoringError | None = None
    for number, file in enumerate(files):
        advance(track.entry.track_id, number, len(files))
        try:
            await (store.demote([file]) if tail == "cold" else store.promote([file]))
        except RestoringError as error:
            restoring = error  # the others are asked for as well, so that all come back together
    advance(track.entry.track_id, len(files), len(files))
    if restoring is not None:
        raise RestoringError(
            f"the tail of {track.entry.track_id} is archived and being restored",
            hint=f"run the command again in {restoring.retry_after_s} s or later",
            retry_after_s=restoring.retry_after_s,
        )


async def _places(store: "TieredStore", track: "Track") -> TrackPlaces:
    placements = [await store.placement(file.key) for file in await _movable(store, track)]
    demoted = sum(place.demoted for place in placements)
    mixed_or_cold = "cold" if demoted == len(placements) else "mixed"
    return TrackPlaces(
        track_id=track.entry.track_id,
        generation=track.entry.generation,
        tail=mixed_or_cold if demoted else "hot",
        files=len(placements),
        hot_size=sum(place.hot_size for place in placements),
        cold_size=sum(place.cold_size for place in placements),
    )


async def _movable(store: "TieredStore", track: "Track") -> "list[StoredFile]":
    """The media files of the current generation that are longer than an intro."""
    from core.storage.tiered import StoredFile
    from packager.manifest.published import fetch_presentation

    described = await fetch_presentation(
        store, track_id=track.entry.track_id, generation=track.entry.generation
    )
    return [
        StoredFile(file.key, file.sha256, intro_size)
        for rendition in described.renditions
        for file in rendition.files
        if (
            intro_size := file.init_size
            + file.index_size
            + sum(file.segment_sizes[:INTRO_SEGMENTS])
        )
        < file.size
    ]


def _with_parts(
    wiring: Wiring,
    action: "Callable[[Catalogue, TieredStore], Coroutine[Any, Any, None]]",
) -> None:
    """Run *action* with the catalogue and the store, and close both."""

    async def run() -> None:
        store = wiring.store()
        try:
            with closing(wiring.catalogue()) as catalogue:
                await action(catalogue, store)
        finally:
            await store.aclose()

    asyncio.run(run())


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr, if a person looks at it; called with a track, files done and all files."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("")

        def advance(track_id: str, done: int, total: int) -> None:
            bar.update(task, description=track_id, completed=done, total=total)

        yield advance


class _Printer:
    """Prints where tracks are, each as it is known."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._table = Table(("track", 24), ("tail", 5), ("files", -5), ("hot", -12), ("cold", -12))

    def print(self, places: TrackPlaces) -> None:
        """Print one line."""
        if self._as_json:
            print_json({name: getattr(places, name) for name in TrackPlaces.__slots__})
            return
        self._table.print_row(
            places.track_id,
            places.tail,
            str(places.files),
            format_size(places.hot_size),
            format_size(places.cold_size),
        )
