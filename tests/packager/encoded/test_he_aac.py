"""HE-AAC v1 and v2 into `tonearm package`, from every container and with every way to tell of SBR.

The golden files are five seconds of our own two tones (440 Hz left, 660 Hz right, quiet ones above
8 kHz for SBR to make), encoded by Fraunhofer's FDK encoder: v1 with the backward compatible
configuration, v2 with the hierarchical one. Other containers are made from them without encoding.
"""

import hashlib
import json
from pathlib import Path

import av
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cli import cli
from core.errors import MalformedBoxError
from packager.encoded.source import read_any
from packager.mp4.asc import AAC_LC, RATES_HZ, aac_kind, may_hide_sbr, with_sbr
from tests.packager.conftest import ffmpeg

GOLDEN = Path(__file__).parents[2] / "golden" / "heaac"
VERSIONS = {"v1": "mp4a.40.5", "v2": "mp4a.40.29"}
FDK_HIERARCHICAL = {"v1": "2b118800", "v2": "eb098800"}
PRIMING = {"v1": 5058, "v2": 7106}
FRAME, RATE, SAMPLES = 2048, 48_000, 240_000
CONTAINERS = {
    "mp4": None,
    "adts": (".aac", "-f adts"),
    "implicit mp4": (".mp4", ""),  # from ADTS: its configuration tells of the core alone
    "mkv": (".mkv", ""),
    "mpegts": (".ts", ""),
}
KNOWS_PRIMING = {"mp4", "mkv"}


@pytest.fixture(scope="module")
def he_aac(tmp_path_factory):
    """A function (version, container) -> path."""
    folder = tmp_path_factory.mktemp("he-aac")

    def make(version, container):
        golden = GOLDEN / f"he-aac-{version}.mp4"
        if CONTAINERS[container] is None:
            return golden
        suffix, words = CONTAINERS[container]
        source = make(version, "adts") if container == "implicit mp4" else golden
        path = folder / f"{version}-{container.replace(' ', '-')}{suffix}"
        ffmpeg("-i", str(source), "-c", "copy", *words.split(), str(path))
        return path

    return make


