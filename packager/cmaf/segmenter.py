"""From an encoded track to CMAF files: one pass, every protection from the same clear fragments.

Encryption changes no size, so all sizes are known before the first packet is touched. Init
and `sidx` are therefore written first, fragments are streamed after them, and memory stays flat
however long the track is. The same input gives the same bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from core.errors import InvalidInputError
from core.model import (
    ContentKey,
    DrmProfile,
    Loudness,
    MediaFile,
    Rendition,
    Rung,
)
from packager.cmaf.grid import Grid, bitrates, edited_ticks, grid_of
from packager.cmaf.init_segment import init_segment, loudness_box, roll_distance
from packager.encoded.mapped_file import release
from packager.encoded.track import EncodedTrack
from packager.mp4.grammar import HEADER_SIZE, Bytes
from packager.mp4.ludt import LoudnessBox
from packager.mp4.moof import MovieFragment
from packager.mp4.moof_size import moof_size
from packager.mp4.senc import SampleEncryption
from packager.mp4.sidx import MAX_REFERENCE_SIZE, Reference, SegmentIndex
from packager.protect import cenc
from packager.protect.ciphers import Ciphers, ciphers_for
from packager.protect.protection import NO_CHOICES, Encryption, FileProtection


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


def package(  # noqa: PLR0913  # a rendition has as many independent properties
    track: EncodedTrack,
    *,
    rung: Rung,
    outputs: Mapping[DrmProfile, Output],
    segment_ticks: int,
    loudness: Loudness | None = None,
    album_loudness: Loudness | None = None,
    encryption: Encryption = NO_CHOICES,
    hashed: bool = True,
) -> Rendition:
    """Write *track* once for each of *outputs*, in one pass.

    Files that exist are overwritten; after an error they are incomplete.

    Args:
        track: What an encoder made; left open, still readable.
        rung: What the rendition is called, and which tier it belongs to.
        outputs: A file for each protection.
        segment_ticks: Length of a segment, e.g. `grid.segment_samples` of the timescale.
        loudness: Of the track, for `ludt`.
        album_loudness: Of its album.
        encryption: Clear lead, change of keys and pattern.
        hashed: Fill in SHA-256, for a description that is kept; it costs as much as the rest.

    Raises:
        InvalidInputError: A key does not fit its scheme, or the track cannot be cut.
    """
    grid = grid_of(track, segment_ticks)
    sizes = [sum(track.sizes[start:end]) for start, end in grid.spans]
    ludt = loudness_box(loudness, album_loudness)
    with ExitStack() as stack:
        files: list[_File] = []
        for drm, output in outputs.items():
            protection = FileProtection.chosen(drm, output.keys, encryption, len(grid.ticks))
            file = _File(track, grid, sizes, output, protection, ludt, _Hash(hashed))
            files.append(stack.enter_context(closing(file)))
        packets = _write(track, grid, sizes, files, _Hash(hashed))
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
        files=tuple(file.result() for file in files),
    )


def _write(
    track: EncodedTrack,
    grid: Grid,
    sizes: Sequence[int],
    files: Sequence["_File"],
    packets: "_Hash",
) -> str:
    """Stream all fragments to all files; the SHA-256 of the packets."""
    using = ciphers_for(len(track.payload) * len(files))
    at = 0
    for batch in _batches(grid, sizes):
        first, end = batch[0].first, batch[-1].end
        size = sum(segment.size for segment in batch)
        data = track.payload[at : at + size]
        packets.update(data)
        for file in files:
            file.write_fragments(batch, data, track.sizes[first:end], using)
        release(track.payload, at, at + size)
        at += size
    return packets.hexdigest()


class _Segment(NamedTuple):
    """A segment's number, the first counting 0; its packets, and how many bytes these have."""

    number: int
    first: int
    end: int
    size: int


def _batches(grid: Grid, sizes: Sequence[int]) -> Iterator[list[_Segment]]:
    """Whole segments of about `cenc.BATCH_SIZE` bytes together, at least one."""
    batch: list[_Segment] = []
    held = 0
    for number, ((first, end), size) in enumerate(zip(grid.spans, sizes, strict=True)):
        batch.append(_Segment(number, first, end, size))
        held += size
        if held >= cenc.BATCH_SIZE:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


