"""Which rungs a master gets. Pure: a ladder and a master in, rungs out."""

import tomllib
from dataclasses import dataclass
from typing import Any

from core.errors import InvalidInputError, MasterRejectedError
from core.ids import LADDER_NAME
from core.model import Codec, Ladder, Rung, Tier
from ingest.master.probe import Master

MAX_RUNGS = 16
BITRATE_RANGES_KBPS = {Codec.AAC: (32, 512), Codec.OPUS: (16, 510)}
"""What ffmpeg's `aac` and `libopus` take for two channels."""
BITRATE_TOLERANCE = 1.05
"""A master at a nominal 96 kb/s may measure a little less."""
MONO_SHARE = 5 / 8
"""Stereo coding shares between channels, so one channel needs more than half of the bits."""
MONO_STEP_BPS = 8000
MAX_LOSSLESS_DEPTH = 24
"""Bits; ffmpeg's FLAC encoder calls more than that experimental."""
EXAMPLE_HINT = 'write [[rung]] tables with codec = "aac", bitrate_kbps = 96, tier = "low"'

LOSSLESS = Rung(Codec.FLAC, 0, Tier.LOSSLESS)
MUSIC = Ladder(
    "music",
    (
        Rung(Codec.AAC, 96_000, Tier.LOW),
        Rung(Codec.AAC, 160_000, Tier.NORMAL),
        Rung(Codec.AAC, 320_000, Tier.HIGH),
        Rung(Codec.OPUS, 64_000, Tier.LOW),
        Rung(Codec.OPUS, 96_000, Tier.LOW),
        Rung(Codec.OPUS, 160_000, Tier.HIGH),
    ),
)
"""The default."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The rungs a master gets, and a sentence about each one it does not get."""

    rungs: tuple[Rung, ...]
    notes: tuple[str, ...]


def with_lossless(ladder: Ladder) -> Ladder:
    """*ladder* with a FLAC rung on top, if it has none."""
    if any(rung.codec is Codec.FLAC for rung in ladder.rungs):
        return ladder
    return Ladder(ladder.name, (*ladder.rungs, LOSSLESS))


def fit(ladder: Ladder, master: Master) -> Fit:
    """Leave out what the master does not hold; give a mono master mono rungs.

    Raises:
        MasterRejectedError: No rung is left.
    """
    kept: list[Rung] = []
    notes: list[str] = []
    for promised in ladder.rungs:
        rung = _mono(promised) if master.output_channels == 1 else promised
        reason = _beyond(rung, master)
        if reason is None:
            kept.append(rung)
        else:
            notes.append(f"{rung.name} is left out: {reason}")
    if not kept:
        raise MasterRejectedError(
            f"no rung of the ladder {ladder.name} fits: {notes[0]}",
            hint="deliver a better master, or a lower ladder: 'tonearm ingest --ladder'",
        )
    return Fit(tuple(kept), tuple(notes))


def lossless_depth(master: Master) -> int:
    """Bits per sample of a lossless rung: the master's own up to 24; float becomes 24."""
    depth = master.bit_depth or MAX_LOSSLESS_DEPTH
    return 16 if depth <= 16 else MAX_LOSSLESS_DEPTH


def _mono(rung: Rung) -> Rung:
    steps = -(-rung.bitrate_bps * MONO_SHARE // MONO_STEP_BPS)
    return Rung(rung.codec, int(steps) * MONO_STEP_BPS, rung.tier, channels=1)


def _beyond(rung: Rung, master: Master) -> str | None:
    """Why the master does not hold what the rung promises; None if it does."""
    if rung.codec is Codec.FLAC:
        if master.lossy:
            return f"the master is lossy ({master.codec})"
        if master.channels > 2:
            return "a downmix is not the master"
    elif master.bitrate_bps and rung.bitrate_bps > master.bitrate_bps * BITRATE_TOLERANCE:
        return f"the master holds {master.bitrate_bps / 1000:.0f} kb/s"
    return None


def parse_ladder(text: str, *, name: str) -> Ladder:
    """Read a ladder from TOML: an optional ``name`` and one ``[[rung]]`` table per rung.

    Raises:
        InvalidInputError: Says which rung is wrong and how.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInputError(f"the ladder is not TOML: {error}", hint=EXAMPLE_HINT) from error
    _only(document, {"name", "rung"}, "the ladder")
    tables = document.get("rung")
    if not isinstance(tables, list) or not 1 <= len(tables) <= MAX_RUNGS:
        raise InvalidInputError(f"a ladder has 1 to {MAX_RUNGS} rungs", hint=EXAMPLE_HINT)
    rungs = tuple(_rung(table, f"rung {n}") for n, table in enumerate(tables, 1))
    names = [rung.name for rung in rungs]
    if twice := next((n for n in names if names.count(n) > 1), None):
        raise InvalidInputError(f"the rung {twice} stands twice", hint="remove one of them")
    return Ladder(LADDER_NAME.check(document.get("name", name)), rungs)


def _rung(table: Any, where: str) -> Rung:
    if not isinstance(table, dict):
        raise InvalidInputError(f"{where} is not a table", hint=EXAMPLE_HINT)
    _only(table, {"codec", "bitrate_kbps", "tier"}, where)
    codec = _choice(table, "codec", ["aac", "opus", "flac"], where)
    if codec == Codec.FLAC:
        if table.get("bitrate_kbps", 0) != 0:
            raise InvalidInputError(
                f"{where}: flac has no bitrate", hint="leave bitrate_kbps out for flac"
            )
        if table.get("tier", Tier.LOSSLESS) != Tier.LOSSLESS:
            raise InvalidInputError(f"{where}: flac belongs to the tier lossless", hint="leave it")
        return LOSSLESS
    tier = Tier(_choice(table, "tier", ["low", "normal", "high"], where))
    lowest, highest = BITRATE_RANGES_KBPS[Codec(codec)]
    bitrate = table.get("bitrate_kbps")
    if type(bitrate) is not int or not lowest <= bitrate <= highest:
        raise InvalidInputError(
            f"{where}: bitrate_kbps is {bitrate!r}",
            hint=f"{codec} takes a whole number from {lowest} to {highest}",
        )
    return Rung(Codec(codec), bitrate * 1000, tier)


def _choice(table: dict[str, Any], key: str, choices: list[str], where: str) -> str:
    value = table.get(key)
    if value not in choices:
        raise InvalidInputError(
            f"{where}: {key} is {value!r}", hint=f"choose one of {', '.join(choices)}"
        )
    return str(value)


def _only(table: dict[str, Any], settings: set[str], where: str) -> None:
    if strange := sorted(table.keys() - settings):
        raise InvalidInputError(
            f"{where} has no setting {strange[0]!r}", hint=f"known: {', '.join(sorted(settings))}"
        )
