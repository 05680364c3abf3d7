"""A second opinion on loudness, by a meter that shares no code with ours.

pyloudnorm holds a whole programme in memory and takes seconds to import, so this is only done for
a report the user asked for, and only for masters of a usual length.
"""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import MasterRejectedError
from ingest.master.probe import probe

MAX_DURATION_S = 900
TIMEOUT_S = 300
TOLERANCE_LU = 0.1
"""EBU Tech 3341. pyloudnorm's K filter is an approximation that reads 0.05 LU low."""
RATE = 48_000


def crosscheck(
    master: Path, integrated_lufs: float | None, duration_s: float | None, *, ffmpeg: Path
) -> dict[str, Any]:
    """Integrated loudness after pyloudnorm, and whether it agrees with *integrated_lufs*."""
    if integrated_lufs is None:
        return {"skipped": "nothing was measured"}
    if (duration_s or 0) > MAX_DURATION_S:
        return {"skipped": f"longer than {MAX_DURATION_S} s"}
    import pyloudnorm  # noqa: PLC0415 - takes seconds, for the sake of scipy

    try:
        channels = probe(master).output_channels
    except MasterRejectedError as error:
        return {"skipped": error.message}  # it has changed since it was ingested
    pcm = _decode(master, ffmpeg, channels)
    measured = float(pyloudnorm.Meter(RATE).integrated_loudness(pcm))
    difference = abs(measured - integrated_lufs)
    return {
        "meter": "pyloudnorm",
        "integrated_lufs": round(measured, 2),
        "agrees": difference <= TOLERANCE_LU,
    }


def _decode(master: Path, ffmpeg: Path, channels: int) -> "np.ndarray[Any, Any]":
    """The master as ``(frames, channels)`` at `RATE`, mixed down as it is for the encoders."""
    layout = "mono" if channels == 1 else "stereo"
    source = ["-protocol_whitelist", "file,pipe", "-i", f"file:{master.resolve()}"]
    mixing = ["-af", f"aresample={RATE}:rematrix_maxval=1:ochl={layout}:resampler=soxr"]
    sink = ["-map", "0:a:0", "-f", "f32le", "pipe:1"]
    decoded = subprocess.run(  # noqa: S603 - our ffmpeg, no shell
        [ffmpeg, "-nostdin", "-v", "error", *source, *mixing, *sink],
        capture_output=True,
        timeout=TIMEOUT_S,
        check=True,
    ).stdout
    return np.frombuffer(decoded, "<f4").reshape(-1, channels)
