"""What is told about a track: to its own `report.json`, and to the user."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ToolkitError
from core.model import Loudness, Presentation, Rung
from ingest.encode.toolchain import Toolchain
from ingest.measure.loudness import Energies
from ingest.measure.meters import Findings, decode_energies, encode_energies
from ingest.run.plan import Plan


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


def track_report(plan: Plan, findings: Findings, toolchain: Toolchain) -> bytes:
    """`report.json`: no times and no paths, so that the same master gives the same bytes."""
    master = plan.master
    document = {
        "format": 1,
        "master": {
            "container": master.container,
            "codec": master.codec,
            "sample_rate": master.sample_rate,
            "channels": master.channels,
            "bit_depth": master.bit_depth,
            "samples": findings.quality.samples,
            "tags": dataclasses.asdict(master.tags),
        },
        "ladder": plan.options.ladder.name,
        "notes": plan.fit.notes,
        "warnings": warnings_of(plan, findings),
        "quality": dataclasses.asdict(findings.quality),
        "loudness": dataclasses.asdict(findings.loudness),
        "energies": encode_energies(findings.energies),
        "toolchain": toolchain.fingerprint,
    }
    return json.dumps(document, sort_keys=True, indent=1).encode()


def warnings_of(plan: Plan, findings: Findings) -> tuple[str, ...]:
    """What the user should know about a track that is published nevertheless."""
    return (*plan.master.warnings, *findings.quality.warnings)


def energies_of(report: bytes) -> Energies:
    """From a stored `report.json`; ValueError, KeyError or TypeError if there are none."""
    return decode_energies(json.loads(report)["energies"])
