"""Track Header Box of an audio track. ISO/IEC 14496-12:2022, 8.3.2."""

from dataclasses import dataclass
from typing import Self

from packager.mp4.grammar import Bytes, Fields, full_box
from packager.mp4.mvhd import UNITY_MATRIX

ENABLED_IN_MOVIE_AND_PREVIEW = 7


@dataclass(frozen=True, slots=True)
class TrackHeader:
    """Dates are 0; width and height too, as audio has none."""

    track_id: int = 1
    duration: int = 0

    def encode(self) -> bytes:
        """The whole box; version 1 for a duration of more than 32 bits."""
        version = int(self.duration >= 1 << 32)
        width = 8 if version else 4
        return full_box(
            b"tkhd",
            version,
            ENABLED_IN_MOVIE_AND_PREVIEW,
            bytes(2 * width),  # creation and modification time
            self.track_id.to_bytes(4, "big"),
            bytes(4),
            self.duration.to_bytes(width, "big"),
            bytes(12) + b"\x01\x00\x00\x00",  # layer, alternate group; volume 1.0
            UNITY_MATRIX,
            bytes(8),
        )

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        fields = Fields(payload)
        version, _ = fields.version(1)
        width = 8 if version else 4
        fields.view(2 * width)
        track_id = fields.uint(4)
        fields.view(4)
        duration = fields.uint(width)
        fields.view(16 + len(UNITY_MATRIX) + 8)
        fields.end()
        return cls(track_id, duration)
