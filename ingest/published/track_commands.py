"""`tonearm track`: what is published, and taking it back."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.errors import InvalidInputError, MasterRejectedError, NotFoundError
from core.output import (
    NOTHING,
    Table,
    format_length,
    format_number,
    format_size,
    format_time,
    json_option,
    print_columns,
    print_fields,
    print_json,
    print_line,
    print_note,
)
from core.wiring import Wiring
from ingest.published.tracks import all_tracks, track_named

if TYPE_CHECKING:  # slow to import, and help must be quick
    from core.catalogue import Track
    from core.model import Presentation, Rendition
    from core.storage.protocol import ObjectStore
    from ingest.published.verify import Report


@click.group()
def track() -> None:
    """Look at published tracks, and take them back."""


@track.command("list")
@json_option
@click.pass_obj
def list_tracks(wiring: Wiring, *, as_json: bool) -> None:
    """List every track, by its id."""
    for published_track in all_tracks(wiring.catalogue()):
        if as_json:
            print_json(_track_fields(published_track))
            continue
        entry = published_track.entry
        print_columns(
            entry.track_id,
            published_track.status,
            published_track.tail,
            format_length(entry.duration_s),
            " - ".join(filter(None, (entry.artist, entry.title))),
        )


@track.command()
@click.argument("track_id")
@json_option
@click.pass_obj
def show(wiring: Wiring, track_id: str, *, as_json: bool) -> None:
    """Show TRACK_ID: its terms, its loudness and its renditions."""
    published_track = track_named(wiring.catalogue(), track_id)
    presentation = asyncio.run(_describe(wiring.store(), published_track))
    if as_json:
        renditions = [_rendition_fields(rendition) for rendition in presentation.renditions]
        print_json(_track_fields(published_track) | {"renditions": renditions})
        return
    print_fields(_track_words(published_track))
    print_line("")
    profiles = dict.fromkeys(file.drm for r in presentation.renditions for file in r.files)
    table = Table(
        ("rendition", 10), ("tier", 8), ("codec", 10), ("rate", -9), ("segments", -8),
        ("bitrate", -9), *((str(drm), -10) for drm in profiles),
    )  # fmt: skip
    for rendition in presentation.renditions:
        size_of = {file.drm: format_size(file.size) for file in rendition.files}
        table.print_row(
            rendition.name,
            rendition.tier,
            rendition.codecs,
            f"{rendition.sample_rate} Hz",
            str(len(rendition.segment_ticks)),
            f"{max(file.average_bps for file in rendition.files) / 1000:.0f} kb/s",
            *(size_of.get(drm, NOTHING) for drm in profiles),
        )


@track.command()
@click.argument("track_id")
@json_option
@click.pass_obj
def history(wiring: Wiring, track_id: str, *, as_json: bool) -> None:
    """List what was published as TRACK_ID, newest first; removed tracks, too."""
    publications = wiring.catalogue().history(track_id)
    if not publications:
        raise NotFoundError(
            f"nothing was ever published as {track_id}", hint="see: tonearm track list"
        )
    for publication in publications:
        at = format_time(publication.published_at_s)
        if as_json:
            print_json(asdict(publication) | {"published_at_s": at})
            continue
        kept = "kept" if publication.kept else "deleted"
        print_columns(str(publication.number), publication.generation, at, kept)


@track.command()
@click.argument("track_id")
@json_option
@click.pass_obj
def withdraw(wiring: Wiring, track_id: str, *, as_json: bool) -> None:
    """Take TRACK_ID from players at once; its files are kept, and `restore` gives it back."""
    _print_standing(wiring.catalogue().withdraw(track_id), as_json=as_json)


@track.command()
@click.argument("track_id")
@json_option
@click.pass_obj
def restore(wiring: Wiring, track_id: str, *, as_json: bool) -> None:
    """Give TRACK_ID, which was withdrawn, back to players."""
    _print_standing(wiring.catalogue().restore(track_id), as_json=as_json)


@track.command()
@click.argument("track_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def remove(wiring: Wiring, track_id: str, *, yes: bool, as_json: bool) -> None:
    """Withdraw TRACK_ID and delete its files for good; its history is kept."""
    catalogue = wiring.catalogue()
    track_named(catalogue, track_id)
    if not yes:
        _confirm(f"Delete every file of {track_id} for good?")
    catalogue.withdraw(track_id)
    generations = catalogue.generations_kept(track_id)
    # objects first: after a crash the track is still listed, and can be removed again
    deleted = asyncio.run(_delete(wiring.store(), track_id, generations))
    catalogue.remove(track_id)
    for generation in generations:
        catalogue.drop_generation(track_id, generation)
    if as_json:
        print_json({"trackId": track_id, "removed": True, "objects": deleted})
    else:
        print_line(f"{track_id} removed, {deleted} objects deleted")


@track.command()
@click.argument("track_id")
@click.option(
    "--master",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Decode, and compare length and position with this.",
)
@json_option
@click.pass_context
def verify(ctx: click.Context, track_id: str, *, master: Path | None, as_json: bool) -> None:
    """Check every object of TRACK_ID: decrypt, compare hashes, timing and manifests.

    The exit code is 1 if anything is wrong; what, and in which object, is printed.
    """
    from ingest.published.verify import verify_track

    wiring: Wiring = ctx.obj
    generation = track_named(wiring.catalogue(), track_id).entry.generation
    if master is not None:
        _check_kind(master)

    async def run() -> "Report":
        store = wiring.store()
        try:
            keys = wiring.key_source()
            return await verify_track(track_id, generation, store, keys, master=master)
        finally:
            await store.aclose()

    report = asyncio.run(run())
    if as_json:
        print_json(report.as_json())
    else:
        for line in report.lines():
            print_line(line)
    if report.problems:
        ctx.exit(1)


def _confirm(question: str) -> None:
    try:
        click.confirm(question, abort=True, err=True)
    except click.Abort as error:
        if not isinstance(error.__context__, EOFError):
            raise
        print_note("")  # the question stands without an answer
        raise InvalidInputError("nobody confirmed it", hint="--yes does not ask") from None


def _check_kind(master: Path) -> None:
    from ingest.master.probe import check_kind

    try:
        check_kind(master)
    except MasterRejectedError as error:
        raise InvalidInputError(f"{master}: {error.message}", hint=error.hint) from None


def _print_standing(published_track: "Track", *, as_json: bool) -> None:
    if as_json:
        print_json(_track_fields(published_track))
    else:
        print_line(f"{published_track.entry.track_id} {published_track.status}")


def _track_fields(published_track: "Track") -> dict[str, Any]:
    entry = published_track.entry
    return {
        "trackId": entry.track_id,
        "status": published_track.status,
        "tail": published_track.tail,
        "generation": entry.generation,
        "title": entry.title,
        "artist": entry.artist,
        "album": entry.album_id,
        "regions": list(entry.regions),
        "tiers": list(entry.tiers),
        "schemes": list(entry.schemes),
        "durationS": entry.duration_s,
        "loudness": asdict(entry.loudness),
        "publishedAt": format_time(published_track.published_at_s),
    }


def _rendition_fields(rendition: "Rendition") -> dict[str, Any]:
    return {
        "name": rendition.name,
        "tier": rendition.tier,
        "codecs": rendition.codecs,
        "sampleRate": rendition.sample_rate,
        "segments": len(rendition.segment_ticks),
        "gapless": asdict(rendition.timing),
        "averageBps": {file.drm: file.average_bps for file in rendition.files},
        "size": {file.drm: file.size for file in rendition.files},
    }


def _track_words(published_track: "Track") -> dict[str, str]:
    """The same for people."""
    entry, loudness = published_track.entry, published_track.entry.loudness
    return {
        "track": entry.track_id,
        "status": published_track.status,
        "generation": entry.generation,
        "published": format_time(published_track.published_at_s),
        "tail": published_track.tail,
        "title": entry.title or NOTHING,
        "artist": entry.artist or NOTHING,
        "album": entry.album_id or NOTHING,
        "regions": ", ".join(entry.regions),
        "tiers": ", ".join(entry.tiers),
        "schemes": ", ".join(entry.schemes) or NOTHING,
        "length": format_length(entry.duration_s),
        "loudness": format_number(loudness.integrated_lufs, "LUFS"),
        "range": format_number(loudness.range_lu, "LU"),
        "momentary": format_number(loudness.momentary_max_lufs, "LUFS at most"),
        "short-term": format_number(loudness.short_term_max_lufs, "LUFS at most"),
        "true peak": format_number(loudness.true_peak_dbtp, "dBTP"),
    }


async def _describe(store: "ObjectStore", published_track: "Track") -> "Presentation":
    from packager.manifest.published import fetch_presentation

    entry = published_track.entry
    try:
        return await fetch_presentation(store, track_id=entry.track_id, generation=entry.generation)
    finally:
        await store.aclose()


async def _delete(store: "ObjectStore", track_id: str, generations: tuple[str, ...]) -> int:
    from packager.manifest.places import generation_prefix, presentation_key

    deleted = 0
    try:
        for generation in generations:
            # the description goes first: without it nothing of the rest can be asked for
            await store.delete(presentation_key(track_id, generation))
            async for info in store.list(generation_prefix(track_id, generation)):
                await store.delete(info.key)
                deleted += 1
            deleted += 1
    finally:
        await store.aclose()
    return deleted
