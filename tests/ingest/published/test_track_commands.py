"""`tonearm track` on local stores and a real catalogue, through the command line."""

import os
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner

from cli import cli
from core.errors import InvalidInputError, NotFoundError
from core.home import Home
from core.model import Loudness
from tests.origin.conftest import fill_home, lines, make_presentation, run


@pytest.fixture
def home(tmp_path):
    """A home with one published track."""
    return fill_home(Home(tmp_path / "home"), *make_presentation())


def test_tracks_are_listed_and_shown(home):
    (line,) = lines(run(home, "track", "list", "--json"))
    assert (line["trackId"], line["status"], line["publishedAt"]) == (
        "song", "published", "2027-01-15T08:00:00Z",
    )  # fmt: skip
    assert "song\tpublished\thot" in run(home, "track", "list").stdout
    (shown,) = lines(run(home, "track", "show", "song", "--json"))
    assert [r["name"] for r in shown["renditions"]] == ["aac-96k", "aac-160k", "aac-320k"]
    assert shown["loudness"]["integratedLufs"] == -14.0
    assert "aac-320k" in run(home, "track", "show", "song").stdout


def test_an_unknown_track_is_one_clear_error(home):
    for command in ("show", "withdraw", "restore", "remove", "history"):
        run(home, "track", command, "nosuch", fails=NotFoundError)


def test_a_track_is_withdrawn_and_given_back(home):
    assert lines(run(home, "track", "withdraw", "song", "--json"))[0]["status"] == "withdrawn"
    assert lines(run(home, "track", "restore", "song", "--json"))[0]["status"] == "published"


def test_removing_deletes_every_file_and_keeps_the_history(home):
    refused = CliRunner().invoke(cli, ["--home", str(home.path), "track", "remove", "song"],
                                 input="n\n")  # fmt: skip
    assert refused.exit_code != 0
    assert lines(run(home, "track", "list", "--json"))

    (removed,) = lines(run(home, "track", "remove", "song", "--yes", "--json"))

    assert removed == {"trackId": "song", "removed": True, "objects": 7}
    assert run(home, "track", "list").stdout == ""
    assert [p for p in (home.path / "hot").rglob("*") if p.is_file() and "song" in str(p)] == []
    (line,) = lines(run(home, "track", "history", "song", "--json"))
    assert line["kept"] is False
    run(home, "track", "remove", "song", "--yes", fails=NotFoundError)


def test_removing_without_anybody_to_ask_says_so(home):
    refused = run(home, "track", "remove", "song", input="", fails=InvalidInputError)

    assert refused.exception.hint == "--yes does not ask"
    assert lines(run(home, "track", "list", "--json"))


def test_a_track_without_an_artist_is_listed_by_its_title(tmp_path):
    presentation, bodies = make_presentation()
    home = fill_home(Home(tmp_path / "other"), replace(presentation, artist=""), bodies)

    assert run(home, "track", "list").stdout.splitlines()[0].split("\t")[-1] == presentation.title


def test_a_pipe_is_no_master_to_compare_with(home, tmp_path):
    """Nobody writes to it: whoever opens it waits, and Ctrl-C does not end that."""
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)

    refused = run(home, "track", "verify", "song", "--master", str(pipe), fails=InvalidInputError)

    assert refused.exception.message == f"{pipe}: is no file"


def test_people_read_what_a_track_is(home, golden):
    golden("track_show.txt", run(home, "track", "show", "song").stdout)


def test_what_a_track_lacks_is_a_dash(home):
    silent = make_presentation("silence")
    fill_home(home, *silent, loudness=Loudness(None, None, None, None, None))

    shown = run(home, "track", "show", "silence").stdout

    assert "None" not in shown
    assert re.search(r"^loudness +-$", shown, re.MULTILINE)
    assert re.search(r"^album +-$", shown, re.MULTILINE)


def test_a_track_without_a_name_has_dashes_in_their_places(home):
    fill_home(home, *make_presentation("nameless"), title="", artist="")

    shown = run(home, "track", "show", "nameless").stdout

    assert re.findall(r"^(title|artist) +-$", shown, re.MULTILINE) == ["title", "artist"]
