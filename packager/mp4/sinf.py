"""Protection Scheme Information Box. ISO/IEC 14496-12:2022, 8.12; ISO/IEC 23001-7:2023, 4."""

from dataclasses import dataclass
from typing import Self

from core.errors import MalformedBoxError
from core.model import Scheme
from packager.mp4.grammar import Bytes, Fields, box, full_box, only, read_boxes
from packager.mp4.tenc import TrackEncryption

SCHEME_VERSION = 0x00010000


@dataclass(frozen=True, slots=True)
class Protection:
    """`sinf{frma, schm, schi{tenc}}`; `original` is the sample entry's type in the clear."""

    original: bytes
    scheme: Scheme
    encryption: TrackEncryption

    def encode(self) -> bytes:
        """The whole box."""
        kind = self.scheme.value.encode() + SCHEME_VERSION.to_bytes(4, "big")
        return box(
            b"sinf",
            box(b"frma", self.original),
            full_box(b"schm", 0, 0, kind),
            box(b"schi", self.encryption.encode()),
        )

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        boxes = read_boxes(payload)
        original = Fields(only(boxes, b"frma"))
        schm = Fields(only(boxes, b"schm"))
        schm.version()
        name, version = schm.take(4), schm.uint(4)
        if version != SCHEME_VERSION or name not in _SCHEMES:
            raise MalformedBoxError(f"protection scheme {name!r} is not known")
        schi = read_boxes(only(boxes, b"schi"))
        tenc = TrackEncryption.decode(only(schi, b"tenc"))
        entry = original.take(4)
        original.end()
        return cls(entry, _SCHEMES[name], tenc)


_SCHEMES = {scheme.value.encode(): scheme for scheme in Scheme}
