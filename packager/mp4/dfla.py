"""FLAC Specific Box. Encapsulation of FLAC in ISO Base Media File Format 0.0.4, 3.3.2."""

from dataclasses import dataclass
from typing import ClassVar, Self

from core.errors import MalformedBoxError
from packager.mp4.grammar import Bytes, Fields, full_box

STREAMINFO_SIZE = 34
_LAST_BLOCK = 0x80
_MAX_BLOCKS = 128


@dataclass(frozen=True, slots=True)
class FlacConfig:
    """STREAMINFO alone (RFC 9639, 8.2): tags and pictures do not belong into a stream."""

    ENTRY: ClassVar[bytes] = b"fLaC"

    streaminfo: bytes

    def __post_init__(self) -> None:
        assert len(self.streaminfo) == STREAMINFO_SIZE

    @property
    def sample_rate(self) -> int:
        """In Hz, up to 20 bits: the sample entry cannot say more than 16."""
        return int.from_bytes(self.streaminfo[10:13], "big") >> 4

    @property
    def channels(self) -> int:
        """From 1 to 8."""
        return (self.streaminfo[12] >> 1 & 7) + 1

    @property
    def bit_depth(self) -> int:
        """From 1 to 32 (the format forbids less than 4)."""
        return (int.from_bytes(self.streaminfo[12:14], "big") >> 4 & 31) + 1

    @property
    def total_samples(self) -> int:
        """Per channel; 0 if the encoder did not know."""
        return int.from_bytes(self.streaminfo[13:18], "big") & (1 << 36) - 1

    def encode(self) -> bytes:
        """The whole box: one metadata block, marked as the last."""
        head = bytes((_LAST_BLOCK,)) + STREAMINFO_SIZE.to_bytes(3, "big")
        return full_box(b"dfLa", 0, 0, head, self.streaminfo)

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; further metadata blocks are dropped."""
        fields = Fields(payload)
        fields.version()
        kind, size = fields.uint(1), fields.uint(3)
        if kind & ~_LAST_BLOCK or size != STREAMINFO_SIZE:
            raise MalformedBoxError("dfLa does not start with STREAMINFO")
        streaminfo = fields.take(size)
        for _ in range(_MAX_BLOCKS):
            if kind & _LAST_BLOCK:
                break
            kind, size = fields.uint(1), fields.uint(3)
            fields.view(size)
        fields.end()
        return cls(streaminfo)
