"""Sample Encryption Box: the IV of each sample. ISO/IEC 23001-7:2023, 7.2."""

from dataclasses import dataclass
from typing import Self

from core.errors import MalformedBoxError
from packager.mp4.grammar import Bytes, Fields, full_box


@dataclass(frozen=True, slots=True)
class SampleEncryption:
    """No subsamples in audio; `ivs` is empty where a constant IV serves all samples."""

    sample_count: int
    ivs: bytes = b""

    def encode(self) -> bytes:
        """The whole box, flags 0."""
        return full_box(b"senc", 0, 0, self.sample_count.to_bytes(4, "big"), self.ivs)

    @classmethod
    def decode(cls, payload: Bytes, iv_size: int) -> Self:
        """Read what `encode` wrote after the header, for the `iv_size` of `tenc`."""
        fields = Fields(payload)
        _, flags = fields.version()
        if flags:
            raise MalformedBoxError(f"senc has flags {flags:#x}: audio has no subsamples")
        count = fields.uint(4)
        ivs = fields.take(count * iv_size)
        fields.end()
        return cls(count, ivs)
