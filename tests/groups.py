"""Which tests share a worker, and in what order the workers begin.

Each module is one group, as its fixtures are made once then. Those that want a browser wait far
more than they work: they make two groups, so that two pages wait at once, with workers that are not
counted among the processors. They are the longest, so they begin first; what only computes steps
back for them, or music would stutter. Whatever changes the shared service's tracks is in one group
with what reads all of them.
"""

import os
from collections import Counter

import pytest

BROWSER_GROUPS = ("browser-1", "browser-2")
BROWSER_FIXTURES = {"browser", "player", "record"}
SHARED = ("seaweedfs", "service")
"""Fixtures that are servers: the tests that want one are a group of its name."""
NICENESS = 5


def assign(items: list[pytest.Item]) -> None:
    """Mark *items* with their groups, and put those that take long before the others."""
    browsers = _browser_groups(items)
    names = {}
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        module = item.location[0]
        shared = next((name for name in SHARED if name in fixtures), module)
        names[item] = browsers.get(module, shared)
        item.add_marker(pytest.mark.xdist_group(names[item]))
    order = {name: place for place, name in enumerate((*BROWSER_GROUPS, *SHARED))}

    def place(item: pytest.Item) -> tuple[int, bool]:
        slow = item.location[0].startswith(("tests/e2e/", "tests/ingest/"))
        return order.get(names[item], len(order)), not slow

    items.sort(key=place)


def _browser_groups(items: list[pytest.Item]) -> dict[str, str]:
    """The group of each module: two about equal parts, by number of tests."""
    sizes = Counter(
        item.location[0]
        for item in items
        if BROWSER_FIXTURES & set(getattr(item, "fixturenames", ()))
    )
    totals = dict.fromkeys(BROWSER_GROUPS, 0)
    groups = {}
    for module, size in sizes.most_common():
        groups[module] = min(totals, key=lambda name: totals[name])
        totals[groups[module]] += size
    return groups


class StepBack:
    """A worker that has come to tests without a browser leaves the processors to those with one."""

    def __init__(self) -> None:
        self._done = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Once, and for good: only root may take it back."""
        [group] = [mark.args[0] for mark in item.iter_markers("xdist_group")]
        if not self._done and group not in BROWSER_GROUPS:
            self._done = True
            os.nice(NICENESS)
