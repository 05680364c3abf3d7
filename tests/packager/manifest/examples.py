"""Presentations to render, with the numbers that a real ladder has."""

import struct
import uuid

from core.model import (
    Codec,
    DrmProfile,
    DrmSignal,
    HlsKeyTag,
    KeyDescription,
    Loudness,
    MediaFile,
    Presentation,
    Rendition,
    Rung,
    Scheme,
    Tier,
    Timing,
)
from packager.manifest import presentation

COMMON = uuid.UUID("1077efec-c0b2-4d02-ace3-3c1e52e2fb4b")
CLEARKEY = uuid.UUID("e2719d58-a985-b3c9-781a-b030af78d30e")
WIDEVINE = uuid.UUID("edef8ba9-79d6-4ace-a3c8-27dcd51d21ed")

FRAME = {Codec.AAC: 1024, Codec.OPUS: 960, Codec.FLAC: 4096}
FRAMES_PER_SEGMENT = {Codec.AAC: 180, Codec.OPUS: 192, Codec.FLAC: 45}
PRIMING = {Codec.AAC: 1024, Codec.OPUS: 312, Codec.FLAC: 0}
CODECS = {Codec.AAC: "mp4a.40.2", Codec.OPUS: "opus", Codec.FLAC: "flac"}

LADDER = (
    Rung(Codec.AAC, 96_000, Tier.LOW),
    Rung(Codec.AAC, 160_000, Tier.NORMAL),
    Rung(Codec.AAC, 320_000, Tier.HIGH),
    Rung(Codec.OPUS, 64_000, Tier.LOW),
    Rung(Codec.OPUS, 96_000, Tier.LOW),
    Rung(Codec.OPUS, 160_000, Tier.HIGH),
    Rung(Codec.FLAC, 0, Tier.LOSSLESS),
)


def kid(tier, scheme):
    return uuid.UUID(int=(1 + tier.rank) << 100 | list(Scheme).index(scheme) + 1)


def common_pssh(*kids):
    body = COMMON.bytes + struct.pack(">I", len(kids)) + b"".join(k.bytes for k in kids) + bytes(4)
    return struct.pack(">I4sI", 12 + len(body), b"pssh", 1 << 24) + body


def signals(key, scheme):
    """What the key server says about a key: the forms that were proved in players."""
    method = {Scheme.CBCS: "SAMPLE-AES", Scheme.CENC: "SAMPLE-AES-CTR"}[scheme]
    return (
        DrmSignal(COMMON, pssh=common_pssh(key)),
        DrmSignal(
            CLEARKEY,
            hls=(
                HlsKeyTag(method, f"/v1/license/raw/{key}", "identity"),
                HlsKeyTag(method, f"/v1/license/clearkey?kid={key}", "org.w3.clearkey", keyid=key),
            ),
            dash_value="ClearKey1.0",
            license_path="/v1/license/clearkey",
        ),
    )


def rendition(rung, samples, schemes=tuple(Scheme), rate=48_000):
    codec = rung.codec
    frame, per_segment = FRAME[codec], FRAMES_PER_SEGMENT[codec]
    timing = Timing(rate, PRIMING[codec], samples, -(PRIMING[codec] + samples) % frame)
    frames = timing.media_ticks // frame
    cuts = [per_segment] * (frames // per_segment)
    if rest := frames % per_segment:
        cuts.append(rest)
    if len(cuts) > 1 and cuts[-1] * frame < rate // 2:
        tail = cuts.pop()
        cuts[-1] += tail
    ticks = tuple(n * frame for n in cuts)
    bps = rung.bitrate_bps or 900_000
    sizes = tuple(n * bps // 8 // rate for n in ticks)
    files = tuple(
        MediaFile(
            drm=drm,
            key="",
            size=720 + 44 + sum(sizes),
            sha256="ab" * 32,
            init_size=720,
            index_size=44,
            segment_sizes=sizes,
            average_bps=bps,
            peak_bps=bps + 1_234,
            kid=kid(rung.tier, Scheme(drm)) if drm is not DrmProfile.CLEAR else None,
        )
        for drm in (DrmProfile.CLEAR, *(DrmProfile(scheme) for scheme in schemes))
    )
    return Rendition(
        name=rung.name,
        codec=codec,
        tier=rung.tier,
        codecs=CODECS[codec],
        bitrate_bps=rung.bitrate_bps,
        sample_rate=rate,
        channels=2,
        bit_depth=24 if codec is Codec.FLAC else None,
        timing=timing,
        segment_ticks=ticks,
        packets_sha256="cd" * 32,
        files=files,
    )


def track(samples=1_152_007, ladder=LADDER, signals=signals):
    """A sealed presentation, 24 s and a bit long by default, in the clear and both schemes."""
    tiers = sorted({rung.tier for rung in ladder}, key=lambda tier: tier.rank)
    keys = tuple(
        KeyDescription(k := kid(tier, scheme), tier, scheme, signals(k, scheme))
        for tier in tiers
        for scheme in Scheme
    )
    return presentation.seal(
        Presentation(
            track_id="nocturne",
            generation="",
            title='Nocturne "No. 2"',
            artist="J. Field & friends",
            timing=Timing(48_000, 0, samples, 0),
            loudness=Loudness(-14.23, 6.5, -9.1, -11.0, -1.02),
            album_id=None,
            album_loudness=None,
            master_sha256="12" * 32,
            recipe_sha256="34" * 32,
            keys=keys,
            renditions=tuple(rendition(rung, samples) for rung in ladder),
        )
    )
