"""Sample Description Box with one audio sample entry. ISO/IEC 14496-12:2022, 8.5.2, 12.2.3."""

from dataclasses import dataclass
from typing import Self

from core.errors import MalformedBoxError
from packager.mp4.alac import AlacConfig
from packager.mp4.dfla import FlacConfig
from packager.mp4.dops import OpusConfig
from packager.mp4.esds import AacConfig
from packager.mp4.grammar import (
    HEADER_SIZE,
    Bytes,
    Fields,
    box,
    full_box,
    only,
    optional,
    read_boxes,
)
from packager.mp4.sinf import Protection

CodecConfig = AacConfig | OpusConfig | FlacConfig | AlacConfig

_CONFIGS: dict[bytes, tuple[bytes, type[CodecConfig]]] = {
    b"mp4a": (b"esds", AacConfig),
    b"Opus": (b"dOps", OpusConfig),
    b"fLaC": (b"dfLa", FlacConfig),
    b"alac": (b"alac", AlacConfig),
}


@dataclass(frozen=True, slots=True)
class AudioEntry:
    """`mp4a`, `Opus`, `fLaC`, `alac`, or `enca` when there is a `protection`.

    `sample_rate` is what the 16.16 field can say: the true rate of hi-res audio is in `config`.
    With `clear_lead`, the same entry without its protection follows, for fragments in the clear.
    """

    config: CodecConfig
    channels: int
    sample_size: int
    sample_rate: int
    protection: Protection | None = None
    clear_lead: bool = False

    def encode(self) -> bytes:
        """The whole `stsd`."""
        entries = [self._entry(self.protection)]
        if self.clear_lead:
            entries.append(self._entry(None))
        return full_box(b"stsd", 0, 0, len(entries).to_bytes(4, "big"), *entries)

    def _entry(self, protection: Protection | None) -> bytes:
        # the sinf follows the codec's box: readers that look for the first child depend on it
        return box(
            b"enca" if protection else self.config.ENTRY,
            bytes(6) + b"\x00\x01" + bytes(8),  # data reference 1; version 0
            self.channels.to_bytes(2, "big"),
            self.sample_size.to_bytes(2, "big"),
            bytes(4),
            (self.sample_rate << 16).to_bytes(4, "big"),
            self.config.encode(),
            protection.encode() if protection else b"",
        )

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        fields = Fields(payload)
        fields.version()
        count, boxes = fields.uint(4), read_boxes(fields.rest())
        if len(boxes) != count or not boxes:
            raise MalformedBoxError(f"stsd says {count} entries and has {len(boxes)}")
        entry = Fields(boxes[0].payload)
        entry.view(8)
        if entry.uint(2) != 0:
            raise MalformedBoxError("the sample entry is QuickTime's, not MP4's")
        entry.view(6)
        channels, sample_size = entry.uint(2), entry.uint(2)
        entry.view(4)
        rate = entry.uint(4) >> 16
        children = read_boxes(entry.rest())
        sinf = optional(children, b"sinf")
        protection = None if sinf is None else Protection.decode(sinf)
        if (boxes[0].fourcc == b"enca") != (protection is not None):
            raise MalformedBoxError("enca and sinf come together or not at all")
        name = protection.original if protection else boxes[0].fourcc
        if name not in _CONFIGS:
            raise MalformedBoxError(f"the codec {name!r} is not known")
        fourcc, reader = _CONFIGS[name]
        config = reader.decode(only(children, fourcc))
        found = cls(config, channels, sample_size, rate, protection, clear_lead=count > 1)
        # the only second entry that is known is the twin of the first
        if count > 1 and (protection is None or found.encode()[HEADER_SIZE:] != payload):
            raise MalformedBoxError("there is more than one sample entry")
        return found
