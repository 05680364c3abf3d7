"""Movie Box of a CMAF audio track: the init segment. ISO/IEC 14496-12:2022, 8.2.1."""

from dataclasses import dataclass
from typing import Self

from core.errors import MalformedBoxError
from packager.mp4.elst import Edit, EditList
from packager.mp4.grammar import Bytes, box, descend, full_box, only, optional, read_boxes
from packager.mp4.hdlr import Handler
from packager.mp4.ludt import LoudnessBox
from packager.mp4.mdhd import MediaHeader
from packager.mp4.mvex import MovieExtends
from packager.mp4.mvhd import MovieHeader
from packager.mp4.pssh import pssh_boxes
from packager.mp4.roll import RollDescription
from packager.mp4.stsd import AudioEntry
from packager.mp4.tkhd import TrackHeader

_NO_SAMPLES = b"".join(
    full_box(name, 0, 0, bytes(8 if name == b"stsz" else 4))
    for name in (b"stts", b"stsc", b"stsz", b"stco")
)
_SELF_CONTAINED = full_box(b"dref", 0, 0, b"\x00\x00\x00\x01", full_box(b"url ", 0, 1))


@dataclass(frozen=True, slots=True)
class Movie:
    """All that an init segment says; movie and media share one timescale.

    Attributes:
        duration: Of the presentation (`mehd`): the music, without priming and padding.
        priming: Media ticks that the edit list cuts from the start.
        roll_distance: None for codecs that need no pre-roll.
        pssh: Whole boxes, as the key server made them.
    """

    timescale: int
    entry: AudioEntry
    sample_duration: int
    duration: int
    priming: int = 0
    roll_distance: int | None = None
    loudness: LoudnessBox | None = None
    pssh: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """The whole box."""
        # duration 0 lasts to the end: in CMAF the end is trimmed by manifests, not here
        edits = EditList((Edit(0, self.priming),)).encode() if self.priming else b""
        trak = box(
            b"trak",
            TrackHeader().encode(),
            box(b"edts", edits) if edits else b"",
            self._media(),
            box(b"udta", self.loudness.encode()) if self.loudness else b"",
        )
        mvex = MovieExtends(self.duration, self.sample_duration).encode()
        return box(b"moov", MovieHeader(self.timescale).encode(), trak, mvex, *self.pssh)

    def _media(self) -> bytes:
        roll = b"" if self.roll_distance is None else RollDescription(self.roll_distance).encode()
        minf = box(
            b"minf",
            full_box(b"smhd", 0, 0, bytes(4)),
            box(b"dinf", _SELF_CONTAINED),
            box(b"stbl", self.entry.encode(), _NO_SAMPLES, roll),
        )
        return box(b"mdia", MediaHeader(self.timescale).encode(), Handler().encode(), minf)

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        boxes = read_boxes(payload)
        trak = read_boxes(only(boxes, b"trak"), depth=1)
        mdia = read_boxes(only(trak, b"mdia"), depth=2)
        stbl = descend(only(mdia, b"minf"), b"stbl")
        extends = MovieExtends.decode(only(boxes, b"mvex"))
        if extends.duration is None:
            raise MalformedBoxError("there is no mehd box")
        sgpd, udta = optional(stbl, b"sgpd"), optional(trak, b"udta")
        movie = cls(
            MediaHeader.decode(only(mdia, b"mdhd")).timescale,
            AudioEntry.decode(only(stbl, b"stsd")),
            extends.sample_duration,
            extends.duration,
            _priming(optional(trak, b"edts")),
            None if sgpd is None else RollDescription.decode(sgpd).distance,
            None if udta is None else LoudnessBox.decode(only(read_boxes(udta), b"ludt")),
            pssh_boxes(boxes),
        )
        if movie.encode()[8:] != payload:
            raise MalformedBoxError("moov is not laid out as its fields require")
        return movie


def _priming(edts: memoryview | None) -> int:
    if edts is None:
        return 0
    edits = EditList.decode(only(read_boxes(edts), b"elst")).edits
    if len(edits) != 1 or edits[0].duration or edits[0].media_time <= 0:
        raise MalformedBoxError("the edit list is not one open edit that skips the priming")
    return edits[0].media_time