def packaged(folder, *paths):
    """What `tonearm package` prints, and the file of the first input."""
    words = ["package", *map(str, paths), "--scheme", "clear", "--output", str(folder), "--json"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    return printed, folder / f"{printed['renditions'][0]['name']}.mp4"


def packets(path, *, adts=False):
    with av.open(str(path)) as container:
        found = [bytes(p) for p in container.demux(audio=0) if p.size]
    return [hashlib.md5(p[7:] if adts else p).hexdigest() for p in found]


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("version", VERSIONS)
def test_sbr_is_told_wherever_it_was_hidden(he_aac, tmp_path, version, container):
    source = he_aac(version, container)
    printed, path = packaged(tmp_path / "out", source)
    [row] = printed["renditions"]
    track = read_any(path)
    kind = aac_kind(track.config.specific)

    assert row["codecs"] == kind.codecs == VERSIONS[version]
    assert (kind.sample_rate, kind.channels) == (RATE, 2)
    assert (track.timing.timescale, track.frame_samples) == (RATE, FRAME)
    assert packets(path) == packets(GOLDEN / f"he-aac-{version}.mp4")
    if container in KNOWS_PRIMING:
        assert row["durationS"] == SAMPLES / RATE
        assert track.timing.priming == PRIMING[version]
    else:  # what says nothing of priming is heard whole
        assert row["durationS"] == len(track.sizes) * FRAME / RATE


@pytest.mark.parametrize("version", VERSIONS)
def test_an_mp4_that_counts_the_cores_samples_is_as_long(tmp_path, version):
    data = bytearray((GOLDEN / f"he-aac-{version}.mp4").read_bytes())
    timescale = data.index(b"mdhd") + 16
    entries = data.index(b"stts") + 8
    runs = int.from_bytes(data[entries : entries + 4], "big")
    places = [timescale, timescale + 4, data.index(b"elst") + 16]
    places += [entries + 8 + 8 * run for run in range(runs)]
    for at in places:
        half = int.from_bytes(data[at : at + 4], "big") // 2
        data[at : at + 4] = half.to_bytes(4, "big")
    halved = tmp_path / "halved.mp4"
    halved.write_bytes(data)

    printed, path = packaged(tmp_path / "out", halved)

    track = read_any(path)
    assert printed["renditions"][0]["durationS"] == SAMPLES / RATE
    assert (track.timing.timescale, track.frame_samples) == (RATE, FRAME)
    assert track.timing.priming == PRIMING[version]


def test_rungs_of_he_aac_lc_and_opus_are_cut_at_the_same_places(tmp_path):
    tones = "aevalsrc=0.25*sin(880*PI*t)|0.25*sin(1320*PI*t):s=48000:d=5"
    others = [tmp_path / "lc.mp4", tmp_path / "opus.mp4"]
    for path, codec in zip(others, ("aac", "libopus"), strict=True):
        ffmpeg("-f", "lavfi", "-i", tones, "-c:a", codec, "-b:a", "128k", str(path))
    ladder = [*others, *(GOLDEN / f"he-aac-{version}.mp4" for version in VERSIONS)]

    printed, _ = packaged(tmp_path / "out", *ladder)

    rows = printed["renditions"]
    assert {row["segmentS"] for row in rows} == {3.84}
    assert {row["segments"] for row in rows} == {2}
    assert [row["codecs"] for row in rows] == ["mp4a.40.2", "opus", *VERSIONS.values()]


@pytest.mark.parametrize("rate", [24_000, 22_050])
def test_plain_aac_at_half_the_rate_is_not_taken_for_he_aac(tmp_path, rate):
    path = tmp_path / "lc.mp4"
    ffmpeg("-f", "lavfi", "-i", f"sine=440:d=5:r={rate}", "-c:a", "aac", str(path))

    printed, made = packaged(tmp_path / "out", path)

    assert printed["renditions"][0]["codecs"] == "mp4a.40.2"
    assert read_any(made).sample_rate == rate


@pytest.mark.parametrize("version", VERSIONS)
def test_our_configuration_is_the_encoders_own(version):
    core = {"v1": "1310", "v2": "1308"}[version]

    told = with_sbr(bytes.fromhex(core), parametric_stereo=version == "v2")

    assert told.hex() == FDK_HIERARCHICAL[version]


@given(
    index=st.integers(0, len(RATES_HZ) - 1), channels=st.integers(0, 7), mode=st.booleans(),
    tail=st.binary(max_size=4),
)  # fmt: skip
def test_sbr_doubles_the_rate_or_is_refused(index, channels, mode, tail):
    core = (AAC_LC << 11 | index << 7 | channels << 3).to_bytes(2, "big") + tail
    try:
        told = aac_kind(with_sbr(core, parametric_stereo=mode))
    except MalformedBoxError:
        assert 2 * RATES_HZ[index] not in RATES_HZ
        return
    assert told.sample_rate == 2 * RATES_HZ[index]
    assert told.object_type == (29 if mode else 5)
    assert not may_hide_sbr(with_sbr(core, parametric_stereo=mode))


@given(st.binary(max_size=12))
def test_bytes_from_outside_raise_nothing_but_our_error(specific):
    for read in (may_hide_sbr, lambda data: with_sbr(data, parametric_stereo=False)):
        try:
            read(specific)
        except MalformedBoxError:
            continue


def test_ffmpeg_decodes_as_much_music_as_went_in(tmp_path):
    for version in VERSIONS:
        _, path = packaged(tmp_path / version, GOLDEN / f"he-aac-{version}.mp4")
        with av.open(str(path)) as container:
            decoded = sum(frame.samples for frame in container.decode(audio=0))
        track = read_any(path)
        assert decoded == track.timing.samples + track.timing.padding
