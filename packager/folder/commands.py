"""The packager's commands: `inspect`, `package` and `track verify`."""

import os
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from core.errors import InvalidInputError, NotFoundError
from core.jsonlines import json_line

if TYPE_CHECKING:  # slow to import, and help must be quick
    from collections.abc import Iterator, Sequence

    from core.catalogue import Catalogue
    from core.model import Scheme
    from core.storage.protocol import ObjectStore
    from ingest.published.verify import Report
    from packager.folder.folder import Input, Keys, Layout, Packaged
    from packager.folder.raw_keys import Licensing, RawKey
    from packager.keysource import KeySource

FILE = click.Path(dir_okay=False, path_type=Path)
READABLE = click.Path(exists=True, dir_okay=False, path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
CLEAR_LEAD = click.option(
    "--clear-lead",
    "--clear_lead",
    type=click.FloatRange(0, 3600),
    default=0,
    show_default=True,
    metavar="SECONDS",
    help="Left in the clear at the start, in whole segments.",
)
CBCS_PATTERN = click.option(
    "--cbcs-pattern",
    type=click.Choice(["0:0", "10:0"]),
    default="0:0",
    show_default=True,
    help="How cbcs is signalled; the encryption is the same.",
)
"""The last two also of `tonearm ingest`."""


class Wiring(Protocol):
    """What the composition root hands in."""

    def catalogue(self) -> "Catalogue":
        """Made on demand."""
        ...

    def store(self, url: str | None = None) -> "ObjectStore":
        """Made on demand."""
        ...

    def key_source(self, url: str | None = None) -> "KeySource":
        """Made on demand."""
        ...


@click.command()
@click.argument("where", metavar="FILE|URL")
@click.option("--all", "everything", is_flag=True, help="Up to 1000 fragments' boxes [2].")
@JSON
@click.pass_context
def inspect(ctx: click.Context, where: str, *, everything: bool, as_json: bool) -> None:
    """Show the boxes, timing, encryption and loudness of any MP4; never a key.

    A file that is broken or cut short is shown as far as it goes, with the places where it breaks,
    and the exit code is 1. Of a URL only the headers are fetched, by range requests.
    """
    from packager.inspection import inspection
    from packager.inspection.media_bytes import open_media
    from packager.inspection.text import lines_of

    shown = inspection.MAX_SHOWN_FRAGMENTS if everything else inspection.SHOWN_FRAGMENTS
    with open_media(where) as (name, source):
        found = inspection.inspect(source, shown_fragments=shown)
    if as_json:
        click.echo(json_line(inspection.as_json(found, name)))
    else:
        click.echo(f"{click.style(name, bold=True)}  {found.size} bytes", color=_colour())
        for line in lines_of(found, everything=everything):
            click.echo(line, color=_colour())
    if found.problems:
        ctx.exit(1)


def _colour() -> bool | None:
    """None lets click decide by the terminal; see no-color.org."""
    return False if os.environ.get("NO_COLOR") else None


@click.command()
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option(
    "--output", required=True, type=click.Path(path_type=Path), help="Folder to make, new or empty."
)
@click.option(
    "--scheme",
    "--protection_scheme",
    type=click.Choice(["cbcs", "cenc", "both", "aes-128", "clear"]),
    default="cbcs",
    show_default=True,
    help="How files are encrypted; aes-128 is HLS's, for players without EME.",
)
@click.option(
    "--key",
    "--keys",
    "keys",
    multiple=True,
    metavar="[TIER=]KID:KEY",
    help="Content key in hex, or label=TIER:key_id=KID:key=KEY; repeatable.",
)
@click.option("--iv", metavar="HEX", help="IV of all keys [random].")
@click.option("--track-id", metavar="ID", help="Take the keys of this track from the key source.")
@click.option("--key-source", metavar="URL", help="Key server to ask [as configured].")
@click.option(
    "--segment-duration",
    "--segment_duration",
    type=click.FloatRange(0.1, 60),
    default=3.84,
    show_default=True,
    metavar="SECONDS",
    help="Rounded to whole frames of all codecs.",
)
@CLEAR_LEAD
@click.option(
    "--crypto-period",
    "--crypto_period_duration",
    "crypto_period",
    type=click.FloatRange(0, 86400),
    default=0,
    show_default=True,
    metavar="SECONDS",
    help="Change keys that often, at whole segments; with --track-id.",
)
@CBCS_PATTERN
@click.option(
    "--layout",
    type=click.Choice(["single", "segments"]),
    help="One file with byte ranges, or a file for each segment [single; aes-128: segments].",
)
@click.option("--license-url", metavar="URL", help="Of ClearKey licences.")
@click.option(
    "--hls-key-uri",
    "--hls_key_uri",
    metavar="URI",
    help="Of raw keys, for HLS; {kid} is the key ID.",
)
@click.option(
    "--hls",
    "--hls_master_playlist_output",
    "hls_name",
    default="master.m3u8",
    show_default=True,
    metavar="NAME",
    help="Multivariant playlist.",
)
@click.option(
    "--mpd",
    "--mpd_output",
    "mpd_name",
    default="manifest.mpd",
    show_default=True,
    metavar="NAME",
    help="DASH manifest.",
)
@JSON
@click.pass_obj
def package(  # noqa: PLR0913 - click hands one argument for each option
    wiring: Wiring,
    files: tuple[Path, ...],
    *,
    output: Path,
    scheme: str,
    keys: tuple[str, ...],
    iv: str | None,
    track_id: str | None,
    key_source: str | None,
    segment_duration: float,
    clear_lead: float,
    crypto_period: float,
    cbcs_pattern: str,
    layout: "Layout | None",
    license_url: str | None,
    hls_key_uri: str | None,
    hls_name: str,
    mpd_name: str,
    as_json: bool,
) -> None:
    """Package encoded AAC, Opus, FLAC or ALAC FILES for HLS and DASH, in a folder.

    All files are the rungs of one ladder: made from one master, one for each codec and bitrate.
    The folder appears when every file in it has been decrypted and compared with its source.
    """
    from packager.folder.folder import FolderOptions, package_folder, read_inputs
    from packager.folder.raw_keys import Licensing, parse_keys

    clear, whole = scheme == "clear", scheme == "aes-128"
    places = [name for name, given in (("--key", keys), ("--track-id", track_id)) if given]
    _check_places(places + ["--scheme clear"] * clear, key_source, crypto_period)
    if whole and layout == "single":
        raise InvalidInputError(
            "aes-128 encrypts segments, each for itself", hint="leave --layout out"
        )
    schemes = _schemes(scheme)
    if whole:
        click.echo("aes-128 is written for HLS alone: hardly a DASH player knows it", err=True)
    raw = parse_keys(keys) if keys else ()
    options = FolderOptions(
        schemes,
        "segments" if whole else layout or "single",
        whole,
        segment_duration,
        hls_name,
        mpd_name,
        license_base=license_url or "" if track_id else "",
        clear_lead_s=clear_lead,
        crypto_period_s=crypto_period,
        full_pattern=cbcs_pattern == "10:0",
    )
    licensing = Licensing(license_url, hls_key_uri)
    if track_id:
        source = _track_keys(wiring.key_source(key_source), track_id)
    else:
        source = _raw_keys(raw, licensing, iv, schemes)
    inputs = read_inputs(files, one_tier=clear or (bool(raw) and raw[0].tier is None))
    with _writing(output):
        done = package_folder(inputs, output, options, source, partial(click.echo, err=True))
    _print_packaged(done, inputs, output, segment_duration, as_json=as_json)


@contextmanager
def _writing(output: Path) -> "Iterator[None]":
    try:
        yield
    except OSError as error:
        raise InvalidInputError(
            f"{output} cannot be written: {error.strerror}", hint="check permissions and disk space"
        ) from error


def _check_places(places: "Sequence[str]", key_source: str | None, crypto_period: float) -> None:
    """Refuse keys that come from several places, or from one that has none of the kind."""
    if key_source and "--track-id" not in places:
        raise InvalidInputError("a key server has keys for tracks", hint="add --track-id")
    if len(places) != 1:
        raise InvalidInputError(
            "keys come from one place", hint="give --key, or --track-id, or --scheme clear"
        )
    if crypto_period and places != ["--track-id"]:
        raise InvalidInputError(
            "keys that change come from the key source", hint="give --track-id instead of --key"
        )


def _schemes(scheme: str) -> "tuple[Scheme, ...]":
    """Of the keys that a scheme needs: whole segments take those of cbcs."""
    from core.model import Scheme

    several = {"clear": (), "both": tuple(Scheme), "aes-128": (Scheme.CBCS,)}
    return several[scheme] if scheme in several else (Scheme(scheme),)


def _raw_keys(
    raw: "Sequence[RawKey]",
    licensing: "Licensing",
    iv: str | None,
    schemes: "Sequence[Scheme]",
) -> "Keys":
    from packager.folder.raw_keys import content_keys, parse_iv

    given = parse_iv(iv, schemes)
    return lambda tiers, wanted, _: content_keys(
        raw, tiers, wanted, licensing=licensing, iv=given, random=os.urandom
    )


def _track_keys(source: "KeySource", track_id: str) -> "Keys":
    from packager.keysource import KeyRequest

    return lambda tiers, schemes, periods: [
        key
        for period in range(periods)
        for key in source.keys(KeyRequest(track_id, tuple(tiers), tuple(schemes), period))
    ]


def _print_packaged(
    done: "Packaged",
    inputs: "Sequence[Input]",
    output: Path,
    asked_s: float,
    *,
    as_json: bool,
) -> None:
    for name, seconds in done.segment_s.items():
        if abs(seconds - asked_s) > 1e-6:
            note = f"{name}: segments last {seconds:.6f} s, whole frames near {asked_s:g} s"
            click.echo(note, err=True)
    rows = [
        {
            "name": r.name,
            "input": str(item.path),
            "codecs": r.codecs,
            "tier": r.tier,
            "duration_s": r.timing.duration_s,
            "segments": len(r.segment_ticks),
            "segment_s": done.segment_s[r.name],
            "bandwidth_bps": {done.protection(f): f.peak_bps for f in r.files},
            "kid": {f.drm: str(f.kid) for f in r.files if f.kid},
        }
        for r, item in zip(done.renditions, inputs, strict=True)
    ]
    if as_json:
        document: dict[str, Any] = {"output": str(output), "manifests": done.manifests}
        click.echo(json_line(document | {"renditions": rows}))
        return
    for row in rows:
        click.echo(f"{row['name']}\t{row['codecs']}\t{row['segments']} segments\t{row['input']}")
    for manifest in done.manifests:
        click.echo(output / manifest)


@click.command()
@click.argument("track_id")
@click.option("--master", type=READABLE, help="Decode, and compare length and position with this.")
@JSON
@click.pass_context
def verify(ctx: click.Context, track_id: str, *, master: Path | None, as_json: bool) -> None:
    """Check every object of TRACK_ID: decrypt, compare hashes, timing and manifests.

    The exit code is 1 if anything is wrong; what, and in which object, is printed.
    """
    import asyncio

    from ingest.published.verify import verify_track

    wiring: Wiring = ctx.obj
    found = wiring.catalogue().get(track_id)
    if found is None:
        raise NotFoundError(f"there is no track {track_id}", hint="see: tonearm track list")
    generation = found.entry.generation

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
            click.echo(line, color=_colour())
    if report.problems:
        ctx.exit(1)
