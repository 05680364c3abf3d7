"""No test is long: 15 seconds of processor or 25 of the clock, unless it is marked `soak`.

Counted are a test's own fixtures and its call. What fixtures of a wider scope take counts to
nobody, as it is chance which test comes first; nor does what is done after the call, where servers
of the whole session may end.

Processor time is that of this process and of the children that it has waited for. The clock needs
more care, because a machine that others use stretches it: seconds in which some task waited for a
processor (`/proc/pressure/cpu`) are not counted. Alone that would excuse everything on a busy
machine, a test that sleeps as well, so no more is taken off than a starved test can lose: for each
second that it, its servers and its browser had a processor, some in which they waited for one.
"""

import os
import resource
import time
from collections.abc import Generator
from dataclasses import astuple, dataclass
from operator import add, sub
from pathlib import Path
from typing import Any

import pytest

CPU_LIMIT_S = 15.0
WALL_LIMIT_S = 25.0
ALWAYS_S = 5.0
"""That any test may wait for a processor: to begin, to be woken, to look at a clock."""
WAIT_PER_CPU = 20.0
"""Seconds that a test may wait for a processor, for each that it had one: others may be many."""
PRESSURE = Path("/proc/pressure/cpu")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds since some moment in the past; only differences mean something.

    Attributes:
        cpu_s: Of processor, by this process and by children that it has waited for.
        living_s: Of processor, by all that descend from it and live.
        wall_s: Of the clock.
        starved_s: Of the clock, while some task of the machine waited for a processor.
    """

    cpu_s: float
    living_s: float
    wall_s: float
    starved_s: float

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(*map(add, astuple(self), astuple(other)))

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(*map(sub, astuple(self), astuple(other)))

    @property
    def fair_wall_s(self) -> float:
        """What the clock would have shown on a machine that nobody else uses, or less."""
        busy_s = self.cpu_s + max(0.0, self.living_s)
        return self.wall_s - min(self.starved_s, ALWAYS_S + WAIT_PER_CPU * busy_s)


NOTHING = Spent(0.0, 0.0, 0.0, 0.0)


def spent_so_far() -> Spent:
    """Until now."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_s = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    return Spent(cpu_s, _living_s(os.getpid()), time.monotonic(), _starved_s())


def _living_s(parent: int) -> float:
    """Seconds of processor of all that descend from *parent*, and of what these waited for."""
    total_s = 0.0
    try:
        lists = [path.read_text() for path in Path(f"/proc/{parent}/task").glob("*/children")]
        for child in " ".join(lists).split():
            # behind the name, which may hold anything: user and system, and these of its children
            numbers = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:15]
            total_s += sum(map(int, numbers)) / TICKS + _living_s(int(child))
    except OSError:
        pass  # it has just ended, or the kernel keeps no such lists
    return total_s


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
