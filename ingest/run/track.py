"""One track from its plan to the catalogue, step by step.

    admit ─ unchanged? ─ encode ─ (album) ─ unchanged? ─ package each ─ release

What moves are frozen values: a `Plan` comes in, `Admission`, `Encoded`, `PackagedRung` and
`Presentation` follow, an `Outcome` goes out. The heavy steps (`hash_master`, `encode`,
`package_rung`) are functions of such values alone, so that another process or machine can run them;
what this process adds, a way to be stopped and one to say how far they are, they can do without.
The light steps ask the catalogue, the store and the key source. They stand in `current` and
`release`, and `run_track` calls all of them in their order.

What is true at each step. Before *encode* nothing was written. Before *package* every rung lies
checked and marked in the workspace; a run that dies from here on leaves it there for the next one.
Before *release* every file was proved by decryption, and nobody can see any. *Release* stores and
then flips the catalogue, in one transaction; the workspace goes last. So a track is the old one or
the new one at any moment, and a step that is done again does no harm.

A track of an album waits in *album* until every other one was heard or has failed. Till then
nothing says whether it is unchanged: its own music may be, and the album another.

The workspace is ours alone from before *encode* until the end, so that of two runs over one master
the second is refused before it has done anything.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from core.catalogue import Catalogue
from core.keysource import KeySource
from core.model import ContentKey, Loudness, Presentation
from core.storage.protocol import ObjectStore
from ingest.encode.rungs import Encoded, Order, encode
from ingest.encode.toolchain import Toolchain
from ingest.encode.workspace import Workspace, discard, opened, workspace_key
from ingest.master.probe import hash_master
from ingest.measure.album import Heard
from ingest.run import outcome
from ingest.run.assemble import (
    PackagedRung,
    PackageOrder,
    check_ivs,
    describe,
    package_orders,
    package_rung,
    release_of,
)
from ingest.run.barrier import AlbumBarrier
from ingest.run.current import (
    current_presentation,
    heard_before,
    is_twin,
    key_request,
    update_terms,
)
from ingest.run.outcome import Outcome
from ingest.run.plan import Plan
from ingest.run.progress import Listener, Stage
from ingest.run.release import Release, release, settle
from ingest.run.report import warnings_of
from ingest.run.slots import Slots, gather


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
class Run:
    """What the tracks of a run share."""

    parts: Collaborators
    slots: Slots
    album: AlbumBarrier
    tell: Listener


@dataclass(frozen=True, slots=True)
class Admission:
    """What is known of a track before anything is made of it.

    Attributes:
        current: What is published of it.
        twin: The same, if it is what this run would make but perhaps for its album.
        heard: What was heard when *twin* was made; None if that is lost, or nobody asks.
    """

    master_sha256: str
    keys: tuple[ContentKey, ...]
    current: Presentation | None
    twin: Presentation | None
    heard: Heard | None


async def run_track(plan: Plan, run: Run) -> Outcome:
    """Publish the track of *plan*, or find that it is published already.

    Raises:
        ToolkitError: It cannot be; what was published before is untouched.
        OSError: A file cannot be read or written.
    """
    admission = await _admit(plan, run)
    work_dir = run.parts.work_dir
    key = workspace_key(plan.track_id, admission.master_sha256, plan.settings)
    if admission.twin is not None and not plan.album_id:
        discard(work_dir, key)
        return await _unchanged(plan, admission.twin, run)
    with opened(work_dir, key) as workspace:
        order = Order(
            plan.master,
            plan.fit.rungs,
            plan.rolls,
            run.parts.toolchain,
            workspace,
        )
        encoded = await _encode(plan, order, run) if admission.heard is None else None
        heard = encoded.findings.heard if encoded else admission.heard
        album = await _album_loudness(plan, heard, run)
        if admission.twin is not None and admission.twin.album_loudness == album:
            workspace.remove()
            return await _unchanged(plan, admission.twin, run)
        encoded = encoded or await _encode(plan, order, run)
        presentation = await _package(plan, run, admission, encoded, album=album, into=workspace)
        what = release_of(
            plan, presentation, encoded.findings, run.parts.toolchain, workspace.packaged
        )
        previous = await _release(plan, run, admission.current, what)
        workspace.remove()
    warnings = (*plan.fit.notes, *warnings_of(plan, encoded.findings))
    return outcome.published(plan.master.path, presentation, previous, encoded.fresh, warnings)


async def _admit(plan: Plan, run: Run) -> Admission:
    parts, slots = run.parts, run.slots
    master_sha256 = await slots.read(hash_master, plan.master, slots.children.check)
    current = await current_presentation(plan.track_id, parts.catalogue, parts.store)
    keys = await slots.ask(parts.key_source.keys, key_request(plan, current))
    twin = current if current and is_twin(current, plan, master_sha256, keys) else None
    heard = await heard_before(twin, parts.store) if twin and plan.album_id else None
    return Admission(master_sha256, keys, current, twin, heard)


async def _unchanged(plan: Plan, twin: Presentation, run: Run) -> Outcome:
    """Nothing to do but to tidy up after a run that died just after the catalogue's flip."""
    parts = run.parts
    await update_terms(plan, twin, parts.catalogue, parts.clock())
    await settle(
        plan.track_id, store=parts.store, catalogue=parts.catalogue, work_dir=parts.work_dir
    )
    return outcome.unchanged(plan.master.path, twin)


async def _encode(plan: Plan, order: Order, run: Run) -> Encoded:
    def work() -> Encoded:
        run.tell(plan.position, Stage.ENCODE, 0)
        return encode(
            order,
            run.slots.children,
            lambda share: run.tell(plan.position, Stage.ENCODE, share),
        )

    run.tell(plan.position, Stage.QUEUED, 0)
    return await run.slots.encode(work)


async def _album_loudness(plan: Plan, heard: Heard | None, run: Run) -> Loudness | None:
    """Of the album that the track belongs to, if it belongs to one."""
    if not plan.album_id or heard is None:
        return None
    run.tell(plan.position, Stage.ALBUM, 0)
    return await run.album.loudness(plan.position, heard)


async def _package(  # noqa: PLR0913 - what a presentation is made of
    plan: Plan,
    run: Run,
    admission: Admission,
    encoded: Encoded,
    *,
    album: Loudness | None,
    into: Workspace,
) -> Presentation:
    """Cut, encrypt and verify all rungs, several at a time."""
    folder = into.fresh(into.packaged)
    orders = package_orders(plan, encoded, admission.keys, album, folder)
    done = 0

    async def package(order: PackageOrder) -> PackagedRung:
        nonlocal done
        rung = await run.slots.package(package_rung, order)
        done += 1
        run.tell(plan.position, Stage.PACKAGE, done / len(orders))
        return rung

    run.tell(plan.position, Stage.PACKAGE, 0)
    rungs = await gather([package(order) for order in orders])
    check_ivs(rungs)
    return describe(
        plan,
        admission.master_sha256,
        encoded.findings,
        album_loudness=album,
        keys=admission.keys,
        renditions=[rung.rendition for rung in rungs],
    )


async def _release(plan: Plan, run: Run, current: Presentation | None, what: Release) -> str | None:
    """Store everything and flip the catalogue; the generation that was current before."""
    parts = run.parts
    run.tell(plan.position, Stage.STORE, 0)
    return await release(
        replace(what, follows=current.generation if current else None),
        store=parts.store,
        catalogue=parts.catalogue,
        work_dir=parts.work_dir,
        clock=parts.clock,
    )