class _File:
    """One output while it is being written; *sizes* are those of each segment's packets."""

    def __init__(  # noqa: PLR0913, PLR0917  # private, and called once
        self,
        track: EncodedTrack,
        grid: Grid,
        sizes: Sequence[int],
        output: Output,
        protection: FileProtection,
        ludt: LoudnessBox | None,
        written: "_Hash",
    ) -> None:
        self._track, self._grid, self._protection = track, grid, protection
        self._first_sample = output.first_sample
        self._roll = roll_distance(track.codec, track.frame_samples) is not None
        self._init = init_segment(track, protection, ludt)
        self._segment_sizes = self._sizes(sizes)
        self._index = self._sidx()
        self._written, self._sha256 = 0, written
        self._file = output.path.open("wb", buffering=0)
        self._put(self._init, self._index)

    def _sizes(self, payloads: Sequence[int]) -> tuple[int, ...]:
        """Of all fragments, `moof` and `mdat`."""
        protection, sizes = self._protection, []
        for number, ((first, end), payload) in enumerate(
            zip(self._grid.spans, payloads, strict=True)
        ):
            header = moof_size(
                end - first,
                durations=self._is_short(end),
                roll=self._roll,
                ivs=protection.ivs_at(number),
                own_key=protection.own_key_size(number),
            )
            sizes.append(header + HEADER_SIZE + payload)
        if max(sizes) > MAX_REFERENCE_SIZE:
            raise InvalidInputError("a segment is larger than 2 GiB", hint="cut shorter segments")
        return tuple(sizes)

    def _sidx(self) -> bytes:
        """The index of all fragments, on the edited timeline."""
        timing = self._track.timing
        ticks = edited_ticks(self._grid.ticks, timing)
        references = tuple(map(Reference, self._segment_sizes, ticks))
        return SegmentIndex(timing.timescale, references).encode()

    def _is_short(self, end: int) -> bool:
        """Whether the packet before *end* lasts less long than all others."""
        track = self._track
        return end == len(track.sizes) and track.last_frame_samples != track.frame_samples

    def write_fragments(
        self, batch: Sequence[_Segment], data: memoryview, sizes: Sequence[int], using: Ciphers
    ) -> None:
        """Write the segments of *batch*, whose packets are *data*."""
        start = batch[0].first
        counts = {segment.number: segment.end - segment.first for segment in batch}
        body = memoryview(
            self._protection.encrypt(data, sizes, counts, self._first_sample + start, using)
        )
        at = 0
        for number, first, end, size in batch:
            mdat = (HEADER_SIZE + size).to_bytes(4, "big") + b"mdat"
            moof = self._moof(number, first, sizes[first - start : end - start])
            self._put(moof + mdat, body[at : at + size])
            at += size

    def _moof(self, number: int, first: int, sizes: Sequence[int]) -> bytes:
        track, protection, count = self._track, self._protection, len(sizes)
        durations: tuple[int, ...] = ()
        if self._is_short(first + count):
            durations = (track.frame_samples,) * (count - 1) + (track.last_frame_samples,)
        encryption = None
        if protection.drm is DrmProfile.CENC and protection.key_at(number):
            first_iv = protection.first_iv(number, self._first_sample + first)
            encryption = SampleEncryption(count, cenc.sample_ivs(first_iv, count))
        elif protection.key_at(number):
            encryption = SampleEncryption(count)
        return MovieFragment(
            number + 1,
            first * track.frame_samples,
            track.frame_samples,
            sizes,
            durations,
            self._roll,
            encryption,
            description_index=2 if protection.keys and encryption is None else 1,
            key=protection.group_at(number),
            pssh=protection.pssh_at(number),
        ).encode()

    def _put(self, *parts: Bytes) -> None:
        for part in parts:
            self._sha256.update(part)
            rest = memoryview(part)
            while rest:  # an unbuffered write may take less than it is given
                rest = rest[self._file.write(rest) :]
            self._written += len(part)

    def close(self) -> None:
        """Close the file, complete or not."""
        self._file.close()

    def result(self) -> MediaFile:
        """What was written; where it will lie is known when its presentation is sealed."""
        average, peak = bitrates(self._segment_sizes, self._grid.ticks, self._track.timing)
        size = len(self._init) + len(self._index) + sum(self._segment_sizes)
        assert size == self._written
        file = MediaFile(
            drm=self._protection.drm,
            key="",
            size=size,
            sha256=self._sha256.hexdigest(),
            init_size=len(self._init),
            index_size=len(self._index),
            segment_sizes=self._segment_sizes,
            average_bps=average,
            peak_bps=peak,
        )
        return self._protection.describe(file)


class _Hash:
    """SHA-256 of what passes by, or of nothing: then it is an empty text."""

    def __init__(self, wanted: bool) -> None:  # noqa: FBT001  # private
        self._sha256 = None
        if wanted:
            from hashlib import sha256  # noqa: PLC0415  # loads OpenSSL

            self._sha256 = sha256()

    def update(self, data: Bytes) -> None:
        """Take in *data*."""
        if self._sha256:
            self._sha256.update(data)

    def hexdigest(self) -> str:
        """In hex."""
        return self._sha256.hexdigest() if self._sha256 else ""
