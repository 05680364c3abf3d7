"""Track Fragment Base Media Decode Time Box. ISO/IEC 14496-12:2022, 8.8.12."""

from dataclasses import dataclass
from typing import Self

from core.errors import MalformedBoxError
from packager.mp4.grammar import Bytes, Fields, full_box


@dataclass(frozen=True, slots=True)
class DecodeTime:
    """Ticks of all earlier samples, priming included; 64 bits, as 96 kHz outgrows 32 in 13 h."""

    ticks: int

    def encode(self) -> bytes:
        """The whole box, version 1."""
        return full_box(b"tfdt", 1, 0, self.ticks.to_bytes(8, "big"))

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        fields = Fields(payload)
        version, _ = fields.version(1)
        if version != 1:
            raise MalformedBoxError("tfdt has 32 bits instead of 64")
        ticks = fields.uint(8)
        fields.end()
        return cls(ticks)
