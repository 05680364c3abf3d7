"""`tonearm ingest`: options in, a run over the masters, results out."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from core.errors import InvalidInputError, UnavailableError
from core.ids import EVERYWHERE
from core.output import error_lines, escaped, json_option, print_json
from core.wiring import Wiring
from packager.folder.commands import CBCS_PATTERN, CLEAR_LEAD

if TYPE_CHECKING:  # slow to import: for the type checker alone
    from core.model import Ladder
    from ingest.encode.toolchain import Toolchain
    from ingest.run.outcome import Outcome
    from ingest.run.plan import Options
    from ingest.run.track import Collaborators

OPEN_FILES = 256
"""For stores, databases, and rungs that are packaged."""
OPEN_FILES_PER_JOB = 8
"""A lock and the pipes of ffmpeg, and room to spare; a track that waits for its album holds one."""
MAX_LADDER_LENGTH = 1 << 16
"""Characters of a ladder's file."""
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 2
"""Signals until one is taken for a kill."""
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("masters", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--ladder", type=FILE, help="Ladder as TOML [built-in: music].")
@click.option(
    "--scheme",
    type=click.Choice(["cbcs", "cenc", "both"]),
    default="cbcs",
    show_default=True,
    help="How files are encrypted.",
)
@CLEAR_LEAD
@CBCS_PATTERN
@click.option("--lossless", is_flag=True, help="Add a FLAC rung.")
@click.option("--album", metavar="NAME", help="All masters are one album, in this order.")
@click.option("--title", help="Of a single master [its tag, else its name].")
@click.option("--artist", help="Of all masters [their tags].")
@click.option("--track-id", metavar="ID", help="Of a single master [its ISRC, else its name].")
@click.option(
    "--regions", default=EVERYWHERE, show_default=True, help="Rights-region groups, a,b,..."
)
@click.option(
    "--license-base",
    metavar="URL",
    default="",
    help="Public base of the key server, for manifests in the bucket.",
)
@click.option("--jobs", type=click.IntRange(1, 256), help="Masters encoded at a time [cores].")
@click.option("--store", metavar="URL", help="Hot object store [as configured].")
@click.option("--ffmpeg", type=FILE, help="The ffmpeg to use [bundled].")
@click.option("--report", type=FILE, help="Write all results as JSON, checked by a second meter.")
@json_option
@click.pass_context
def ingest(  # noqa: PLR0913 - click hands one argument for each option
    ctx: click.Context,
    masters: tuple[Path, ...],
    *,
    ladder: Path | None,
    scheme: str,
    clear_lead: float,
    cbcs_pattern: str,
    lossless: bool,
    album: str | None,
    title: str | None,
    artist: str | None,
    track_id: str | None,
    regions: str,
    license_base: str,
    jobs: int | None,
    store: str | None,
    ffmpeg: Path | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Turn MASTERS into published tracks, and say what became of each."""
    from core.model import Scheme
    from ingest.encode.ladder import with_lossless
    from ingest.run.plan import Options, check_options
    from packager.cmaf.grid import SEGMENT_MS
    from packager.protect.protection import Encryption

    chosen = _ladder(ladder)
    options = Options(
        ladder=with_lossless(chosen) if lossless else chosen,
        schemes=tuple(Scheme) if scheme == "both" else (Scheme(scheme),),
        encryption=Encryption.in_seconds(
            SEGMENT_MS / 1000, clear_lead_s=clear_lead, full_pattern=cbcs_pattern == "10:0"
        ),
        regions=tuple(dict.fromkeys(part.strip() for part in regions.split(","))),
        album=album,
        title=title,
        artist=artist,
        track_id=track_id,
        license_base=license_base.rstrip("/") or license_base,
    )
    masters = tuple(dict.fromkeys(masters))  # one file named twice is one master
    check_options(options, masters)
    if report is not None:
        _check_report(report, masters)
    jobs = jobs or len(os.sched_getaffinity(0))
    _allow_open_files(jobs, len(masters) if album else 0)
    with _collaborators(ctx.obj, store, ffmpeg, jobs) as parts:
        outcomes = _run(parts, options, masters, as_json=as_json)
        if report is not None:
            _write_report(report, outcomes, parts.toolchain)
    if any(outcome.status == "failed" for outcome in outcomes):
        ctx.exit(1)


def _ladder(path: Path | None) -> "Ladder":
    from ingest.encode.ladder import MUSIC, parse_ladder

    if path is None:
        return MUSIC
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_LADDER_LENGTH + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is no text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise InvalidInputError(
            f"the ladder {path} cannot be read: {reason}", hint="name a TOML file"
        ) from error
    if len(text) > MAX_LADDER_LENGTH:
        raise InvalidInputError(
            f"the ladder {path} has more than {MAX_LADDER_LENGTH} characters",
            hint="is it the right file?",
        )
    return parse_ladder(text, name=path.stem)


def _allow_open_files(jobs: int, tracks_that_wait: int) -> None:
    """Raise our limit of open files as far as the system lets us: its usual 1024 is an album."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES + jobs * OPEN_FILES_PER_JOB + tracks_that_wait
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.contextmanager
def _collaborators(
    wiring: Wiring, store: str | None, ffmpeg: Path | None, jobs: int
) -> "Iterator[Collaborators]":
    from ingest.encode.toolchain import find_toolchain
    from ingest.run.track import Collaborators

    wiring.home.create()
    wiring.home.work_dir.mkdir(exist_ok=True)
    toolchain = find_toolchain(ffmpeg, cache=wiring.home.path / "toolchain.json")
    catalogue = wiring.catalogue()
    try:
        yield Collaborators(
            store=wiring.store(store),
            catalogue=catalogue,
            key_source=wiring.key_source(),
            toolchain=toolchain,
            work_dir=wiring.home.work_dir,
            clock=time.time,
            jobs=jobs,
        )
    finally:
        catalogue.close()


def _run(
    parts: "Collaborators", options: "Options", masters: Sequence[Path], *, as_json: bool
) -> "list[Outcome]":
    from rich.console import Console

    from ingest.run.display import PIPE_WIDTH, Display, print_table
    from ingest.run.schedule import ingest_masters

    errors = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def finished(outcome: "Outcome") -> None:
        if as_json:
            print_json(outcome.as_json())
        if outcome.error:
            first, *rest = error_lines(outcome.error, outcome.hint, str(outcome.path))
            errors.print(first, style="red")
            for line in rest:
                errors.print(line)
        for warning in outcome.warnings:
            errors.print(escaped(f"warning: {outcome.path}: {warning}"), style="yellow")

    received: list[int] = []

    async def run(display: Display) -> "list[Outcome]":
        with _stop_on_signals(received):
            try:
                return await ingest_masters(
                    masters, options, parts, tell=display, finished=finished
                )
            finally:
                await parts.store.aclose()

    try:
        with Display(masters, errors) as display:
            outcomes = asyncio.run(run(display))
    except asyncio.CancelledError:
        raise click.exceptions.Exit(128 + received[0]) from None  # as shells count
    if not as_json:
        console = Console(highlight=False, markup=False, emoji=False)
        if not console.is_terminal:
            console.width = PIPE_WIDTH
        print_table(outcomes, console)
    return outcomes


@contextlib.contextmanager
def _stop_on_signals(received: list[int]) -> Iterator[None]:
    """Cancel this task on Ctrl-C, SIGTERM and SIGHUP: nothing is left running or half-written.

    People press Ctrl-C twice, and whatever stops a service signals twice: a second signal changes
    nothing, however late it comes. A third one ends us at once, as a kill does.

    A signal that was ignored when we were started stays so: SIGHUP below nohup, and SIGINT in jobs
    in the background.

    Args:
        received: Gets the numbers of the signals.
    """
    loop, run = asyncio.get_running_loop(), asyncio.current_task()
    assert run is not None

    def stop(number: int, _frame: object) -> None:
        received.append(number)
        if len(received) == 1:
            loop.call_soon_threadsafe(run.cancel)
        elif len(received) > PATIENCE:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    before = {number: signal.getsignal(number) for number in STOPS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        if not received:
            for number, handler in before.items():
                signal.signal(number, handler)


def _check_report(path: Path, masters: Sequence[Path]) -> None:
    """Raise InvalidInputError if a report cannot be written there; nothing is written yet."""
    hint = "--report names a file to write"
    folder = path.absolute().parent
    try:
        if not folder.is_dir():
            raise InvalidInputError(f"{folder} is no folder", hint="--report names a file in one")
        if not path.exists():
            with tempfile.TemporaryFile(dir=folder):  # a folder's permissions do not say it all
                return
        if path.is_dir():
            raise InvalidInputError(f"{path} is a folder", hint=hint)
        if any(master.exists() and path.samefile(master) for master in masters):
            raise InvalidInputError(f"{path} is a master", hint=f"{hint}, which replaces another")
        if not os.access(path, os.W_OK):
            raise InvalidInputError(f"{path} cannot be written", hint="check its permissions")
    except OSError as error:
        raise InvalidInputError(
            f"{path} cannot be written: {error.strerror}", hint="check its folder and its name"
        ) from error


def _write_report(path: Path, outcomes: "Sequence[Outcome]", toolchain: "Toolchain") -> None:
    document = {
        "toolchain": toolchain.fingerprint,
        "tracks": [
            outcome.as_json() | {"crosscheck": _second_opinion(outcome, toolchain)}
            for outcome in outcomes
        ],
    }
    try:
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UnavailableError(
            f"the report {path} cannot be written: {error.strerror}",
            hint="the tracks are published all the same: check the disk",
        ) from error


def _second_opinion(outcome: "Outcome", toolchain: "Toolchain") -> dict[str, object]:
    from ingest.measure.crosscheck import crosscheck

    loudness = outcome.loudness.integrated_lufs if outcome.loudness else None
    return crosscheck(outcome.path, loudness, outcome.duration_s, ffmpeg=toolchain.ffmpeg)
