"""What the whole suite shares: golden files, and the rule that CI skips nothing."""

import os
from pathlib import Path

import hypothesis
import pytest

GOLDEN = Path(__file__).parent / "golden"

# a shared machine is slow at times; a slow example is not a wrong one
hypothesis.settings.register_profile("tonearm", deadline=None)
hypothesis.settings.load_profile("tonearm")


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the files in tests/golden with what the code writes now",
    )


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


class NoSkips:
    """Fails the run if anything was skipped: a test that did not run proves nothing."""

    def __init__(self):
        self.skipped = []

    def pytest_runtest_logreport(self, report):
        if report.skipped and not hasattr(report, "wasxfail"):
            self.skipped.append(report.nodeid)

    def pytest_collectreport(self, report):
        if report.skipped:
            self.skipped.append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        if self.skipped and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        for nodeid in self.skipped:
            terminalreporter.write_line(f"SKIPPED IN CI, which is a failure: {nodeid}", red=True)


def pytest_configure(config):
    if os.environ.get("CI"):
        config.pluginmanager.register(NoSkips(), "no-skips")
