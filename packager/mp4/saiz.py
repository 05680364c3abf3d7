"""Sample Auxiliary Information Sizes Box. ISO/IEC 14496-12:2022, 8.7.8."""

from dataclasses import dataclass
from typing import Self

from core.errors import MalformedBoxError
from packager.mp4.grammar import Bytes, Fields, full_box


@dataclass(frozen=True, slots=True)
class AuxiliarySizes:
    """Every sample has as many bytes of auxiliary information: its IV."""

    size: int
    sample_count: int

    def __post_init__(self) -> None:
        assert 0 < self.size < 256

    def encode(self) -> bytes:
        """The whole box."""
        return full_box(b"saiz", 0, 0, bytes((self.size,)), self.sample_count.to_bytes(4, "big"))

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        fields = Fields(payload)
        _, flags = fields.version()
        size, count = fields.uint(1), fields.uint(4)
        fields.end()
        if flags or not size:
            raise MalformedBoxError("saiz has sample sizes of its own or an auxiliary type")
        return cls(size, count)
