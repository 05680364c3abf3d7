"""`tonearm track`: what is published, and taking it back."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.errors import NotFoundError
from core.output import format_time, json_line, json_option, print_fields
from core.wiring import Wiring

if TYPE_CHECKING:  # slow to import, and help must be quick
    from core.catalogue import Catalogue, Track
    from core.model import Presentation
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
    catalogue, after = wiring.catalogue(), ""
    while page := catalogue.list(after):
        for found in page:
            entry = found.entry
            line = (
                f"{entry.track_id}\t{found.status}\t{found.tail}\t{entry.duration_s:.1f} s\t"
                f"{entry.artist} - {entry.title}"
            )
            print_fields(_track_fields(found), as_json=as_json, line=line)
        after = page[-1].entry.track_id


@track.command()
@click.argument("track_id")
@json_option
@click.pass_obj
def show(wiring: Wiring, track_id: str, *, as_json: bool) -> None:
    """Show TRACK_ID: its terms, its loudness and its renditions."""
    found = _get(wiring.catalogue(), track_id)
    presentation = asyncio.run(_describe(wiring.store(), found))
    fields = _track_fields(found) | {
        "renditions": [
            {
                "name": r.name,
                "tier": r.tier,
                "codecs": r.codecs,
                "sampleRate": r.sample_rate,
                "segments": len(r.segment_ticks),
                "gapless": asdict(r.timing),
                "averageBps": {f.drm: f.average_bps for f in r.files},
                "size": {f.drm: f.size for f in r.files},
            }
            for r in presentation.renditions
        ]
    }
    lines = [f"{name:<12} {value}" for name, value in fields.items() if name != "renditions"]
    lines += [
        f"{r.name:<12} {r.tier}, {r.codecs}, {r.sample_rate} Hz, {len(r.segment_ticks)} segments, "
        + ", ".join(f"{f.drm} {f.size} bytes" for f in r.files)
        for r in presentation.renditions
    ]
    print_fields(fields, as_json=as_json, line="\n".join(lines))


@track.command()
@click.argument("track_id")
@json_option
@click.pass_obj
def history(wiring: Wiring, track_id: str, *, as_json: bool) -> None:
    """List what was published as TRACK_ID, newest first; removed tracks, too."""
    lines = wiring.catalogue().history(track_id)
    if not lines:
        raise NotFoundError(f"nothing was ever published as {track_id}")
    for publication in lines:
        at = format_time(publication.published_at_s)
        kept = "kept" if publication.kept else "deleted"
        fields = asdict(publication) | {"published_at_s": at}
        line = f"{publication.number}\t{publication.generation}\t{at}\t{kept}"
        print_fields(fields, as_json=as_json, line=line)


@track.command()
@click.argument("track_id")
@json_option
@click.pass_obj
def withdraw(wiring: Wiring, track_id: str, *, as_json: bool) -> None:
    """Take TRACK_ID from players at once; its files are kept, and `restore` gives it back."""
    found = wiring.catalogue().withdraw(track_id)
    print_fields(_track_fields(found), as_json=as_json, line=f"{track_id} {found.status}")


@track.command()
@click.argument("track_id")
@json_option
@click.pass_obj
def restore(wiring: Wiring, track_id: str, *, as_json: bool) -> None:
    """Give TRACK_ID, which was withdrawn, back to players."""
    found = wiring.catalogue().restore(track_id)
    print_fields(_track_fields(found), as_json=as_json, line=f"{track_id} {found.status}")


@track.command()
@click.argument("track_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def remove(wiring: Wiring, track_id: str, *, yes: bool, as_json: bool) -> None:
    """Withdraw TRACK_ID and delete its files for good; its history is kept."""
    catalogue = wiring.catalogue()
    _get(catalogue, track_id)
    if not yes:
        click.confirm(f"Delete every file of {track_id} for good?", abort=True, err=True)
    catalogue.withdraw(track_id)
    generations = catalogue.generations_kept(track_id)
    # objects first: after a crash the track is still listed, and can be removed again
    deleted = asyncio.run(_delete(wiring.store(), track_id, generations))
    catalogue.remove(track_id)
    for generation in generations:
        catalogue.drop_generation(track_id, generation)
    fields = {"trackId": track_id, "removed": True, "objects": deleted}
    print_fields(fields, as_json=as_json, line=f"{track_id} removed, {deleted} objects deleted")


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
    generation = _get(wiring.catalogue(), track_id).entry.generation

    async def run() -> "Report":
        store = wiring.store()
        try:
            keys = wiring.key_source()
            return await verify_track(track_id, generation, store, keys, master=master)
        finally:
            await store.aclose()

    report = asyncio.run(run())
    if as_json:
        click.echo(json_line(report.as_json()))
    else:
        for line in report.lines():
            click.echo(line)
    if report.problems:
        ctx.exit(1)


def _get(catalogue: "Catalogue", track_id: str) -> "Track":
    found = catalogue.get(track_id)
    if found is None:
        raise NotFoundError(f"there is no track {track_id}", hint="see: tonearm track list")
    return found


def _track_fields(found: "Track") -> dict[str, Any]:
    entry = found.entry
    return {
        "trackId": entry.track_id,
        "status": found.status,
        "tail": found.tail,
        "generation": entry.generation,
        "title": entry.title,
        "artist": entry.artist,
        "album": entry.album_id,
        "regions": list(entry.regions),
        "tiers": list(entry.tiers),
        "schemes": list(entry.schemes),
        "durationS": entry.duration_s,
        "loudness": asdict(entry.loudness),
        "publishedAt": format_time(found.published_at_s),
    }


async def _describe(store: "ObjectStore", found: "Track") -> "Presentation":
    from packager.manifest.published import fetch_presentation

    entry = found.entry
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
            async for found in store.list(generation_prefix(track_id, generation)):
                await store.delete(found.key)
                deleted += 1
            deleted += 1
    finally:
        await store.aclose()
    return deleted
