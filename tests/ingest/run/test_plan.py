"""What is decided of masters before anything is done."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import ids
from core.errors import InvalidInputError
from core.file_state import FileState
from core.model import Scheme, Tier
from ingest.encode.ladder import MUSIC, with_lossless
from ingest.encode.neighbours import ALONE, Rolls
from ingest.encode.toolchain import Toolchain
from ingest.master.containers import Container
from ingest.master.probe import Master, Tags
from ingest.run.plan import Options, beside, check_options, doubles, plan, slug
from packager.protect.protection import Encryption

FFMPEG = Toolchain(Path("/opt/ffmpeg"), "7.1", "f" * 64, "sse4.2")
OPTIONS = Options(ladder=MUSIC)
WAV = Master(
    path=Path("/in/My Song.wav"),
    container=Container.WAV,
    codec="pcm_s16le",
    sample_rate=44_100,
    channels=2,
    bit_depth=16,
    samples=441_000,
    slack_samples=0,
    estimated_duration_s=10.0,
    bitrate_bps=None,
    pcm_md5=None,
    state=FileState(1_764_044, 0),
    tags=Tags(),
)


def planned(master=WAV, options=OPTIONS, toolchain=FFMPEG, position=1):
    return plan(master, position, options, toolchain)


@given(st.text(max_size=200))
def test_what_slug_makes_of_any_text_is_an_id_and_stays_it(text):
    try:
        made = slug(text, "a hint")
    except InvalidInputError as refusal:
        letters = slug(f"{text} a", "")  # one letter is enough
        hint = refusal.hint
        assert (letters, hint) == ("a", "a hint")
        return

    assert ids.TRACK_ID.fits(made)
    assert ids.ALBUM_ID.fits(made)
    assert slug(made, "") == made


@pytest.mark.parametrize(
    "text, made",
    [
        ("My Song", "my-song"),
        ("Größte Hits", "grote-hits"),
        ("Ænima (2019) [Remaster]", "nima-2019-remaster"),
        ("--Élan--", "elan"),
        ("a" * 100, "a" * 64),
        ("a" * 63 + " b", "a" * 63),
    ],
)
def test_ids_are_made_of_names(text, made):
    assert slug(text, "") == made


def test_a_track_is_called_as_the_user_says_then_as_its_tags_say_then_as_its_file():
    tagged = replace(WAV, tags=Tags("Sunday", "The Testers", "GBAYE0000001"))
    told = replace(OPTIONS, title="Monday", artist="Others", track_id="mine")

    def names(master, options=OPTIONS):
        decided = planned(master, options)
        return decided.track_id, decided.title, decided.artist

    assert names(WAV) == ("my-song", "My Song", "")
    assert names(tagged) == ("gbaye0000001", "Sunday", "The Testers")
    assert names(tagged, told) == ("mine", "Monday", "Others")


def test_control_characters_of_a_file_name_do_not_become_a_title():
    master = replace(WAV, path=Path("/in/a\x1b[31m\nb\udcff.wav"))

    assert planned(master).title == "a [31m b "


def test_masters_that_would_become_one_track_are_all_refused_and_others_not():
    names = ["a.wav", "A.flac", "b.wav", "a .aiff"]
    plans = [
        planned(replace(WAV, path=Path("/in") / name), position=n)
        for n, name in enumerate(names, 1)
    ]

    refused = doubles(plans)

    assert [double.position for double, _ in refused] == [1, 2, 4]
    for _, error in refused:
        assert error.message.startswith("3 masters would become the track a: ")
        assert "/in/A.flac" in error.message
        assert "--track-id" in error.hint


DIFFERENT = {
    "ffmpeg": {"toolchain": replace(FFMPEG, sha256="0" * 64)},
    "version": {"toolchain": replace(FFMPEG, version="8.0")},
    "cpu": {"toolchain": replace(FFMPEG, simd="aarch64")},
    "ladder": {"options": replace(OPTIONS, ladder=with_lossless(MUSIC))},
    "channels": {"master": replace(WAV, channels=1)},
    "depth": {"master": replace(WAV, bit_depth=24)},
    "clear lead": {"options": replace(OPTIONS, encryption=Encryption(clear_segments=1))},
    "pattern": {"options": replace(OPTIONS, encryption=Encryption(full_pattern=True))},
    "licences": {"options": replace(OPTIONS, license_base="https://keys.example")},
}
SAME = {
    "title": {"options": replace(OPTIONS, title="x")},
    "regions": {"options": replace(OPTIONS, regions=("eu",))},
    "scheme": {"options": replace(OPTIONS, schemes=tuple(Scheme))},
    "place of ffmpeg": {"toolchain": replace(FFMPEG, ffmpeg=Path("/usr/bin/ffmpeg"))},
    "position": {"position": 2},
    "name": {"master": replace(WAV, path=Path("/in/other.wav"))},
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_alters_bytes_alters_the_recipe(what):
    assert planned(**DIFFERENT[what]).recipe_sha256 != planned().recipe_sha256


@pytest.mark.parametrize("what", SAME)
def test_what_alters_no_encode_leaves_the_recipe(what):
    assert planned(**SAME[what]).recipe_sha256 == planned().recipe_sha256
    assert planned(**SAME[what]).settings == planned().settings


def test_rungs_that_are_finished_serve_another_ladder():
    assert planned(**DIFFERENT["ladder"]).settings == planned().settings


def test_neighbours_alter_recipe_and_settings_and_none_alter_nothing():
    pcm = np.ones((10, 2), np.float32)
    alone = planned()

    between = beside(alone, Rolls(before=pcm))

    assert beside(alone, ALONE) is alone
    assert between.settings != alone.settings
    assert between.recipe_sha256 != alone.recipe_sha256
    assert beside(alone, Rolls(before=pcm.copy())).recipe_sha256 == between.recipe_sha256
    assert beside(alone, Rolls(after=pcm)).recipe_sha256 != between.recipe_sha256


def test_tiers_are_those_of_the_rungs_that_the_master_holds():
    lossy = replace(WAV, codec="mp3", bitrate_bps=128_000)

    assert planned().tiers == (Tier.LOW, Tier.NORMAL, Tier.HIGH)
    assert planned(lossy).tiers == (Tier.LOW,)
    assert planned(options=replace(OPTIONS, ladder=with_lossless(MUSIC))).tiers == tuple(Tier)


@given(st.text(max_size=30))
def test_any_licence_base_is_one_that_a_manifest_can_hold_or_is_refused(text):
    options = replace(OPTIONS, license_base=text)

    try:
        check_options(options, [WAV.path])
    except InvalidInputError as refusal:
        assert refusal.hint  # noqa: PT017 - both ways are the law
    else:
        assert not text or re.fullmatch(r"https?://[^\s\"'<>&?#@]+", text)


@pytest.mark.parametrize(
    "base",
    [
        "https://keys.example",
        "http://127.0.0.1:8080",
        "https://[::1]:8443/keys",
        "HTTPS://keys.example/a%20b/~c",
    ],
)
def test_usual_licence_bases_are_taken(base):
    check_options(replace(OPTIONS, license_base=base), [WAV.path])
