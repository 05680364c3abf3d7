"""ALAC Specific Box: Apple's magic cookie, all of it big-endian."""

from dataclasses import dataclass
from typing import ClassVar, Self

from core.errors import MalformedBoxError
from packager.mp4.grammar import Bytes, Fields, full_box

COOKIE_SIZE = 24


@dataclass(frozen=True, slots=True)
class AlacConfig:
    """ALACSpecificConfig, as the reference decoder reads it."""

    ENTRY: ClassVar[bytes] = b"alac"

    cookie: bytes

    def __post_init__(self) -> None:
        assert len(self.cookie) == COOKIE_SIZE

    @property
    def bit_depth(self) -> int:
        """16, 20, 24 or 32."""
        return self.cookie[5]

    @property
    def channels(self) -> int:
        """Up to 8."""
        return self.cookie[9]

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return int.from_bytes(self.cookie[20:24], "big")

    def encode(self) -> bytes:
        """The whole box."""
        return full_box(b"alac", 0, 0, self.cookie)

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; a channel layout after it is dropped."""
        fields = Fields(payload)
        fields.version()
        if fields.left < COOKIE_SIZE:
            raise MalformedBoxError("the ALAC cookie is too short")
        return cls(fields.take(COOKIE_SIZE))
