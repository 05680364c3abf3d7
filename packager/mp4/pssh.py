"""Protection System Specific Header Box. ISO/IEC 23001-7:2023, 8.1."""

import uuid
from dataclasses import dataclass
from typing import Self

from core.errors import MalformedBoxError
from packager.mp4.grammar import Box, Bytes, Fields, box, full_box

MAX_KIDS = 1024


@dataclass(frozen=True, slots=True)
class ProtectionHeader:
    """What one DRM system wants to know; version 1 if `kids` are listed."""

    system_id: uuid.UUID
    kids: tuple[uuid.UUID, ...] = ()
    data: bytes = b""

    def encode(self) -> bytes:
        """The whole box."""
        kids = b""
        if self.kids:
            kids = len(self.kids).to_bytes(4, "big") + b"".join(kid.bytes for kid in self.kids)
        size = len(self.data).to_bytes(4, "big")
        version = int(bool(self.kids))
        return full_box(b"pssh", version, 0, self.system_id.bytes, kids, size, self.data)

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        fields = Fields(payload)
        version, _ = fields.version(1)
        system_id = uuid.UUID(bytes=fields.take(16))
        count = fields.uint(4) if version else 0
        if count > MAX_KIDS:
            raise MalformedBoxError(f"{count} key IDs in one pssh are more than {MAX_KIDS}")
        kids = tuple(uuid.UUID(bytes=fields.take(16)) for _ in range(count))
        data = fields.take(fields.uint(4))
        fields.end()
        return cls(system_id, kids, data)


def pssh_boxes(boxes: list[Box]) -> tuple[bytes, ...]:
    """The `pssh` boxes among *boxes*, whole and checked."""
    found = [b.payload for b in boxes if b.fourcc == b"pssh"]
    for payload in found:
        ProtectionHeader.decode(payload)
    return tuple(box(b"pssh", payload) for payload in found)
