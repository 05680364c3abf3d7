"""Encoded packets from any container, through FFmpeg's demuxers (PyAV).

Packets are spooled to an unnamed temporary file, not to memory, and mapped from there: a long file
costs disk space while it is being packaged.
"""

import mmap
import struct
import tempfile
from array import array
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import IO

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

from core.errors import InvalidInputError
from packager.encoded.track import (
    MAX_PACKET_SIZE,
    EncodedTrack,
    PacketTiming,
    describe,
    encoded_track,
    opus_samples,
)
from packager.mp4.alac import COOKIE_SIZE, AlacConfig
from packager.mp4.asc import PS, SBR, aac_kind, may_hide_sbr, with_sbr
from packager.mp4.dfla import STREAMINFO_SIZE, FlacConfig
from packager.mp4.dops import OpusConfig
from packager.mp4.esds import AacConfig
from packager.mp4.grammar import Bytes
from packager.mp4.stsd import CodecConfig

_ALAC_ATOM_HEADER = 12
_ADTS_SYNC = 0xFFF


@dataclass(slots=True)
class _Spool:
    """What came out of the demuxer; `durations` in the container's ticks, as runs."""

    file: IO[bytes]
    sizes: "array[int]" = field(default_factory=lambda: array("I"))
    runs: list[tuple[int, int]] = field(default_factory=list)
    skipped: int = 0
    discarded: int = 0

    def add(self, packet: Bytes, ticks: int) -> None:
        if not 0 < len(packet) <= MAX_PACKET_SIZE:
            raise InvalidInputError(f"a packet has {len(packet)} bytes")
        self.file.write(packet)
        self.sizes.append(len(packet))
        if self.runs and self.runs[-1][1] == ticks:
            self.runs[-1] = (self.runs[-1][0] + 1, ticks)
        elif len(self.runs) < 3:  # three are refused already: packets must last equally long
            self.runs.append((1, ticks))

    def mapped(self) -> memoryview:
        self.file.flush()
        return memoryview(mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ))


def read(path: Path, *, samples: int | None = None, priming: int | None = None) -> EncodedTrack:
    """Read the first audio stream of *path*; see `packager.encoded.source.read_any`."""
    try:
        with (
            av.open(str(path), metadata_errors="replace") as container,
            tempfile.TemporaryFile() as file,
        ):
            if not container.streams.audio:
                raise InvalidInputError("there is no audio stream")
            stream = container.streams.audio[0]
            spool = _Spool(file)
            config = _drain(container, stream, spool)
            return _track(stream, config, spool, samples, priming)
    except av.FFmpegError as error:
        raise InvalidInputError(
            f"cannot be read: {error.strerror}", hint="is it whole, and no other kind of file?"
        ) from error


def _track(
    stream: AudioStream,
    config: CodecConfig,
    spool: _Spool,
    samples: int | None,
    priming: int | None,
) -> EncodedTrack:
    timescale = describe(config)[2]
    skipped = spool.skipped if priming is None else priming
    media = sum(count * ticks for count, ticks in spool.runs)
    timing = PacketTiming(
        timescale,
        tuple(spool.runs),
        skipped,
        media - skipped - spool.discarded if samples is None else samples,
    )
    return encoded_track(config, stream.codec_context.channels, spool.sizes, spool.mapped(), timing)


def _drain(container: InputContainer, stream: AudioStream, spool: _Spool) -> CodecConfig:
    """Take all packets; what their decoder needs comes with the stream or with the first one."""
    config: CodecConfig | None = None
    clock: _Clock | None = None
    for packet in container.demux(stream):
        if not packet.size:  # the demuxer's end mark
            continue
        data = memoryview(packet)
        if config is None or clock is None:
            config = _config(stream, bytes(data[:7]))
            clock = _Clock(config, Fraction(stream.time_base or 0))
        if isinstance(config, AacConfig) and not stream.codec_context.extradata:
            data = _without_adts_header(data)
        ticks, trimmed = clock.measure(data, packet.duration or 0)
        skip, discard = _skip_samples(packet)
        spool.skipped += skip
        spool.discarded += max(discard, trimmed)
        spool.add(data, ticks)
    if config is None:
        raise InvalidInputError("the audio stream is empty")
    return config


