"""Track Encryption Box: the default key and IV of a track. ISO/IEC 23001-7:2023, 8.2."""

import uuid
from dataclasses import dataclass
from typing import Self

from core.errors import MalformedBoxError
from core.ids import CONSTANT_IV_SIZES, SAMPLE_IV_SIZES
from packager.mp4.grammar import Bytes, Fields, full_box


@dataclass(frozen=True, slots=True)
class TrackEncryption:
    """Every sample is protected; `iv_size` 0 comes with a `constant_iv`."""

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

    def encode(self) -> bytes:
        """The whole box; version 1 for a constant IV, because Safari refuses cbcs without."""
        version = int(bool(self.constant_iv or self.crypt_blocks or self.skip_blocks))
        constant = bytes((len(self.constant_iv),)) + self.constant_iv if self.constant_iv else b""
        pattern = self.crypt_blocks << 4 | self.skip_blocks
        head = bytes((0, pattern, 1, self.iv_size))
        return full_box(b"tenc", version, 0, head, self.kid.bytes, constant)

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        fields = Fields(payload)
        version, _ = fields.version(1)
        _, pattern, protected, iv_size = fields.take(4)
        kid = uuid.UUID(bytes=fields.take(16))
        if protected != 1 or iv_size not in SAMPLE_IV_SIZES or (pattern and not version):
            raise MalformedBoxError("tenc describes no protected track")
        constant = b""
        if iv_size == 0:
            constant = fields.take(fields.uint(1))
            if len(constant) not in CONSTANT_IV_SIZES:
                raise MalformedBoxError(f"tenc has a constant IV of {len(constant)} bytes")
        fields.end()
        return cls(kid, iv_size, constant, pattern >> 4, pattern & 15)
