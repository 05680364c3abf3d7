"""One decode, every encoder: exactness, determinism, refusal and cancellation, with real ffmpeg."""

import hashlib
import threading
from dataclasses import replace

import numpy as np
import pytest

from core.errors import InvalidInputError, MasterRejectedError
from core.model import Codec, Timing
from ingest.encode import rungs
from ingest.encode.children import CancelledByUserError, Children
from ingest.encode.ladder import MUSIC, fit, with_lossless
from ingest.encode.neighbours import ALONE
from ingest.encode.toolchain import find_toolchain
from ingest.encode.transcode import Job, Output, command, transcode
from ingest.encode.workspace import Workspace
from ingest.master.probe import probe
from ingest.measure.meters import Meters
from packager.encoded.fast_mp4 import read_mp4
from tests.ingest.conftest import music, run_ffmpeg, write_wav

MIN_CORRELATION = 0.85
"""Of a 64 kb/s rung with noisy music; a shift of one sample costs far more."""


def encode(path, folder, toolchain):
    """All rungs of a master, and what the meters found."""
    folder.mkdir(exist_ok=True)
    master = probe(path)
    rungs = fit(with_lossless(MUSIC), master).rungs
    outputs = tuple(Output(rung, folder / f"{rung.name}.mp4") for rung in rungs)
    meters = Meters(master)
    transcode(Job(master, outputs, toolchain), Children(), meters.feed)
    return outputs, meters.finish()


def pcm_of(toolchain, path, *options, sample_format="f32le", channels=2):
    kind = "<f4" if sample_format == "f32le" else "<i4"
    arguments = (*options, "-i", path, "-f", sample_format, "pipe:1")
    return np.frombuffer(run_ffmpeg(toolchain, *arguments), kind).reshape(-1, channels)


@pytest.mark.parametrize("rate, seconds", [(44_100, 2.3), (48_000, 2.0), (96_000, 1.7)])
def test_every_rung_holds_exactly_the_master(toolchain, tmp_path, rate, seconds):
    source = write_wav(tmp_path / "master.wav", music(seconds, rate)[:-7], rate, width=3)
    outputs, _ = encode(source, tmp_path / "out", toolchain)
    resample = ("-af", "aresample=48000:resampler=soxr:precision=28")
    arguments = ("-i", source, *resample, "-f", "f32le", "pipe:1")
    reference = np.frombuffer(run_ffmpeg(toolchain, *arguments), "<f4").reshape(-1, 2)

    for output in outputs:
        if output.rung.codec is Codec.FLAC:
            continue
        track = read_mp4(output.path)
        priming = {Codec.AAC: 1024, Codec.OPUS: 312}[output.rung.codec]
        assert track.timing == Timing(48_000, priming, len(reference), track.timing.padding)
        untrimmed = ("-ignore_editlist", "1", "-flags2", "+skip_manual")
        decoded = pcm_of(toolchain, output.path, *untrimmed)
        heard = decoded[priming : priming + len(reference)]
        assert heard.shape == reference.shape
        shifted = decoded[priming + 1 : priming + 1 + len(reference) - 1]
        right = np.corrcoef(heard[:, 0], reference[:, 0])[0, 1]
        assert right > MIN_CORRELATION
        assert right > np.corrcoef(shifted[:, 0], reference[:-1, 0])[0, 1]
        tail = np.corrcoef(heard[-960:, 0], reference[-960:, 0])[0, 1]
        assert tail > MIN_CORRELATION


@pytest.mark.parametrize("name", ["s16.wav", "s24.wav", "aiff.aiff", "flac.flac", "alac.m4a"])
@pytest.mark.parametrize("rate", [44_100, 96_000])
def test_the_lossless_rung_is_bit_exact(masters, toolchain, tmp_path, name, rate):
    outputs, _ = encode(masters(name, rate), tmp_path / "out", toolchain)
    [flac] = [output for output in outputs if output.rung.codec is Codec.FLAC]

    made = pcm_of(toolchain, flac.path, sample_format="s32le")

    assert np.array_equal(made, pcm_of(toolchain, masters(name, rate), sample_format="s32le"))
    track = read_mp4(flac.path)
    assert (track.sample_rate, track.bit_depth) == (rate, 16 if name == "s16.wav" else 24)
    assert track.frame_samples == 4096


