"""A rendition is laid over its master: shifts, other lengths and flipped bits are found."""

import wave

import av
import numpy as np
import pytest

from core.errors import IntegrityError, InvalidInputError
from core.model import DrmProfile
from ingest.published.master_compare import compare_with_master
from packager.encoded.fast_mp4 import read_mp4

CODECS = {"aac": "-c:a aac", "opus": "-c:a libopus -ar 48000", "flac": "-c:a flac -frame_size 4096"}


@pytest.fixture(scope="module")
def pcm(encoded):
    """The samples of a master at 44.1 kHz, shape ``(frames, 2)``."""
    with av.open(str(encoded["flac-16-44k"])) as container:
        frames = [f.to_ndarray().reshape(-1, 2) for f in container.decode(audio=0)]
    return np.concatenate(frames)


def write(path, pcm):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes(pcm.astype("<i2").tobytes())
    return path


@pytest.mark.parametrize("drm", [DrmProfile.CBCS, DrmProfile.CENC])
@pytest.mark.parametrize("codec", CODECS)
def test_shifts_and_lengths_are_found(codec, drm, pcm, keys, packaged, transcode, tmp_path):
    master, encoded = write(tmp_path / "master.wav", pcm), tmp_path / "encoded.mp4"
    transcode("-i", str(master), *CODECS[codec].split(), str(encoded))
    track = read_mp4(encoded)
    rendition, paths = packaged(track)

    def compare(samples):
        changed = write(tmp_path / "changed.wav", samples)
        return compare_with_master(paths[drm], rendition, keys[drm], changed)

    words = {"aac": "-96k: 0 samples off", "opus": "-96k: 0 samples off", "flac": "bit-exact"}
    assert words[codec] in compare(pcm)
    with pytest.raises(IntegrityError, match=r"100 samples away|109 samples away|are not the mas"):
        compare(np.roll(pcm, -100, axis=0))
    with pytest.raises(IntegrityError, match="the master has"):
        compare(pcm[:-441])


def test_a_single_bit_of_a_lossless_rendition_counts(encoded, pcm, packaged, tmp_path):
    rendition, paths = packaged(read_mp4(encoded["flac-16-44k"]))
    changed = pcm.copy()
    changed[200_000, 1] ^= 1
    master = write(tmp_path / "changed.wav", changed)

    with pytest.raises(IntegrityError, match="its samples are not the master's"):
        compare_with_master(paths[DrmProfile.CLEAR], rendition, None, master)


def test_a_master_that_is_no_audio_is_one_error(encoded, packaged, tmp_path):
    rendition, paths = packaged(read_mp4(encoded["flac-16-44k"]))
    master = tmp_path / "master.wav"
    master.write_bytes(b"RIFF nothing")

    with pytest.raises(InvalidInputError, match="the master cannot be decoded"):
        compare_with_master(paths[DrmProfile.CLEAR], rendition, None, master)
