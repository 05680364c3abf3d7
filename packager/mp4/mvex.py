"""Movie Extends Box: what fragments inherit. ISO/IEC 14496-12:2022, 8.8.1 to 8.8.3."""

from dataclasses import dataclass
from typing import Self

from packager.mp4.grammar import Bytes, Fields, box, full_box, only, optional, read_boxes


@dataclass(frozen=True, slots=True)
class MovieExtends:
    """`mvex{mehd?, trex}`; flags 0 mean that every sample is a sync sample.

    Attributes:
        duration: Of the whole presentation, in movie ticks; None if it is not known.
        sample_duration: Default of the fragments, in media ticks.
    """

    duration: int | None
    sample_duration: int
    track_id: int = 1

    def encode(self) -> bytes:
        """The whole box."""
        mehd = b""
        if self.duration is not None:
            version = int(self.duration >= 1 << 32)
            mehd = full_box(b"mehd", version, 0, self.duration.to_bytes(8 if version else 4, "big"))
        numbers = (self.track_id, 1, self.sample_duration, 0, 0)
        trex = full_box(b"trex", 0, 0, b"".join(n.to_bytes(4, "big") for n in numbers))
        return box(b"mvex", mehd, trex)

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        boxes = read_boxes(payload)
        duration = None
        if (mehd := optional(boxes, b"mehd")) is not None:
            fields = Fields(mehd)
            version, _ = fields.version(1)
            duration = fields.uint(8 if version else 4)
            fields.end()
        fields = Fields(only(boxes, b"trex"))
        fields.version()
        track_id, _, sample_duration, _, _ = (fields.uint(4) for _ in range(5))
        fields.end()
        return cls(duration, sample_duration, track_id)
