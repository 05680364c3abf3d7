"""Movie Header Box. ISO/IEC 14496-12:2022, 8.2.2."""

from dataclasses import dataclass
from typing import Self

from packager.mp4.grammar import Bytes, Fields, full_box

UNITY_MATRIX = bytes.fromhex(
    "00010000 00000000 00000000 00000000 00010000 00000000 00000000 00000000 40000000"
)


@dataclass(frozen=True, slots=True)
class MovieHeader:
    """Dates are 0 (1904): the same input gives the same bytes."""

    timescale: int
    duration: int = 0
    next_track_id: int = 2

    def encode(self) -> bytes:
        """The whole box; version 1 for a duration of more than 32 bits."""
        version = int(self.duration >= 1 << 32)
        width = 8 if version else 4
        return full_box(
            b"mvhd",
            version,
            0,
            bytes(2 * width),  # creation and modification time
            self.timescale.to_bytes(4, "big"),
            self.duration.to_bytes(width, "big"),
            b"\x00\x01\x00\x00\x01\x00" + bytes(10),  # rate 1.0, volume 1.0
            UNITY_MATRIX,
            bytes(24),
            self.next_track_id.to_bytes(4, "big"),
        )

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        fields = Fields(payload)
        version, _ = fields.version(1)
        width = 8 if version else 4
        fields.view(2 * width)
        timescale, duration = fields.uint(4), fields.uint(width)
        fields.view(16 + len(UNITY_MATRIX) + 24)
        next_track_id = fields.uint(4)
        fields.end()
        return cls(timescale, duration, next_track_id)
