"""Runs as a user starts them: what goes on at a time, and what is left when one is stopped."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.ingest.conftest import (
    ROOT,
    WAIT_LIMIT_S,
    alive,
    children_of,
    music,
    wait_for,
    write_wav,
)

STOPS = {
    signal.SIGINT: 130,
    signal.SIGTERM: 143,
    signal.SIGHUP: 129,
    signal.SIGKILL: -signal.SIGKILL,
}
"""Signals that end a run, and its exit code then."""


@pytest.fixture
def started(tonearm):
    """A run in the background that does not outlive its test."""
    runs = []

    def start(*arguments, **options):
        runs.append(tonearm("ingest", *arguments, popen=True, **options))
        return runs[-1]

    yield start
    for run in runs:
        if run.poll() is None:
            run.send_signal(signal.SIGTERM)
        run.communicate(timeout=WAIT_LIMIT_S)


def test_twelve_jobs_are_twelve_encoders_at_once(started, held):
    masters = held.masters(13)
    run = started(*masters, "--jobs", "12", "--ffmpeg", held.ffmpeg, "--json")
    names = [path.stem for path in masters]

    wait_for(lambda: len(held.running()) == 12)
    held.release(*names)
    output, errors = run.communicate(timeout=WAIT_LIMIT_S)

    assert run.returncode == 0, errors
    assert [json.loads(line)["status"] for line in output.splitlines()] == ["published"] * 13


def test_what_is_encoded_is_packaged_and_stored_while_all_other_encoders_run(
    started, held, tmp_path
):
    masters = held.masters(12)
    started(*masters, "--jobs", "11", "--ffmpeg", held.ffmpeg)
    wait_for(lambda: len(held.running()) == 11)
    [first, *_] = held.running()

    held.release(first)

    hot = tmp_path / "home" / "hot" / "tracks"
    wait_for(lambda: list(hot.glob(f"{first}/*/presentation.json")))
    assert len(held.running()) == 12  # its slot went to the next master
    assert [path.name for path in hot.iterdir()] == [first]


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.name)
def test_a_stopped_run_leaves_no_process_and_nothing_half_published(started, held, tmp_path, stop):
    run = started(*held.masters(2), "--jobs", "2", "--ffmpeg", held.ffmpeg)
    wait_for(lambda: len(held.running()) == 2)
    children = children_of(run.pid)

    os.kill(run.pid, stop)
    _, errors = run.communicate(timeout=WAIT_LIMIT_S)
    held.release(*held.running())  # after SIGKILL nobody is left to end them: they find no reader

    wait_for(lambda: not any(alive(child) for child in children))
    assert len(children) == 2
    assert run.returncode == STOPS[stop]
    assert "Traceback" not in errors
    home = tmp_path / "home"
    assert not list((home / "hot").rglob("presentation.json"))
    if stop is not signal.SIGKILL:
        assert list((home / "work").iterdir()) == []


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=lambda stop: stop.name)
def test_a_stopped_run_keeps_what_was_finished(started, tonearm, held, stop):
    masters = held.masters(2)
    run = started(*masters, "--jobs", "2", "--ffmpeg", held.ffmpeg, "--json")
    wait_for(lambda: len(held.running()) == 2)
    held.release("track-1")
    finished = json.loads(run.stdout.readline())

    run.send_signal(stop)
    run.wait(timeout=WAIT_LIMIT_S)
    held.release("track-2")
    again = tonearm("ingest", *masters, "--ffmpeg", held.ffmpeg, "--json")

    assert (finished["trackId"], finished["status"]) == ("track-1", "published")
    lines = map(json.loads, again.stdout.splitlines())
    assert {line["trackId"]: line["status"] for line in lines} == {
        "track-1": "unchanged",
        "track-2": "published",
    }


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=lambda stop: stop.name)
def test_who_signals_twice_stops_a_run_in_order_all_the_same(started, held, tmp_path, stop):
    run = started(*held.masters(3), "--jobs", "2", "--ffmpeg", held.ffmpeg)
    wait_for(lambda: len(held.running()) == 2)
    children = children_of(run.pid)

    run.send_signal(stop)
    run.send_signal(stop)
    _, errors = run.communicate(timeout=WAIT_LIMIT_S)

    assert run.returncode == STOPS[stop]
    assert errors.strip() == ""
    wait_for(lambda: not any(alive(child) for child in children))
    assert list((tmp_path / "home" / "work").iterdir()) == []


def test_a_run_in_the_background_ignores_ctrl_c_and_ends_at_sigterm(started, held):
    run = started(*held.masters(2), "--jobs", "1", "--ffmpeg", held.ffmpeg, ctrl_c="SIG_IGN")
    [first] = wait_for(held.running)

    run.send_signal(signal.SIGINT)
    held.release(first)
    wait_for(lambda: len(held.running()) == 2)
    children = children_of(run.pid)
    run.send_signal(signal.SIGTERM)

    assert run.wait(timeout=WAIT_LIMIT_S) == 143
    wait_for(lambda: not any(alive(child) for child in children))


def test_two_runs_do_not_work_on_one_track_at_the_same_time(started, tonearm, held):
    masters = held.masters(1)
    started(*masters, "--ffmpeg", held.ffmpeg)
    wait_for(held.running)

    second = tonearm("ingest", *masters, "--ffmpeg", held.ffmpeg)

    assert second.returncode == 1
    assert "another run is at work" in second.stderr


def test_a_run_that_is_stopped_amid_a_long_master_ends_its_encoders(started, tmp_path):
    run = started(write_wav(tmp_path / "long.wav", np.tile(music(2.0), (60, 1))))
    [child] = wait_for(lambda: children_of(run.pid))

    run.send_signal(signal.SIGINT)

    assert run.wait(timeout=WAIT_LIMIT_S) == 130
    wait_for(lambda: not alive(child))


@pytest.mark.parametrize("album", [(), ("--album", "Suite")], ids=["singles", "album"])
def test_a_usual_limit_of_open_files_ends_no_run(tmp_path, album):
    ladder = tmp_path / "ladder.toml"
    ladder.write_text('[[rung]]\ncodec = "opus"\nbitrate_kbps = 64\ntier = "low"\n')
    masters = [write_wav(tmp_path / f"{n}.wav", music(0.5, seed=n)) for n in range(30)]
    command = [sys.executable, "-m", "cli", "--home", tmp_path / "home", "ingest", *masters]

    done = subprocess.run(
        ["sh", "-c", 'ulimit -Sn 40; exec "$@"', "sh", *command, *album, "--ladder", ladder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("published") == len(masters)
