"""Masters in, published tracks out: many at a time, each from hash to catalogue.

    check ─ unchanged? ─ encode ─ (album) ─ package ─ verify ─ store ─ flip

Encoding has `jobs` slots; packaging, verification and storing of one track run while others are
encoded. Everything blocking runs in threads; ffmpeg runs in a process of its own.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from core.catalogue import Catalogue, Status
from core.errors import InvalidInputError, NotFoundError, ToolkitError
from core.model import ContentKey, DrmProfile, Presentation, Rendition
from core.storage.protocol import ObjectStore
from ingest import assemble, report
from ingest.album import Album, Heard
from ingest.children import Children
from ingest.encode import encode
from ingest.meters import Findings
from ingest.plan import Options, Plan, plan, refuse_doubles
from ingest.probe import Master, probe
from ingest.release import Release, Upload, release
from ingest.report import Outcome
from ingest.toolchain import Toolchain
from ingest.workspace import Workspace, opened, workspace_key
from packager.keysource import KeyRequest, KeySource
from packager.manifest import presentation as presentations
from packager.manifest.options import ManifestOptions
from packager.manifest.static import static_manifests


class Stage(StrEnum):
    """Where a track is; in this order."""

    CHECK = "check"
    QUEUED = "queued"
    ENCODE = "encode"
    ALBUM = "album"
    PACKAGE = "package"
    VERIFY = "verify"
    STORE = "store"
    DONE = "done"


Listener = Callable[[int, Stage, float], None]
"""Told the place of a master (from 1), its stage, and how much of that stage is done, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collaborators:
    """What ingest works with; the caller owns and closes them."""

    store: ObjectStore
    catalogue: Catalogue
    key_source: KeySource
    toolchain: Toolchain
    work_dir: Path
    clock: Callable[[], float]
    jobs: int


@dataclass(frozen=True, slots=True)
class _Known:
    """A track that is published already, just as this run would make it but for its album."""

    presentation: Presentation
    heard: Heard | None


class Ingest:
    """One run over some masters."""

    def __init__(self, collaborators: Collaborators, options: Options, listener: Listener) -> None:
        self._with = collaborators
        self._options = options
        self._tell = listener
        self._children = Children()
        self._encoding = asyncio.Semaphore(collaborators.jobs)
        self._packaging = asyncio.Semaphore(collaborators.jobs)
        self._album = Album()

    async def run(
        self, masters: Sequence[Path], finished: Callable[[Outcome], None]
    ) -> list[Outcome]:
        """Ingest *masters*; one that fails does not stop the others.

        Args:
            masters: Files; their order is the album's.
            finished: Told each outcome as soon as it is known.

        Raises:
            InvalidInputError: Two masters would become the same track.
        """
        outcomes: dict[int, Outcome] = {}
        plans: list[Plan] = []
        for position, path in enumerate(masters, 1):
            try:
                plans.append(await asyncio.to_thread(self._plan, path, position))
            except ToolkitError as error:
                outcomes[position] = report.failed(path, error)
                finished(outcomes[position])
        refuse_doubles(plans)
        self._album.expect(len(plans))
        try:
            async with asyncio.TaskGroup() as group:
                for each in plans:
                    group.create_task(self._report(each, outcomes, finished))
        finally:
            self._children.cancel()  # nothing of ours runs on after Ctrl-C
        return [outcomes[position] for position in sorted(outcomes)]

    def _plan(self, path: Path, position: int) -> Plan:
        self._tell(position, Stage.CHECK, 0)
        return plan(probe(path), position, self._options, self._with.toolchain)

    async def _report(
        self, each: Plan, outcomes: dict[int, Outcome], finished: Callable[[Outcome], None]
    ) -> None:
        try:
            outcome = await self._ingest(each)
        except ToolkitError as error:
            outcome = report.failed(each.master.path, error, each.track_id)
        finally:
            self._album.leave(each.position)
        outcomes[each.position] = outcome
        self._tell(each.position, Stage.DONE, 1)
        finished(outcome)

    async def _ingest(self, each: Plan) -> Outcome:
        master_sha256 = await asyncio.to_thread(_sha256, each.master)
        request = KeyRequest(each.track_id, each.tiers, self._options.schemes)
        keys = await asyncio.to_thread(self._with.key_source.keys, request)
        known = await self._known(each, master_sha256, keys)
        if known is not None and not each.album_id:
            return _unchanged(each, known)
        key = workspace_key(master_sha256, each.settings)
        with opened(self._with.work_dir, key) as workspace:
            done = None
            if known is None or known.heard is None:
                done = await self._encode(each, workspace)
                heard = Heard(done[0].energies, done[0].loudness.true_peak_dbtp)
            else:
                heard = known.heard
            self._tell(each.position, Stage.ALBUM, 0)
            album = await self._album.loudness(each.position, heard) if each.album_id else None
            if known is not None and known.presentation.album_loudness == album:
                return _unchanged(each, known)
            findings, encoded = done or await self._encode(each, workspace)
            presentation = await self._package(
                each, workspace, findings, keys=keys, album=album, master_sha256=master_sha256
            )
            what = self._release(each, workspace, findings, presentation)
            self._tell(each.position, Stage.STORE, 0)
            previous = await release(
                what,
                store=self._with.store,
                catalogue=self._with.catalogue,
                work_dir=self._with.work_dir,
                clock=self._with.clock,
            )
            workspace.remove()
        return Outcome(
            path=each.master.path,
            status="published",
            track_id=each.track_id,
            generation=presentation.generation,
            previous=previous,
            duration_s=presentation.timing.duration_s,
            loudness=presentation.loudness,
            renditions=tuple(r.name for r in presentation.renditions),
            encoded=tuple(rung.name for rung in encoded),
            stored_size=sum(f.size for r in presentation.renditions for f in r.files),
            warnings=(*each.fit.notes, *report.warnings_of(each, findings)),
        )

    async def _known(
        self, each: Plan, master_sha256: str, keys: Sequence[ContentKey]
    ) -> _Known | None:
        """What is published already, if this run would make the same; terms are brought up to date."""
        track = await asyncio.to_thread(self._with.catalogue.get, each.track_id)
        if track is None or track.status is not Status.PUBLISHED:
            return None
        prefix = f"tracks/{each.track_id}/{track.entry.generation}"
        try:
            stored = await self._with.store.get(f"{prefix}/presentation.json")
            presentation = presentations.decode(stored)
        except (NotFoundError, InvalidInputError):
            return None  # the store has lost it: make it again
        if _identity(presentation) != (
            each.title,
            each.artist,
            each.album_id,
            master_sha256,
            each.recipe_sha256,
            tuple(key.description for key in keys),
        ):
            return None
        heard = None
        if each.album_id:
            try:
                energies = report.energies_of(await self._with.store.get(f"{prefix}/report.json"))
                heard = Heard(energies, presentation.loudness.true_peak_dbtp)
            except (NotFoundError, ValueError, KeyError, TypeError):
                heard = None
        elif track.entry != (entry := assemble.entry_of(each, presentation)):
            now = self._with.clock()
            await asyncio.to_thread(self._with.catalogue.publish, entry, published_at_s=now)
        return _Known(presentation, heard)

    async def _encode(self, each: Plan, workspace: Workspace) -> tuple[Findings, tuple[Rung, ...]]:
        self._tell(each.position, Stage.QUEUED, 0)
        async with self._encoding:
            self._tell(each.position, Stage.ENCODE, 0)
            return await asyncio.to_thread(
                encode,
                each,
                workspace,
                self._with.toolchain,
                self._children,
                lambda share: self._tell(each.position, Stage.ENCODE, share),
            )
