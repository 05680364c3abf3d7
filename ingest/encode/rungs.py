"""The first half of a track: from the master to encoded rungs that are known to be right."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import ToolkitError
from core.model import Codec, Rung
from ingest.encode.children import Children
from ingest.encode.neighbours import Pcm, cut_off
from ingest.encode.toolchain import Toolchain
from ingest.encode.transcode import LOSSY_RATE, Job, Output, transcode
from ingest.encode.workspace import Workspace
from ingest.measure.meters import Findings, Meters
from ingest.run.plan import Plan
from packager.encoded.fast_mp4 import read_mp4
from packager.encoded.track import EncodedTrack

Progress = Callable[[float], None]


def encode(
    plan: Plan, workspace: Workspace, toolchain: Toolchain, children: Children, progress: Progress
) -> tuple[Findings, tuple[Rung, ...]]:
    """Encode the rungs that the workspace does not hold yet, and measure the master.

    Returns:
        What the meters found, and which rungs had to be encoded now.

    Raises:
        MasterRejectedError: The master does not hold what it promises.
        CancelledByUserError: `children` were told to stop.
    """
    known = workspace.findings()
    missing = tuple(rung for rung in plan.fit.rungs if not workspace.has(rung))
    if known is not None and not missing:
        return known, ()
    attempt = workspace.fresh(workspace.attempt)
    outputs = tuple(Output(rung, attempt / f"{rung.name}.mp4") for rung in missing)
    meters = Meters(plan.master)
    expected = max(1.0, plan.master.estimated_duration_s * plan.master.sample_rate)

    def consume(pcm: NDArray[np.float32]) -> None:
        meters.feed(pcm)
        progress(min(1.0, meters.samples / expected))

    before = _roll(attempt / "before.f32", plan.rolls.before)
    after = _roll(attempt / "after.f32", plan.rolls.after)
    transcode(Job(plan.master, outputs, toolchain, before, after), children, consume)
    findings = meters.finish()
    for output in outputs:
        read_rung(output.rung, output.path, plan, findings)
    workspace.keep(missing, findings)
    return findings, missing


def read_rung(rung: Rung, path: Path, plan: Plan, findings: Findings) -> EncodedTrack:
    """Open an encoded rung and check it against the master, to the sample.

    Raises:
        ToolkitError: The encoder made something else.
    """
    samples = exact_samples(rung, plan, findings)
    if plan.rolls.identity and rung.codec is not Codec.FLAC:
        track = cut_off(read_mp4(path), plan.rolls, samples)
    else:
        track = read_mp4(path, samples=samples)
    rate = plan.master.sample_rate if rung.codec is Codec.FLAC else LOSSY_RATE
    made = (track.codec, track.sample_rate, track.channels)
    if made != (rung.codec, rate, plan.master.output_channels):
        raise ToolkitError(f"{rung.name} came out as {made}", hint="is this a usual ffmpeg?")
    if track.timing.padding > 2 * track.frame_samples:
        raise ToolkitError(
            f"{rung.name} has {track.timing.padding} samples too many", hint="try another ffmpeg"
        )
    return track


def _roll(path: Path, pcm: Pcm | None) -> Path | None:
    """A neighbour's audio as a file for ffmpeg."""
    if pcm is None:
        return None
    path.write_bytes(pcm.astype("<f4").tobytes())
    return path


def exact_samples(rung: Rung, plan: Plan, findings: Findings) -> int:
    """The length of the music in a rung: a resampler rounds to the nearest sample, half up."""
    samples = findings.quality.samples
    if rung.codec is Codec.FLAC:
        return samples
    rate = plan.master.sample_rate
    return (2 * samples * LOSSY_RATE + rate) // (2 * rate)
