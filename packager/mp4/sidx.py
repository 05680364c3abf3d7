"""Segment Index Box: where each fragment lies. ISO/IEC 14496-12:2022, 8.16.3."""

import struct
from dataclasses import dataclass
from typing import NamedTuple, Self

from core.errors import MalformedBoxError
from packager.mp4.grammar import Bytes, Fields, full_box

MAX_REFERENCES = 65_535
MAX_REFERENCE_SIZE = (1 << 31) - 1
_STARTS_WITH_SAP_1 = 0x90000000


class Reference(NamedTuple):
    """One fragment: bytes of `moof` and `mdat`, and presentation ticks."""

    size: int
    duration: int


@dataclass(frozen=True, slots=True)
class SegmentIndex:
    """Media references that all start with a stream access point of type 1."""

    timescale: int
    references: tuple[Reference, ...]
    earliest_time: int = 0
    first_offset: int = 0
    reference_id: int = 1

    def encode(self) -> bytes:
        """The whole box; version 1 if a time or offset needs more than 32 bits."""
        wide = self.earliest_time >= 1 << 32 or self.first_offset >= 1 << 32
        width = 8 if wide else 4
        numbers = [n for size, ticks in self.references for n in (size, ticks, _STARTS_WITH_SAP_1)]
        return full_box(
            b"sidx",
            int(wide),
            0,
            self.reference_id.to_bytes(4, "big"),
            self.timescale.to_bytes(4, "big"),
            self.earliest_time.to_bytes(width, "big"),
            self.first_offset.to_bytes(width, "big"),
            struct.pack(f">HH{len(numbers)}I", 0, len(self.references), *numbers),
        )

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        fields = Fields(payload)
        version, _ = fields.version(1)
        width = 8 if version else 4
        reference_id, timescale = fields.uint(4), fields.uint(4)
        earliest, offset = fields.uint(width), fields.uint(width)
        fields.view(2)
        count = fields.uint(2)
        numbers = struct.unpack(f">{3 * count}I", fields.view(12 * count))
        fields.end()
        sizes, ticks, saps = numbers[0::3], numbers[1::3], numbers[2::3]
        if any(size > MAX_REFERENCE_SIZE for size in sizes):
            raise MalformedBoxError("sidx refers to another sidx")
        if any(sap != _STARTS_WITH_SAP_1 for sap in saps):
            raise MalformedBoxError("a fragment does not start with a stream access point")
        return cls(timescale, tuple(map(Reference, sizes, ticks)), earliest, offset, reference_id)
