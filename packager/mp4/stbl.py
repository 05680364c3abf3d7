"""Sample tables of a progressive file. ISO/IEC 14496-12:2022, 8.6.1.2, 8.7.3 to 8.7.5.

Read only: what we write is fragmented and has no sample tables.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from struct import Struct
from typing import Self

from core.errors import MalformedBoxError
from packager.mp4.grammar import Box, Bytes, Fields, big_endian_array, only, optional

MAX_SAMPLES = 1 << 26
"""Two weeks of AAC."""
MAX_RUNS = 3
"""Durations that are told apart; files with more are for `packager.encoded.demux`."""

_TIME_RUN, _CHUNK_RUN = Struct(">II"), Struct(">III")


@dataclass(frozen=True, slots=True, eq=False)
class SampleTables:
    """Sizes of all samples in bytes, offsets of the chunks in the file.

    `chunk_runs` are (first chunk, samples in each from there on), the first chunk being 0;
    `durations` are runs of (samples, ticks of each), at most `MAX_RUNS`.
    """

    sizes: "array[int]"
    chunk_offsets: "array[int]"
    chunk_runs: tuple[tuple[int, int], ...]
    durations: tuple[tuple[int, int], ...]

    @classmethod
    def decode(cls, stbl: list[Box], file_size: int) -> Self:
        """Read the tables of a file of *file_size* bytes; raise MalformedBoxError, nothing else."""
        sizes = _sizes(only(stbl, b"stsz"), file_size)
        offsets = _offsets(stbl)
        chunk_runs = _chunk_runs(only(stbl, b"stsc"), len(offsets))
        durations, timed = _durations(only(stbl, b"stts"))
        tables = cls(sizes, offsets, chunk_runs, durations)
        if sum(count * chunks for count, chunks in tables._counts()) != len(sizes):
            raise MalformedBoxError("stsc, stco and stsz do not fit together")
        if timed != len(sizes):
            raise MalformedBoxError("stts and stsz count different samples")
        return tables

    def _counts(self) -> Iterator[tuple[int, int]]:
        """(samples in a chunk, chunks of so many), in order."""
        ends = ((len(self.chunk_offsets), 0),)
        for (first, count), (after, _) in pairwise(self.chunk_runs + ends):
            yield count, after - first

    def start_if_contiguous(self) -> int | None:
        """Where the first sample lies if all others follow without a gap, else None."""
        if not self.sizes:
            return None
        offsets = iter(self.chunk_offsets)
        start = at = self.chunk_offsets[0]
        sample = 0
        for count, chunks in self._counts():
            for _ in range(chunks):
                if next(offsets) != at:
                    return None
                at += sum(self.sizes[sample : sample + count])
                sample += count
        return start


def _sizes(payload: Bytes, file_size: int) -> "array[int]":
    fields = Fields(payload)
    fields.version()
    constant, count = fields.uint(4), fields.uint(4)
    if count > MAX_SAMPLES:
        raise MalformedBoxError(f"{count} samples are more than {MAX_SAMPLES}")
    if constant * count > file_size:  # 12 bytes could else make us reserve gigabytes
        raise MalformedBoxError("stsz claims more bytes than the file has")
    if constant:
        return array("I", [constant]) * count
    return big_endian_array("I", fields.view(4 * count))


def _offsets(stbl: list[Box]) -> "array[int]":
    if wide := optional(stbl, b"co64"):
        return big_endian_array("Q", _table(wide, 8))
    return big_endian_array("I", _table(only(stbl, b"stco"), 4))


def _table(payload: Bytes, row_size: int) -> memoryview:
    """The rows of a table, not copied."""
    fields = Fields(payload)
    fields.version()
    return fields.view(fields.uint(4) * row_size)


def _chunk_runs(payload: Bytes, chunks: int) -> tuple[tuple[int, int], ...]:
    rows = _CHUNK_RUN.iter_unpack(_table(payload, _CHUNK_RUN.size))
    runs = tuple((first - 1, count) for first, count, _ in rows if count <= MAX_SAMPLES)
    places = [-1, *(first for first, _ in runs), chunks]
    if not runs or runs[0][0] != 0 or any(a >= b for a, b in pairwise(places)):
        raise MalformedBoxError("stsc does not describe every chunk once")
    return runs


def _durations(payload: Bytes) -> tuple[tuple[tuple[int, int], ...], int]:
    """Runs of one duration joined, what exceeds `MAX_RUNS` in the last; and all samples."""
    runs: list[tuple[int, int]] = []
    total = 0
    for count, ticks in _TIME_RUN.iter_unpack(_table(payload, _TIME_RUN.size)):
        if not count:
            continue
        total += count
        if runs and (runs[-1][1] == ticks or len(runs) == MAX_RUNS):
            runs[-1] = (runs[-1][0] + count, runs[-1][1])
        else:
            runs.append((count, ticks))
    return tuple(runs), total
