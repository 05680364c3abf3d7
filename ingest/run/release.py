"""Bring a packaged track before listeners: objects, their description, then the catalogue's flip.

    lock ─ too late? ─ (orphans away) ─ journal ─ objects ─ description ─ flip ─ journal away

One process of this machine releases a track at a time. What another machine does is seen in the
catalogue: a run that began before the generation which is current now is refused, so that keys
which a rotation has replaced do not come back.

A run may die at any of these steps. Before the flip listeners have the old generation, and objects
that nobody names lie in the store: the description is written last, and the catalogue names nothing
without one. The journal, an empty file that is there from before the first object until after the
flip, tells the next run so: making the same generation it uses those objects again, for they are
named by their content; making another one it removes them first. After the flip listeners have the
new generation, whole, and a journal that was left says no more than "look": `settle` does, when the
track turns out to be unchanged.

Generations that were current once are kept, for players that are amid them. The catalogue knows
them (`generations_kept`), so that nothing of theirs is taken for an orphan.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from core.catalogue import Catalogue, Status, TrackEntry
from core.catalogue.entries import check_entry
from core.errors import ConflictError
from core.model import DrmProfile, Presentation
from core.storage.protocol import ObjectStore
from ingest.encode.workspace import locked
from ingest.run.publish import Body, prune, publish
from ingest.run.sums import encode_sums
from packager.manifest.options import ManifestOptions
from packager.manifest.places import REPORT, SUMS, WAVEFORM, generation_prefix, static_name
from packager.manifest.static import static_manifests


@dataclass(frozen=True, slots=True)
class Release:
    """All that becomes visible together.

    Attributes:
        files: By object key.
        follows: The generation that was current when this one was begun; None if there was none.
    """

    entry: TrackEntry
    presentation: Presentation
    files: Mapping[str, Body]
    follows: str | None = None


def extra_objects(
    presentation: Presentation, waveform: bytes, report: bytes, license_base: str
) -> dict[str, Body]:
    """What lies beside the media: manifests for buckets without an origin, waveform and report.

    *license_base* is where those manifests look for licences: a bucket has none.
    """
    options = ManifestOptions(license_base=license_base)
    prefix = generation_prefix(presentation.track_id, presentation.generation)
    bodies = {WAVEFORM: waveform, REPORT: report}
    for drm in DrmProfile:
        for name, text in static_manifests(presentation, drm, options).items():
            bodies[static_name(drm, name)] = text.encode()
    bodies[SUMS] = encode_sums(bodies)
    return {f"{prefix}{name}": body for name, body in bodies.items()}


async def release(
    what: Release,
    *,
    store: ObjectStore,
    catalogue: Catalogue,
    work_dir: Path,
    clock: Callable[[], float],
) -> str | None:
    """Store everything, then flip the catalogue; the generation it replaces, if any.

    Raises:
        IntegrityError: The store holds something else under one of the keys.
        ConflictError: Another run releases this track, or has done so since *what* was begun, or
            it is withdrawn.
    """
    check_entry(what.entry)  # what the catalogue would refuse must not be stored before
    track_id = what.entry.track_id
    journal = _journal(work_dir, track_id)
    with locked(work_dir / f"{track_id}.release.lock"):
        await asyncio.to_thread(_refuse_late, catalogue, what)
        if journal.exists():
            kept = await asyncio.to_thread(catalogue.generations_kept, track_id)
            await prune(store, track_id, {*kept, what.entry.generation})
        journal.touch()
        await publish(what.presentation, what.files, store)
        previous = await asyncio.to_thread(catalogue.publish, what.entry, published_at_s=clock())
        journal.unlink()
    return previous


async def settle(
    track_id: str, *, store: ObjectStore, catalogue: Catalogue, work_dir: Path
) -> None:
    """Tidy up after a run that died when its track was published already."""
    journal = _journal(work_dir, track_id)
    lock = work_dir / f"{track_id}.release.lock"
    if journal.exists() or lock.exists():
        with locked(lock):
            kept = await asyncio.to_thread(catalogue.generations_kept, track_id)
            await prune(store, track_id, kept)
            journal.unlink(missing_ok=True)


def _refuse_late(catalogue: Catalogue, what: Release) -> None:
    """What others have done since the run began, known before anything of it is stored.

    Keys that a rotation has replaced must not come back, nor a track that was withdrawn.
    """
    refuse_withdrawn(what.entry.track_id, catalogue)
    current = catalogue.get(what.entry.track_id)
    if what.follows and current and current.entry.generation != what.follows:
        raise ConflictError(
            f"the track {what.entry.track_id} was published by another run meanwhile",
            hint="run this again",
        )


def refuse_withdrawn(track_id: str, catalogue: Catalogue) -> None:
    """Raise ConflictError if the track is withdrawn: an ingest does not bring it back."""
    track = catalogue.get(track_id)
    if track is not None and track.status is Status.WITHDRAWN:
        raise ConflictError(
            f"the track {track_id} is withdrawn", hint="`tonearm track` restores or removes it"
        )


def _journal(work_dir: Path, track_id: str) -> Path:
    return work_dir / f"{track_id}.releasing"