def test_two_runs_give_the_same_bytes(masters, toolchain, tmp_path):
    digests = []
    for run in ("one", "two"):
        outputs, findings = encode(masters("flac.flac"), tmp_path / run, toolchain)
        files = [hashlib.sha256(output.path.read_bytes()).hexdigest() for output in outputs]
        digests.append((files, findings.encode()))

    assert digests[0] == digests[1]


@pytest.mark.parametrize("channels", [1, 6])
def test_mono_stays_mono_and_surround_becomes_stereo(toolchain, tmp_path, channels):
    source = write_wav(tmp_path / "master.wav", music(1.2, channels=channels))

    outputs, findings = encode(source, tmp_path / "out", toolchain)

    assert {read_mp4(output.path).channels for output in outputs} == {min(channels, 2)}
    assert findings.quality.samples == round(1.2 * 44_100)
    assert findings.quality.sample_peak <= 1


def test_every_format_is_decoded_to_the_length_it_declares(masters, toolchain, tmp_path):
    for name in ("float.wav", "s32.wav", "rf64.wav", "mp3.mp3", "vorbis.ogg", "aac.m4a"):
        _, findings = encode(masters(name), tmp_path / name, toolchain)

        assert findings.quality.samples == round(2.3 * 44_100)


@pytest.mark.parametrize("name", ["flac.flac", "mp3.mp3", "alac.m4a"])
def test_cover_art_is_left_out(masters, toolchain, tmp_path, name):
    covered = tmp_path / f"-http: 100% {name}"  # a name that wants to be an option and a URL
    cover = ("-f", "lavfi", "-i", "color=s=64x64:d=0.04")
    mapping = ("-map", "0:a", "-map", "1:v", "-c:a", "copy", "-c:v", "png")
    target = ("-disposition:v", "attached_pic", f"file:{covered}")
    run_ffmpeg(toolchain, "-i", masters(name), *cover, *mapping, *target)

    outputs, findings = encode(covered, tmp_path / "out", toolchain)

    assert findings.quality.samples == round(2.3 * 44_100)
    assert {read_mp4(output.path).codec for output in outputs} >= {Codec.AAC, Codec.OPUS}