class _Clock:
    """Durations in samples: from the codec where it knows, else from the container."""

    def __init__(self, config: CodecConfig, time_base: Fraction) -> None:
        self._config = config
        rate = describe(config)[2]
        # of HE-AAC, some containers count the core's samples: half as many
        self._scale = int(time_base * rate) if time_base * rate in (1, 2) else None
        if isinstance(config, AacConfig):
            object_type = aac_kind(config.specific).object_type
            self._frame = 2048 if object_type in (SBR, PS) else 1024

    def measure(self, packet: Bytes, duration: int) -> tuple[int, int]:
        """Samples that *packet* decodes to, and how many of them the container cuts off."""
        match self._config:
            case AacConfig():
                frame = self._frame
            case OpusConfig():
                frame = opus_samples(packet)
            case _:  # a lossless packet decodes to exactly what the container says
                if self._scale is None:
                    raise InvalidInputError(
                        "the container rounds durations", hint="remux to MP4, Ogg or FLAC"
                    )
                return duration * self._scale, 0
        kept = duration * (self._scale or 0)
        return frame, frame - kept if 0 < kept < frame else 0


def _skip_samples(packet: "av.Packet[AudioStream]") -> tuple[int, int]:
    """Samples to drop from the start and the end of *packet* (AV_PKT_DATA_SKIP_SAMPLES)."""
    for side in packet.iter_sidedata():
        if side.data_type == "skip_samples":
            skip, discard = struct.unpack_from("<II", bytes(side))
            return skip, discard
    return 0, 0


def _config(stream: AudioStream, head: bytes) -> CodecConfig:
    extradata = stream.codec_context.extradata or b""
    name = stream.codec_context.name
    if name == "aac":
        return AacConfig(_with_hidden_sbr(extradata or _adts_config(head), stream))
    if name in ("opus", "libopus"):
        return _opus_config(extradata)
    if name == "flac" and len(extradata) == STREAMINFO_SIZE:
        return FlacConfig(extradata)
    if name == "alac" and len(extradata) >= _ALAC_ATOM_HEADER + COOKIE_SIZE:
        return AlacConfig(extradata[_ALAC_ATOM_HEADER:][:COOKIE_SIZE])
    raise InvalidInputError(
        f"the codec {name} cannot be packaged", hint="AAC, Opus, FLAC and ALAC can"
    )


def _with_hidden_sbr(specific: bytes, stream: AudioStream) -> bytes:
    """A configuration that tells of SBR where FFmpeg has found it in the packets.

    An ADTS header, and some MP4s, tell of the core alone: half the rate, and one channel of two.
    """
    kind, context = aac_kind(specific), stream.codec_context
    if not may_hide_sbr(specific) or context.sample_rate != 2 * kind.sample_rate:
        return specific
    return with_sbr(specific, parametric_stereo=context.channels > kind.channels)


def _opus_config(head: bytes) -> OpusConfig:
    """From OpusHead, which is little-endian (RFC 7845, 5.1), unlike `dOps`."""
    if len(head) < 19 or head[:8] != b"OpusHead":
        raise InvalidInputError("the Opus stream has no OpusHead")
    channels, pre_skip, rate, gain, family = struct.unpack_from("<BHIhB", head, 9)
    mapping = head[19 : 21 + channels] if family else b""
    if not channels or (family and len(mapping) != 2 + channels):
        raise InvalidInputError("OpusHead is cut short")
    return OpusConfig(channels, pre_skip, rate, gain, family, mapping)


def _adts_config(head: bytes) -> bytes:
    """The AudioSpecificConfig that an ADTS header implies (ISO/IEC 14496-3, 1.A.2.2)."""
    if len(head) < 7 or int.from_bytes(head[:2], "big") >> 4 != _ADTS_SYNC:
        raise InvalidInputError("the AAC stream has neither a configuration nor ADTS headers")
    bits = int.from_bytes(head, "big")
    profile, rate, channels = bits >> 38 & 3, bits >> 34 & 15, bits >> 30 & 7
    return (profile + 1 << 11 | rate << 7 | channels << 3).to_bytes(2, "big")


def _without_adts_header(packet: memoryview) -> memoryview:
    if len(packet) < 9 or int.from_bytes(packet[:2], "big") >> 4 != _ADTS_SYNC:
        raise InvalidInputError("an AAC packet has no ADTS header")
    if packet[6] & 3:
        raise InvalidInputError("an ADTS frame holds more than one raw data block")
    return packet[7 if packet[1] & 1 else 9 :]
