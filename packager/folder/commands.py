"""`tonearm package`."""

import contextlib
import math
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.errors import InvalidInputError
from core.output import json_option, print_columns, print_json, print_line, print_note
from core.wiring import Wiring

if TYPE_CHECKING:  # slow to import, and help must be quick
    from collections.abc import Iterator, Sequence

    from core.keysource import KeySource
    from core.model import Scheme
    from packager.folder.folder import Keys, Layout, Packaged
    from packager.folder.inputs import Input
    from packager.folder.raw_keys import Licensing, RawKey


class Seconds(click.FloatRange):
    """A number of seconds; click finds not-a-number neither below a range nor above it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or a refusal."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not finite.", param, ctx)
        return number


FILE = click.Path(dir_okay=False, path_type=Path)
CLEAR_LEAD = click.option(
    "--clear-lead",
    "--clear_lead",
    type=Seconds(0, 3600),
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
    type=Seconds(0.1, 60),
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
    type=Seconds(0, 86400),
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
@json_option
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
    from packager.folder.folder import FolderOptions, check_options, package_folder
    from packager.folder.inputs import read_inputs
    from packager.folder.raw_keys import Licensing, parse_keys
    from packager.folder.staging import new_folder

    clear, whole = scheme == "clear", scheme == "aes-128"
    sources = [name for name, given in (("--key", keys), ("--track-id", track_id)) if given]
    _check_sources(sources + ["--scheme clear"] * clear, key_source, crypto_period)
    choices: dict[str, object] = {
        "--iv": iv,
        "--hls-key-uri": hls_key_uri,
        "--license-url": license_url,
        "--clear-lead": clear_lead,
        "--cbcs-pattern": cbcs_pattern == "10:0",
        "--layout single": layout == "single",
    }
    _check_use([name for name, choice in choices.items() if choice], scheme, track_id)
    schemes = _schemes(scheme)
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
    check_options(options)
    licensing = Licensing(license_url, hls_key_uri)
    licensing.check()
    if track_id:
        source = _track_keys(wiring.key_source(key_source), track_id)
    else:
        source = _raw_keys(raw, licensing, iv, schemes)
    if whole:
        print_note("aes-128 is written for HLS alone: hardly a DASH player knows it")
    with _stopped_in_order(), new_folder(output) as folder:
        inputs = read_inputs(files, one_tier=clear or (bool(raw) and raw[0].tier is None))
        done = package_folder(inputs, folder, options, source, print_note)
    _print_packaged(done, inputs, output, segment_duration, as_json=as_json)


@contextlib.contextmanager
def _stopped_in_order() -> "Iterator[None]":
    """Unwind on SIGTERM and SIGHUP, as on Ctrl-C: a folder that is half full does not stay."""

    def stop(number: int, _frame: object) -> None:
        raise click.exceptions.Exit(128 + number)  # as shells count

    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _check_sources(sources: "Sequence[str]", key_source: str | None, crypto_period: float) -> None:
    """Refuse keys that come from several places, or from one that has none of the kind."""
    if key_source and "--track-id" not in sources:
        raise InvalidInputError("a key server has keys for tracks", hint="add --track-id")
    if len(sources) != 1:
        raise InvalidInputError(
            "name exactly one source of keys", hint="give --key, or --track-id, or --scheme clear"
        )
    if crypto_period and sources != ["--track-id"]:
        raise InvalidInputError(
            "keys that change come from the key source", hint="give --track-id instead of --key"
        )


_USELESS = {
    "clear": ("--iv", "--hls-key-uri", "--license-url", "--clear-lead", "--cbcs-pattern"),
    "cenc": ("--cbcs-pattern",),
    "aes-128": ("--cbcs-pattern",),
}
"""What would change nothing, by scheme."""
_OF_RAW_KEYS = ("--iv", "--hls-key-uri")


def _check_use(given: "Sequence[str]", scheme: str, track_id: str | None) -> None:
    """Refuse options that would be ignored: who gives one counts on it."""
    for option in given:
        if option in _USELESS.get(scheme, ()):
            raise InvalidInputError(
                f"{option} changes nothing with --scheme {scheme}", hint=f"leave {option} out"
            )
        if track_id and option in _OF_RAW_KEYS:
            raise InvalidInputError(
                f"{option} is the key source's business", hint=f"leave {option} out"
            )
    if scheme == "aes-128" and "--layout single" in given:
        raise InvalidInputError(
            "aes-128 encrypts segments, each for itself", hint="leave --layout out"
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

    licensing.check_keys(raw)
    fixed_iv = parse_iv(iv, schemes)
    return lambda tiers, wanted, _: content_keys(
        raw, tiers, wanted, licensing=licensing, iv=fixed_iv, random=os.urandom
    )


def _track_keys(source: "KeySource", track_id: str) -> "Keys":
    from core.ids import TRACK_ID
    from core.keysource import KeyRequest

    TRACK_ID.check(track_id)
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
            print_note(note)
    if as_json:
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
        print_json({"output": str(output), "manifests": done.manifests, "renditions": rows})
        return
    for r, item in zip(done.renditions, inputs, strict=True):
        print_columns(r.name, r.codecs, f"{len(r.segment_ticks)} segments", str(item.path))
    for manifest in done.manifests:
        print_line(str(output / manifest))
