"""Loudness after BS.1770-4 and EBU Tech 3341 and 3342, streamed in flat memory.

libebur128 does the K weighting and gives the energy of each 100 ms; everything else is arithmetic
on that row of energies: a gating block is four of them, a short-term window thirty. The row is
small (10 bytes a second would do, we keep 40), so it is stored beside the track, and an album's
loudness is the gated mean over the blocks of all its tracks. A mean of the tracks' own figures
would be wrong, because the relative gate belongs to the whole album.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from core.model import Loudness
from ingest.measure.truepeak import TruePeakMeter

HOPS_PER_S = 10
"""Energies per second; BS.1770-4 lets 400 ms blocks overlap by 75 %."""
BLOCK_HOPS = 4
SHORT_TERM_HOPS = 30
OFFSET_LU = -0.691
ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
RANGE_GATE_LU = -20.0
"""EBU Tech 3342."""

Energies: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A track's figures, and the K-weighted mean squares of its 100 ms hops."""

    loudness: Loudness
    energies: Energies


class LoudnessMeter:
    """Measures one programme as its samples come."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        import pyebur128  # noqa: PLC0415 - a compiled library that only measuring needs

        self._window = pyebur128.get_loudness_window
        self._state = pyebur128.R128State(channels, sample_rate, pyebur128.MeasurementMode.MODE_M)
        self._hop = sample_rate // HOPS_PER_S
        self._pending = np.empty((0, channels), np.float32)
        self._lufs: list[float] = []
        self._true_peak = TruePeakMeter(sample_rate, channels)

    def feed(self, pcm: NDArray[np.float32]) -> float:
        """Take samples of shape ``(frames, channels)``; return the chunk's true peak."""
        joined = np.concatenate([self._pending, pcm]) if len(self._pending) else pcm
        whole = len(joined) // self._hop * self._hop
        for start in range(0, whole, self._hop):
            hop = joined[start : start + self._hop]
            self._state.add_frames(hop.reshape(-1), self._hop)
            self._lufs.append(self._window(self._state, 1000 // HOPS_PER_S))
        self._pending = joined[whole:]
        return self._true_peak.feed(pcm)

    def finish(self) -> Measurement:
        """The figures of everything that was fed."""
        mean_squares = np.power(10.0, (np.array(self._lufs, np.float64) - OFFSET_LU) / 10)
        # Rounded to what is stored: an album must come out the same from fresh and stored tracks.
        energies = mean_squares.astype(np.float32).astype(np.float64)
        amplitude = self._true_peak.finish()
        true_peak_dbtp = _decimals(20 * float(np.log10(amplitude))) if amplitude > 0 else None
        return Measurement(programme([energies], true_peak_dbtp), energies)


def programme(parts: Sequence[Energies], true_peak_dbtp: float | None) -> Loudness:
    """Loudness of one track, or of an album played as one programme.

    Args:
        parts: Energies of each track; windows do not cross from one part to the next.
        true_peak_dbtp: The highest of all parts.
    """
    blocks = np.concatenate([_sliding(part, BLOCK_HOPS) for part in parts])
    short = np.concatenate([_sliding(part, SHORT_TERM_HOPS) for part in parts])
    return Loudness(
        integrated_lufs=_decimals(_integrated(blocks)),
        range_lu=_decimals(_range(short)),
        momentary_max_lufs=_decimals(_maximum(blocks)),
        short_term_max_lufs=_decimals(_maximum(short)),
        true_peak_dbtp=true_peak_dbtp,
    )


def _decimals(value: float | None) -> float | None:
    """Two, ten times finer than EBU shows: the last bits of a float differ between machines."""
    return None if value is None else round(value, 2)


def _sliding(energies: Energies, hops: int) -> Energies:
    """Means over *hops* neighbours; empty if there are fewer."""
    if len(energies) < hops:
        return np.empty(0)
    sums = np.convolve(energies, np.ones(hops), "valid")
    return np.asarray(sums / hops, np.float64)


def _lufs(energy: float) -> float:
    return OFFSET_LU + 10 * float(np.log10(energy))


def _energy(lufs: float) -> float:
    return float(10 ** ((lufs - OFFSET_LU) / 10))


def _gated(blocks: Energies, relative_lu: float) -> Energies:
    """What passes the absolute gate and then the one relative to the mean of that."""
    loud = blocks[blocks >= _energy(ABSOLUTE_GATE_LUFS)]
    if not len(loud):
        return loud
    gate = float(loud.mean()) * 10 ** (relative_lu / 10)
    return np.asarray(loud[loud >= gate], np.float64)


def _integrated(blocks: Energies) -> float | None:
    gated = _gated(blocks, RELATIVE_GATE_LU)
    return _lufs(float(gated.mean())) if len(gated) else None


def _range(short: Energies) -> float | None:
    """Distance of the 10th and the 95th percentile of the gated short-term loudness."""
    gated = np.sort(_gated(short, RANGE_GATE_LU))
    if not len(gated):
        return None
    low, high = (gated[round((len(gated) - 1) * share)] for share in (0.10, 0.95))
    return _lufs(high) - _lufs(low)


def _maximum(energies: Energies) -> float | None:
    highest = float(energies.max(initial=0.0))
    return _lufs(highest) if highest > _energy(ABSOLUTE_GATE_LUFS) else None
