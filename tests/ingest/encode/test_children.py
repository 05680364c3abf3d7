"""Processes that ingest starts: none outlives it, and none starts when it has been stopped."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from ingest.encode.children import CancelledByUserError, Children, kill
from tests.ingest.conftest import ROOT, alive, wait_for

FOREVER = ["sh", "-c", "sleep 1000 & echo $!; wait"]
"""A child with a child of its own, whose pid it prints."""


def grandchild(process):
    return int(process.stdout.readline())


def test_a_child_and_its_own_children_are_gone_when_the_block_ends():
    with Children().started(FOREVER) as process:
        inner = grandchild(process)
        assert alive(process.pid)
        assert alive(inner)

    assert process.returncode == -signal.SIGKILL
    wait_for(lambda: not alive(inner))


def test_a_child_that_has_ended_keeps_its_own_exit_code():
    with Children().started(["sh", "-c", "exit 3"]) as process:
        process.wait()

    assert process.returncode == 3
    kill(process)  # no error, and nobody else is killed


def test_cancelling_ends_all_children_from_another_thread():
    children, waiting, pids = Children(), threading.Barrier(4), []

    def work():
        with children.started(FOREVER) as process:
            pids.extend((process.pid, grandchild(process)))
            waiting.wait()
            process.wait()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    waiting.wait()
    children.cancel()
    for thread in threads:
        thread.join()

    assert len(pids) == 6
    wait_for(lambda: not any(map(alive, pids)))


def test_nothing_starts_after_cancelling(tmp_path):
    children = Children()
    children.check()
    children.cancel()
    children.cancel()

    with pytest.raises(CancelledByUserError), children.started(["touch", str(tmp_path / "x")]):
        pytest.fail("it was started")
    with pytest.raises(CancelledByUserError):
        children.check()
    assert children.cancelled
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_is_not_there_is_no_child():
    children = Children()

    with pytest.raises(FileNotFoundError), children.started(["/nowhere/ffmpeg"]):
        pytest.fail("it was started")
    children.cancel()


def test_a_child_does_not_hear_the_terminals_ctrl_c():
    with Children().started(FOREVER) as process:
        assert os.getsid(process.pid) == process.pid
        assert os.getpgid(process.pid) != os.getpgid(0)


def test_a_child_that_says_much_is_read_in_large_pieces():
    code = "import sys; sys.stdout.buffer.write(bytes(3_000_000))"
    with Children().started([sys.executable, "-c", code]) as process:
        assert len(process.stdout.read()) == 3_000_000
        assert process.wait() == 0


def test_a_run_that_dies_of_a_fault_takes_its_children_along():
    code = (
        "from ingest.encode.children import Children\n"
        f"with Children().started({FOREVER}) as process:\n"
        "    print(process.stdout.readline().decode(), flush=True)\n"
        "    raise SystemExit(7)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 7
    wait_for(lambda: not alive(int(done.stdout)))
