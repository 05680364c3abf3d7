"""Encoded audio as a value: packets of one codec, their sizes, and the gapless numbers.

Every reader ends in `encoded_track`, which admits what can be cut into segments and nothing else.
"""

from array import array
from dataclasses import dataclass, replace

from core.errors import InvalidInputError
from core.model import Codec, Timing
from packager.mp4.alac import AlacConfig
from packager.mp4.asc import aac_kind
from packager.mp4.dfla import FlacConfig
from packager.mp4.dops import OpusConfig
from packager.mp4.esds import AacConfig
from packager.mp4.grammar import Bytes
from packager.mp4.stsd import CodecConfig

OPUS_RATE = 48_000
MAX_PACKET_SIZE = 1 << 24
"""Bytes; a FLAC block of 65,535 samples in eight channels of 24 bits has 1.6 MB."""
_OPUS_FRAME_SAMPLES = (
    *(480, 960, 1920, 2880) * 3,  # SILK
    *(480, 960) * 2,  # hybrid
    *(120, 240, 480, 960) * 4,  # CELT
)
"""Samples of a frame at 48 kHz, by configuration number (RFC 6716, 3.1)."""
_WHOLE_LAST_FRAME = frozenset((Codec.AAC, Codec.OPUS))
"""Codecs that always decode to full frames; the lossless ones have a short last block."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedTrack:
    """One encoder's output.

    Attributes:
        codecs: RFC 6381 string in the spelling of DASH.
        sample_rate: In Hz, of what a decoder puts out; `timing.timescale` counts media time.
        bit_depth: Of lossless codecs.
        frame_samples: Ticks of every packet but perhaps the last.
        sizes: Bytes of each packet.
        payload: All packets, one after the other; a memory map where the source is a file.
    """

    config: CodecConfig
    codec: Codec
    codecs: str
    sample_rate: int
    channels: int
    bit_depth: int | None
    frame_samples: int
    sizes: "array[int]"
    payload: memoryview
    timing: Timing

    @property
    def last_frame_samples(self) -> int:
        """Ticks of the last packet: a full frame except in lossless codecs."""
        return self.timing.media_ticks - (len(self.sizes) - 1) * self.frame_samples


@dataclass(frozen=True, slots=True)
class PacketTiming:
    """What a container says about time, in ticks of `timescale`.

    Attributes:
        runs: (packets, ticks of each), equal neighbours joined.
        samples: Length of the music, or None to take all that follows the priming.
    """

    timescale: int
    runs: tuple[tuple[int, int], ...]
    priming: int
    samples: int | None

    def doubled(self) -> "PacketTiming":
        """In samples that come out of SBR, where the container counts those that go in."""
        return PacketTiming(
            2 * self.timescale,
            tuple((count, 2 * ticks) for count, ticks in self.runs),
            2 * self.priming,
            self.samples and 2 * self.samples,
        )


def encoded_track(
    config: CodecConfig,
    channels: int,
    sizes: "array[int]",
    payload: memoryview,
    packets: PacketTiming,
) -> EncodedTrack:
    """Put together what a reader found, and check that it can be cut into segments.

    Raises:
        InvalidInputError: It cannot.
    """
    if not min(sizes) or max(sizes) > MAX_PACKET_SIZE:
        raise InvalidInputError(f"a packet is empty or larger than {MAX_PACKET_SIZE} bytes")
    codec, codecs, rate, bit_depth = describe(config)
    if isinstance(config, AacConfig):
        channels = aac_kind(config.specific).channels or channels
        if rate == 2 * packets.timescale:
            packets = packets.doubled()
    else:
        channels = config.channels
    if not rate or not channels:
        raise InvalidInputError("the codec's configuration has no sample rate or no channels")
    if codec is Codec.OPUS and len(sizes) == 1:  # its duration is cut; there is no other to ask
        runs = ((1, opus_samples(payload)),)
        heard = packets.runs[0][1] - packets.priming
        samples = heard if packets.samples is None else packets.samples
        packets = replace(packets, runs=runs, samples=samples)
    frame, timing = _timing(codec, packets)
    return EncodedTrack(
        config, codec, codecs, rate, channels, bit_depth, frame, sizes, payload, timing
    )


def describe(config: CodecConfig) -> tuple[Codec, str, int, int | None]:
    """Codec, RFC 6381 string in the spelling of DASH, sample rate, bit depth if lossless."""
    match config:
        case AacConfig():
            kind = aac_kind(config.specific)
            return Codec.AAC, kind.codecs, kind.sample_rate, None
        case OpusConfig():
            return Codec.OPUS, "opus", OPUS_RATE, None
        case FlacConfig():
            return Codec.FLAC, "flac", config.sample_rate, config.bit_depth
        case AlacConfig():
            return Codec.ALAC, "alac", config.sample_rate, config.bit_depth


def opus_samples(packet: Bytes) -> int:
    """Samples at 48 kHz, from the first bytes of an Opus packet (RFC 6716, 3.1 and 3.2)."""
    frames = (1, 2, 2, 0)[packet[0] & 3]
    if not frames:
        if len(packet) < 2:
            raise InvalidInputError("an Opus packet ends before its frame count")
        frames = packet[1] & 63
    return _OPUS_FRAME_SAMPLES[packet[0] >> 3] * frames


def _timing(codec: Codec, packets: PacketTiming) -> tuple[int, Timing]:
    """Ticks of a packet, and the gapless numbers."""
    runs = packets.runs
    frame = runs[0][1]
    last = runs[-1][1]
    one_short_last = len(runs) == 1 or (len(runs) == 2 and runs[1][0] == 1 and last < frame)
    if not frame or not packets.timescale or not one_short_last:
        raise InvalidInputError(
            "the packets do not all last equally long",
            hint="encode with a constant frame size",
        )
    media = sum(count * ticks for count, ticks in runs)
    samples = media - packets.priming if packets.samples is None else packets.samples
    if codec in _WHOLE_LAST_FRAME:
        media += frame - last
    padding = media - packets.priming - samples
    if samples <= 0 or padding < 0 or packets.priming < 0:
        raise InvalidInputError(
            f"{samples} samples of music after {packets.priming} of priming do not fit"
            f" into {media} that are encoded"
        )
    return frame, Timing(packets.timescale, packets.priming, samples, padding)
