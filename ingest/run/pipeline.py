"""Masters in, published tracks out: many at a time, each from hash to catalogue.

    check ─ unchanged? ─ encode ─ (album) ─ package ─ verify ─ store ─ flip

Encoding has `jobs` slots; packaging, verification and storing of one track run while others are
encoded. Everything blocking runs in threads; ffmpeg runs in a process of its own.
"""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from core.catalogue import Catalogue, Status
from core.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    ToolkitError,
    UnavailableError,
)
from core.keysource import KeyRequest, KeySource
from core.model import ContentKey, Loudness, Presentation, Rendition, Rung
from core.storage.protocol import ObjectStore
from ingest.encode.children import Children
from ingest.encode.neighbours import Edges, can_roll, edges, rolls
from ingest.encode.rungs import encode
from ingest.encode.toolchain import Toolchain
from ingest.encode.workspace import Workspace, discard, opened, workspace_key
from ingest.master.probe import Master, probe
from ingest.measure.album import Album, Heard
from ingest.measure.meters import Findings
from ingest.run import assemble, report
from ingest.run.plan import Options, Plan, beside, doubles, plan
from ingest.run.publish import generation_prefix, presentation_key
from ingest.run.release import Release, extra_objects, release, settle
from ingest.run.report import Outcome
from packager.manifest import presentation as presentations

_T = TypeVar("_T")


