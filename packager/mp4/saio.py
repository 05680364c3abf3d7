"""Sample Auxiliary Information Offsets Box. ISO/IEC 14496-12:2022, 8.7.9."""

from dataclasses import dataclass
from typing import Self

from core.errors import MalformedBoxError
from packager.mp4.grammar import Bytes, Fields, full_box


@dataclass(frozen=True, slots=True)
class AuxiliaryOffset:
    """One 32-bit offset, from the start of the `moof` to the first IV."""

    offset: int

    def encode(self) -> bytes:
        """The whole box."""
        return full_box(b"saio", 0, 0, b"\x00\x00\x00\x01", self.offset.to_bytes(4, "big"))

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        fields = Fields(payload)
        _, flags = fields.version()
        if flags or fields.uint(4) != 1:
            raise MalformedBoxError("saio has not exactly one offset without a type")
        offset = fields.uint(4)
        fields.end()
        return cls(offset)
