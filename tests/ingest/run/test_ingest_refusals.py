"""Whatever `tonearm ingest` refuses, it refuses before work begins, and leaves nothing behind."""

import os
import sqlite3
import subprocess
import sys
import wave
from contextlib import closing

import numpy as np
import pytest

from tests.ingest.conftest import music, write_wav

TOO_MANY_REGIONS = ",".join(f"r{n}" for n in range(301))
OPTIONS = {
    "a ladder that is not there": (["--ladder", "nowhere.toml"], "cannot be read"),
    "a ladder that is not TOML": (["--ladder", "{folder}/not.toml"], "not TOML"),
    "a track id in other letters": (["--track-id", "Ä"], "track id"),
    "a track id that is too long": (["--track-id", "a" * 65], "track id"),
    "a title that is too long": (["--title", "t" * 501], "--title"),
    "an artist that is too long": (["--artist", "t" * 501], "--artist"),
    "a title that is no Unicode": (["--title", os.fsdecode(b"\xff")], "--title"),
    "more regions than a track may have": (["--regions", TOO_MANY_REGIONS], "region groups"),
    "a region in other letters": (["--regions", "EU"], "region group"),
    "a region without a name": (["--regions", "eu,,us"], "region group"),
    "an album without letters": (["--album", "!!!"], "no id can be made"),
    "a licence base that is no URL": (["--license-base", "keys.example"], "--license-base"),
    "a licence base with a quote": (["--license-base", 'https://a"b'], "--license-base"),
    "a licence base with a query": (["--license-base", "https://a/?b"], "--license-base"),
    "a licence base of 600 characters": (
        ["--license-base", f"https://{'a' * 600}"],
        "--license-base",
    ),
    "a licence base on no port": (["--license-base", "https://a:port"], "--license-base"),
    "a licence base that is nothing but a slash": (["--license-base", "/"], "--license-base"),
    "a clear lead of more than an hour": (["--clear-lead", "3601"], "not in the range"),
    "no jobs at all": (["--jobs", "0"], "not in the range"),
    "a scheme that nobody knows": (["--scheme", "rot13"], "rot13"),
    "a clear lead that is no number": (["--clear-lead", "nan"], "not finite"),
    "a report in no folder": (["--report", "{folder}/missing/report.json"], "is no folder"),
    "a report below a file": (["--report", "{folder}/not.toml/report.json"], "is no folder"),
    "a report without a name": (["--report", ""], "is a folder"),
    "a report whose name is too long": (["--report", "r" * 300], "cannot be written"),
    "a report where no file can be made": (["--report", "/proc/report.json"], "cannot be written"),
    "a report that is the master": (["--report", "{folder}/song.wav"], "is a master"),
    "an ffmpeg that is not there": (["--ffmpeg", "nowhere"], "is not there"),
    "an ffmpeg that is none": (["--ffmpeg", "{folder}/not.toml"], "does not run"),
    "a store that nobody knows": (["--store", "gopher://a"], "store"),
}


def what_is_left(home):
    """Objects, rows of the catalogue and things in the work folder of a home."""
    files = [path for name in ("hot", "cold", "work") for path in (home / name).rglob("*")]
    left = [str(path.relative_to(home)) for path in files if path.is_file() or "work" in path.parts]
    if (home / "catalogue.sqlite").exists():
        with closing(sqlite3.connect(home / "catalogue.sqlite")) as db:
            for table in ("tracks", "generations"):
                left += [f"{table}: {row}" for row in db.execute(f"SELECT * FROM {table}")]
    return left


def assert_refused(done, complaint):
    lines = done.stderr.splitlines()
    assert done.returncode in (1, 2)  # 2: an option by itself is wrong
    assert any(line.startswith("error: ") and complaint in line for line in lines), done.stderr
    assert any(line.startswith("hint: ") for line in lines)
    assert "None" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("case", OPTIONS)
def test_an_option_is_refused_before_anything_is_made(tonearm, tmp_path, case):
    options, complaint = OPTIONS[case]
    (tmp_path / "not.toml").write_text("no [ toml")
    master = write_wav(tmp_path / "song.wav", music(0.6))
    delivered = master.read_bytes()

    done = tonearm("ingest", master, *(option.format(folder=tmp_path) for option in options))

    assert_refused(done, complaint)
    assert what_is_left(tmp_path / "home") == []
    assert master.read_bytes() == delivered


