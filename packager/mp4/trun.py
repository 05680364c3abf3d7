"""Track Run Box: the samples of a fragment. ISO/IEC 14496-12:2022, 8.8.8."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

from core.errors import MalformedBoxError
from packager.mp4.grammar import Bytes, Fields, big_endian, big_endian_array, full_box

_DATA_OFFSET = 0x001
_DURATIONS = 0x100
_SIZES = 0x200
MAX_SAMPLES = 1 << 20


@dataclass(frozen=True, slots=True)
class TrackRun:
    """Sizes in bytes; `durations` in ticks, or empty if all are the `tfhd` default.

    `data_offset` counts from the start of the `moof`.
    """

    data_offset: int
    sizes: Sequence[int]
    durations: Sequence[int] = ()

    def __post_init__(self) -> None:
        assert len(self.durations) in (0, len(self.sizes))

    def encode(self) -> bytes:
        """The whole box."""
        numbers, flags = array("I", self.sizes), _DATA_OFFSET | _SIZES
        if self.durations:
            pairs = zip(self.durations, self.sizes, strict=True)
            numbers, flags = array("I", chain.from_iterable(pairs)), flags | _DURATIONS
        return full_box(
            b"trun",
            0,
            flags,
            len(self.sizes).to_bytes(4, "big"),
            self.data_offset.to_bytes(4, "big", signed=True),
            big_endian(numbers),
        )

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        fields = Fields(payload)
        _, flags = fields.version()
        if flags & ~_DURATIONS != _DATA_OFFSET | _SIZES:
            raise MalformedBoxError(f"trun has flags {flags:#x}")
        count, offset = fields.uint(4), fields.sint(4)
        if count > MAX_SAMPLES:
            raise MalformedBoxError(f"{count} samples in a fragment are more than {MAX_SAMPLES}")
        width = 2 if flags & _DURATIONS else 1
        numbers = tuple(big_endian_array("I", fields.view(4 * count * width)))
        fields.end()
        if width == 1:
            return cls(offset, numbers)
        return cls(offset, numbers[1::2], numbers[0::2])
