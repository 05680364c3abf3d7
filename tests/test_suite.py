"""What the suite does with its own tests: levels, minutes, the guard, skips, what is made once."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.groups import NICENESS
from tests.guard import Spent, complaint, spent_so_far
from tests.ports import free_port

ROOT = Path(__file__).parent.parent
CONFTEST = """
import sys
sys.path.insert(0, {root!r})
from tests import guard
guard.CPU_LIMIT_S, guard.WALL_LIMIT_S, guard.ALWAYS_S = 0.5, 1.0, 0.0
from tests.conftest import *
"""
LEVELS = """
import pytest
def test_plain(): pass
@pytest.mark.ci
def test_for_ci(): pass
@pytest.mark.soak
def test_for_soak(): pass
"""


@pytest.fixture
def run(tmp_path):
    """``run(source, *arguments)``: our conftest on a module of its own; exit code and output."""

    def start(source, *arguments, **environment):
        (tmp_path / "conftest.py").write_text(CONFTEST.format(root=str(ROOT)))
        (tmp_path / "test_it.py").write_text(source)
        clean = {k: v for k, v in os.environ.items() if k != "CI" and "PYTEST" not in k}
        clean["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-v", "--rootdir", str(tmp_path), "-c", "/dev/null",
             "-p", "no:cacheprovider", "-p", "xdist.plugin",
             "--basetemp", str(tmp_path / "base"), *arguments, str(tmp_path / "test_it.py")],
            capture_output=True, text=True, check=False, cwd=tmp_path, env=clean | environment,
        )  # fmt: skip
        return done.returncode, done.stdout

    return start


def passed(said):
    return set(re.findall(r"test_it.py::(\w+)\S* PASSED", said))


@pytest.mark.parametrize(
    ("level", "names"),
    [
        ("test", {"test_plain"}),
        ("ci", {"test_plain", "test_for_ci"}),
        ("soak", {"test_for_ci", "test_for_soak"}),
    ],
)
def test_a_level_runs_its_tests_and_skips_none(run, level, names):
    code, said = run(LEVELS, "--level", level)

    assert (code, passed(said)) == (0, names)
    assert "skipped" not in said


def test_ci_is_known_by_its_variable(run):
    _, said = run(LEVELS, CI="1")

    assert passed(said) == {"test_plain", "test_for_ci"}


def test_after_its_minutes_a_soak_starts_nothing_and_names_what_did_not_run(run):
    code, said = run(LEVELS, "--level", "soak", "--minutes", "0")

    assert (code, passed(said)) == (0, set())
    assert re.findall(r"NOT STARTED, the minutes were over: test_it.py::(\w+)", said) == [
        "test_for_ci",
        "test_for_soak",
    ]


@pytest.mark.parametrize("workers", [(), ("-n", "2", "--dist", "loadgroup")])
def test_in_ci_a_skip_fails_the_run(run, workers):
    source = "import pytest\ndef test_skipped(): pytest.skip('nothing to do')\ndef test_run(): pass"

    code, said = run(source, *workers, CI="1")

    assert code == 1
    assert "SKIPPED IN CI, which is a failure: test_it.py::test_skipped" in said
    assert run(source, *workers)[0] == 0


def test_what_takes_too_long_fails_unless_it_is_marked(run):
    _, said = run(
        """
import time, pytest
def test_of_the_clock(): time.sleep(1.2)
def test_of_the_processor():
    while time.process_time() < 2: pass
def test_of_a_child():
    import subprocess, sys
    subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < .6: pass"])
