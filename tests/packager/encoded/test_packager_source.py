"""Every container gives the same packets and the same gapless numbers."""

import contextlib
import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInputError, MalformedBoxError
from core.model import Codec, Timing
from packager.encoded.fast_mp4 import read_mp4
from packager.encoded.source import read_any
from packager.encoded.track import opus_samples

SAMPLES_48K = 485_904
"""What the encoders were given: 10.123 s."""


@pytest.mark.parametrize(
    ("name", "frame", "timing"),
    [
        ("aac-96k", 1024, Timing(48_000, 1024, SAMPLES_48K, 496)),
        ("opus-96k", 960, Timing(48_000, 312, SAMPLES_48K, 504)),
        ("flac-16-44k", 4096, Timing(44_100, 0, 446_424, 0)),
        ("flac-24-96k", 4096, Timing(96_000, 0, 971_808, 0)),
    ],
)
def test_the_gapless_numbers_are_those_of_the_master(encoded, name, frame, timing):
    track = read_mp4(encoded[name])

    assert track.frame_samples == frame
    assert track.timing == timing


@pytest.mark.parametrize("name", ["aac-96k", "opus-96k", "flac-16-44k", "flac-24-96k"])
def test_the_packets_are_those_that_ffmpeg_demuxes(encoded, packet_hashes, name):
    track = read_mp4(encoded[name])
    ends = list(itertools.accumulate(track.sizes))

    packets = [track.payload[a:b] for a, b in zip([0, *ends], ends, strict=False)]

    assert [hashlib.md5(p).hexdigest() for p in packets] == packet_hashes(encoded[name])


@pytest.mark.parametrize(
    ("name", "bit_depth", "rate", "codecs"),
    [
        ("aac-96k", None, 48_000, "mp4a.40.2"),
        ("opus-96k", None, 48_000, "opus"),
        ("flac-16-44k", 16, 44_100, "flac"),
        ("flac-24-96k", 24, 96_000, "flac"),
    ],
)
def test_the_format_is_read_from_the_codecs_own_configuration(
    encoded, name, bit_depth, rate, codecs
):
    track = read_mp4(encoded[name])

    assert (track.bit_depth, track.sample_rate, track.codecs) == (bit_depth, rate, codecs)
    assert track.channels == 2


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("opus-96k", "ogg"),
        ("opus-96k", "webm"),
        ("flac-16-44k", "flac"),
        ("flac-24-96k", "flac"),
        ("flac-24-96k", "ogg"),
        ("aac-96k", "mov"),
    ],
)
def test_another_container_gives_the_same_track(encoded, transcode, tmp_path, name, container):
    # by way of Ogg, because ffmpeg does not carry Opus' end trim from MP4 to WebM
    ogg, path = tmp_path / "copy.ogg", tmp_path / f"copy.{container}"
    source = encoded[name]
    if container == "webm":
        transcode("-i", str(source), "-c", "copy", str(ogg))
        source = ogg
    transcode("-i", str(source), "-c", "copy", str(path))

    original = read_mp4(encoded[name])
    copy = read_any(path)

    assert copy.payload == original.payload
    assert copy.sizes.tolist() == original.sizes.tolist()
    assert copy.timing == original.timing
    assert (copy.codecs, copy.bit_depth) == (original.codecs, original.bit_depth)


def test_a_fragmented_mp4_is_read_like_a_progressive_one(encoded, transcode, tmp_path):
    path = tmp_path / "fragmented.mp4"
    flags = "+frag_keyframe+empty_moov+delay_moov"
    transcode("-i", str(encoded["aac-96k"]), "-c", "copy", "-movflags", flags, str(path))

    fragmented, original = read_any(path), read_mp4(encoded["aac-96k"])

    assert fragmented.payload == original.payload
    assert fragmented.timing == original.timing


def test_adts_knows_no_priming_but_the_caller_may(encoded, transcode, tmp_path):
    path = tmp_path / "copy.aac"
    transcode("-i", str(encoded["aac-96k"]), "-c", "copy", str(path))
    original = read_mp4(encoded["aac-96k"])

    alone = read_any(path)
    told = read_any(path, samples=SAMPLES_48K, priming=1024)

    assert alone.payload == original.payload
    assert alone.timing == Timing(48_000, 0, 475 * 1024 + 1024, 0)
    assert told.timing == original.timing


def test_alac_is_read_too(encoded, transcode, tmp_path):
    path = tmp_path / "lossless.m4a"
    transcode("-i", str(encoded["flac-24-96k"]), "-c:a", "alac", str(path))

    track = read_mp4(path)

    assert (track.codec, track.codecs, track.bit_depth) == (Codec.ALAC, "alac", 24)
    assert track.timing == Timing(96_000, 0, 971_808, 0)


def test_the_callers_sample_count_wins(encoded):
    timing = read_mp4(encoded["aac-96k"], samples=SAMPLES_48K - 3).timing

    assert timing == Timing(48_000, 1024, SAMPLES_48K - 3, 499)


@pytest.mark.parametrize("samples", [SAMPLES_48K + 497, 0, -1])
def test_a_sample_count_that_does_not_fit_is_refused(encoded, samples):
    with pytest.raises(InvalidInputError, match="do not fit"):
        read_mp4(encoded["aac-96k"], samples=samples)


@pytest.mark.parametrize("content", [b"", b"not a media file at all", bytes(100)])
def test_what_is_no_media_is_refused(tmp_path, content):
    path = tmp_path / "noise.mp4"
    path.write_bytes(content)

    with pytest.raises(MalformedBoxError):
        read_mp4(path)
    with pytest.raises(InvalidInputError):
        read_any(path)


def test_other_codecs_are_refused_with_a_hint(encoded, transcode, tmp_path):
    path = tmp_path / "copy.mp3"
    transcode("-i", str(encoded["aac-96k"]), str(path))

    with pytest.raises(InvalidInputError, match="cannot be packaged") as caught:
        read_any(path)

    assert "FLAC" in caught.value.hint


@given(at=st.integers(0, 1 << 20), value=st.integers(0, 255))
def test_a_damaged_moov_raises_nothing_but_our_error(encoded, at, value, tmp_path_factory):
    data = bytearray(encoded["aac-96k"].read_bytes())
    start = data.index(b"moov") - 4
    data[start + at % (len(data) - start)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.mp4"
    path.write_bytes(data)

    with contextlib.suppress(InvalidInputError):  # MalformedBoxError is one
        read_mp4(path)


def test_opus_durations_come_from_the_first_bytes():
    assert opus_samples(bytes((0xFC,))) == 960  # CELT, 20 ms, one frame
    assert opus_samples(bytes((0xF1,))) == 960  # two frames of 10 ms
    assert opus_samples(bytes((0x1B, 3))) == 3 * 2880  # SILK, three frames of 60 ms
    with pytest.raises(InvalidInputError):
        opus_samples(bytes((3,)))


@pytest.mark.parametrize("codec", ["aac", "libopus", "flac"])
def test_a_blink_of_music_is_whole(transcode, tmp_path, codec):
    path = tmp_path / "blink.mp4"
    source = "aevalsrc=0.1*sin(2000*t):s=48000:d=0.005"
    transcode("-f", "lavfi", "-i", source, "-c:a", codec, str(path))

    track = read_mp4(path)

    assert track.timing.samples == 240
    assert 0 < track.last_frame_samples <= track.frame_samples
    assert track.timing == read_any(path).timing
