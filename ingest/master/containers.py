"""What a master's container says about itself, read without a decoder.

Decoders stop politely where a file stops: ffmpeg decodes half a WAV with exit code 0. So the
length that a container declares is read here, byte by byte, and the meters compare it with
what was decoded. Each reader raises `MasterRejectedError` when the declaration itself shows that
bytes are missing.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from core.errors import MasterRejectedError

TRUNCATED_HINT = "the transfer broke off: deliver the file again and compare checksums"
UNKNOWN_LENGTH_HINT = "it was written to a pipe; export it again to a file"
MAX_OGG_PAGE_SIZE = 65_307
"""Bytes: 27 of header, 255 lacing values, 255 segments of 255 bytes (RFC 3533, 6)."""
COMM_SIZE = 18
"""Bytes of AIFF's COMM chunk; AIFF-C has more."""
XING_SEARCH_SIZE = 8192
"""Bytes of the first MPEG frame and what may stand before it."""


class Container(StrEnum):
    """File formats a master may come in; values are ffmpeg's demuxer names."""

    WAV = "wav"
    AIFF = "aiff"
    FLAC = "flac"
    MP3 = "mp3"
    OGG = "ogg"
    MP4 = "mov"


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a container promises about its audio.

    Attributes:
        samples: Per channel; None if the container does not say (the decoder's library may).
        bit_depth: Valid bits of an integer sample; None for float and lossy codecs.
        length_known: False if even the demuxer can only estimate the length.
        pcm_md5: Of the decoded, interleaved, little-endian integers (FLAC only).
    """

    samples: int | None = None
    bit_depth: int | None = None
    length_known: bool = True
    pcm_md5: bytes | None = None


_MAGIC = {
    Container.WAV: rb"(RIFF|RF64|BW64)....WAVE",
    Container.AIFF: rb"FORM....AIF[FC]",
    Container.FLAC: rb"fLaC",
    Container.OGG: rb"OggS",
    Container.MP4: rb"....ftyp",
    Container.MP3: rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]",  # ID3v2, or the sync word of layer III
}


def sniff(head: bytes) -> Container | None:
    """The container that the first twelve bytes announce; file names lie, so they are ignored."""
    return next((c for c, magic in _MAGIC.items() if re.match(magic, head, re.DOTALL)), None)


def declaration(path: Path, container: Container) -> Declaration:
    """Read what the file declares.

    Raises:
        MasterRejectedError: Bytes that the container promises are not there.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        return _READERS[container](file, size)


def _truncated(present: int, promised: int) -> MasterRejectedError:
    return MasterRejectedError(
        f"truncated: {present} of {promised} bytes of audio are present", hint=TRUNCATED_HINT
    )


def _malformed(what: str) -> MasterRejectedError:
    return MasterRejectedError(f"damaged: {what}", hint="export the master again")


def _chunks(file: BinaryIO, *, big_endian: bool) -> Iterator[tuple[bytes, int, int]]:
    """Each IFF or RIFF chunk as fourcc, offset of its body and declared size."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        start, size = file.tell(), int.from_bytes(head[4:], "big" if big_endian else "little")
        yield head[:4], start, size
        file.seek(start + size + (size & 1))


def _wav(file: BinaryIO, size: int) -> Declaration:
    """RIFF, RF64 and BW64 (EBU Tech 3306): the size of `data` against the bytes present."""
    block_align = bits = sample_format = 0
    long_size: int | None = None
    for fourcc, start, length in _chunks(file, big_endian=False):
        body = file.read(40) if fourcc in (b"fmt ", b"ds64") else b""
        if fourcc == b"ds64":
            long_size = int.from_bytes(body[8:16], "little")
        elif fourcc == b"fmt " and len(body) >= 16:
            sample_format = int.from_bytes(body[:2], "little")
            block_align = int.from_bytes(body[12:14], "little")
            bits = int.from_bytes(body[14:16], "little")
            if sample_format == 0xFFFE:  # WAVE_FORMAT_EXTENSIBLE: the GUID starts with the format
                bits = int.from_bytes(body[18:20], "little") or bits
                sample_format = int.from_bytes(body[24:26], "little")
        elif fourcc == b"data":
            if not block_align:
                raise _malformed("there is no fmt chunk before the audio")
            promised = _wav_data_size(length, long_size)
            if start + promised > size:
                raise _truncated(size - start, promised)
            depth = bits if sample_format == 1 else None
            return Declaration(samples=promised // block_align, bit_depth=depth)
    raise _malformed("there is no data chunk")


def _wav_data_size(length: int, long_size: int | None) -> int:
    if length != 0xFFFFFFFF:
        return length
    if long_size is None:
        raise MasterRejectedError("the WAV header has no length", hint=UNKNOWN_LENGTH_HINT)
    return long_size


def _aiff(file: BinaryIO, size: int) -> Declaration:
    """AIFF and AIFF-C: COMM's numSampleFrames against the size of SSND."""
    frames: int | None = None
    channels = bits = present = 0
    floating = False
    for fourcc, start, length in _chunks(file, big_endian=True):
        if fourcc == b"COMM":
            body = file.read(22)
            if len(body) < COMM_SIZE:
                raise _truncated(len(body), COMM_SIZE)
            channels = int.from_bytes(body[:2], "big")
            frames = int.from_bytes(body[2:6], "big")
            bits = int.from_bytes(body[6:8], "big")
            floating = length > 18 and body[18:22].lower() in (b"fl32", b"fl64")
        elif fourcc == b"SSND" and start + length > size:
            raise _truncated(size - start, length)
        elif fourcc == b"SSND":
            present = length - 8
    if frames is None:
        raise _malformed("there is no COMM chunk")
    promised = frames * channels * ((bits + 7) // 8)
    if present < promised:
        raise _truncated(present, promised)
    return Declaration(samples=frames, bit_depth=None if floating else bits)


def _flac(file: BinaryIO, size: int) -> Declaration:
    """STREAMINFO (RFC 9639, 8.2): total samples and the MD5 of the decoded audio."""
    info = file.read(42)[8:]
    if len(info) < 34:
        raise _truncated(size, 42)
    packed = int.from_bytes(info[10:18], "big")
    return Declaration(
        samples=packed & ((1 << 36) - 1) or None,  # 0: unknown
        bit_depth=(packed >> 36 & 0x1F) + 1,
        pcm_md5=info[18:34] if any(info[18:34]) else None,
    )


def _mp3(file: BinaryIO, size: int) -> Declaration:
    """The Xing, Info or VBRI header: the demuxer reads its frames, we compare its bytes."""
    head = file.read(10)
    start = 0
    if head[:3] == b"ID3" and len(head) == 10:  # a size of four times seven bits (ID3v2, 3.1)
        start = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
    file.seek(start)
    frame = file.read(XING_SEARCH_SIZE)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    flags = int.from_bytes(frame[at + 4 : at + 8], "big")
    if at >= 0 and flags & 2:  # the number of bytes is given
        offset = at + 8 + 4 * (flags & 1)
        promised = int.from_bytes(frame[offset : offset + 4], "big")
        if start + promised > size:
            raise _truncated(size - start, promised)
    return Declaration(length_known=at >= 0 or b"VBRI" in frame)


def _ogg(file: BinaryIO, size: int) -> Declaration:
    """The last page must be marked as the end of the stream (RFC 3533, 6)."""
    file.seek(max(0, size - MAX_OGG_PAGE_SIZE))
    tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0 or len(tail) < at + 27:
        raise MasterRejectedError("truncated: the last Ogg page is cut", hint=TRUNCATED_HINT)
    body = at + 27 + tail[at + 26]
    if not tail[at + 5] & 4 or body + sum(tail[at + 27 : body]) > len(tail):
        raise MasterRejectedError(
            "truncated: the Ogg stream has no end-of-stream page", hint=TRUNCATED_HINT
        )
    return Declaration()


def _mp4(file: BinaryIO, size: int) -> Declaration:
    """Every top-level box must fit, and `moov` must be there (ISO/IEC 14496-12, 4.2)."""
    offset, seen = 0, set[bytes]()
    while offset + 8 <= size:
        file.seek(offset)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:
            length = size - offset
        if length < 8 or offset + length > size:
            raise _truncated(size - offset, length)
        seen.add(head[4:8])
        offset += length
    if b"moov" not in seen:
        raise MasterRejectedError("truncated: there is no moov box", hint=TRUNCATED_HINT)
    return Declaration()


_READERS: dict[Container, Callable[[BinaryIO, int], Declaration]] = {
    Container.WAV: _wav,
    Container.AIFF: _aiff,
    Container.FLAC: _flac,
    Container.MP3: _mp3,
    Container.OGG: _ogg,
    Container.MP4: _mp4,
}
