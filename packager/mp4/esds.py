"""ES Descriptor Box of MPEG-4 audio. ISO/IEC 14496-14:2020, 6.7.2; descriptors: 14496-1, 7.2.6."""

from dataclasses import dataclass
from typing import ClassVar, Self

from core.errors import MalformedBoxError
from packager.mp4.grammar import Bytes, Fields, full_box

MPEG4_AUDIO = 0x40
_AUDIO_STREAM = 0x15
_ES, _DECODER_CONFIG, _SPECIFIC_INFO, _SL_CONFIG = 3, 4, 5, 6
_SL_MP4 = 2


@dataclass(frozen=True, slots=True)
class AacConfig:
    """What an AAC decoder needs.

    Attributes:
        specific: AudioSpecificConfig as the encoder wrote it (ISO/IEC 14496-3, 1.6.2.1).
        max_bps: Largest bitrate over one second; 0 if unknown.
        average_bps: 0 if unknown.
    """

    ENTRY: ClassVar[bytes] = b"mp4a"

    specific: bytes
    max_bps: int = 0
    average_bps: int = 0
    buffer_size: int = 0

    def encode(self) -> bytes:
        """The whole box, ES_ID 0."""
        decoder = _descriptor(
            _DECODER_CONFIG,
            bytes((MPEG4_AUDIO, _AUDIO_STREAM))
            + self.buffer_size.to_bytes(3, "big")
            + self.max_bps.to_bytes(4, "big")
            + self.average_bps.to_bytes(4, "big")
            + _descriptor(_SPECIFIC_INFO, self.specific),
        )
        stream = bytes(3) + decoder + _descriptor(_SL_CONFIG, bytes((_SL_MP4,)))
        return full_box(b"esds", 0, 0, _descriptor(_ES, stream))

    @classmethod
    def decode(cls, payload: Bytes) -> Self:
        """Read what `encode` wrote after the header; raise MalformedBoxError, nothing else."""
        fields = Fields(payload)
        fields.version()
        stream = _read(fields, _ES)
        stream.view(2)
        if stream.uint(1) & 0xE0:  # dependencies, URL, clock reference: never in MP4 audio
            raise MalformedBoxError("esds has optional fields")
        decoder = _read(stream, _DECODER_CONFIG)
        if decoder.uint(1) != MPEG4_AUDIO or decoder.uint(1) >> 2 != _AUDIO_STREAM >> 2:
            raise MalformedBoxError("esds does not describe MPEG-4 audio")
        buffer_size, max_bps, average_bps = decoder.uint(3), decoder.uint(4), decoder.uint(4)
        specific = bytes(_read(decoder, _SPECIFIC_INFO).rest())
        return cls(specific, max_bps, average_bps, buffer_size)


def _descriptor(tag: int, body: bytes) -> bytes:
    """A tag, an expandable length of seven bits a byte (8.3.3) and *body*."""
    size = len(body)
    length = bytes((size & 0x7F,))
    while size := size >> 7:
        length = bytes((size & 0x7F | 0x80,)) + length
    return bytes((tag,)) + length + body


def _read(fields: Fields, tag: int) -> Fields:
    """Step into the descriptor that comes next, which must be a *tag*."""
    if fields.uint(1) != tag:
        raise MalformedBoxError(f"descriptor {tag} is missing in esds")
    size = 0
    for _ in range(4):
        byte = fields.uint(1)
        size = size << 7 | byte & 0x7F
        if not byte & 0x80:
            break
    return Fields(fields.view(size))
