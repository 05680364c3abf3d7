"""Opus Specific Box. Encapsulation of Opus in ISO Base Media File Format 0.6.8, 4.3.2."""

from dataclasses import dataclass
from typing import ClassVar, Self

from core.errors import MalformedBoxError
from packager.mp4.grammar import Bytes, Fields, box


@dataclass(frozen=True, slots=True)
class OpusConfig:
    """Big-endian and version 0, unlike the OpusHead of Ogg.

    Attributes:
        pre_skip: Samples at 48 kHz; for information, as the edit list does the trimming.
        mapping: Stream count, coupled count and channel mapping; empty for family 0.
    """

    ENTRY: ClassVar[bytes] = b"Opus"

    channels: int
    pre_skip: int
    input_sample_rate: int
    output_gain: int = 0
    family: int = 0
    mapping: bytes = b""

    def encode(self) -> bytes:
        """The whole box."""
        assert len(self.mapping) == (2 + self.channels if self.family else 0)
        return box(
            b"dOps",
            bytes((0, self.channels)),
            self.pre_skip.to_bytes(2, "big"),
            self.input_sample_rate.to_bytes(4, "big"),
            self.output_gain.to_bytes(2, "big", signed=True),
            bytes((self.family,)),
            self.mapping,
        )

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        fields = Fields(payload)
        if fields.uint(1) != 0:
            raise MalformedBoxError("dOps has another version than 0")
        channels, pre_skip, rate = fields.uint(1), fields.uint(2), fields.uint(4)
        gain, family = fields.sint(2), fields.uint(1)
        if not channels:
            raise MalformedBoxError("dOps has no channels")
        mapping = fields.take(2 + channels) if family else b""
        fields.end()
        return cls(channels, pre_skip, rate, gain, family, mapping)
