"""Where a master is worked on: what counts as finished, whose it is, what the dead leave."""

import fcntl
import json
import multiprocessing
import os
import signal
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from core.errors import ConflictError
from core.model import Codec, Loudness, Rung, Tier
from ingest.encode.workspace import (
    Workspace,
    discard,
    locked,
    opened,
    workspace_key,
    write_whole,
)
from ingest.master.quality import Quality
from ingest.measure.meters import Findings

AAC = Rung(Codec.AAC, 96_000, Tier.LOW)
OPUS = Rung(Codec.OPUS, 64_000, Tier.LOW)
FINDINGS = Findings(
    Loudness(-14.0, 5.0, -10.0, -12.0, -1.0),
    np.full(30, 0.01),
    Quality(48_000, 0.5, 0, (0.0, 0.0), 0.5, 0.0, 0.0, ()),
    b"{}",
)


def finish(workspace, *rungs):
    """Encode *rungs*, as far as a workspace can tell."""
    attempt = workspace.fresh(workspace.attempt)
    for rung in rungs:
        (attempt / f"{rung.name}.mp4").write_bytes(rung.name.encode())
    workspace.keep(rungs, FINDINGS)


def left_in(work_dir):
    return sorted(str(path.relative_to(work_dir)) for path in work_dir.rglob("*") if path.is_file())


def test_what_is_finished_outlives_the_block_and_attempts_do_not(tmp_path):
    with opened(tmp_path, "key") as workspace:
        finish(workspace, AAC)
        workspace.fresh(workspace.attempt).joinpath("half.mp4").touch()
        workspace.fresh(workspace.packaged).joinpath("done.mp4").touch()

    assert left_in(tmp_path) == ["key/aac-96k.done", "key/aac-96k.mp4", "key/findings.json"]
    with opened(tmp_path, "key") as again:
        assert again.has(AAC)
        assert not again.has(OPUS)
        assert again.findings().encode() == FINDINGS.encode()


def test_a_block_that_fails_leaves_no_more_than_one_that_does_not(tmp_path):
    with pytest.raises(FileNotFoundError), opened(tmp_path, "key") as workspace:
        workspace.fresh(workspace.attempt).joinpath("missing", "half.mp4").touch()

    assert list(tmp_path.iterdir()) == []


def test_a_published_track_leaves_nothing(tmp_path):
    with opened(tmp_path, "key") as workspace:
        finish(workspace, AAC)
        workspace.remove()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "harm",
    [
        lambda w: w.rung(AAC).write_bytes(b"aac-95k"),  # another byte, the same size
        lambda w: w.rung(AAC).write_bytes(b"aac"),
        lambda w: w.rung(AAC).unlink(),
        lambda w: (w.folder / "aac-96k.done").unlink(),
        lambda w: (w.folder / "aac-96k.done").write_bytes(b""),
        lambda w: (w.folder / "aac-96k.done").write_bytes(b"\xff{"),
        lambda w: (w.folder / "aac-96k.done").write_text("[]"),
        lambda w: (w.folder / "aac-96k.done").write_text(json.dumps({"size": 7})),
    ],
)
def test_a_rung_counts_only_as_it_was_when_it_was_checked(tmp_path, harm):
    with opened(tmp_path, "key") as workspace:
        finish(workspace, AAC, OPUS)
        harm(workspace)

        assert not workspace.has(AAC)
        assert workspace.has(OPUS)


@pytest.mark.parametrize("data", [b"", b"null", b"{", b'{"loudness": {}}'])
def test_damaged_findings_count_as_none(tmp_path, data):
    workspace = Workspace(tmp_path)
    (tmp_path / "findings.json").write_bytes(data)

    assert workspace.findings() is None


def test_findings_are_there_before_the_first_rung_counts(tmp_path):
    workspace = Workspace(tmp_path)
    workspace.fresh(workspace.attempt)

    with pytest.raises(FileNotFoundError):  # as if it died at its first rung
        workspace.keep((AAC,), FINDINGS)

    assert workspace.findings() is not None
    assert not workspace.has(AAC)


def test_the_key_names_the_track_the_master_and_how_it_is_encoded():
    key = workspace_key("song", "a" * 64, "settings")

    assert key.startswith("song-aaaaaaaaaaaaaaaa-")
    assert (
        len({key, workspace_key("song", "a" * 64, "other"), workspace_key("b", "a" * 64, "")}) == 3
    )


def test_only_one_at_a_time_works_in_a_workspace(tmp_path):
    with opened(tmp_path, "key"):
        with pytest.raises(ConflictError, match="another run") as refusal, opened(tmp_path, "key"):
            pytest.fail("two had it")
        with opened(tmp_path, "other"):
            pass

    assert refusal.value.hint
    with opened(tmp_path, "key"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_discarding_what_another_works_on_is_refused_and_nothing_is_no_error(tmp_path):
    discard(tmp_path, "key")
    assert list(tmp_path.iterdir()) == []

    with opened(tmp_path, "key") as workspace:
        finish(workspace, AAC)
        with pytest.raises(ConflictError):
            discard(tmp_path, "key")
    discard(tmp_path, "key")

    assert list(tmp_path.iterdir()) == []


def hold(path, ready):
    """Take the lock in another process and wait to be killed."""
    with locked(Path(path)):
        ready.send(os.getpid())
        signal.pause()


def test_nobody_waits_for_the_lock_of_a_dead_process(tmp_path):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    holder = context.Process(target=hold, args=(str(tmp_path / "key.lock"), theirs))
    holder.start()
    try:
        assert ours.recv() == holder.pid
        with pytest.raises(ConflictError), locked(tmp_path / "key.lock"):
            pytest.fail("two had it")
    finally:
        holder.kill()
        holder.join()

    assert (tmp_path / "key.lock").exists()
    with locked(tmp_path / "key.lock"):
        pass
    assert not (tmp_path / "key.lock").exists()


def test_a_lock_whose_file_was_removed_by_its_owner_is_taken_anew(tmp_path, monkeypatch):
    # between our open and our flock, the owner ends its work: we would hold a file without a name
    path = tmp_path / "key.lock"
    flock, turns = fcntl.flock, []

    def flock_late(lock, operation):
        if not turns:
            path.unlink()
        turns.append(operation)
        flock(lock, operation)

    monkeypatch.setattr(fcntl, "flock", flock_late)
    with locked(path):
        assert path.exists()
        with pytest.raises(ConflictError), locked(path):
            pytest.fail("two had it")

    assert len(turns) == 3


def contend(path, log, rounds):
    """Take the lock again and again; note when two have it."""
    for _ in range(rounds):
        with suppress(ConflictError), locked(Path(path)):
            with Path(log).open("x"):
                pass
            Path(log).unlink()


def test_four_processes_that_want_one_lock_never_have_it_together(tmp_path):
    context = multiprocessing.get_context("spawn")
    arguments = (str(tmp_path / "key.lock"), str(tmp_path / "held"), 300)
    processes = [context.Process(target=contend, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0] * 4  # else `open("x")` failed
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "mark.done"
    write_whole(path, b"old")

    with pytest.raises(TypeError):
        write_whole(path, None)

    assert path.read_bytes() == b"old"
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
