"""Edit List Box: where in the media the presentation starts. ISO/IEC 14496-12:2022, 8.6.6."""

from dataclasses import dataclass
from typing import NamedTuple, Self

from core.errors import MalformedBoxError
from packager.mp4.grammar import Bytes, Fields, full_box

MAX_EDITS = 1024


class Edit(NamedTuple):
    """`duration` counts movie ticks (0: to the end), `media_time` media ticks (-1: silence)."""

    duration: int
    media_time: int


@dataclass(frozen=True, slots=True)
class EditList:
    """Edits at normal speed, one after the other."""

    edits: tuple[Edit, ...]

    def encode(self) -> bytes:
        """The whole box; version 1 if a number needs more than 32 bits."""
        wide = any(e.duration >= 1 << 32 or e.media_time >= 1 << 31 for e in self.edits)
        width = 8 if wide else 4
        entries = (
            e.duration.to_bytes(width, "big")
            + e.media_time.to_bytes(width, "big", signed=True)
            + b"\x00\x01\x00\x00"
            for e in self.edits
        )
        return full_box(b"elst", int(wide), 0, len(self.edits).to_bytes(4, "big"), *entries)

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        fields = Fields(payload)
        version, _ = fields.version(1)
        width = 8 if version else 4
        count = fields.uint(4)
        if count > MAX_EDITS:
            raise MalformedBoxError(f"{count} edits are more than {MAX_EDITS}")
        edits: list[Edit] = []
        for _ in range(count):
            edits.append(Edit(fields.uint(width), fields.sint(width)))
            if fields.take(4) != b"\x00\x01\x00\x00":
                raise MalformedBoxError("an edit plays at another speed than 1")
        fields.end()
        return cls(tuple(edits))
