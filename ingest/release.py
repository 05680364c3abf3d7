"""Bring a packaged track before listeners: objects first, their description last, then the flip.

A run that dies in between leaves objects that nobody can find, because `presentation.json` is
written last. A journal in the work directory names the generation they belong to: the next run of
the track uses them again or removes them.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.catalogue import Catalogue, TrackEntry
from core.errors import IntegrityError
from core.storage.protocol import ObjectStore
from ingest.workspace import locked, write_whole

MAX_UPLOADS = 4
"""Objects of one track that are stored at the same time."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An object to be stored: bytes, or a file that is streamed."""

    key: str
    body: bytes | Path

    @property
    def size(self) -> int:
        """In bytes."""
        return self.body.stat().st_size if isinstance(self.body, Path) else len(self.body)


@dataclass(frozen=True, slots=True)
class Release:
    """All that becomes visible together."""

    entry: TrackEntry
    uploads: Sequence[Upload]
    description: Upload

    @property
    def prefix(self) -> str:
        """Of all keys of the generation."""
        return _prefix(self.entry.track_id, self.entry.generation)


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
        ConflictError: Another run releases this track, or it is withdrawn.
    """
    track_id = what.entry.track_id
    journal = work_dir / f"{track_id}.releasing"
    with locked(work_dir / f"{track_id}.release.lock"):
        begun = await _remove_orphans(what, journal, store, catalogue)
        write_whole(journal, json.dumps(begun).encode())
        gate = asyncio.Semaphore(MAX_UPLOADS)
        async with asyncio.TaskGroup() as group:
            for upload in what.uploads:
                group.create_task(_gated(gate, _store(store, upload)))
        await _store(store, what.description)
        previous = await asyncio.to_thread(catalogue.publish, what.entry, published_at_s=clock())
        journal.unlink(missing_ok=True)
        return previous


async def _remove_orphans(
    what: Release, journal: Path, store: ObjectStore, catalogue: Catalogue
) -> list[str]:
    """Remove what earlier runs stored and never released; the generations now under way."""
    try:
        begun = [str(generation) for generation in json.loads(journal.read_bytes())]
    except (OSError, ValueError, TypeError):
        begun = []
    track_id, generation = what.entry.track_id, what.entry.generation
    kept = await asyncio.to_thread(catalogue.generations_kept, track_id)
    for orphan in set(begun) - set(kept) - {generation}:
        keys = [info.key async for info in store.list(_prefix(track_id, orphan))]
        for key in sorted(keys, key=lambda key: not key.endswith("/presentation.json")):
            await store.delete(key)  # what names the others goes first
    return [generation]


async def _store(store: ObjectStore, upload: Upload) -> None:
    if await store.put_if_absent(upload.key, upload.body):
        return
    stored = await store.head(upload.key)  # an earlier run got this far
    if stored.size != upload.size:
        raise IntegrityError(
            f"the store holds {stored.size} bytes as {upload.key} instead of {upload.size}",
            hint="something else has written there: remove the track and ingest it again",
        )


async def _gated(gate: asyncio.Semaphore, work: Awaitable[None]) -> None:
    async with gate:
        await work


def _prefix(track_id: str, generation: str) -> str:
    return f"tracks/{track_id}/{generation}/"
