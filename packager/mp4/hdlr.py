"""Handler Reference Box. ISO/IEC 14496-12:2022, 8.4.3."""

from dataclasses import dataclass
from typing import Self

from packager.mp4.grammar import Bytes, Fields, full_box


@dataclass(frozen=True, slots=True)
class Handler:
    """What kind of media a track holds; `soun` for audio. *name* is raw, without its NUL."""

    kind: bytes = b"soun"
    name: bytes = b"SoundHandler"

    def encode(self) -> bytes:
        """The whole box."""
        return full_box(b"hdlr", 0, 0, bytes(4), self.kind, bytes(12), self.name, b"\0")

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        fields = Fields(payload)
        fields.version()
        fields.view(4)
        kind = fields.take(4)
        fields.view(12)
        return cls(kind, fields.take(fields.left).removesuffix(b"\0"))
