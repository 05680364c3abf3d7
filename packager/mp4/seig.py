"""The key of a run of samples: `sgpd` and `sbgp` of type `seig`. ISO/IEC 23001-7:2023, 6.

Both stand in the track fragment, so that a player may start at any of them.
"""

import uuid
from dataclasses import dataclass
from typing import Self

from core.errors import MalformedBoxError
from core.ids import CONSTANT_IV_SIZES, SAMPLE_IV_SIZES
from packager.mp4.grammar import Box, Bytes, Fields, full_box, optional
from packager.mp4.roll import RollMembers

SEIG = b"seig"
_IN_THIS_FRAGMENT = 0x10001
"""Index of the first description in the fragment itself (ISO/IEC 14496-12:2022, 8.9.4)."""
_HEAD_SIZE = 20


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """What all samples of a fragment share; as in `tenc`, `iv_size` 0 comes with a constant IV."""

    kid: uuid.UUID
    iv_size: int
    constant_iv: bytes = b""
    crypt_blocks: int = 0
    skip_blocks: int = 0

    def __post_init__(self) -> None:
        assert self.iv_size in SAMPLE_IV_SIZES
        assert len(self.constant_iv) in (CONSTANT_IV_SIZES if self.iv_size == 0 else (0,))
        assert 0 <= self.crypt_blocks < 16
        assert 0 <= self.skip_blocks < 16

    @property
    def size(self) -> int:
        """Bytes of both boxes."""
        constant = 1 + len(self.constant_iv) if self.constant_iv else 0
        return 24 + _HEAD_SIZE + constant + 28

    def encode(self, sample_count: int) -> bytes:
        """`sgpd` of version 1, then `sbgp`: the whole boxes."""
        constant = bytes((len(self.constant_iv),)) + self.constant_iv if self.constant_iv else b""
        pattern = self.crypt_blocks << 4 | self.skip_blocks
        entry = bytes((0, pattern, 1, self.iv_size)) + self.kid.bytes + constant
        lengths = len(entry).to_bytes(4, "big") + b"\x00\x00\x00\x01"
        numbers = (1, sample_count, _IN_THIS_FRAGMENT)
        return full_box(b"sgpd", 1, 0, SEIG, lengths, entry) + full_box(
            b"sbgp", 0, 0, SEIG, *(n.to_bytes(4, "big") for n in numbers)
        )

    @classmethod
    def decode(cls, sgpd: Bytes, sbgp: Bytes, sample_count: int) -> Self:
        """Read what `encode` wrote after the headers; raise MalformedBoxError, nothing else."""
        members = Fields(sbgp)
        members.version()
        found = (members.take(4), members.uint(4), members.uint(4), members.uint(4))
        members.end()
        if found != (SEIG, 1, sample_count, _IN_THIS_FRAGMENT):
            raise MalformedBoxError("sbgp does not give all samples of a fragment its own key")
        fields = Fields(sgpd)
        version, _ = fields.version(1)
        if version != 1 or fields.take(4) != SEIG:
            raise MalformedBoxError("sgpd is not a key group of version 1")
        length, count = fields.uint(4), fields.uint(4)
        if count != 1 or length != fields.left:
            raise MalformedBoxError("sgpd has not exactly one entry")
        _, pattern, protected, iv_size = fields.take(4)
        kid = uuid.UUID(bytes=fields.take(16))
        if protected != 1 or iv_size not in SAMPLE_IV_SIZES:
            raise MalformedBoxError("seig describes no protected samples")
        constant = b""
        if iv_size == 0:
            constant = fields.take(fields.uint(1))
            if len(constant) not in CONSTANT_IV_SIZES:
                raise MalformedBoxError(f"seig has a constant IV of {len(constant)} bytes")
        fields.end()
        return cls(kid, iv_size, constant, pattern >> 4, pattern & 15)


def read_groups(traf: list[Box], sample_count: int) -> tuple[bool, KeyGroup | None]:
    """Whether all samples are in the roll group, and the key they have of their own, if any.

    Raises:
        MalformedBoxError: There are other groups, or one of them twice.
    """
    sbgp = {bytes(b.payload[4:8]): b.payload for b in traf if b.fourcc == b"sbgp"}
    sgpd = optional(traf, b"sgpd")
    count = sum(b.fourcc == b"sbgp" for b in traf)
    if not sbgp.keys() <= {b"roll", SEIG} or count != len(sbgp) or (SEIG in sbgp) != bool(sgpd):
        raise MalformedBoxError("a fragment has groups that are not roll and seig")
    if b"roll" in sbgp and RollMembers.decode(sbgp[b"roll"]).sample_count != sample_count:
        raise MalformedBoxError("sbgp and trun count different samples")
    key = KeyGroup.decode(sgpd, sbgp[SEIG], sample_count) if sgpd else None
    return b"roll" in sbgp, key
