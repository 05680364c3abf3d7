"""Track Run Box: the samples of a fragment. ISO/IEC 14496-12:2022, 8.8.8."""

import struct
from dataclasses import dataclass
from itertools import chain
from typing import Self

from core.errors import MalformedBoxError
from packager.mp4.grammar import Bytes, Fields, full_box

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
    sizes: tuple[int, ...]
    durations: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        assert len(self.durations) in (0, len(self.sizes))

    def encode(self) -> bytes:
        """The whole box."""
        count, numbers, flags = len(self.sizes), self.sizes, _DATA_OFFSET | _SIZES
        if self.durations:
            numbers = tuple(chain.from_iterable(zip(self.durations, self.sizes, strict=True)))
            flags |= _DURATIONS
        body = struct.pack(f">Ii{len(numbers)}I", count, self.data_offset, *numbers)
        return full_box(b"trun", 0, flags, body)

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
        numbers = struct.unpack(f">{count * width}I", fields.view(4 * count * width))
        fields.end()
        if width == 1:
            return cls(offset, numbers)
        return cls(offset, numbers[1::2], numbers[0::2])
