"""`tonearm album`: what belongs together, and manifests that play it in one go."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from core import ids
from core.errors import ConflictError, NotFoundError
from core.output import (
    NOTHING,
    Table,
    format_length,
    json_option,
    print_columns,
    print_json,
)
from core.wiring import Wiring
from ingest.published.tracks import all_tracks

if TYPE_CHECKING:  # slow to import, and help must be quick
    from core.catalogue import Catalogue, Track
    from core.model import DrmProfile, Presentation
    from core.storage.protocol import ObjectStore


@click.group()
def album() -> None:
    """Look at albums, and make manifests that play one without a gap."""


@album.command("list")
@json_option
@click.pass_obj
def list_albums(wiring: Wiring, *, as_json: bool) -> None:
    """List every album with the number of its tracks."""
    albums = Counter(track.entry.album_id for track in all_tracks(wiring.catalogue()))
    del albums[None]
    for album_id, count in sorted(albums.items()):
        if as_json:
            print_json({"albumId": album_id, "tracks": count})
        else:
            print_columns(str(album_id), f"{count} tracks")


@album.command()
@click.argument("album_id", metavar="ALBUM")
@json_option
@click.pass_obj
def show(wiring: Wiring, album_id: str, *, as_json: bool) -> None:
    """Show the tracks of ALBUM in their order."""
    table = Table(
        ("position", -8), ("track", 24), ("status", 9), ("length", -6), ("artist - title", 0)
    )
    for track in _tracks(wiring.catalogue(), album_id):
        entry = track.entry
        fields = {
            "position": entry.album_position,
            "trackId": entry.track_id,
            "status": track.status,
            "generation": entry.generation,
            "title": entry.title,
            "artist": entry.artist,
            "durationS": entry.duration_s,
            "schemes": list(entry.schemes),
        }
        if as_json:
            print_json(fields)
            continue
        table.print_row(
            str(entry.album_position or NOTHING),
            entry.track_id,
            track.status,
            format_length(entry.duration_s),
            f"{entry.artist} - {entry.title}",
        )


@album.command()
@click.argument("album_id", metavar="ALBUM")
@click.option(
    "--scheme",
    type=click.Choice(["cbcs", "cenc", "both"]),
    help="Whose files to list [all that the first track has].",
)
@click.option("--common", is_flag=True, help="Leave out renditions that not every track has.")
@click.option("--license-base", metavar="URL", default="", help="Public base of the key server.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write files there instead of the store.",
)
@json_option
@click.pass_obj
def manifest(  # noqa: PLR0913 - click hands one argument for each option
    wiring: Wiring,
    album_id: str,
    *,
    scheme: str | None,
    common: bool,
    license_base: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Make byte-range HLS and DASH manifests of ALBUM, for a bucket; named by their content."""
    from core.ids import check_base_url
    from packager.manifest.album import album_manifests, album_of
    from packager.manifest.options import ManifestOptions

    check_base_url(license_base, "--license-base")
    tracks = _tracks(wiring.catalogue(), album_id)
    _refuse_withdrawn(tracks)
    profiles = _profiles(tracks[0], scheme)
    options = ManifestOptions(license_base=license_base.rstrip("/"))

    async def make() -> tuple[Sequence[str], bool]:
        store = wiring.store()
        try:
            presentations = [await _presentation(store, track) for track in tracks]
            joined = album_of(album_id, presentations, common=common)
            texts = album_manifests(joined, profiles, options)
            if output is None:
                return list(texts), await _store(store, texts)
        finally:
            await store.aclose()
        return list(texts), await asyncio.to_thread(_write, output, texts)

    keys, is_new = asyncio.run(make())
    folder = keys[-1].rpartition("/")[0]
    status = "made" if is_new else "unchanged"
    if as_json:
        print_json({"albumId": album_id, "status": status, "folder": folder, "manifests": keys})
        return
    for key in keys:
        print_columns(status, key)


def _tracks(catalogue: "Catalogue", album_id: str) -> Sequence["Track"]:
    tracks = catalogue.album(ids.ALBUM_ID.check(album_id))
    if not tracks:
        raise NotFoundError(f"there is no album {album_id}", hint="see: tonearm album list")
    return tracks


def _refuse_withdrawn(tracks: Sequence["Track"]) -> None:
    from core.catalogue import Status

    if gone := [t.entry.track_id for t in tracks if t.status is Status.WITHDRAWN]:
        raise ConflictError(
            f"withdrawn: {', '.join(gone)}", hint="restore or remove them: tonearm track --help"
        )


def _profiles(first: "Track", scheme: str | None) -> list["DrmProfile"]:
    from core.model import DrmProfile, Scheme

    if scheme is None:
        return [DrmProfile(has) for has in first.entry.schemes]
    return [DrmProfile(name) for name in (Scheme if scheme == "both" else (scheme,))]


async def _presentation(store: "ObjectStore", track: "Track") -> "Presentation":
    from packager.manifest.published import fetch_presentation

    entry = track.entry
    return await fetch_presentation(store, track_id=entry.track_id, generation=entry.generation)


async def _store(store: "ObjectStore", texts: Mapping[str, str]) -> bool:
    """Store what is not there; the description, which names the others, is last and decides."""
    is_new = False
    for key, text in texts.items():
        is_new = await store.put_if_absent(key, text.encode())
    return is_new


def _write(folder: Path, texts: Mapping[str, str]) -> bool:
    """The same into a folder."""
    is_new = False
    for key, text in texts.items():
        path, data = folder / key, text.encode()
        is_new = not path.exists() or path.read_bytes() != data
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return is_new
