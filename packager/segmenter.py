"""From an encoded track to CMAF files: one pass, every protection from the same clear fragments.

Encryption changes no size, so all sizes are known before the first packet is touched. Init
and `sidx` are therefore written first, fragments are streamed after them, and memory stays flat
however long the track is. The same input gives the same bytes.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInputError
from core.model import (
    ContentKey,
    DrmProfile,
    Loudness,
    MediaFile,
    Rendition,
    Rung,
)
from packager import cenc
from packager.grid import Grid, bitrates, edited_ticks, grid_of
from packager.init_segment import init_segment, loudness_box, roll_distance
from packager.mp4.grammar import HEADER_SIZE, Bytes
from packager.mp4.ludt import LoudnessBox
from packager.mp4.moof import MovieFragment
from packager.mp4.moof_size import moof_size
from packager.mp4.senc import SampleEncryption
from packager.mp4.sidx import MAX_REFERENCE_SIZE, Reference, SegmentIndex
from packager.protection import NO_CHOICES, Encryption, FileProtection
from packager.source import EncodedTrack, release


@dataclass(frozen=True, slots=True)
class Output:
    """A file to write; `key` is None in the clear.

    `first_sample` is how many samples earlier renditions have encrypted with this `cenc` key: IVs
    go on counting from there, so that none repeats. `later_keys` follow the first one where keys
    change within the track.
    """

    path: Path
    key: ContentKey | None = None
    first_sample: int = 0
    later_keys: tuple[ContentKey, ...] = ()

    @property
    def keys(self) -> tuple[ContentKey, ...]:
        """All of them, in order."""
        return (self.key, *self.later_keys) if self.key else ()


@dataclass(frozen=True, slots=True)
class FileLayout:
    """What precedes the fragments of a file, and how large each of these is."""

    init: bytes
    index: bytes
    segment_sizes: tuple[int, ...]


def package(  # noqa: PLR0913  # a rendition has as many independent properties
    track: EncodedTrack,
    *,
    rung: Rung,
    outputs: Mapping[DrmProfile, Output],
    segment_ticks: int,
    key_prefix: str,
    loudness: Loudness | None = None,
    album_loudness: Loudness | None = None,
    encryption: Encryption = NO_CHOICES,
) -> Rendition:
    """Write *track* once for each of *outputs*, in one pass.

    Files that exist are overwritten; after an error they are incomplete.

    Args:
        track: What an encoder made; left open, still readable.
        rung: What the rendition is called, and which tier it belongs to.
        outputs: A file for each protection.
        segment_ticks: Length of a segment, e.g. `grid.segment_samples` of the timescale.
        key_prefix: Of the object keys, without a trailing slash.
        loudness: Of the track, for `ludt`.
        album_loudness: Of its album.
        encryption: Clear lead, change of keys and pattern.

    Raises:
        InvalidInputError: A key does not fit its scheme, or the track cannot be cut.
    """
    grid = grid_of(track, segment_ticks)
    ludt = loudness_box(loudness, album_loudness)
    with ExitStack() as stack:
        files = {
            drm: stack.enter_context(
                closing(
                    _File(
                        track,
                        grid,
                        ludt,
                        output,
                        FileProtection.chosen(drm, output.keys, encryption, len(grid.ticks)),
                    )
                )
            )
            for drm, output in outputs.items()
        }
        packets = _write(track, grid, list(files.values()))
    return Rendition(
        name=rung.name,
        codec=track.codec,
        tier=rung.tier,
        codecs=track.codecs,
        bitrate_bps=rung.bitrate_bps,
        sample_rate=track.sample_rate,
        channels=track.channels,
        bit_depth=track.bit_depth,
        timing=track.timing,
        segment_ticks=grid.ticks,
        packets_sha256=packets,
        files=tuple(f.result(f"{key_prefix}/{drm}/{rung.name}.mp4") for drm, f in files.items()),
    )


def layout_of(track: EncodedTrack, grid: Grid, init: bytes, how: FileProtection) -> FileLayout:
    """Sizes of all fragments, and the `sidx` that lists them on the edited timeline."""
    roll = roll_distance(track.codec, track.frame_samples) is not None
    short_last = track.last_frame_samples != track.frame_samples
    payloads = np.add.reduceat(track.sizes, grid.cuts[:-1], dtype=np.int64).tolist()
    sizes = []
    for number, ((start, end), payload) in enumerate(zip(grid.spans, payloads, strict=True)):
        durations = short_last and end == len(track.sizes)
        header = moof_size(
            end - start,
            durations=durations,
            roll=roll,
            ivs=how.ivs_at(number),
            own_key=how.own_key_size(number),
        )
        sizes.append(header + HEADER_SIZE + payload)
    if max(sizes) > MAX_REFERENCE_SIZE:
        raise InvalidInputError("a segment is larger than 2 GiB", hint="cut shorter segments")
    references = tuple(map(Reference, sizes, edited_ticks(grid.ticks, track.timing)))
    index = SegmentIndex(track.timing.timescale, references).encode()
    return FileLayout(init, index, tuple(sizes))


def _write(track: EncodedTrack, grid: Grid, files: list["_File"]) -> str:
    """Stream all fragments to all files; the SHA-256 of the packets."""
    packets = hashlib.sha256()
    ends = np.cumsum(track.sizes, dtype=np.int64)
    for batch in _batches(grid, ends):
        first, last = batch[0][0], batch[-1][1]
        start, end = int(ends[first - 1]) if first else 0, int(ends[last - 1])
        data = track.payload[start:end]
        packets.update(data)
        for file in files:
            file.write_fragments(batch, data, track.sizes[first:last])
        release(track.payload, start, end)
    return packets.hexdigest()


def _batches(grid: Grid, ends: NDArray[np.int64]) -> Iterator[list[tuple[int, int]]]:
    """Whole segments of about `cenc.BATCH_SIZE` bytes together, at least one."""
    batch: list[tuple[int, int]] = []
    done = 0
    for span in grid.spans:
        batch.append(span)
        if ends[span[1] - 1] - done >= cenc.BATCH_SIZE:
            yield batch
            batch, done = [], int(ends[span[1] - 1])
    if batch:
        yield batch


class _File:
    """One output while it is being written."""

    def __init__(
        self,
        track: EncodedTrack,
        grid: Grid,
        ludt: LoudnessBox | None,
        output: Output,
        how: FileProtection,
    ) -> None:
        self._track, self._grid, self._how = track, grid, how
        self._first_sample = output.first_sample
        self._layout = layout_of(track, grid, init_segment(track, how, ludt), how)
        self._roll = roll_distance(track.codec, track.frame_samples) is not None
        self._written = 0
        self._sequence = 0
        self._sha256 = hashlib.sha256()
        self._file = output.path.open("wb", buffering=0)
        self._put(self._layout.init + self._layout.index)

    def write_fragments(
        self, batch: list[tuple[int, int]], data: memoryview, sizes: NDArray[np.uint32]
    ) -> None:
        """Write the segments of *batch*, whose packets are *data*."""
        first = batch[0][0]
        packets = {self._sequence + i: end - start for i, (start, end) in enumerate(batch)}
        body = memoryview(self._how.encrypt(data, sizes, packets, self._first_sample + first))
        at = 0
        for start, end in batch:
            own = sizes[start - first : end - first]
            size = int(own.sum(dtype=np.int64))
            mdat = (HEADER_SIZE + size).to_bytes(4, "big") + b"mdat"
            self._put(self._moof(start, end, own) + mdat)
            self._put(body[at : at + size])
            at += size

    def _moof(self, start: int, end: int, sizes: NDArray[np.uint32]) -> bytes:
        track, how, count, number = self._track, self._how, end - start, self._sequence
        self._sequence += 1
        durations: tuple[int, ...] = ()
        if end == len(track.sizes) and track.last_frame_samples != track.frame_samples:
            durations = (track.frame_samples,) * (count - 1) + (track.last_frame_samples,)
        encryption = None
        if how.drm is DrmProfile.CENC and how.key_at(number):
            first_iv = how.first_iv(number, self._first_sample + start)
            encryption = SampleEncryption(count, cenc.sample_ivs(first_iv, count))
        elif how.key_at(number):
            encryption = SampleEncryption(count)
        return MovieFragment(
            self._sequence,
            start * track.frame_samples,
            track.frame_samples,
            tuple(sizes.tolist()),
            durations,
            self._roll,
            encryption,
            description_index=2 if how.keys and encryption is None else 1,
            key=how.group_at(number),
            pssh=how.pssh_at(number),
        ).encode()

    def _put(self, data: Bytes) -> None:
        self._sha256.update(data)
        view = memoryview(data)
        while view:  # an unbuffered write may take less than it is given
            view = view[self._file.write(view) :]
        self._written += len(data)

    def close(self) -> None:
        """Close the file, complete or not."""
        self._file.close()

    def result(self, key: str) -> MediaFile:
        """What was written."""
        layout, timing = self._layout, self._track.timing
        average, peak = bitrates(layout.segment_sizes, self._grid.ticks, timing)
        size = len(layout.init) + len(layout.index) + sum(layout.segment_sizes)
        assert size == self._written
        file = MediaFile(
            drm=self._how.drm,
            key=key,
            size=size,
            sha256=self._sha256.hexdigest(),
            init_size=len(layout.init),
            index_size=len(layout.index),
            segment_sizes=layout.segment_sizes,
            average_bps=average,
            peak_bps=peak,
        )
        return self._how.describe(file)
