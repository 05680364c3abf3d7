"""How it went with one master, as the user is told."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ToolkitError
from core.model import Loudness, Presentation, Rung


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How it went with one master.

    Attributes:
        status: ``published``, ``unchanged`` or ``failed``.
        encoded: Rungs that were encoded in this run; finished ones of a dead run are not.
        previous: The generation this one replaces.
    """

    path: Path
    status: str
    track_id: str | None = None
    generation: str | None = None
    previous: str | None = None
    duration_s: float | None = None
    loudness: Loudness | None = None
    renditions: tuple[str, ...] = ()
    encoded: tuple[str, ...] = ()
    stored_size: int = 0
    warnings: tuple[str, ...] = ()
    error: str | None = None
    hint: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain types, without what is empty."""
        document = dataclasses.asdict(self) | {"path": str(self.path)}
        return {key: value for key, value in document.items() if value not in (None, (), 0)}


def failed(path: Path, error: ToolkitError, track_id: str | None = None) -> Outcome:
    """The outcome of a master that could not be published."""
    return Outcome(
        path=path, status="failed", track_id=track_id, error=error.message, hint=error.hint
    )


def unchanged(path: Path, presentation: Presentation) -> Outcome:
    """The outcome of a master whose track is published already."""
    return _outcome(path, "unchanged", presentation)


def published(
    path: Path,
    presentation: Presentation,
    previous: str | None,
    encoded: Sequence[Rung],
    warnings: Sequence[str],
) -> Outcome:
    """The outcome of a new generation."""
    return dataclasses.replace(
        _outcome(path, "published", presentation),
        previous=previous,
        encoded=tuple(rung.name for rung in encoded),
        warnings=tuple(warnings),
    )


def _outcome(path: Path, status: str, presentation: Presentation) -> Outcome:
    return Outcome(
        path=path,
        status=status,
        track_id=presentation.track_id,
        generation=presentation.generation,
        duration_s=presentation.timing.duration_s,
        loudness=presentation.loudness,
        renditions=tuple(r.name for r in presentation.renditions),
        stored_size=sum(file.size for r in presentation.renditions for file in r.files),
    )
