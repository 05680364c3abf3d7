"""Media Header Box. ISO/IEC 14496-12:2022, 8.4.2."""

from dataclasses import dataclass
from typing import Self

from packager.mp4.grammar import Bytes, Fields, full_box

UNDETERMINED = 0x55C4
"""The language ``und`` in three times five bits."""


@dataclass(frozen=True, slots=True)
class MediaHeader:
    """The timescale of media time; `duration` 0 in a fragmented file."""

    timescale: int
    duration: int = 0
    language: int = UNDETERMINED

    def encode(self) -> bytes:
        """The whole box; version 1 for a duration of more than 32 bits."""
        version = int(self.duration >= 1 << 32)
        width = 8 if version else 4
        return full_box(
            b"mdhd",
            version,
            0,
            bytes(2 * width),  # creation and modification time
            self.timescale.to_bytes(4, "big"),
            self.duration.to_bytes(width, "big"),
            self.language.to_bytes(2, "big"),
            bytes(2),
        )

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        fields = Fields(payload)
        version, _ = fields.version(1)
        width = 8 if version else 4
        fields.view(2 * width)
        timescale, duration, language = fields.uint(4), fields.uint(width), fields.uint(2)
        fields.view(2)
        fields.end()
        return cls(timescale, duration, language)