def test_a_truncated_flac_is_refused(masters, toolchain, tmp_path):
    whole = masters("flac.flac").read_bytes()
    cut = tmp_path / "cut.flac"
    cut.write_bytes(whole[: len(whole) * 6 // 10])

    with pytest.raises(MasterRejectedError):
        encode(cut, tmp_path / "out", toolchain)


def test_a_flac_that_is_all_header_is_refused(masters, toolchain, tmp_path):
    whole = masters("flac.flac").read_bytes()
    bare = tmp_path / "bare.flac"
    bare.write_bytes(whole[: whole.index(b"\xff\xf8")])  # ffmpeg 9 even crashes on it

    with pytest.raises(MasterRejectedError):
        encode(bare, tmp_path / "out", toolchain)


@pytest.mark.parametrize(
    "name, size",
    [
        ("flac.flac", 64),
        ("alac.m4a", 64),
        ("vorbis.ogg", 64),
        ("aac.m4a", 64),
        ("mp3.mp3", 700),  # a whole frame: inside one, MP3 has nothing to notice it by
    ],
)
def test_random_bytes_in_the_middle_are_noticed(masters, toolchain, tmp_path, name, size):
    damaged = bytearray(masters(name).read_bytes())
    at = len(damaged) // 2
    damaged[at : at + size] = np.random.default_rng(1).bytes(size)
    path = tmp_path / name
    path.write_bytes(damaged)

    with pytest.raises(MasterRejectedError):
        encode(path, tmp_path / "out", toolchain)


def test_a_flac_whose_audio_is_not_what_its_md5_says_is_refused(masters, toolchain, tmp_path):
    lying = bytearray(masters("flac.flac").read_bytes())
    lying[30] ^= 1  # inside STREAMINFO's MD5; every decoder is content with it
    path = tmp_path / "lying.flac"
    path.write_bytes(lying)

    with pytest.raises(MasterRejectedError, match="MD5"):
        encode(path, tmp_path / "out", toolchain)


def test_a_silent_master_is_refused(toolchain, tmp_path):
    silent = write_wav(tmp_path / "silent.wav", np.zeros((44_100, 2)))

    with pytest.raises(MasterRejectedError, match="silent"):
        encode(silent, tmp_path / "out", toolchain)


def test_a_mp3_that_lacks_its_end_is_refused_even_without_a_byte_count(
    masters, toolchain, tmp_path
):
    whole = bytearray(masters("mp3.mp3").read_bytes())
    at = whole.index(b"Xing") if b"Xing" in whole else whole.index(b"Info")
    whole[at + 7] &= ~2  # the header counts frames but no bytes any more
    del whole[at + 12 : at + 16]
    path = tmp_path / "cut.mp3"
    path.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(MasterRejectedError, match="declared"):
        encode(path, tmp_path / "out", toolchain)


def test_cancelling_ends_ffmpeg_at_once(toolchain, tmp_path):
    source = write_wav(tmp_path / "long.wav", np.tile(music(2.0), (120, 1)))
    master = probe(source)
    outputs = tuple(
        Output(rung, tmp_path / f"{rung.name}.mp4") for rung in fit(MUSIC, master).rungs
    )
    children = Children()
    threading.Timer(0.5, children.cancel).start()

    # had it gone on to the end, there would be no error
    with pytest.raises(CancelledByUserError):
        transcode(Job(master, outputs, toolchain), children, lambda _: None)
    with pytest.raises(CancelledByUserError):
        transcode(Job(master, outputs, toolchain), children, lambda _: None)


def test_an_old_ffmpeg_gets_one_graph_and_the_same_filters(masters, toolchain, tmp_path):
    master = probe(masters("s16.wav"))
    outputs = tuple(Output(rung, tmp_path / rung.name) for rung in fit(MUSIC, master).rungs)
    old = replace(toolchain, version="5.1.9")

    graph = command(Job(master, outputs, old)).count("-filter_complex")
    linked = command(Job(master, outputs, toolchain))

    assert graph == 1
    assert linked.count("-filter_complex") == 1 + 1 + len(outputs)
    assert linked[linked.index("-cpuflags") + 1] == "sse4.2" or toolchain.simd != "sse4.2"


def test_the_bundled_ffmpeg_is_found_and_remembered(toolchain, tmp_path):
    cache = tmp_path / "toolchain.json"

    first = find_toolchain(cache=cache)

    assert first == toolchain
    assert find_toolchain(cache=cache) == first
    cache.write_text("[]")
    assert find_toolchain(cache=cache) == first
    assert len(first.sha256) == 64


@pytest.mark.parametrize("content", [None, "#!/bin/sh\necho hello\n", "#!/bin/sh\nexit 3\n"])
def test_what_is_no_ffmpeg_is_refused(tmp_path, content):
    path = tmp_path / "ffmpeg"
    if content:
        path.write_text(content)
        path.chmod(0o755)

    with pytest.raises(InvalidInputError) as refused:
        find_toolchain(path)
    assert refused.value.hint


def test_vorbis_music_whose_packets_last_differently_is_taken(toolchain, tmp_path):
    # a steady tone has long blocks alone; attacks make a Vorbis encoder switch to short ones
    signal, rng = music(4.0) * 0.3, np.random.default_rng(1)
    for start in range(3_000, len(signal) - 3_000, 6_007):
        signal[start : start + 400] += 0.4 * rng.standard_normal((400, 2))
    source = write_wav(tmp_path / "attacks.wav", np.clip(signal, -0.99, 0.99))
    path = tmp_path / "attacks.ogg"
    run_ffmpeg(toolchain, "-i", source, "-c:a", "libvorbis", "-q:a", "8", path)
    master = probe(path)
    folder = tmp_path / "work"
    folder.mkdir()

    encoded = rungs.encode(
        rungs.Order(master, fit(MUSIC, master).rungs, ALONE, toolchain, Workspace(folder))
    )

    assert encoded.findings.quality.samples == len(signal)
    assert len(encoded.files) > 1
    for file in encoded.files:
        assert file.read().timing.samples == file.samples
