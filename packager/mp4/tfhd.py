"""Track Fragment Header Box. ISO/IEC 14496-12:2022, 8.8.7."""

from dataclasses import dataclass
from typing import Self

from core.errors import MalformedBoxError
from packager.mp4.grammar import Bytes, Fields, full_box

_DEFAULT_BASE_IS_MOOF = 0x020000
_DEFAULT_DURATION = 0x08
_DEFAULT_FLAGS = 0x20
_DESCRIPTION_INDEX = 0x02
FLAGS = _DEFAULT_BASE_IS_MOOF | _DEFAULT_FLAGS | _DEFAULT_DURATION | _DESCRIPTION_INDEX


@dataclass(frozen=True, slots=True)
class TrackFragmentHeader:
    """Always the same four fields; sample flags 0 mean a sync sample that nothing depends on."""

    sample_duration: int
    track_id: int = 1
    description_index: int = 1

    def encode(self) -> bytes:
        """The whole box."""
        numbers = (self.track_id, self.description_index, self.sample_duration, 0)
        return full_box(b"tfhd", 0, FLAGS, b"".join(n.to_bytes(4, "big") for n in numbers))

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        fields = Fields(payload)
        _, flags = fields.version()
        if flags != FLAGS:
            raise MalformedBoxError(f"tfhd has flags {flags:#x} instead of {FLAGS:#x}")
        track_id, index, duration, sample_flags = (fields.uint(4) for _ in range(4))
        if sample_flags:
            raise MalformedBoxError("audio samples are marked as no sync samples")
        fields.end()
        return cls(duration, track_id, index)
