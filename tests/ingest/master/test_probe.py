"""What is a master, what is none, and what is only half of one."""

import contextlib
import re

import numpy as np
import pytest

from core.errors import MasterRejectedError
from ingest.master.containers import Container
from ingest.master.probe import hash_master, probe
from tests.ingest.conftest import FORMATS, music, run_ffmpeg, write_wav


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_how_long_it_is(masters, name):
    master = probe(masters(name))

    assert master.samples == round(2.3 * 44_100)
    assert master.sample_rate == 44_100
    assert master.channels == 2
    assert master.lossy == (name in ("mp3.mp3", "vorbis.ogg", "aac.m4a"))


@pytest.mark.parametrize("rate", [48_000, 96_000, 192_000])
def test_high_rates_are_taken(masters, rate):
    assert probe(masters("s24.wav", rate)).sample_rate == rate


@pytest.mark.parametrize(
    "name, depth",
    [
        ("s16.wav", 16),
        ("s24.wav", 24),
        ("s32.wav", 32),
        ("float.wav", None),
        ("aiff.aiff", 24),
        ("flac.flac", 24),
        ("alac.m4a", 24),
        ("mp3.mp3", None),
    ],
)
def test_the_bit_depth_is_the_masters_own(masters, name, depth):
    assert probe(masters(name)).bit_depth == depth


@pytest.mark.parametrize("name", ["s16.wav", "flac.flac", "mp3.mp3", "vorbis.ogg"])
def test_tags_are_read(masters, name):
    tags = probe(masters(name)).tags

    assert (tags.title, tags.artist, tags.isrc) == ("Sunday", "The Testers", "GBAYE0000001")


def test_a_file_is_known_by_its_content_not_by_its_name(masters, tmp_path):
    disguised = tmp_path / "song.mp3"
    disguised.write_bytes(masters("flac.flac").read_bytes())

    assert probe(disguised).container is Container.FLAC


@pytest.mark.parametrize(
    "name",
    [
        "s16.wav",
        "s24.wav",
        "float.wav",
        "rf64.wav",
        "aiff.aiff",
        "mp3.mp3",
        "vorbis.ogg",
        "aac.m4a",
    ],
)
def test_a_truncated_master_is_refused_by_its_container(masters, tmp_path, name):
    whole = masters(name).read_bytes()
    cut = tmp_path / name
    cut.write_bytes(whole[: len(whole) * 6 // 10])

    with pytest.raises(MasterRejectedError, match="truncated"):
        probe(cut)


def test_a_faststart_file_that_was_cut_is_refused(masters, toolchain, tmp_path):
    whole = tmp_path / "whole.m4a"
    source = masters("aac.m4a")
    run_ffmpeg(toolchain, "-i", source, "-c", "copy", "-movflags", "+faststart", whole)
    cut = tmp_path / "cut.m4a"
    cut.write_bytes(whole.read_bytes()[:-5000])

    with pytest.raises(MasterRejectedError, match="truncated"):
        probe(cut)


def test_an_mp3_without_a_frame_count_is_taken_with_a_warning(masters, toolchain, tmp_path):
    bare = tmp_path / "bare.mp3"
    run_ffmpeg(toolchain, "-i", masters("mp3.mp3"), "-c", "copy", "-write_xing", "0", bare)

    master = probe(bare)

    assert master.samples is None
    assert "cannot be detected" in master.warnings[0]


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "not an audio file"),
        (b"#EXTM3U\nhttp://127.0.0.1:9/song.mp3\n", "not an audio file"),
        (b"RIFF\x00\x00\x00\x00WAVE", "no data chunk"),
        (b"RIFF\x00\x00\x00\x00WAVEdata\x04\x00\x00\x00abcd", "no fmt chunk"),
        (b"fLaC" + b"\x00" * 20, "truncated"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x00" + b"\x00" * 500, "unreadable"),
        (b"OggS" + b"\x00" * 500, "truncated"),
        (b"\x00\x00\x00\x10ftypM4A \x00\x00\x00\x00", "no moov"),
    ],
)
def test_what_is_no_master_is_refused_with_a_hint(tmp_path, content, reason):
    path = tmp_path / "junk.wav"
    path.write_bytes(content)

    with pytest.raises(MasterRejectedError, match=reason) as refused:
        probe(path)
    assert refused.value.hint


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(MasterRejectedError, match="No such file"):
        probe(tmp_path / "nowhere.wav")


def test_a_wav_that_was_written_to_a_pipe_declares_no_length(masters, tmp_path):
    piped = bytearray(masters("s16.wav").read_bytes())
    at = piped.index(b"data") + 4
    piped[at : at + 4] = b"\xff" * 4
    path = tmp_path / "piped.wav"
    path.write_bytes(piped)

    with pytest.raises(MasterRejectedError, match="no length"):
        probe(path)


@pytest.mark.parametrize("seconds, rate", [(0.2, 44_100), (1.0, 22_050)])
def test_masters_outside_the_limits_are_refused(tmp_path, seconds, rate):
    path = write_wav(tmp_path / "odd.wav", music(seconds, rate), rate)

    with pytest.raises(MasterRejectedError, match=r"0\.200 s of audio|sample rate of 22050"):
        probe(path)


def test_more_than_two_channels_are_mixed_down_with_a_warning(tmp_path):
    path = write_wav(tmp_path / "surround.wav", music(1.0, channels=6))

    master = probe(path)

    assert master.output_channels == 2
    assert re.search("6 channels .* mixed down", master.warnings[0])


def test_bytes_from_outside_raise_our_error_and_nothing_else(masters, tmp_path):
    rng = np.random.default_rng(7)
    path = tmp_path / "damaged"
    for name in FORMATS:
        whole = bytearray(masters(name).read_bytes())
        for _ in range(12):
            damaged = whole.copy()
            at = int(rng.integers(min(600, len(damaged) - 16)))
            damaged[at : at + 8] = rng.bytes(8)
            path.write_bytes(damaged)
            with contextlib.suppress(MasterRejectedError):
                probe(path)


def test_a_master_that_is_another_file_than_was_looked_at_is_not_hashed(tmp_path):
    # its music would be published under the tags and the track id of the one before
    path = write_wav(tmp_path / "song.wav", music(0.6))
    master = probe(path)
    write_wav(tmp_path / "other.wav", music(0.7)).replace(path)

    with pytest.raises(MasterRejectedError, match="changed while it was read"):
        hash_master(master)
