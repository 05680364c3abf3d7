"""Three levels of tests, one definition: `make test`, `.ci/run` (`CI=1`) and `make soak`.

A test without a mark runs in `make test` and in CI. One marked `ci` is left to CI, one marked
`soak` to `make soak`, which runs these two kinds and is bounded by `MINUTES=`. What a level leaves
out is deselected, not skipped: in CI a skip fails.

`crossed` makes the rows of a table: a product that is crossed once, whole in `make soak`, all pairs
of it in CI, and the fewest rows in `make test` that have every value of the first factor.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest

LEVELS = ("test", "ci", "soak")
NOT_STARTED = "not started: the minutes of this run are over"


def crossed(*factors: Iterable[Any], possible: Callable[..., bool] = lambda *_: True) -> list[Any]:
    """The product of *factors* as parameters, each marked with the lowest level that runs it.

    Args:
        factors: Values of each; the first is the one whose every value is in `make test`. A value
            that is a tuple gives several parameters.
        possible: Called with a row; rows that it refuses are in no level.
    """
    rows = [row for row in itertools.product(*factors) if possible(*row)]
    first = one_of_each(rows)
    pairs = all_pairs(rows, first)
    marks = {
        row: () if row in first else pytest.mark.ci if row in pairs else pytest.mark.soak
        for row in rows
    }
    return [pytest.param(*_flat(row), marks=marks[row]) for row in rows]


def one_of_each(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """A row for each value of the first column, with the other columns' values by turns."""
    chosen: list[tuple[Any, ...]] = []
    for value in dict.fromkeys(row[0] for row in rows):
        own = [row for row in rows if row[0] == value]
        # the one least like those that were chosen; of equals the first
        chosen.append(min(own, key=lambda row: sum(_shared(row, other) ** 2 for other in chosen)))
    return chosen


def all_pairs(
    rows: Sequence[tuple[Any, ...]], chosen: Iterable[tuple[Any, ...]] = ()
) -> list[tuple[Any, ...]]:
    """Few of *rows* that hold every pair of values that some row holds; *chosen* are among them.

    Greedy: always the first of the rows with most pairs that no chosen row has. The same rows give
        the same choice.
    """
    chosen = list(chosen)
    missing = {pair for row in rows for pair in _pairs(row)}
    missing -= {pair for row in chosen for pair in _pairs(row)}
    while missing:
        best = max(rows, key=lambda row: len(missing & _pairs(row)))
        chosen.append(best)
        missing -= _pairs(best)
    return chosen


def _flat(row: tuple[Any, ...]) -> Iterator[Any]:
    for value in row:
        if isinstance(value, tuple):
            yield from value
        else:
            yield value


def _pairs(row: tuple[Any, ...]) -> set[Any]:
    return set(itertools.combinations(enumerate(row), 2))


def _shared(row: tuple[Any, ...], other: tuple[Any, ...]) -> int:
    return sum(a == b for a, b in zip(row, other, strict=True))


class Level:
    """Deselects what the level of this run leaves out, and starts no test after its minutes."""

    def __init__(self, config: pytest.Config) -> None:
        self.name = config.getoption("--level") or ("ci" if os.environ.get("CI") else "test")
        minutes = config.getoption("--minutes")
        self.end_s = None if minutes is None else time.monotonic() + 60 * minutes
        for mark in ("ci", "soak"):
            config.addinivalue_line("markers", f"{mark}: left out below this level")

    def runs(self, item: pytest.Item) -> bool:
        """Whether this level runs *item*."""
        marks = {mark for mark in ("ci", "soak") if item.get_closest_marker(mark)}
        if self.name == "soak":
            return bool(marks)
        return "soak" not in marks and (self.name == "ci" or "ci" not in marks)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Keep what this level runs."""
        left_out = [item for item in items if not self.runs(item)]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if self.runs(item)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Start nothing when the time is over."""
        if self.end_s is not None and time.monotonic() > self.end_s:
            pytest.skip(NOT_STARTED)