def test_an_option_for_one_master_is_refused_for_two(tonearm, tmp_path):
    masters = [write_wav(tmp_path / f"{n}.wav", music(0.6, seed=n)) for n in range(2)]

    for option in ("--title", "--track-id"):
        assert_refused(tonearm("ingest", *masters, option, "x"), f"{option} is for one master")
    assert what_is_left(tmp_path / "home") == []


def test_more_masters_than_an_album_may_have_are_refused(tonearm, tmp_path):
    masters = [tmp_path / f"{n}.wav" for n in range(1001)]

    done = tonearm("ingest", *masters, "--album", "Everything")

    assert_refused(done, "an album of 1001 masters")
    assert what_is_left(tmp_path / "home") == []


def silent(folder):
    return write_wav(folder / "silent.wav", np.zeros((44_100, 2)))


def truncated(folder):
    path = write_wav(folder / "cut.wav", music(1.0))
    path.write_bytes(path.read_bytes()[:50_000])
    return path


def short(folder):
    return write_wav(folder / "short.wav", music(0.3))


def slow(folder):
    return write_wav(folder / "slow.wav", music(1.0, rate=22_050), rate=22_050)


def empty(folder):
    path = folder / "empty.wav"
    path.touch()
    return path


def text(folder):
    path = folder / "text.wav"
    path.write_text("no music here")
    return path


def without_audio(folder):
    path = folder / "nothing.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 44_100, 0, "NONE", ""))
    return path


def a_folder(folder):
    path = folder / "album"
    path.mkdir()
    return path


def nameless(folder):
    return write_wav(folder / "日本.wav", music(0.6))


def pipe(folder):
    os.mkfifo(folder / "pipe.wav")
    return folder / "pipe.wav"


MASTERS = {
    pipe: "is no file",
    silent: "silent",
    truncated: "truncated",
    short: "of audio",
    slow: "sample rate",
    empty: "not an audio file",
    text: "not an audio file",
    without_audio: "nothing.wav",
    a_folder: "is a folder",
    nameless: "no id can be made",
}


@pytest.mark.parametrize("make", MASTERS, ids=lambda make: make.__name__)
def test_a_master_is_refused_and_nothing_of_it_is_left(tonearm, tmp_path, make):
    done = tonearm("ingest", make(tmp_path))

    assert_refused(done, MASTERS[make])
    assert what_is_left(tmp_path / "home") == []


def test_a_withdrawn_track_is_refused_before_its_album_is_listened_to(tonearm, held, tmp_path):
    masters = held.masters(2)
    held.release("track-1", "track-2")
    assert tonearm("ingest", masters[0], "--ffmpeg", held.ffmpeg).returncode == 0
    assert tonearm("track", "withdraw", "track-1").returncode == 0
    before = what_is_left(tmp_path / "home")
    for mark in (tmp_path / "held").glob("*.runs"):
        mark.unlink()

    done = tonearm("ingest", masters[0], "--album", "Suite", "--ffmpeg", held.ffmpeg)

    assert_refused(done, "withdrawn")
    assert held.running() == []
    assert what_is_left(tmp_path / "home") == before


def test_a_name_that_is_no_unicode_becomes_a_title_that_is(tonearm, tmp_path):
    path = tmp_path / os.fsdecode(b"night\xff\x1bdrive.wav")
    path.write_bytes(write_wav(tmp_path / "song.wav", music(0.6)).read_bytes())

    done = tonearm("ingest", path)

    assert done.returncode == 0, done.stderr
    [entry] = (tmp_path / "home" / "hot").rglob("presentation.json")
    assert '"title":"night  drive"' in entry.read_text()


@pytest.mark.parametrize(
    "body, complaint, hint",
    [(None, "No such file or directory", "path"), ("no [ toml", "is not TOML", "as TOML")],
    ids=["missing", "not TOML"],
)
def test_a_configuration_is_refused_for_what_is_wrong_with_it(tmp_path, body, complaint, hint):
    config = tmp_path / "tonearm.toml"
    if body:
        config.write_text(body)
    command = [sys.executable, "-m", "cli", "--config", config, "track", "list"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert_refused(done, complaint)
    assert "Errno" not in done.stderr
    assert hint in done.stderr.splitlines()[1]
