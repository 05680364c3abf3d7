"""Sample tables of a progressive file, as arrays. ISO/IEC 14496-12:2022, 8.6.1.2, 8.7.3 to 8.7.5.

Read only: what we write is fragmented and has no sample tables.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray

from core.errors import MalformedBoxError
from packager.mp4.grammar import Box, Bytes, Fields, only, optional

MAX_SAMPLES = 1 << 26
"""Two weeks of AAC."""
MAX_RUNS = 3
"""Durations that are told apart; files with more than two are for `packager.demux` to refuse."""


@dataclass(frozen=True, slots=True, eq=False)
class SampleTables:
    """Sizes of all samples in bytes, offsets of the chunks in the file, samples in each chunk.

    `durations` are runs of (samples, ticks of each), at most `MAX_RUNS`.
    """

    sizes: NDArray[np.uint32]
    chunk_offsets: NDArray[np.int64]
    chunk_samples: NDArray[np.int64]
    durations: tuple[tuple[int, int], ...]

    @classmethod
    def decode(cls, stbl: list[Box], file_size: int) -> Self:
        """Read the tables of a file of *file_size* bytes; raise MalformedBoxError, nothing else."""
        sizes = _sizes(only(stbl, b"stsz"), file_size)
        wide = optional(stbl, b"co64")
        narrow = _rows(only(stbl, b"stco"), 1) if wide is None else _rows(wide, 1, ">i8")
        offsets = narrow.astype(np.int64)
        samples = _chunk_samples(_rows(only(stbl, b"stsc"), 3).astype(np.int64), len(offsets))
        if int(samples.sum()) != len(sizes) or (offsets < 0).any():
            raise MalformedBoxError("stsc, stco and stsz do not fit together")
        runs = _rows(only(stbl, b"stts"), 2)
        if int(runs[:, 0].sum(dtype=np.int64)) != len(sizes):
            raise MalformedBoxError("stts and stsz count different samples")
        return cls(sizes, offsets[:, 0], samples, _merged(runs))

    def start_if_contiguous(self) -> int | None:
        """Where the first sample lies if all others follow without a gap, else None."""
        if not len(self.sizes):
            return None
        ends = np.cumsum(self.sizes, dtype=np.int64)
        firsts = np.cumsum(self.chunk_samples) - self.chunk_samples
        before = np.where(firsts > 0, ends[np.maximum(firsts, 1) - 1], 0)
        start = int(self.chunk_offsets[0])
        return start if np.array_equal(self.chunk_offsets, start + before) else None


def _sizes(payload: Bytes, file_size: int) -> NDArray[np.uint32]:
    fields = Fields(payload)
    fields.version()
    constant, count = fields.uint(4), fields.uint(4)
    if count > MAX_SAMPLES:
        raise MalformedBoxError(f"{count} samples are more than {MAX_SAMPLES}")
    if constant * count > file_size:  # 12 bytes could else make us reserve gigabytes
        raise MalformedBoxError("stsz claims more bytes than the file has")
    if constant:
        return np.full(count, constant, np.uint32)
    return np.frombuffer(fields.view(4 * count), ">u4").astype(np.uint32)


def _rows(payload: Bytes, columns: int, kind: str = ">u4") -> NDArray[np.integer]:
    """A table as it lies in the file, not copied."""
    fields = Fields(payload)
    fields.version()
    count = fields.uint(4)
    data = fields.view(count * columns * np.dtype(kind).itemsize)
    return np.frombuffer(data, kind).reshape(count, columns)


def _chunk_samples(runs: NDArray[np.int64], chunks: int) -> NDArray[np.int64]:
    firsts = np.append(runs[:, 0], chunks + 1)
    repeats = np.diff(firsts)
    if not chunks or firsts[0] != 1 or (repeats <= 0).any() or (runs[:, 1] > MAX_SAMPLES).any():
        raise MalformedBoxError("stsc does not describe every chunk once")
    return np.repeat(runs[:, 1], repeats)


def _merged(runs: NDArray[np.integer]) -> tuple[tuple[int, int], ...]:
    """Runs of one duration joined, empty ones dropped, and what exceeds `MAX_RUNS` in the last."""
    runs = runs[runs[:, 0] > 0]
    changes = np.flatnonzero(runs[1:, 1] != runs[:-1, 1])[: MAX_RUNS - 1]
    bounds = pairwise((0, *(changes + 1).tolist(), len(runs)))
    return tuple((int(runs[a:b, 0].sum(dtype=np.int64)), int(runs[a, 1])) for a, b in bounds if b)
