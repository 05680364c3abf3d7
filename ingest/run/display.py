"""Progress on a terminal: one line for each track at work, one for all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from core.model import Loudness
from core.output import escaped
from ingest.run.outcome import Outcome
from ingest.run.progress import Stage

_STARTS = {
    Stage.CHECK: 0.0,
    Stage.QUEUED: 0.0,
    Stage.ENCODE: 0.0,
    Stage.ALBUM: 0.9,
    Stage.PACKAGE: 0.9,
    Stage.STORE: 0.97,
    Stage.DONE: 1.0,
}
"""How much of a track's time is over when a stage begins."""
_SHARES = {Stage.ENCODE: 0.9, Stage.PACKAGE: 0.07}
_UNHEARD = Loudness(None, None, None, None, None)
PIPE_WIDTH = 120
"""Columns of the table when stdout is not a terminal."""


class Display:
    """Listens to a run; use it as a context manager."""

    def __init__(self, masters: Sequence[Path], console: Console) -> None:
        self._masters = masters
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            TextColumn("[cyan]{task.fields[stage]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._all = self._progress.add_task("all", total=len(masters), stage=f"0/{len(masters)}")
        self._lines: dict[int, TaskID] = {}
        self._done: dict[int, float] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, place: int, stage: Stage, share: float) -> None:
        """Take news of the master at *place*, from any thread."""
        if stage is Stage.CHECK:
            return  # quick; a line for each of a thousand masters would only flicker
        name = escaped(self._masters[place - 1].name)
        line = self._lines.get(place)
        if line is None:
            line = self._lines[place] = self._progress.add_task(name, total=1.0, stage=stage)
        self._done[place] = _STARTS[stage] + _SHARES.get(stage, 0.0) * share
        self._progress.update(line, completed=self._done[place], stage=stage)
        if stage is Stage.DONE:
            self._progress.update(line, visible=False)
        finished = sum(done >= 1 for done in list(self._done.values()))
        self._progress.update(
            self._all,
            completed=sum(list(self._done.values())),
            stage=f"{finished}/{len(self._masters)}",
        )


def print_table(outcomes: Sequence[Outcome], console: Console) -> None:
    """The summary of a run."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("track", "result", "generation", "length", "LUFS", "LRA", "dBTP", "renditions"):
        # a generation is copied into other commands: it stays in one piece
        table.add_column(name, overflow="fold", no_wrap=name == "generation")
    for outcome in outcomes:
        heard = outcome.loudness or _UNHEARD
        table.add_row(
            outcome.track_id or escaped(outcome.path.name),
            outcome.status,
            outcome.generation or "-",
            _clock(outcome.duration_s),
            _number(heard.integrated_lufs),
            _number(heard.range_lu),
            _number(heard.true_peak_dbtp),
            " ".join(outcome.renditions) or "-",
        )
    console.print(table)


def _clock(seconds: float | None) -> str:
    return "-" if seconds is None else f"{int(seconds // 60)}:{seconds % 60:06.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
