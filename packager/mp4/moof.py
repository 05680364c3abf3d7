"""Movie Fragment Box with one track fragment. ISO/IEC 14496-12:2022, 8.8.4 to 8.8.6."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from core.errors import MalformedBoxError
from packager.mp4.grammar import HEADER_SIZE, Bytes, Fields, box, full_box, only, optional
from packager.mp4.grammar import read_boxes as boxes_of
from packager.mp4.moof_size import IV_SIZE, moof_size
from packager.mp4.pssh import pssh_boxes
from packager.mp4.roll import RollMembers
from packager.mp4.saio import AuxiliaryOffset
from packager.mp4.saiz import AuxiliarySizes
from packager.mp4.seig import KeyGroup, read_groups
from packager.mp4.senc import SampleEncryption
from packager.mp4.tfdt import DecodeTime
from packager.mp4.tfhd import TrackFragmentHeader
from packager.mp4.trun import TrackRun


@dataclass(frozen=True, slots=True)
class MovieFragment:
    """What stands before an `mdat`; offsets inside are computed and checked, not stored.

    Attributes:
        durations: Ticks of each sample, or empty if all last `sample_duration`.
        roll: Whether every sample is in the roll group of the init segment.
        encryption: None in the clear. With IVs, `saiz` and `saio` point to them; with a
            constant IV both are absent, the one layout that every decrypter accepts.
        description_index: 2 for the clear twin of an encrypted sample entry.
        key: Of the samples, where it is not the one of `tenc`.
        pssh: Whole boxes for that key.
    """

    sequence_number: int
    decode_time: int
    sample_duration: int
    sizes: Sequence[int]
    durations: Sequence[int] = ()
    roll: bool = False
    encryption: SampleEncryption | None = None
    description_index: int = 1
    key: KeyGroup | None = None
    pssh: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """The whole box; its `mdat` must follow at once."""
        ivs = None if self.encryption is None else bool(self.encryption.ivs)
        own = (self.key.size if self.key else 0) + sum(map(len, self.pssh))
        count, durations = len(self.sizes), bool(self.durations)
        size = moof_size(count, durations=durations, roll=self.roll, ivs=ivs, own_key=own)
        moof = box(
            b"moof",
            full_box(b"mfhd", 0, 0, self.sequence_number.to_bytes(4, "big")),
            *self.pssh,  # before traf, whose end is where saio points to
            box(
                b"traf",
                TrackFragmentHeader(
                    self.sample_duration, description_index=self.description_index
                ).encode(),
                DecodeTime(self.decode_time).encode(),
                TrackRun(size + HEADER_SIZE, self.sizes, self.durations).encode(),
                RollMembers(count).encode() if self.roll else b"",
                self.key.encode(count) if self.key else b"",
                self._protection(size),
            ),
        )
        assert len(moof) == size
        return moof

    def _protection(self, size: int) -> bytes:
        """`saiz`, `saio` and `senc`, which end the `moof` of *size* bytes."""
        senc = self.encryption
        if senc is None:
            return b""
        if not senc.ivs:
            return senc.encode()
        assert len(senc.ivs) == IV_SIZE * senc.sample_count
        saiz = AuxiliarySizes(IV_SIZE, senc.sample_count)
        return saiz.encode() + AuxiliaryOffset(size - len(senc.ivs)).encode() + senc.encode()

    @classmethod
    def decode(cls, payload: Bytes, iv_size: int = 0) -> Self:
        """Read what `encode` wrote after the header; *iv_size* is that of `tenc`.

        Raises MalformedBoxError, also when an offset does not point where it must.
        """
        boxes = boxes_of(payload)
        mfhd = Fields(only(boxes, b"mfhd"))
        mfhd.version()
        sequence_number = mfhd.uint(4)
        mfhd.end()
        traf = boxes_of(only(boxes, b"traf"), depth=1)
        header = TrackFragmentHeader.decode(only(traf, b"tfhd"))
        time = DecodeTime.decode(only(traf, b"tfdt"))
        run, senc = TrackRun.decode(only(traf, b"trun")), optional(traf, b"senc")
        count = len(run.sizes)
        roll, key = read_groups(traf, count)
        encryption = None if senc is None else SampleEncryption.decode(senc, iv_size)
        if encryption and encryption.sample_count != count:
            raise MalformedBoxError("senc and trun count different samples")
        if encryption and iv_size and (iv_size != IV_SIZE or not count):
            raise MalformedBoxError(f"{count} IVs have {iv_size} bytes instead of {IV_SIZE}")
        fragment = cls(
            sequence_number,
            time.ticks,
            header.sample_duration,
            run.sizes,
            run.durations,
            roll,
            encryption,
            header.description_index,
            key,
            pssh_boxes(boxes),
        )
        # offsets, order and everything that is not a field: there is one right way to write it
        if fragment.encode()[HEADER_SIZE:] != payload:
            raise MalformedBoxError("moof is not laid out as its fields require")
        return fragment
