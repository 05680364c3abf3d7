"""The init segment: what a CMAF audio track says about itself before its first fragment."""

from core.model import Codec, Loudness, Scheme
from packager.encoded.track import EncodedTrack
from packager.mp4.ftyp import FileType
from packager.mp4.ludt import LoudnessBox, LoudnessInfo
from packager.mp4.moov import Movie
from packager.mp4.sinf import Protection
from packager.mp4.stsd import AudioEntry, CodecConfig
from packager.protect.protection import FileProtection

_OPUS_ROLL_SAMPLES = 3840
"""80 ms at 48 kHz: what an Opus decoder needs to converge (mapping 4.3.6.2)."""
_CAAC_MAX_RATE_HZ = 48_000


def loudness_box(track: Loudness | None, album: Loudness | None) -> LoudnessBox | None:
    """`ludt`, or None if nothing was measured."""
    if track is None and album is None:
        return None
    return LoudnessBox(
        LoudnessInfo.of(track) if track else None, LoudnessInfo.of(album) if album else None
    )


def init_segment(
    track: EncodedTrack, protection: FileProtection, ludt: LoudnessBox | None
) -> bytes:
    """`ftyp` and `moov`; these name the first key alone."""
    signals = protection.keys[0].description.signals if protection.keys else ()
    entry = AudioEntry(
        track.config,
        track.channels,
        track.bit_depth or 16,
        entry_rate(track.sample_rate),
        protection_of(protection, track.config),
        clear_lead=protection.clear_segments > 0,
    )
    movie = Movie(
        timescale=track.timing.timescale,
        entry=entry,
        sample_duration=track.frame_samples,
        duration=track.timing.samples,
        priming=track.timing.priming,
        roll_distance=roll_distance(track.codec, track.frame_samples),
        loudness=ludt,
        pssh=tuple(s.pssh for s in signals if s.pssh),
    )
    return file_type(track.codec, track.channels, track.sample_rate).encode() + movie.encode()


def file_type(codec: Codec, channels: int, sample_rate: int) -> FileType:
    """The brands; `caac` is the CMAF AAC core media profile (A.1)."""
    brands: tuple[bytes, ...] = (b"iso6", b"cmf2", b"dash", b"cmfc")
    if codec is Codec.AAC and channels <= 2 and sample_rate <= _CAAC_MAX_RATE_HZ:
        brands += (b"caac",)
    return FileType(b"iso6", brands)


def roll_distance(codec: Codec, frame_samples: int) -> int | None:
    """How many packets before a random access point decoding must start, negative."""
    if codec is Codec.AAC:
        return -1
    if codec is Codec.OPUS:
        return -_OPUS_ROLL_SAMPLES // frame_samples
    return None


def entry_rate(rate: int) -> int:
    """The 16.16 field's value: a regular division of what does not fit (FLAC mapping, 3.3.1)."""
    while rate >= 1 << 16:
        rate //= 2
    return rate


def protection_of(protection: FileProtection, config: CodecConfig) -> Protection | None:
    """What the sample entry says about encryption; None in the clear.

    Raises:
        InvalidInputError: A key does not fit the scheme.
    """
    # audio is encrypted in full samples: a cbcs pattern of 0:0 (9.7), or 10:0 on request
    tenc = protection.track_encryption
    return Protection(config.ENTRY, Scheme(protection.drm.value), tenc) if tenc else None
