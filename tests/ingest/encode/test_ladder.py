"""Which rungs a master gets, and what a ladder file may say."""

from pathlib import Path

import pytest

from core.errors import InvalidInputError, MasterRejectedError
from core.file_state import FileState
from core.model import Codec, Tier
from ingest.encode.ladder import MUSIC, fit, lossless_depth, parse_ladder, with_lossless
from ingest.master.containers import Container
from ingest.master.probe import Master, Tags

SAMPLES = Path(__file__).parents[3] / "samples"


def master(**changes):
    known = {
        "path": Path("song.wav"),
        "container": Container.WAV,
        "codec": "pcm_s16le",
        "sample_rate": 44_100,
        "channels": 2,
        "bit_depth": 16,
        "samples": 441_000,
        "slack_samples": 0,
        "estimated_duration_s": 10.0,
        "bitrate_bps": None,
        "pcm_md5": None,
        "state": FileState(1_764_044, 0),
        "tags": Tags(),
    }
    return Master(**{**known, **changes})


def names(fitted):
    return [rung.name for rung in fitted.rungs]


def test_a_lossless_master_gets_the_whole_ladder():
    expected = ["aac-96k", "aac-160k", "aac-320k", "opus-64k", "opus-96k", "opus-160k", "flac"]

    assert names(fit(with_lossless(MUSIC), master())) == expected


def test_a_96k_master_is_never_encoded_above_96k():
    fitted = fit(with_lossless(MUSIC), master(bitrate_bps=95_300, codec="aac", bit_depth=None))

    assert names(fitted) == ["aac-96k", "opus-64k", "opus-96k"]
    assert "aac-320k is left out: the master holds 95 kb/s" in fitted.notes


def test_a_mono_master_gets_mono_rungs_with_five_eighths_of_the_bits():
    fitted = fit(with_lossless(MUSIC), master(channels=1))

    assert {rung.channels for rung in fitted.rungs} == {1}
    assert names(fitted) == [
        "aac-64k",
        "aac-104k",
        "aac-200k",
        "opus-40k",
        "opus-64k",
        "opus-104k",
        "flac",
    ]
    assert [rung.tier for rung in fitted.rungs][:3] == [Tier.LOW, Tier.NORMAL, Tier.HIGH]


def test_a_downmix_is_never_called_lossless():
    assert "flac" not in names(fit(with_lossless(MUSIC), master(channels=6)))


def test_a_master_below_every_rung_is_refused():
    with pytest.raises(MasterRejectedError, match="no rung of the ladder music fits"):
        fit(MUSIC, master(bitrate_bps=48_000, codec="mp3"))


@pytest.mark.parametrize("depth, lossless", [(16, 16), (20, 24), (24, 24), (32, 24), (None, 24)])
def test_lossless_rungs_keep_up_to_24_bits(depth, lossless):
    assert lossless_depth(master(bit_depth=depth)) == lossless


def test_a_ladder_is_read_from_toml():
    ladder = parse_ladder((SAMPLES / "ladder-speech.toml").read_text(), name="file")

    assert ladder.name == "speech"
    assert [(r.name, r.tier) for r in ladder.rungs] == [
        ("opus-32k", Tier.LOW),
        ("aac-64k", Tier.LOW),
        ("aac-128k", Tier.NORMAL),
    ]


def test_a_ladder_may_have_a_lossless_rung():
    [rung] = parse_ladder('[[rung]]\ncodec = "flac"', name="hifi").rungs

    assert (rung.codec, rung.tier, rung.name) == (Codec.FLAC, Tier.LOSSLESS, "flac")


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("rung = [", "not TOML"),
        ("", "1 to 16 rungs"),
        ("rung = []", "1 to 16 rungs"),
        ("rung = [1]", "rung 1 is not a table"),
        ('[[rung]]\ncodec = "mp3"', "rung 1: codec is 'mp3'"),
        ('[[rung]]\ncodec = "aac"\ntier = "low"', "rung 1: bitrate_kbps is None"),
        ('[[rung]]\ncodec = "aac"\ntier = "low"\nbitrate_kbps = 9000', "bitrate_kbps is 9000"),
        ('[[rung]]\ncodec = "aac"\ntier = "low"\nbitrate_kbps = true', "bitrate_kbps is True"),
        ('[[rung]]\ncodec = "aac"\ntier = "best"\nbitrate_kbps = 96', "tier is 'best'"),
        ('[[rung]]\ncodec = "aac"\nbitrate = 96', "no setting 'bitrate'"),
        ('[[rung]]\ncodec = "flac"\nbitrate_kbps = 96', "flac has no bitrate"),
        ('name = "A B"\n[[rung]]\ncodec = "flac"', "no name of a ladder"),
        ('[[rung]]\ncodec = "flac"\n[[rung]]\ncodec = "flac"', "flac stands twice"),
    ],
)
def test_a_wrong_ladder_says_what_is_wrong(text, complaint):
    with pytest.raises(InvalidInputError, match=complaint) as refused:
        parse_ladder(text, name="mine")
    assert refused.value.hint