@pytest.fixture
def slow(): time.sleep(1.2)
def test_with_a_slow_fixture(slow): pass
@pytest.fixture(scope="module")
def shared(): time.sleep(1.2)
def test_that_comes_first(shared): pass
def test_that_comes_later(request): pass
""",
    )

    assert passed(said) == {"test_that_comes_first", "test_that_comes_later"}
    assert said.count("this test is too long") == 2 * 4


def test_a_soak_may_take_long(run):
    source = "import time, pytest\n@pytest.mark.soak\ndef test_long(): time.sleep(1.2)"

    assert passed(run(source, "--level", "soak")[1]) == {"test_long"}


@pytest.mark.parametrize(
    ("spent", "limit"),
    [
        (Spent(cpu_s=14, living_s=0, wall_s=24, starved_s=0), None),
        (Spent(cpu_s=16, living_s=0, wall_s=16, starved_s=0), "15"),
        (Spent(cpu_s=1, living_s=0, wall_s=26, starved_s=0), "25"),
        # three quarters of the time others had the processors
        (Spent(cpu_s=10, living_s=0, wall_s=40, starved_s=40), None),
        # its browser had two seconds of a crowded machine
        (Spent(cpu_s=0, living_s=2, wall_s=60, starved_s=60), None),
        # it slept; that others were busy is no excuse
        (Spent(cpu_s=0, living_s=0, wall_s=60, starved_s=60), "25"),
    ],
)
def test_the_clock_is_fair_on_a_busy_machine_and_strict_with_who_sleeps(spent, limit):
    said = complaint(spent)

    assert (said is None) if limit is None else said.endswith(f": {limit} are allowed")


@pytest.mark.skipif(
    not Path(f"/proc/self/task/{os.getpid()}/children").exists(),
    reason="this kernel does not list children",
)
def test_what_a_child_that_lives_had_of_the_processor_counts_apart():
    before = spent_so_far()
    code = "import time\nwhile time.process_time() < .6: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        spent = spent_so_far() - before
        child.communicate(b"\n")
    waited_for = spent_so_far() - before

    assert spent.living_s >= 0.5 > spent.cpu_s
    assert waited_for.cpu_s >= 0.5


def test_what_is_shared_is_made_once_by_all_workers(run, tmp_path):
    source = f"""
import os, time, pytest
from tests.once import made_once
def make(folder):
    with open({str(tmp_path / "made")!r}, "a") as file: file.write("made\\n")
    time.sleep(0.5)
    (folder / "whole").touch()
@pytest.mark.parametrize("number", range(4))
def test_it(number, tmp_path_factory):
    assert os.environ["PYTEST_XDIST_WORKER"]
    assert (made_once(tmp_path_factory, "thing", make) / "whole").exists()
"""
    code, _ = run(source, "-n", "2", "--dist", "load")

    assert code == 0
    assert (tmp_path / "made").read_text() == "made\n"


def test_what_could_not_be_made_is_made_by_who_comes_next(run):
    code, said = run(
        """
import pytest
from tests.once import made_once
def fail(folder):
    (folder / "half").touch()
    raise OSError("no")
def test_it(tmp_path_factory):
    with pytest.raises(OSError, match="no"):
        made_once(tmp_path_factory, "thing", fail)
    folder = made_once(tmp_path_factory, "thing", lambda folder: (folder / "whole").touch())
    assert [path.name for path in folder.iterdir()] == ["whole"]
"""
    )

    assert code == 0, said


def test_what_tests_start_heeds_ctrl_c_even_if_they_run_in_the_background(run):
    source = """
import signal, subprocess, sys
def test_it():
    child = "import signal; print(signal.getsignal(signal.SIGINT))"
    said = subprocess.check_output([sys.executable, "-c", child], text=True)
    assert "default_int_handler" in said
"""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code, said = run(source, "-n", "1")
    finally:
        signal.signal(signal.SIGINT, before)

    assert code == 0, said


def test_workers_draw_their_ports_from_ranges_of_their_own():
    code = "from tests.ports import free_port; print(*(free_port() for _ in range(50)))"

    def drawn(worker):
        environment = os.environ | {"PYTEST_XDIST_WORKER": worker}
        out = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=environment)
        return set(map(int, out.split()))

    first, second = drawn("gw0"), drawn("gw1")
    assert len(first) == len(second) == 50
    assert first.isdisjoint(second)
    assert free_port() != free_port()


def test_a_module_with_a_browser_is_one_group_and_begins_before_the_rest(run, tmp_path):
    (tmp_path / "test_first.py").write_text("def test_sum(): pass")
    source = """
import pytest
@pytest.fixture
def player(): pass
def test_plain(): pass
def test_sound(player): pass
"""
    workers = ("-n", "1", "--dist", "loadgroup", "--no-loadscope-reorder")
    _, said = run(source, *workers, str(tmp_path / "test_first.py"))

    assert re.findall(r"PASSED \S+::(\w+)@(\S+)", said) == [
        ("test_plain", "browser-1"),
        ("test_sound", "browser-1"),
        ("test_sum", "test_first.py"),
    ]


def test_a_worker_steps_back_for_those_with_a_browser_once_it_comes_to_other_tests(run):
    source = f"""
import os, pytest
@pytest.fixture
def player(): pass
def test_sound(player): assert os.nice(0) == {os.nice(0)}
"""
    beside = f"""
import os
def test_plain(): assert os.nice(0) == {min(19, os.nice(0) + NICENESS)}
def test_more(): assert os.nice(0) == {min(19, os.nice(0) + NICENESS)}
"""
    workers = ("-n", "1", "--dist", "loadgroup", "--no-loadscope-reorder")

    for module in (source, beside):
        code, said = run(module, *workers)
        assert code == 0, said
