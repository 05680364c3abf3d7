"""A run over many masters: which track goes on when.

This module knows slots, the barrier of an album and who is told what; how a track is made stands in
`track`. Who waits for whom:

- Every master is planned before any is worked on, so that what can be refused is refused first.
- Then each track goes its own way, and waits for a free slot of each kind of work (`slots`). Nobody
  holds a slot of one kind while waiting for another, so slots cannot lock each other. Singles also
  need one of a few places in the run; tracks of an album do not, because they wait for each other
  and a place that none of them gets back would end in a standstill.
- Two waits join the tracks of an album: none is encoded before the ends of all were decoded
  (encoders hear their neighbours), and none is packaged before all were heard (`barrier`). A track
  that fails leaves the barrier, whatever it failed of, or the others would wait for ever.

What may die when: a refused master, a full disk or a store that is away end one track, and the run
goes on. A fault of ours, Ctrl-C and SIGTERM end the run: what nobody has begun is dropped, running
work is hurried to its end, children are killed, and a workspace is given up only after the last
thread that wrote into it. Tracks that were finished by then are published and stay so.
"""

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

from core.errors import ToolkitError, UnavailableError
from ingest.encode.neighbours import Edges, can_roll, edges, rolls
from ingest.master.probe import probe
from ingest.run import outcome
from ingest.run.barrier import AlbumBarrier
from ingest.run.outcome import Outcome
from ingest.run.plan import Options, Plan, beside, doubles, plan
from ingest.run.progress import Listener, Stage
from ingest.run.release import refuse_withdrawn
from ingest.run.slots import Slots, gather
from ingest.run.track import Collaborators, Run, run_track

Settle = Callable[[int, Outcome], None]
"""Told the position of a master whose outcome is known, and the outcome."""


async def ingest_masters(
    masters: Sequence[Path],
    options: Options,
    parts: Collaborators,
    *,
    tell: Listener,
    finished: Callable[[Outcome], None],
) -> list[Outcome]:
    """Make tracks of *masters*; one that fails does not stop the others.

    Args:
        masters: Files; their order is the album's.
        options: The same for all of them.
        parts: What they are made with.
        tell: Told how far each track is.
        finished: Told each outcome as soon as it is known.

    Returns:
        An outcome for each master, in their order.
    """
    outcomes: dict[int, Outcome] = {}

    run = Run(parts, Slots(parts.jobs), AlbumBarrier(range(1, len(masters) + 1)), tell)

    def settle(position: int, result: Outcome) -> None:
        run.album.leave(position)
        outcomes[position] = result
        finished(result)

    try:
        plans = await _plan_all(masters, options, run, settle)
        if options.album:
            plans = await _between_neighbours(plans, run)
        await gather([_run_and_report(track_plan, run, settle) for track_plan in plans])
    finally:
        run.slots.close()
    return [outcomes[position] for position in sorted(outcomes)]


async def _plan_all(
    masters: Sequence[Path], options: Options, run: Run, settle: Settle
) -> list[Plan]:
    """Plans for all masters that are not refused at once."""

    def plan_one(position: int, path: Path) -> Plan:
        run.tell(position, Stage.CHECK, 0)
        track_plan = plan(probe(path), position, options, run.parts.toolchain)
        refuse_withdrawn(track_plan.track_id, run.parts.catalogue)
        return track_plan

    async def plan_or_refusal(position: int, path: Path) -> Plan | ToolkitError:
        try:
            return await run.slots.read(plan_one, position, path)
        except ToolkitError as error:
            return error
        except OSError as error:
            return unavailable(error)

    answers = await gather([plan_or_refusal(n, path) for n, path in enumerate(masters, 1)])
    plans: list[Plan] = []
    for position, answer in enumerate(answers, 1):
        if isinstance(answer, ToolkitError):
            settle(position, outcome.failed(masters[position - 1], answer))
        else:
            plans.append(answer)
    refusals = {double.position: (double, error) for double, error in doubles(plans)}
    for position, (double, error) in refusals.items():
        settle(position, outcome.failed(double.master.path, error, double.track_id))
    return [track_plan for track_plan in plans if track_plan.position not in refusals]


async def _between_neighbours(plans: Sequence[Plan], run: Run) -> list[Plan]:
    """Plans that feed encoders what comes before and after each track."""
    if len(plans) < 2 or not all(can_roll(plan.master, len(plans)) for plan in plans):
        return list(plans)

    async def edges_of(track_plan: Plan) -> Edges | None:
        toolchain, slots = run.parts.toolchain, run.slots
        return await slots.encode(edges, track_plan.master, toolchain, slots.children)

    both_ends = await gather([edges_of(track_plan) for track_plan in plans])
    by_position = dict(zip((plan.position for plan in plans), both_ends, strict=True))
    return [beside(plan, rolls(by_position, plan.position)) for plan in plans]


async def _run_and_report(track_plan: Plan, run: Run, settle: Settle) -> None:
    path, track_id = track_plan.master.path, track_plan.track_id
    try:
        if track_plan.album_id:
            result = await run_track(track_plan, run)
        else:
            async with run.slots.places:
                result = await run_track(track_plan, run)
    except ToolkitError as error:
        result = outcome.failed(path, error, track_id)
    except OSError as error:
        result = outcome.failed(path, unavailable(error), track_id)
    run.tell(track_plan.position, Stage.DONE, 1)
    settle(track_plan.position, result)


def unavailable(error: OSError) -> UnavailableError:
    """What the system refused, in words for the outcome of a track."""
    place = f"{error.filename} cannot" if error.filename else "a file cannot"
    hints = {
        errno.EMFILE: "raise the limit of open files (ulimit -n), or ask for fewer --jobs",
        errno.ENOSPC: "free space in the work directory",
    }
    return UnavailableError(
        f"{place} be read or written: {error.strerror or error}",
        hint=hints.get(error.errno or 0, "check the disk and permissions"),
    )
