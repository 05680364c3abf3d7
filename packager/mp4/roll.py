"""Roll recovery groups: how many samples a decoder needs before it is right.

ISO/IEC 14496-12:2022, 8.9.2 (sbgp), 8.9.3 (sgpd), 10.1 (AudioRollRecoveryEntry).
"""

from dataclasses import dataclass
from typing import Self

from core.errors import MalformedBoxError
from packager.mp4.grammar import Bytes, Fields, full_box

_ROLL = b"roll"


@dataclass(frozen=True, slots=True)
class RollDescription:
    """`sgpd` with one entry: start decoding at `distance` samples, a negative number."""

    distance: int

    def encode(self) -> bytes:
        """The whole box: version 1, entries of two bytes."""
        lengths = b"\x00\x00\x00\x02\x00\x00\x00\x01"
        distance = self.distance.to_bytes(2, "big", signed=True)
        return full_box(b"sgpd", 1, 0, _ROLL, lengths, distance)

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        fields = Fields(payload)
        version, _ = fields.version(1)
        if version != 1 or fields.take(4) != _ROLL:
            raise MalformedBoxError("sgpd is not a roll group of version 1")
        if (fields.uint(4), fields.uint(4)) != (2, 1):
            raise MalformedBoxError("sgpd has not exactly one entry of two bytes")
        distance = fields.sint(2)
        fields.end()
        return cls(distance)


@dataclass(frozen=True, slots=True)
class RollMembers:
    """`sbgp` with one run: all `sample_count` samples belong to the first description."""

    sample_count: int

    def encode(self) -> bytes:
        """The whole box."""
        numbers = (1, self.sample_count, 1)
        return full_box(b"sbgp", 0, 0, _ROLL, *(n.to_bytes(4, "big") for n in numbers))

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        fields = Fields(payload)
        fields.version()
        if fields.take(4) != _ROLL or fields.uint(4) != 1:
            raise MalformedBoxError("sbgp is not one run of a roll group")
        sample_count, index = fields.uint(4), fields.uint(4)
        if index != 1:
            raise MalformedBoxError(f"sbgp names group {index} where there is only one")
        fields.end()
        return cls(sample_count)
