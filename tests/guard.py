"""No test is long: 15 seconds of processor or 25 of the clock, unless it is marked `soak`.

Counted are a test's own fixtures and its call. What fixtures of a wider scope take counts to
nobody, as it is chance which test comes first; nor does what is done after the call, where servers
of the whole session may end.

Processor time is that of this process and of the children that it has waited for. The clock needs
more care, because a machine that others use stretches it: seconds in which some task waited for a
processor (`/proc/pressure/cpu`) are not counted. Alone that would excuse everything on a busy
machine, a test that sleeps as well, so no more is taken off than a starved test can lose: some
seconds for servers and browsers, whose processor time is not seen here, and for each second of
processor that it had, a few in which it waited for one.
"""

import os
import resource
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CPU_LIMIT_S = 15.0
WALL_LIMIT_S = 25.0
UNSEEN_S = 15.0
"""That servers and browsers may wait for a processor in one test."""
WAIT_PER_CPU = 4.0
"""Seconds that a test may wait for a processor, for each that it had one."""
PRESSURE = Path("/proc/pressure/cpu")


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of processor, of the clock, and of the clock while a task waited for a processor."""

    cpu_s: float
    wall_s: float
    starved_s: float

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            self.cpu_s + other.cpu_s,
            self.wall_s + other.wall_s,
            self.starved_s + other.starved_s,
        )

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(
            self.cpu_s - other.cpu_s,
            self.wall_s - other.wall_s,
            self.starved_s - other.starved_s,
        )

    @property
    def fair_wall_s(self) -> float:
        """What the clock would have shown on a machine that nobody else uses, or less."""
        return self.wall_s - min(self.starved_s, UNSEEN_S + WAIT_PER_CPU * self.cpu_s)


NOTHING = Spent(0.0, 0.0, 0.0)


def spent_so_far() -> Spent:
    """Since some moment in the past; only differences mean something."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_s = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    return Spent(cpu_s, time.monotonic(), _starved_s())


def _starved_s() -> float:
    try:
        # some avg10=0.00 avg60=0.00 avg300=0.00 total=30109301, in microseconds
        return int(PRESSURE.read_text().partition("total=")[2].split()[0]) / 1e6
    except OSError:  # a kernel without it: where more wants to run than can, no clock is fair
        busy = os.getloadavg()[0] > (os.cpu_count() or 1)
        return time.monotonic() if busy else 0.0


def complaint(spent: Spent) -> str | None:
    """What to say of a test that took so long; None if that is within the limits."""
    if spent.cpu_s > CPU_LIMIT_S:
        return f"{spent.cpu_s:.1f} s of processor: {CPU_LIMIT_S:.0f} are allowed"
    if spent.fair_wall_s > WALL_LIMIT_S:
        fair = f"{spent.fair_wall_s:.1f} without waits for a processor"
        return f"{spent.wall_s:.1f} s, {fair}: {WALL_LIMIT_S:.0f} are allowed"
    return None


class Guard:
    """Fails what is too long."""

    def __init__(self) -> None:
        self._setup = self._wider = NOTHING
        self._depth = 0

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, Any]:
        """Take off what a fixture of more than one test costs, once if it wants others."""
        if fixturedef.scope == "function":
            return (yield)
        before = spent_so_far()
        self._depth += 1
        try:
            return (yield)
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._wider += spent_so_far() - before

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Generator[None, None, None]:
        """Measure the test's own fixtures."""
        self._wider = NOTHING
        before = spent_so_far()
        yield
        self._setup = spent_so_far() - before

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Measure the test; if it has passed, judge it."""
        before = spent_so_far()
        yield
        spent = self._setup + (spent_so_far() - before) - self._wider
        if item.get_closest_marker("soak") is None and (said := complaint(spent)):
            pytest.fail(f"this test is too long: {said}", pytrace=False)
