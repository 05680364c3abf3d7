"""What is published of a track before a run makes anything of it.

The store and the catalogue are asked here; whether what they answer is what this run would make is
decided without them, in `is_twin`.
"""

import asyncio
from collections.abc import Sequence

from core.catalogue import Catalogue
from core.errors import IntegrityError, NotFoundError
from core.keysource import KeyRequest
from core.model import ContentKey, Presentation
from core.storage.protocol import ObjectStore
from ingest.measure.album import Heard
from ingest.run import report
from ingest.run.assemble import entry_of
from ingest.run.plan import Plan
from packager.manifest.places import REPORT, generation_prefix
from packager.manifest.published import fetch_presentation


async def current_presentation(
    track_id: str, catalogue: Catalogue, store: ObjectStore
) -> Presentation | None:
    """What is published as *track_id*; None if nothing is, or the store has lost it."""
    track = await asyncio.to_thread(catalogue.get, track_id)
    if track is None:
        return None
    try:
        return await fetch_presentation(store, track_id=track_id, generation=track.entry.generation)
    except (NotFoundError, IntegrityError):
        return None  # the store has lost it: make it again


def key_request(plan: Plan, current: Presentation | None) -> KeyRequest:
    """The keys of a track; those that `tonearm keys rotate` has replaced do not come back."""
    period = max((key.period for key in current.keys), default=0) if current else 0
    return KeyRequest(plan.track_id, plan.tiers, plan.options.schemes, period)


def is_twin(
    current: Presentation, plan: Plan, master_sha256: str, keys: Sequence[ContentKey]
) -> bool:
    """Whether *current* is what this run would make, as far as that is known before it listens.

    The loudness of an album is not: it depends on the other tracks.
    """
    return (
        current.title,
        current.artist,
        current.album_id,
        current.master_sha256,
        current.recipe_sha256,
        current.keys,
    ) == (
        plan.title,
        plan.artist,
        plan.album_id,
        master_sha256,
        plan.recipe_sha256,
        tuple(key.description for key in keys),
    )


async def heard_before(current: Presentation, store: ObjectStore) -> Heard | None:
    """What was heard when *current* was made; None if its report is gone or damaged."""
    prefix = generation_prefix(current.track_id, current.generation)
    try:
        energies = report.energies_of(await store.get(f"{prefix}{REPORT}"))
    except (NotFoundError, ValueError, KeyError, TypeError):
        return None
    return Heard(energies, current.loudness.true_peak_dbtp)


async def update_terms(
    plan: Plan, current: Presentation, catalogue: Catalogue, published_at_s: float
) -> None:
    """Tell the catalogue the terms of this run (regions, place in the album), if they are new."""
    entry = entry_of(plan, current)
    track = await asyncio.to_thread(catalogue.get, plan.track_id)
    if track and track.entry.generation == entry.generation and track.entry != entry:
        await asyncio.to_thread(catalogue.publish, entry, published_at_s=published_at_s)
