"""Check a packaged file against what is promised about it, to the last bit.

Theory of operation. Two things are promised of a file: its description (sizes, ticks, rates, keys,
hashes), and that its packets are what an encoder made. Nothing in the file is believed: sizes come
from the description, and where they say that a part begins, that part must begin.

    size, keys, sums ─► init ─► sidx ─► segment 1 ─► ... ─► segment n ─► ends of the proof

One pass, the cheap checks first, ends at the first thing that is wrong. The description must not
contradict itself before a byte is looked at. `init` gives the `Movie` that all fragments are read
by; each of its fields, and its protection, must be what the description and the keys give. `sidx`
must be, to the byte, what the promised sizes and ticks give. Of each segment, `moof` must have the
fields that this place in the track requires (number, decode time, duration, key, IVs that go on
from the packet before), and `mdat` is decrypted and handed to the proof, then the stored bytes are.

What is true after segment k: its packets and all before it, decrypted, were taken by the proof in
order; `_packets` of them were counted; the next fragment must begin at the tick that was returned;
under `cenc` all IVs so far belong to one run that starts at `_first_iv`. Whether the packets are
right is known at once if they are compared with the encoder's (`proof.TrackProof`), and at the end
if they are hashed (`proof.HashProof`); so a file counts as verified when `run` returns, not before.

Memory: the file is mapped, and the pages of a segment are given back when it was checked. A file
that changes meanwhile is not noticed here; who reads it again afterwards compares its hash.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from core.errors import IntegrityError, MalformedBoxError
from core.model import ContentKey, DrmProfile, MediaFile, Rendition
from packager.cmaf.grid import bitrates, edited_ticks
from packager.cmaf.init_segment import (
    entry_rate,
    file_type,
    protection_of,
    roll_distance,
)
from packager.cmaf.proof import HashProof, Proof, TrackProof
from packager.encoded.mapped_file import map_file, release
from packager.encoded.track import EncodedTrack, describe
from packager.mp4.ftyp import FileType
from packager.mp4.grammar import HEADER_SIZE, Bytes, read_boxes
from packager.mp4.moof import MovieFragment
from packager.mp4.moof_size import IV_SIZE
from packager.mp4.moov import Movie
from packager.mp4.sidx import Reference, SegmentIndex
from packager.mp4.stsd import AudioEntry
from packager.protect import cenc
from packager.protect.ciphers import ciphers_for
from packager.protect.protection import FileProtection


@dataclass(frozen=True, slots=True)
class Verified:
    """What a whole file turned out to hold.

    `first_iv` is where the per-sample IVs start, for the check that renditions which share a key do
    not overlap; None unless `cenc`.
    """

    packets: int
    first_iv: int | None


def verify_file(  # noqa: PLR0913  # a file, all that is promised of it, and how that is proved
    source: Path | bytes | memoryview,
    rendition: Rendition,
    media_file: MediaFile,
    key: ContentKey | None,
    later_keys: Sequence[ContentKey] = (),
    *,
    encoded: EncodedTrack | None = None,
) -> Verified:
    """Check everything about one file.

    Args:
        source: The file, or its bytes.
        rendition: What it is a file of.
        media_file: What is promised about it; one of the rendition's.
        key: Its content key; None in the clear.
        later_keys: Those that follow, where keys change within the track.
        encoded: What the encoder made, to compare with where nothing was hashed; by default the
            hashes of *rendition* and *media_file* must be right.

    Raises:
        IntegrityError: Something is wrong; the message says what and where.
    """
    keys = (key, *later_keys) if key else ()
    check = _Check(rendition, media_file, keys, encoded)
    with check.located("file", 0):
        data = map_file(source) if isinstance(source, Path) else memoryview(source)
    return check.run(data)


def overlapping_ivs(ranges: list[Verified]) -> bool:
    """Whether any IV serves two packets of the files that share one `cenc` key."""
    spans = sorted((v.first_iv, v.packets) for v in ranges if v.first_iv is not None)
    if spans:  # IVs count modulo 2^64: the last range may run into the first
        spans.append((spans[0][0] + (1 << 64), 0))
    return any(a + count > b for (a, count), (b, _) in pairwise(spans))


class _Check:
    """One pass over one file; `_where` is what an error message starts with."""

    def __init__(
        self,
        rendition: Rendition,
        file: MediaFile,
        keys: tuple[ContentKey, ...],
        encoded: EncodedTrack | None,
    ) -> None:
        self._rendition, self._file, self._keys = rendition, file, keys
        self._where = f"{rendition.name}/{file.drm}"
        self._proof: Proof = HashProof(rendition, file) if encoded is None else TrackProof(encoded)
        self._ciphers = ciphers_for(file.size)
        self._packets = 0
        self._protection = FileProtection(DrmProfile.CLEAR)
        self._first_iv: int | None = None

    def run(self, data: memoryview) -> Verified:
        """All checks, the cheap ones first."""
        file = self._file
        self._equal("the file's size", len(data), file.size)
        self._equal("keys", tuple(key.description.kid for key in self._keys), file.kids)
        self._protection = FileProtection.promised(file, self._keys)
        self._promises()
        with self.located("init", 0):
            movie = self._init(data[: file.init_size])
        with self.located("sidx", file.init_size):
            self._index(data[file.init_size : file.init_size + file.index_size])
        init = data[: file.init_size]
        is_init = self._proof.is_init(init, self._protection)
        self._equal("init segment as its track requires", is_init, True)
        self._proof.take_stored(data[file.init_size : file.init_size + file.index_size])
        at, ticks = file.init_size + file.index_size, 0
        for number, size in enumerate(file.segment_sizes, 1):
            with self.located(f"segment {number}", at):
                segment = data[at : at + size]
                ticks = self._segment(number, segment, movie, ticks)
            self._proof.take_stored(segment)
            release(data, at, at + size)
            at += size
        for what, actual, promised in self._proof.ends():
            self._equal(what, actual, promised)
        return Verified(self._packets, self._first_iv)

    def _promises(self) -> None:
        """What presentation.json says must not contradict itself."""
        file, rendition = self._file, self._rendition
        self._equal(
            "the sum of the parts",
            file.init_size + file.index_size + sum(file.segment_sizes),
            file.size,
        )
        self._equal("segments", len(file.segment_sizes), len(rendition.segment_ticks))
        self._equal("media ticks", sum(rendition.segment_ticks), rendition.timing.media_ticks)
        rates = bitrates(file.segment_sizes, rendition.segment_ticks, rendition.timing)
        self._equal("average and peak bitrate", (file.average_bps, file.peak_bps), rates)

    def _init(self, data: memoryview) -> Movie:
        rendition, timing = self._rendition, self._rendition.timing
        ftyp, moov = _boxes(data, b"ftyp", b"moov")
        brands = file_type(rendition.codec, rendition.channels, rendition.sample_rate)
        self._equal("file type", FileType.decode(ftyp), brands)
        movie = Movie.decode(moov)
        self._equal("timescale", movie.timescale, timing.timescale)
        self._equal("priming in elst", movie.priming, timing.priming)
        self._equal("duration in mehd", movie.duration, timing.samples)
        if not movie.sample_duration:
            raise MalformedBoxError("samples last 0 ticks")
        roll = roll_distance(rendition.codec, movie.sample_duration)
        self._equal("roll distance", movie.roll_distance, roll)
        self._entry(movie.entry)
        self._check_protection(movie.entry)
        if self._keys:
            pssh = tuple(s.pssh for s in self._keys[0].description.signals if s.pssh)
            self._equal("pssh boxes", movie.pssh, pssh)
        return movie

    def _entry(self, entry: AudioEntry) -> None:
        rendition, config = self._rendition, entry.config
        codec, codecs, rate, bit_depth = describe(config)
        self._equal("codec", (codec, codecs), (rendition.codec, rendition.codecs))
        self._equal("sample rate", rate, rendition.sample_rate)
        self._equal("bit depth", bit_depth, rendition.bit_depth)
        fields = (entry.channels, entry.sample_size, entry.sample_rate)
        expected = (rendition.channels, bit_depth or 16, entry_rate(rate))
        self._equal("channels, sample size and rate of the sample entry", fields, expected)

    def _check_protection(self, entry: AudioEntry) -> None:
        expected = protection_of(self._protection, entry.config)
        if entry.protection and expected:
            self._equal("protection scheme", entry.protection.scheme, expected.scheme)
        self._equal("protection", entry.protection, expected)
        has_lead = self._protection.clear_segments > 0
        self._equal("clear lead in the sample entry", entry.clear_lead, has_lead)

    def _index(self, data: memoryview) -> None:
        index = SegmentIndex.decode(_boxes(data, b"sidx")[0])
        ticks = edited_ticks(self._rendition.segment_ticks, self._rendition.timing)
        expected = SegmentIndex(
            self._rendition.timing.timescale,
            tuple(map(Reference, self._file.segment_sizes, ticks)),
        )
        for number, pair in enumerate(zip(index.references, expected.references, strict=False), 1):
            self._equal(f"size and duration of segment {number}", *pair)
        self._equal("sidx", data, expected.encode())

    def _segment(self, number: int, data: memoryview, movie: Movie, start: int) -> int:
        """Check one fragment and take in its packets; where the next one starts, in ticks."""
        iv_size = IV_SIZE if self._file.drm is DrmProfile.CENC else 0
        moof, mdat = _boxes(data, b"moof", b"mdat")
        fragment = MovieFragment.decode(moof, iv_size)
        count = len(fragment.sizes)
        self._equal("sequence number", fragment.sequence_number, number)
        self._equal("decode time", fragment.decode_time, start)
        self._equal("sample duration", fragment.sample_duration, movie.sample_duration)
        self._equal("roll group", fragment.roll, movie.roll_distance is not None)
        protection, place = self._protection, number - 1
        index = 2 if protection.keys and protection.key_at(place) is None else 1
        self._equal("sample entry", fragment.description_index, index)
        self._equal("key group", fragment.key, protection.group_at(place))
        self._equal("pssh boxes", fragment.pssh, protection.pssh_at(place))
        ticks = sum(fragment.durations) or count * fragment.sample_duration
        self._equal("duration", ticks, self._rendition.segment_ticks[number - 1])
        self._equal("bytes of all packets", sum(fragment.sizes), len(mdat))
        are_next = self._proof.are_next(self._decrypt(place, fragment, mdat))
        self._equal("packets as the encoder made them", are_next, True)
        self._packets += count
        return start + ticks

    def _decrypt(self, segment: int, fragment: MovieFragment, mdat: memoryview) -> Bytes:
        key, drm = self._protection.key_at(segment), self._file.drm
        senc = fragment.encryption
        self._equal("presence of senc", senc is not None, key is not None)
        if key is None or senc is None:
            return mdat
        sizes = fragment.sizes
        if drm is DrmProfile.CBCS:
            return cenc.cbcs_decrypt(key.key, key.iv, mdat, sizes)
        first = int.from_bytes(senc.ivs[:IV_SIZE], "big")
        # where the IVs of packet 0 would start, were it encrypted with the first key
        start = first - int.from_bytes(key.iv, "big") + int.from_bytes(self._keys[0].iv, "big")
        start = (start - self._packets) % (1 << 64)
        if self._first_iv is None:
            self._first_iv = start
        ivs = cenc.sample_ivs(first, len(sizes))
        self._equal("IVs", (senc.ivs == ivs, start == self._first_iv), (True, True))
        return self._ciphers.cenc_crypt(key.key, first, mdat, sizes)

    def _equal(self, what: str, actual: object, promised: object) -> None:
        if actual != promised:
            raise IntegrityError(f"{self._where}: {what}: {_show(actual)}, not {_show(promised)}")

    @contextmanager
    def located(self, part: str, offset: int) -> Iterator[None]:
        """Errors inside say in which part of the file, and at which byte, they were found."""
        before, self._where = self._where, f"{self._where}: {part} at byte {offset}"
        try:
            yield
        except MalformedBoxError as error:
            raise IntegrityError(f"{self._where}: {error.message}") from error
        self._where = before


def _boxes(data: memoryview, *fourccs: bytes) -> list[memoryview]:
    """The payloads of exactly these boxes."""
    boxes = read_boxes(data)
    if tuple(b.fourcc for b in boxes) != fourccs or any(
        b.size != HEADER_SIZE + len(b.payload) for b in boxes
    ):
        raise MalformedBoxError(f"the boxes are not {b', '.join(fourccs).decode()}")
    return [b.payload for b in boxes]


def _show(value: object) -> str:
    """Short, and never a key: those are not compared here, and IVs only as a truth value."""
    text = f"{len(value)} bytes" if isinstance(value, bytes | memoryview) else repr(value)
    return text if len(text) <= 200 else text[:200] + "..."