class Stage(StrEnum):
    """Where a track is; in this order."""

    CHECK = "check"
    QUEUED = "queued"
    ENCODE = "encode"
    ALBUM = "album"
    PACKAGE = "package"
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
class _Work:
    """A measured and encoded track on its way into its files."""

    plan: Plan
    workspace: Workspace
    findings: Findings
    master_sha256: str
    keys: Sequence[ContentKey]
    album: Loudness | None


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
        """
        outcomes: dict[int, Outcome] = {}
        plans: list[Plan] = []
        for position, path in enumerate(masters, 1):
            try:
                plans.append(await asyncio.to_thread(self._plan, path, position))
            except ToolkitError as error:
                outcomes[position] = report.failed(path, error)
                finished(outcomes[position])
        for double, why in doubles(plans):
            outcome = report.failed(double.master.path, why, double.track_id)
            outcomes[double.position] = outcome
            finished(outcome)
        plans = [each for each in plans if each.position not in outcomes]
        self._album.expect({each.position for each in plans})
        try:
            if self._options.album:
                plans = await self._between_neighbours(plans)
            async with asyncio.TaskGroup() as group:
                for each in plans:
                    group.create_task(self._report(each, outcomes, finished))
        finally:
            self._children.cancel()  # nothing of ours runs on after Ctrl-C
        return [outcomes[position] for position in sorted(outcomes)]

    def _plan(self, path: Path, position: int) -> Plan:
        self._tell(position, Stage.CHECK, 0)
        return plan(probe(path), position, self._options, self._with.toolchain)

    async def _between_neighbours(self, plans: Sequence[Plan]) -> list[Plan]:
        """Plans that feed encoders what comes before and after each track."""
        if len(plans) < 2 or not all(can_roll(p.master, len(plans)) for p in plans):
            return list(plans)

        async def ends(master: Master) -> Edges | None:
            async with self._encoding:
                toolchain = self._with.toolchain
                return await asyncio.to_thread(edges, master, toolchain, self._children)

        found = await _gather([ends(each.master) for each in plans])
        by_place = dict(zip((each.position for each in plans), found, strict=True))
        return [beside(each, rolls(by_place, each.position)) for each in plans]

    async def _report(
        self, each: Plan, outcomes: dict[int, Outcome], finished: Callable[[Outcome], None]
    ) -> None:
        try:
            outcome = await self._ingest(each)
        except ToolkitError as error:
            outcome = report.failed(each.master.path, error, each.track_id)
        except OSError as error:
            broken = UnavailableError(
                f"a file cannot be read or written: {error}", hint="check the disk and permissions"
            )
            outcome = report.failed(each.master.path, broken, each.track_id)
        finally:
            self._album.leave(each.position)
        outcomes[each.position] = outcome
        self._tell(each.position, Stage.DONE, 1)
        finished(outcome)

    async def _ingest(self, each: Plan) -> Outcome:
        master_sha256 = await asyncio.to_thread(_sha256, each.master.path)
        current = await self._current(each.track_id)
        # keys that `tonearm keys rotate` has replaced do not come back
        period = max((key.period for key in current.keys), default=0) if current else 0
        request = KeyRequest(each.track_id, each.tiers, self._options.schemes, period)
        keys = await asyncio.to_thread(self._with.key_source.keys, request)
        known = await self._known(each, master_sha256, keys, current)
        key = workspace_key(each.track_id, master_sha256, each.settings)
        if known is not None and not each.album_id:
            discard(self._with.work_dir, key)
            return await self._unchanged(each, known)
        with opened(self._with.work_dir, key) as workspace:
            made, album = await self._hear(each, workspace, known)
            if known is not None and known.presentation.album_loudness == album:
                workspace.remove()
                return await self._unchanged(each, known)
            findings, encoded = made or await self._encode(each, workspace)
            presentation = await self._package(
                _Work(each, workspace, findings, master_sha256, keys, album)
            )
            self._tell(each.position, Stage.STORE, 0)
            previous = await release(
                self._release(each, workspace, findings, presentation, current),
                store=self._with.store,
                catalogue=self._with.catalogue,
                work_dir=self._with.work_dir,
                clock=self._with.clock,
            )
            workspace.remove()
        warnings = (*each.fit.notes, *report.warnings_of(each, findings))
        return report.published(each.master.path, presentation, previous, encoded, warnings)

    async def _unchanged(self, each: Plan, known: "_Known") -> Outcome:
        """Nothing to do but to tidy up after a run that died just after the catalogue's flip."""
        where = self._with
        await settle(
            each.track_id, store=where.store, catalogue=where.catalogue, work_dir=where.work_dir
        )
        return report.unchanged(each.master.path, known.presentation)

    async def _hear(
        self, each: Plan, workspace: Workspace, known: "_Known | None"
    ) -> tuple[tuple[Findings, tuple[Rung, ...]] | None, Loudness | None]:
        """Encode, unless the track is known; then wait for the album, if it belongs to one."""
        made = None
        if known is None or known.heard is None:
            made = await self._encode(each, workspace)
            heard = Heard(made[0].energies, made[0].loudness.true_peak_dbtp)
        else:
            heard = known.heard
        if not each.album_id:
            return made, None
        self._tell(each.position, Stage.ALBUM, 0)
        return made, await self._album.loudness(each.position, heard)

    async def _current(self, track_id: str) -> Presentation | None:
        """What is published as *track_id*; None if nothing is, or the store has lost it.

        Raises:
            ConflictError: The track is withdrawn.
        """
        track = await asyncio.to_thread(self._with.catalogue.get, track_id)
        if track is None:
            return None
        if track.status is Status.WITHDRAWN:
            raise ConflictError(
                f"the track {track_id} is withdrawn",
                hint="`tonearm track` restores or removes it",
            )
        try:
            stored = await self._with.store.get(presentation_key(track_id, track.entry.generation))
            return presentations.decode(stored)
        except (NotFoundError, InvalidInputError):
            return None  # the store has lost it: make it again

    async def _known(
        self,
        each: Plan,
        master_sha256: str,
        keys: Sequence[ContentKey],
        presentation: Presentation | None,
    ) -> _Known | None:
        """What is published already as *presentation*, if this run would make the same.

        Its terms (regions, place in the album) are brought up to date.
        """
        if presentation is None:
            return None
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
                key = f"{generation_prefix(each.track_id, presentation.generation)}report.json"
                energies = report.energies_of(await self._with.store.get(key))
                heard = Heard(energies, presentation.loudness.true_peak_dbtp)
            except (NotFoundError, ValueError, KeyError, TypeError):
                heard = None
        entry = assemble.entry_of(each, presentation)
        track = await asyncio.to_thread(self._with.catalogue.get, each.track_id)
        if track and track.entry.generation == entry.generation and track.entry != entry:
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

    async def _package(self, work: _Work) -> Presentation:
        """Cut, encrypt and verify all rungs, several at a time."""
        place, folder = work.plan.position, work.workspace.fresh(work.workspace.packaged)
        for scheme in work.plan.options.schemes:
            (folder / scheme).mkdir()
        keys = assemble.keys_by_use(work.keys)
        pieces = await asyncio.to_thread(assemble.pieces, work.plan, work.workspace, work.findings)
        done = 0

        async def one(piece: assemble.Piece) -> tuple[Rendition, assemble.Verifications]:
            nonlocal done
            async with self._packaging:
                self._children.check()
                made = await asyncio.to_thread(
                    assemble.package_and_verify,
                    work.plan,
                    piece,
                    folder,
                    keys,
                    loudness=work.findings.loudness,
                    album_loudness=work.album,
                )
            done += 1
            self._tell(place, Stage.PACKAGE, done / len(pieces))
            return made

        self._tell(place, Stage.PACKAGE, 0)
        made = await _gather([one(piece) for piece in pieces])
        renditions = [rendition for rendition, _ in made]
        assemble.check_ivs(renditions, [verified for _, verified in made])
        return assemble.describe(
            work.plan,
            work.master_sha256,
            work.findings,
            album_loudness=work.album,
            keys=work.keys,
            renditions=renditions,
        )

    def _release(
        self,
        each: Plan,
        workspace: Workspace,
        findings: Findings,
        presentation: Presentation,
        current: Presentation | None,
    ) -> Release:
        own_report = report.track_report(each, findings, self._with.toolchain)
        media = {
            file.key: assemble.packaged_path(workspace.packaged, file.drm, rendition.name)
            for rendition in presentation.renditions
            for file in rendition.files
        }
        base = each.options.license_base
        extra = extra_objects(presentation, findings.waveform, own_report, base)
        follows = current.generation if current else None
        return Release(assemble.entry_of(each, presentation), presentation, media | extra, follows)


async def _gather(jobs: Sequence[Coroutine[None, None, _T]]) -> list[_T]:
    """The results in order; the first error stops the others and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in jobs]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def _identity(presentation: Presentation) -> tuple[object, ...]:
    """All that a run decides about a presentation before it hears anything."""
    return (
        presentation.title,
        presentation.artist,
        presentation.album_id,
        presentation.master_sha256,
        presentation.recipe_sha256,
        presentation.keys,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
