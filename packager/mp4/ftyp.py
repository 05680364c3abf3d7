"""File Type Box and Segment Type Box: which rules a file obeys. ISO/IEC 14496-12:2022, 4.3."""

from dataclasses import dataclass
from typing import Self

from core.errors import MalformedBoxError
from packager.mp4.grammar import Bytes, Fields, box


@dataclass(frozen=True, slots=True)
class FileType:
    """`ftyp`; `styp` has the same fields (8.16.2)."""

    major: bytes
    compatible: tuple[bytes, ...]
    minor: int = 0
    fourcc: bytes = b"ftyp"

    def encode(self) -> bytes:
        """The whole box."""
        return box(self.fourcc, self.major, self.minor.to_bytes(4, "big"), *self.compatible)

    @classmethod
    def decode(cls, payload: Bytes, fourcc: bytes = b"ftyp") -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        fields = Fields(payload)
        major, minor = fields.take(4), fields.uint(4)
        if fields.left % 4:
            raise MalformedBoxError("the brands are not four bytes each")
        brands = fields.take(fields.left)
        compatible = tuple(brands[i : i + 4] for i in range(0, len(brands), 4))
        return cls(major, compatible, minor, fourcc)
