"""What a terminal shows while ingest is at work, and the table at the end."""

import io
from pathlib import Path

from rich.console import Console

from core.model import Loudness
from ingest.run.display import Display, print_table
from ingest.run.outcome import Outcome
from ingest.run.progress import Stage


def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)


def test_each_track_has_a_line_with_its_stage_and_all_have_one():
    console = terminal()

    with Display([Path("one.wav"), Path("two.wav")], console) as display:
        display(1, Stage.CHECK, 0)
        display(1, Stage.ENCODE, 0.5)
        display(2, Stage.PACKAGE, 1)
        display(2, Stage.DONE, 1)
        display(1, Stage.ENCODE, 1)

    shown = console.file.getvalue()
    assert "one.wav" in shown
    assert "encode" in shown
    assert "90%" in shown
    assert "1/2" in shown


def test_a_name_cannot_drive_the_terminal():
    console = terminal()
    hostile = Path("one\x1b]0;title\x07\u202e\x9b31m.wav")

    with Display([hostile], console) as display:
        display(1, Stage.ENCODE, 0.5)
    print_table([Outcome(path=hostile, status="failed")], console)

    shown = console.file.getvalue()
    assert r"one\x1b]0;title\x07\u202e\x9b31m.wav" in shown
    assert not [part for part in ("\x1b]", "\x07", "\u202e", "\x9b") if part in shown]


def test_the_table_names_results_and_loudness():
    console = terminal()
    loudness = Loudness(-14.04, 6.0, -9.0, -11.0, -0.5)
    done = Outcome(
        path=Path("one.wav"),
        status="published",
        track_id="one",
        generation="0123456789abcdef",
        duration_s=61.5,
        loudness=loudness,
        renditions=("aac-96k",),
    )

    print_table([done, Outcome(path=Path("two.wav"), status="failed")], console)

    first, second = console.file.getvalue().splitlines()[1:]
    assert first.split() == [
        *("one", "published", "0123456789abcdef", "1:01.500", "-14.0", "6.0", "-0.5", "aac-96k")
    ]
    assert second.split()[:3] == ["two.wav", "failed", "-"]


def test_a_generation_stays_in_one_piece_on_a_usual_terminal():
    console = Console(file=io.StringIO(), width=80, color_system=None)
    names = ("aac-96k", "aac-160k", "aac-320k", "opus-64k", "opus-96k", "opus-160k")
    done = Outcome(
        path=Path("one.wav"),
        status="published",
        track_id="a-track-with-a-long-name",
        generation="0123456789abcdef",
        duration_s=61.5,
        loudness=Loudness(-14.0, 6.0, -10.0, -12.0, -0.5),
        renditions=names,
    )

    print_table([done], console)

    assert "0123456789abcdef" in console.file.getvalue()
