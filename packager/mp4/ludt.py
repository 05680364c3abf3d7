"""Loudness Box: measured loudness of track and album. ISO/IEC 14496-12:2022, 12.2.7.

The codes of the numbers are those of ISO/IEC 23003-4 (MPEG-D DRC), A.5 and 7.3.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

from core.errors import MalformedBoxError
from core.model import Loudness
from packager.mp4.grammar import Bytes, Fields, box, full_box, optional, read_boxes

BS_1770_4 = 2
ACCURATE = 3
PROGRAM, MOMENTARY_MAX, SHORT_TERM_MAX, RANGE = 1, 4, 5, 6


class Measurement(NamedTuple):
    """A method (`PROGRAM`, ...) and its coded value."""

    method: int
    value: int
    system: int = BS_1770_4
    reliability: int = ACCURATE


@dataclass(frozen=True, slots=True)
class LoudnessInfo:
    """What `tlou` and `alou` hold; a peak code of 0 means that none is given."""

    true_peak: int
    measurements: tuple[Measurement, ...]
    sample_peak: int = 0

    @classmethod
    def of(cls, loudness: Loudness) -> Self:
        """Code the numbers; what is None or not to be coded is left out."""
        rows = (
            (PROGRAM, loudness.integrated_lufs, loudness_code),
            (MOMENTARY_MAX, loudness.momentary_max_lufs, loudness_code),
            (SHORT_TERM_MAX, loudness.short_term_max_lufs, loudness_code),
            (RANGE, loudness.range_lu, range_code),
        )
        measurements = (Measurement(m, code(x)) for m, x, code in rows if x is not None)
        peak = loudness.true_peak_dbtp
        return cls(0 if peak is None else peak_code(peak), tuple(measurements))

    def encode(self, fourcc: bytes) -> bytes:
        """The whole `tlou` or `alou`, version 0."""
        peaks = self.sample_peak << 20 | self.true_peak << 8 | BS_1770_4 << 4 | ACCURATE
        rows = (bytes((m, v, s << 4 | r)) for m, v, s, r in self.measurements)
        count = bytes((len(self.measurements),))
        return full_box(fourcc, 0, 0, bytes(2), peaks.to_bytes(4, "big"), count, *rows)

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        fields = Fields(payload)
        fields.version()
        if fields.uint(2):
            raise MalformedBoxError("loudness of a downmix or DRC set is not known")
        peaks = fields.uint(4)
        rows = [tuple(fields.take(3)) for _ in range(fields.uint(1))]
        fields.end()
        measurements = tuple(Measurement(m, v, b >> 4, b & 15) for m, v, b in rows)
        return cls(peaks >> 8 & 0xFFF, measurements, peaks >> 20)


@dataclass(frozen=True, slots=True)
class LoudnessBox:
    """`ludt{tlou, alou?}`, which lies in the track's `udta`."""

    track: LoudnessInfo | None
    album: LoudnessInfo | None = None

    def encode(self) -> bytes:
        """The whole box."""
        track = self.track.encode(b"tlou") if self.track else b""
        return box(b"ludt", track, self.album.encode(b"alou") if self.album else b"")

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        boxes = read_boxes(payload)
        track, album = optional(boxes, b"tlou"), optional(boxes, b"alou")
        return cls(
            None if track is None else LoudnessInfo.decode(track),
            None if album is None else LoudnessInfo.decode(album),
        )


def loudness_code(lufs: float) -> int:
    """-57.75 to 6 LUFS in quarters; out of range is clamped."""
    return min(max(round((lufs + 57.75) * 4), 0), 255)


def peak_code(dbtp: float) -> int:
    """20 dBTP downwards in steps of 1/32 dB; 0 would mean unknown."""
    return min(max(round((20 - dbtp) * 32), 1), 4095)


def range_code(lu: float) -> int:
    """0 to 32 LU in quarters, then halves to 70, then whole ones to 121."""
    code = lu * 4 if lu <= 32 else (lu + 32) * 2 if lu <= 70 else lu + 134
    return min(max(round(code), 0), 255)
