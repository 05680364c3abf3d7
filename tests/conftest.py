"""What the whole suite shares: golden files, levels, workers, the guard, no skips in CI."""

import os
import signal
from pathlib import Path

import hypothesis
import pytest

from tests.groups import BROWSER_GROUPS, StepBack, assign
from tests.guard import Guard
from tests.levels import LEVELS, NOT_STARTED, Level

GOLDEN = Path(__file__).parent / "golden"

# a shared machine is slow at times; a slow example is not a wrong one
hypothesis.settings.register_profile(
    "tonearm", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tonearm")


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the files in tests/golden with what the code writes now",
    )
    parser.addoption("--level", choices=LEVELS, help="what is run; without it test, or ci if CI=1")
    parser.addoption("--minutes", type=float, help="after that, no test is started")


@pytest.fixture
def golden(request):
    """Compare *data* with the file *name* in ``tests/golden``; text and bytes both do."""

    def compare(name, data):
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.encode() if isinstance(data, str) else data)
            return
        assert path.exists(), f"{path} is missing: run pytest with --update-golden, then review it"
        if isinstance(data, str):
            assert data == path.read_bytes().decode()
        else:
            # hex, because a difference in bytes cannot be read
            assert data.hex(" ") == path.read_bytes().hex(" ")

    return compare


class NotRun:
    """Says what did not run. In CI that fails the run: a test that did not run proves nothing."""

    def __init__(self, *, strict):
        self.strict = strict
        self.skipped, self.not_started = [], []

    def pytest_runtest_logreport(self, report):
        if report.skipped and not hasattr(report, "wasxfail"):
            late = NOT_STARTED in str(report.longrepr)
            (self.not_started if late else self.skipped).append(report.nodeid)

    def pytest_collectreport(self, report):
        if report.skipped:
            self.skipped.append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        if self.strict and self.skipped and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        for nodeid in self.not_started:
            terminalreporter.write_line(f"NOT STARTED, the minutes were over: {nodeid}")
        for nodeid in self.skipped if self.strict else ():
            terminalreporter.write_line(f"SKIPPED IN CI, which is a failure: {nodeid}", red=True)


def pytest_configure(config):
    # a shell has its jobs in the background ignore Ctrl-C, and what we start would inherit that
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(Level(config), "level")
    config.pluginmanager.register(Guard(), "guard")
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(StepBack(), "step-back")
    else:  # workers' reports arrive here
        config.pluginmanager.register(NotRun(strict=bool(os.environ.get("CI"))), "not-run")


def pytest_xdist_auto_num_workers():
    """Besides the processors' one for each group of browser tests: those wait for music."""
    return len(os.sched_getaffinity(0)) + len(BROWSER_GROUPS)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    assign(items)
