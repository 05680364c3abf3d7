"""What lies on the other side of a seam: the audio of neighbours on an album, for encoders.

A lossy encoder that starts at a seam sees silence turn into music, and one that stops there sees
music turn into silence; both are heard as noise within a frame of the seam. So each track is
encoded with the end of the track before it and the start of the one behind it, and the packets
that hold nothing of the track are cut off afterwards::

    fed        [ end of the one before ][ the track ][ start of the next ]
    kept                            [ packets that are needed ]

AAC frames depend on nothing but the frame before them: whole frames of roll are cut off and priming
stays what the encoder made it. Opus predicts from packet to packet, so its decoder must start where
its encoder did: all that is fed in front stays in the file and counts as priming. Then priming and
the encoder delay in `dOps` differ, or Chromium loses samples if both are raised; for the decibel
that it gains at the seam that is not worth it, so Opus hears the next track only.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.errors import ToolkitError
from core.model import Codec, Timing
from ingest.encode.children import CancelledByUserError, Children
from ingest.encode.toolchain import Toolchain
from ingest.encode.transcode import LOSSY_RATE, ROLL_MS, ROLL_SAMPLES, Job, transcode
from ingest.master.probe import Master
from packager.encoded.track import EncodedTrack

MAX_ROLLS_SIZE = 256 << 20
"""Bytes of all neighbours of a run; tracks of an album with more are encoded alone."""

Pcm = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Both ends of a master, up to `ROLL_MS` of each: ``(samples, channels)`` at its own rate."""

    sample_rate: int
    channels: int
    head: Pcm
    tail: Pcm


@dataclass(frozen=True, slots=True)
class Sides:
    """On which sides of a track its encoders heard neighbours."""

    before: bool = False
    after: bool = False

    @property
    def any(self) -> bool:
        """Whether there is something to cut off."""
        return self.before or self.after


@dataclass(frozen=True, slots=True, eq=False)
class Rolls:
    """What a track is fed besides itself; None where it has no neighbour.

    Attributes:
        before: Exactly `ROLL_MS`; shape ``(samples, channels)``, at the master's rate.
        after: At most as much.
    """

    before: Pcm | None = None
    after: Pcm | None = None

    @property
    def sides(self) -> Sides:
        """Where there is a neighbour."""
        return Sides(self.before is not None, self.after is not None)

    @property
    def identity(self) -> dict[str, str]:
        """Hashes of the neighbours' samples: they decide the track's bytes."""
        sides = {"before": self.before, "after": self.after}
        return {
            side: hashlib.sha256(pcm.tobytes()).hexdigest()
            for side, pcm in sides.items()
            if pcm is not None
        }


ALONE = Rolls()
"""No neighbours: a single, or the only track of an album."""


def can_roll(master: Master, tracks: int) -> bool:
    """Whether the roll is whole samples at the master's rate, and all of a run fit in memory."""
    size = 2 * tracks * 4 * master.output_channels * master.sample_rate * ROLL_MS // 1000
    return master.sample_rate * ROLL_MS % 1000 == 0 and size <= MAX_ROLLS_SIZE


def edges(master: Master, toolchain: Toolchain, children: Children | None = None) -> Edges | None:
    """Decode a master for its ends; None if that fails, which its own encode will say.

    Raises:
        CancelledByUserError: `children` were told to stop.
    """
    length = master.sample_rate * ROLL_MS // 1000
    head = tail = np.zeros((0, master.output_channels), np.float32)

    def consume(pcm: Pcm) -> None:
        nonlocal head, tail
        if len(head) < length:
            head = np.concatenate([head, pcm])[:length]
        tail = np.concatenate([tail, pcm])[-length:].copy()

    try:
        transcode(Job(master, (), toolchain), children or Children(), consume)
    except CancelledByUserError:
        raise
    except (ToolkitError, OSError):
        return None
    return Edges(master.sample_rate, master.output_channels, head, tail)


def rolls(edges_by_position: Mapping[int, Edges | None], position: int) -> Rolls:
    """What the track at *position* is fed; neighbours of another rate or layout are none."""
    own = edges_by_position.get(position)
    if own is None:
        return ALONE

    def alike(at: int) -> Edges | None:
        other = edges_by_position.get(at)
        alike_enough = other and (other.sample_rate, other.channels) == (
            own.sample_rate,
            own.channels,
        )
        return other if alike_enough else None

    before, after = alike(position - 1), alike(position + 1)
    return Rolls(
        _whole(before.tail, own.sample_rate) if before else None, after.head if after else None
    )


def _whole(tail: Pcm, sample_rate: int) -> Pcm:
    """*tail* with silence in front of it if it is shorter than the roll."""
    missing = sample_rate * ROLL_MS // 1000 - len(tail)
    return np.concatenate([np.zeros((missing, tail.shape[1]), np.float32), tail])


def cut_off(track: EncodedTrack, sides: Sides, samples: int) -> EncodedTrack:
    """Keep the packets that *samples* of music need, of a track with neighbours on *sides*.

    Raises:
        ToolkitError: The encoder made too few packets.
    """
    if track.codec is Codec.FLAC or not sides.any:
        return track
    assert track.timing.timescale == LOSSY_RATE
    frame = track.frame_samples
    priming = track.timing.priming
    heard_before = sides.before and track.codec is not Codec.OPUS
    drop = ROLL_SAMPLES // frame if heard_before else 0
    keep = math.ceil((priming + samples) / frame)
    if drop + keep > len(track.sizes):
        raise ToolkitError(f"{track.codec} ended too early", hint="try another ffmpeg")
    sizes = track.sizes[drop : drop + keep]
    start = sum(track.sizes[:drop])
    return replace(
        track,
        sizes=sizes,
        payload=track.payload[start : start + sum(sizes)],
        timing=Timing(LOSSY_RATE, priming, samples, keep * frame - priming - samples),
    )
