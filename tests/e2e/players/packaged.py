"""A short track with a known level, through real encoders and the packager."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from core.model import (
    Codec,
    ContentKey,
    DrmProfile,
    KeyDescription,
    Loudness,
    Presentation,
    Rung,
    Scheme,
    Tier,
    Timing,
)
from packager.cmaf.segmenter import Output, package
from packager.encoded.source import read_any
from packager.manifest import presentation
from packager.protect.protection import NO_CHOICES, Encryption
from tests.packager.manifest.examples import kid, signals

RATE = 48_000
SAMPLES = 20 * RATE + 345  # no whole number of frames, and no whole millisecond
AMPLITUDE = 0.25
RMS_DBFS = 20 * np.log10(AMPLITUDE / np.sqrt(2))
SEGMENT = 184_320

ENCODERS = {
    Codec.AAC: ("-c:a", "aac"),
    Codec.OPUS: ("-c:a", "libopus"),
    Codec.FLAC: ("-c:a", "flac", "-sample_fmt", "s32", "-frame_size", "4096"),
}
RUNGS = (
    Rung(Codec.AAC, 96_000, Tier.LOW),
    Rung(Codec.AAC, 160_000, Tier.NORMAL),
    Rung(Codec.OPUS, 64_000, Tier.LOW),
    Rung(Codec.FLAC, 0, Tier.LOSSLESS),
)


def content_keys():
    """A key for each tier and scheme; test keys, in no way secret."""
    return tuple(
        ContentKey(
            KeyDescription(k := kid(tier, scheme), tier, scheme, signals(k, scheme)),
            key=bytes([tier.rank + 1, *b"a content key.."]),
            iv=bytes(range(16 if scheme is Scheme.CBCS else 8)),
        )
        for tier in (Tier.LOW, Tier.NORMAL, Tier.LOSSLESS)
        for scheme in Scheme
    )


def package_track(
    folder: Path,
    *,
    samples: int = SAMPLES,
    rungs: tuple[Rung, ...] = RUNGS,
    keys: tuple[ContentKey, ...] | None = None,
    encryption: Encryption = NO_CHOICES,
) -> Presentation:
    """Write `{drm}/{rendition}.mp4` below *folder*: two tones, one in each channel."""
    time = np.arange(samples) / RATE
    tones = np.stack([np.sin(2 * np.pi * hz * time) for hz in (440, 660)], axis=1)
    pcm = (AMPLITUDE * tones).astype("<f4").tobytes()
    keys = keys or content_keys()
    places = dict.fromkeys((k.description.tier, k.description.scheme) for k in keys)
    by_place = {
        p: [k for k in keys if (k.description.tier, k.description.scheme) == p] for p in places
    }
    for drm in DrmProfile:
        (folder / drm).mkdir()
    used = dict.fromkeys(places, 0)
    renditions = []
    for rung in rungs:
        source = folder / f"{rung.name}.m4a"
        _encode(pcm, rung, source)
        track = read_any(source, samples=samples)
        outputs = {DrmProfile.CLEAR: Output(folder / "clear" / f"{rung.name}.mp4")}
        for scheme in Scheme:
            path = folder / scheme / f"{rung.name}.mp4"
            place = rung.tier, scheme
            first, *later = by_place[place]
            outputs[DrmProfile(scheme)] = Output(path, first, used[place], tuple(later))
            used[place] += len(track.sizes)
        renditions.append(
            package(
                track,
                rung=rung,
                outputs=outputs,
                segment_ticks=SEGMENT,
                encryption=encryption,
            )
        )
    return presentation.seal(
        Presentation(
            track_id="two-tones",
            generation="",
            title="Two tones",
            artist="tonearm",
            timing=Timing(RATE, 0, samples, 0),
            loudness=Loudness(None, None, None, None, None),
            album_id=None,
            album_loudness=None,
            master_sha256="0" * 64,
            recipe_sha256="0" * 64,
            keys=tuple(k.description for k in keys),
            renditions=tuple(renditions),
        )
    )


def _encode(pcm: bytes, rung: Rung, path: Path) -> None:
    bitrate = ("-b:a", str(rung.bitrate_bps)) if rung.bitrate_bps else ()
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        *("-loglevel", "error", "-f", "f32le", "-ar", str(RATE), "-ac", "2", "-i", "pipe:0"),
        *ENCODERS[rung.codec],
        *bitrate,
        *("-f", "mp4", str(path)),
    ]
    subprocess.run(command, input=pcm, check=True, timeout=60)
