"""The files that `tonearm package` is given: read, and checked to be the rungs of one ladder."""

import math
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from core.errors import InvalidInputError
from core.file_state import FileState
from core.model import Codec, Rung, Tier
from packager.encoded.source import read_any
from packager.encoded.track import EncodedTrack

TOLERANCE_MS = 100
"""How far lengths may differ: ADTS cannot tell priming and padding, some three frames."""
MAX_INPUTS = 64
_LOW_BPS, _NORMAL_BPS = 112_000, 192_000
"""Measured bitrates up to which a rung is `low` or `normal`; half-way between the usual ones."""


@dataclass(frozen=True, slots=True)
class Input:
    """A file that was read, and the rung it is taken for."""

    path: Path
    state: FileState
    track: EncodedTrack
    rung: Rung

    def check_unchanged(self) -> None:
        """Raise InvalidInputError if the file is another one by now, or was written to."""
        try:
            changed = FileState.of(self.path) != self.state
        except OSError:
            changed = True
        if changed:
            raise InvalidInputError(
                f"{self.path.name} was changed while it was packaged",
                hint="package it when it is whole",
            )


def read_inputs(paths: Sequence[Path], *, one_tier: bool) -> list[Input]:
    """Open all files and name them by codec and measured bitrate.

    Args:
        paths: The rungs of one ladder.
        one_tier: Whether all belong together under one key, whatever their quality.

    Raises:
        InvalidInputError: A file cannot be packaged, or they are not one presentation.
    """
    if len(paths) > MAX_INPUTS:
        raise InvalidInputError(
            f"{len(paths)} inputs are more than {MAX_INPUTS}",
            hint="the inputs are the rungs of one ladder: one file for each",
        )
    inputs = [_input(path, one_tier=one_tier) for path in paths]
    for a, b in combinations(inputs, 2):
        if a.rung.name == b.rung.name:
            raise InvalidInputError(
                f"{a.path.name} and {b.path.name} are both {a.rung.name}",
                hint="the inputs are the rungs of one ladder: one file for each",
            )
        if abs(a.track.timing.duration_s - b.track.timing.duration_s) * 1000 > TOLERANCE_MS:
            raise InvalidInputError(
                f"{a.path.name} lasts {a.track.timing.duration_s:.3f} s,"
                f" {b.path.name} {b.track.timing.duration_s:.3f} s",
                hint="the inputs are the rungs of one ladder, made from one master",
            )
    return inputs


def _input(path: Path, *, one_tier: bool) -> Input:
    try:
        _check_kind(path)
        state, track = FileState.of(path), read_any(path)
    except OSError as error:
        raise InvalidInputError(
            f"{path} cannot be read: {error.strerror}", hint="check the path and its permissions"
        ) from None
    except InvalidInputError as error:
        hint = error.hint or "is it whole, and audio in AAC, Opus, FLAC or ALAC?"
        raise type(error)(f"{path.name}: {error.message}", hint=hint) from error
    return Input(path, state, track, _rung(track, one_tier=one_tier))


def _check_kind(path: Path) -> None:
    if not stat.S_ISREG(path.stat().st_mode):
        raise InvalidInputError("no file", hint="name files: pipes cannot be read twice")


def _rung(track: EncodedTrack, *, one_tier: bool) -> Rung:
    if track.bit_depth:
        return Rung(track.codec, 0, Tier.HIGH if one_tier else Tier.LOSSLESS, track.channels)
    seconds = track.timing.media_ticks / track.timing.timescale
    bps = max(1, round(len(track.payload) * 8 / seconds / 1000)) * 1000
    tier = Tier.LOW if bps <= _LOW_BPS else Tier.NORMAL if bps <= _NORMAL_BPS else Tier.HIGH
    if tier is Tier.NORMAL and track.codec is Codec.OPUS:
        tier = Tier.HIGH  # Opus of 160 kb/s is as good as AAC of 320
    return Rung(track.codec, bps, Tier.HIGH if one_tier else tier, track.channels)


def segment_ticks(tracks: Sequence[EncodedTrack], seconds: float) -> list[int]:
    """A segment's ticks for each track: the nearest length of whole frames of all of them.

    Tracks meet only if they count in one timescale; where frames meet too rarely (44.1 kHz
    AAC and Opus), each codec has the nearest number of its own frames.
    """
    lengths = []
    for track in tracks:
        scale, frame = track.timing.timescale, track.frame_samples
        frames = [t.frame_samples for t in tracks if t.timing.timescale == scale]
        together = math.lcm(*frames)
        step = together if together <= seconds * scale else frame
        lengths.append(max(1, round(seconds * scale / step)) * step)
    return lengths
