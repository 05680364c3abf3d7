"""The heavy half of a track: from the master to encoded rungs that are known to be right.

An `Order` says all that decides the bytes; `encode` fills its workspace and answers with the files
and what was measured. Both are values that can be pickled, so that another process can do the work.
What watches over it meanwhile, and may stop it, is no part of the work and stands beside the order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import ToolkitError
from core.model import Codec, Rung
from ingest.encode.children import Children
from ingest.encode.neighbours import Pcm, Rolls, Sides, cut_off
from ingest.encode.toolchain import Toolchain
from ingest.encode.transcode import LOSSY_RATE, Job, Output, transcode
from ingest.encode.workspace import Workspace
from ingest.master.probe import Master
from ingest.measure.meters import Findings, Meters
from packager.encoded.fast_mp4 import read_mp4
from packager.encoded.track import EncodedTrack

Progress = Callable[[float], None]
"""Told how much of the work is done, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to encode, and where the rungs are to lie; `rolls` is what encoders hear besides."""

    master: Master
    rungs: tuple[Rung, ...]
    rolls: Rolls
    toolchain: Toolchain
    workspace: Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class RungFile:
    """An encoded rung in its file, and what must be in it.

    Attributes:
        samples: Length of the music at `sample_rate`.
        sides: Where its encoder heard neighbours, whose packets are cut off.
    """

    rung: Rung
    path: Path
    samples: int
    sample_rate: int
    channels: int
    sides: Sides

    def read(self) -> EncodedTrack:
        """The packets of the track, checked against the master to the sample.

        Raises:
            ToolkitError: The encoder made something else.
        """
        name = self.rung.name
        if self.sides.any and self.rung.codec is not Codec.FLAC:
            track = cut_off(read_mp4(self.path), self.sides, self.samples)
        else:
            track = read_mp4(self.path, samples=self.samples)
        outcome = (track.codec, track.sample_rate, track.channels)
        if outcome != (self.rung.codec, self.sample_rate, self.channels):
            raise ToolkitError(f"{name} came out as {outcome}", hint="is this a usual ffmpeg?")
        if track.timing.padding > 2 * track.frame_samples:
            raise ToolkitError(
                f"{name} has {track.timing.padding} samples too many", hint="try another ffmpeg"
            )
        return track


@dataclass(frozen=True, slots=True)
class Encoded:
    """A master that was measured, and all its rungs in files.

    Attributes:
        packets: Of each rung, in the order of `files`.
        fresh: The rungs that were encoded now; others were finished by a run before.
    """

    findings: Findings
    files: tuple[RungFile, ...]
    packets: tuple[int, ...]
    fresh: tuple[Rung, ...]


def encode(
    order: Order, children: Children | None = None, progress: Progress = lambda _share: None
) -> Encoded:
    """Encode the rungs that the workspace does not hold yet, and measure the master.

    Args:
        order: The work.
        children: Where ffmpeg is registered, so that others can end it.
        progress: Told how far the master was decoded.

    Raises:
        MasterRejectedError: The master does not hold what it promises, or was changed meanwhile.
        CancelledByUserError: `children` were told to stop.
    """
    workspace = order.workspace
    findings = workspace.findings()
    missing = tuple(rung for rung in order.rungs if not workspace.has(rung))
    packets: dict[Rung, int] = {}
    if findings is None or missing:
        attempt = workspace.fresh(workspace.attempt)
        outputs = tuple(Output(rung, attempt / f"{rung.name}.mp4") for rung in missing)
        findings = _transcode(order, outputs, children or Children(), progress)
        for output in outputs:
            file = _rung_file(order, output.rung, output.path, findings)
            packets[output.rung] = len(file.read().sizes)
        order.master.check_unchanged()  # a rung is kept under the master's hash
        workspace.keep(missing, findings)
    files = [_rung_file(order, rung, workspace.rung(rung), findings) for rung in order.rungs]
    for file in files:
        if file.rung not in packets:
            packets[file.rung] = len(file.read().sizes)
    counts = tuple(packets[rung] for rung in order.rungs)
    return Encoded(findings, tuple(files), counts, missing)


def _transcode(
    order: Order, outputs: tuple[Output, ...], children: Children, progress: Progress
) -> Findings:
    """One pass over the master, into *outputs* and all meters."""
    master = order.master
    meters = Meters(master)
    expected = max(1.0, master.estimated_duration_s * master.sample_rate)

    def consume(pcm: NDArray[np.float32]) -> None:
        meters.feed(pcm)
        progress(min(1.0, meters.samples / expected))

    attempt = order.workspace.attempt
    before = _roll(attempt / "before.f32", order.rolls.before)
    after = _roll(attempt / "after.f32", order.rolls.after)
    transcode(Job(master, outputs, order.toolchain, before, after), children, consume)
    return meters.finish()


def _rung_file(order: Order, rung: Rung, path: Path, findings: Findings) -> RungFile:
    lossless = rung.codec is Codec.FLAC
    return RungFile(
        rung=rung,
        path=path,
        samples=exact_samples(rung, order.master.sample_rate, findings.quality.samples),
        sample_rate=order.master.sample_rate if lossless else LOSSY_RATE,
        channels=order.master.output_channels,
        sides=order.rolls.sides,
    )


def _roll(path: Path, pcm: Pcm | None) -> Path | None:
    """A neighbour's audio as a file for ffmpeg."""
    if pcm is None:
        return None
    path.write_bytes(pcm.astype("<f4").tobytes())
    return path


def exact_samples(rung: Rung, master_rate: int, samples: int) -> int:
    """The length of the music in a rung: a resampler rounds to the nearest sample, half up."""
    if rung.codec is Codec.FLAC:
        return samples
    return (2 * samples * LOSSY_RATE + master_rate) // (2 * master_rate)
