"""What a careful ear would object to, found while the samples stream by.

Almost nothing here refuses a master: that is for containers and silence. These are warnings that
travel in the report, and every threshold has a name.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import MasterRejectedError

MAX_PEAK = 1000.0
"""60 dB over full scale: in a float master that is damage, and encoders fail of it."""
FULL_SCALE = 0.99996
"""Just below the largest 16-bit sample, 32767 / 32768."""
CLIP_RUN = 3
"""Samples in a row at full scale that make a clip; one or two happen in honest music."""
TRUE_PEAK_LIMIT_DBTP = 0.0
DC_LIMIT = 0.005
"""Mean of a channel, as a share of full scale (-46 dB)."""
DEAD_RATIO = 1e-8
"""Energy of a dead channel relative to the other one (-80 dB)."""
INVERTED_CORRELATION = -0.95
AUDIBLE = 10 ** (-60 / 20)
MAX_EDGE_SILENCE_S = 5.0
_EDGE_STEP = 1024


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures over a whole master; `warnings` says which of them are out of the ordinary."""

    samples: int
    sample_peak: float
    clip_runs: int
    dc_offset: tuple[float, ...]
    correlation: float | None
    leading_silence_s: float
    trailing_silence_s: float
    warnings: tuple[str, ...]


class QualityMeter:
    """Streams samples of shape ``(frames, channels)``, one or two channels."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._rate = sample_rate
        self._samples = 0
        self._peak = 0.0
        self._clip_runs = 0
        self._sums = np.zeros(channels)
        self._products = np.zeros((channels, channels))
        self._identical = channels == 2
        self._first_audible: int | None = None
        self._last_audible = 0

    def feed(self, pcm: NDArray[np.float32]) -> None:
        """Take the next samples.

        Raises:
            MasterRejectedError: There is one among them that no converter makes.
        """
        if not len(pcm):
            return
        planes = np.ascontiguousarray(pcm.T)  # one channel after the other: twice as fast below
        peak = max(float(planes.max()), -float(planes.min()))
        if not peak <= MAX_PEAK:  # NaN compares to nothing
            raise impossible_samples()
        self._sums += planes.sum(axis=1)
        for i, first in enumerate(planes):
            for j, second in enumerate(planes[: i + 1]):
                # no matrix product: BLAS would wake its threads beside the encoders
                self._products[i, j] += np.einsum("f,f->", first, second)
        if self._identical:
            self._identical = bool(np.array_equal(planes[0], planes[1]))
        if peak >= FULL_SCALE:
            self._clip_runs += _runs(np.abs(pcm) >= FULL_SCALE)
        if peak > AUDIBLE:
            self._note_audible(pcm)
        self._peak = max(self._peak, peak)
        self._samples += len(pcm)

    def finish(self, true_peak_dbtp: float) -> Quality:
        """The verdict; the true peak is the loudness meter's."""
        energy = np.diag(self._products)
        correlation = self._correlation(energy)
        trailing = self._samples - self._last_audible
        leading = self._samples if self._first_audible is None else self._first_audible
        offsets = tuple(round(float(s) / max(1, self._samples), 5) for s in self._sums)
        remarks = {
            f"{self._clip_runs} runs of {CLIP_RUN} or more samples at full scale: clipped": bool(
                self._clip_runs
            ),
            f"true peak {true_peak_dbtp:+.2f} dBTP: players may clip": (
                true_peak_dbtp > TRUE_PEAK_LIMIT_DBTP
            ),
            "DC offset": max(map(abs, offsets)) > DC_LIMIT,
            "one channel is dead": energy.min() < energy.max() * DEAD_RATIO,
            "both channels are identical: dual mono": self._identical,
            "the channels are inverted: silent in mono": (
                correlation is not None and correlation < INVERTED_CORRELATION
            ),
            f"{leading / self._rate:.1f} s of silence at the start": (
                leading > MAX_EDGE_SILENCE_S * self._rate
            ),
            f"{trailing / self._rate:.1f} s of silence at the end": (
                trailing > MAX_EDGE_SILENCE_S * self._rate
            ),
        }
        return Quality(
            samples=self._samples,
            sample_peak=self._peak,
            clip_runs=self._clip_runs,
            dc_offset=offsets,
            correlation=correlation,
            leading_silence_s=leading / self._rate,
            trailing_silence_s=trailing / self._rate,
            warnings=tuple(text for text, present in remarks.items() if present),
        )

    def _note_audible(self, pcm: NDArray[np.float32]) -> None:
        """Find the first audible sample once, and the last one of this chunk from its end."""
        if self._first_audible is None:
            self._first_audible = self._samples + int((np.abs(pcm) > AUDIBLE).any(axis=1).argmax())
        for end in range(len(pcm), 0, -_EDGE_STEP):
            loud = np.abs(pcm[max(0, end - _EDGE_STEP) : end]) > AUDIBLE
            audible = np.asarray(loud.any(axis=1))
            if audible.any():
                self._last_audible = self._samples + end - int(audible[::-1].argmax())
                return

    def _correlation(self, energy: NDArray[np.float64]) -> float | None:
        if len(energy) < 2 or not energy.all():
            return None
        return round(float(self._products[1, 0] / np.sqrt(energy[0] * energy[1])), 4)


def impossible_samples() -> MasterRejectedError:
    """The refusal of a float master with infinite, undefined or absurdly large samples."""
    return MasterRejectedError(
        "damaged: it holds samples that are no numbers, or 60 dB over full scale",
        hint="export it again, as integers of 24 bits",
    )


def _runs(full: NDArray[np.bool_]) -> int:
    """How many runs of at least `CLIP_RUN` there are in all channels."""
    in_run = full[2:] & full[1:-1] & full[:-2]
    return int(in_run[:1].sum() + (in_run[1:] & ~in_run[:-1]).sum())


class FlacChecksum:
    """The MD5 of the decoded audio, as STREAMINFO has it (RFC 9639, 8.2); no decoder checks it.

    Works on 32-bit floats: they hold every integer of up to 24 bits.
    """

    MAX_BIT_DEPTH = 24

    def __init__(self, bit_depth: int) -> None:
        self._scale = np.float32(1 << (bit_depth - 1))
        self._width = (bit_depth + 7) // 8
        self._md5 = hashlib.md5(usedforsecurity=False)

    def feed(self, pcm: NDArray[np.float32]) -> None:
        """Take the next samples."""
        integers = (pcm * self._scale).astype("<i4").reshape(-1)
        if self._width == 2:
            self._md5.update(integers.astype("<i2").tobytes())
        else:
            as_bytes = integers.view(np.uint8).reshape(-1, 4)
            self._md5.update(as_bytes[:, : self._width].tobytes())

    def digest(self) -> bytes:
        """Of everything that was fed."""
        return self._md5.digest()
