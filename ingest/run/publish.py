"""Make a presentation visible, and remove what no longer is.

What names others is written after them: media first, then the extra objects, and
`presentation.json` last. Objects are never overwritten and their keys hold the generation, so a
run that was killed is resumed by running it again. Removal goes the other way round.
"""

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Mapping
from pathlib import Path

from core.errors import IntegrityError, InvalidInputError, NotFoundError
from core.model import Presentation
from core.storage.protocol import ObjectStore
from packager.manifest import presentation as description
from packager.manifest.places import (
    generation_in,
    generation_prefix,
    presentation_key,
    track_prefix,
)

MAX_REQUESTS = 8
"""Objects under way at the same time."""

Body = bytes | Path

_FOREIGN = "something else wrote to the store: remove that generation and publish it again"


async def publish(
    presentation: Presentation, files: Mapping[str, Body], store: ObjectStore
) -> bool:
    """Store *files*, then the description of *presentation*.

    Args:
        presentation: Sealed: with its generation.
        files: Bodies by object key: the media files of *presentation*, and extra objects of the
            same generation. What is in the store already may be left out.
        store: Where to.

    Returns:
        False if the generation was visible already; all that it names is there, too.

    Raises:
        InvalidInputError: A key lies outside of the generation, or *presentation* contradicts
            itself.
        IntegrityError: A media file is neither given nor stored, or there is an object of
            another size under a key.
    """
    body = description.encode(presentation)
    description.decode(body)  # what readers would refuse must not become visible
    prefix = generation_prefix(presentation.track_id, presentation.generation)
    media = {f.key: f.size for r in presentation.renditions for f in r.files}
    last = presentation_key(presentation.track_id, presentation.generation)
    for key in (*media, *files):
        if not key.startswith(prefix) or key == last:
            raise InvalidInputError(f"{key} is no object of generation {presentation.generation}")
    await _await_all(_media(key, size, files.get(key), store) for key, size in media.items())
    await _await_all(_put(key, files[key], store) for key in files if key not in media)
    if await store.put_if_absent(last, body):
        return True
    if await store.get(last) != body:
        raise IntegrityError(f"{last} describes something else", hint=_FOREIGN)
    return False


async def _media(key: str, size: int, body: Body | None, store: ObjectStore) -> None:
    if body is None:
        await _expect(key, size, store)
        return
    if _size(body) != size:
        raise IntegrityError(f"{key}: {_size(body)} bytes are at hand where {size} are promised")
    await _put(key, body, store)


async def _put(key: str, body: Body, store: ObjectStore) -> None:
    """Store *body*, or find that it is there."""
    if not await store.put_if_absent(key, body):
        await _expect(key, _size(body), store)


async def _expect(key: str, size: int, store: ObjectStore) -> None:
    try:
        stored_size = (await store.head(key)).size
    except NotFoundError as error:
        raise IntegrityError(f"{key} is neither stored nor at hand") from error
    if stored_size != size:
        raise IntegrityError(
            f"{key} is stored with {stored_size} bytes instead of {size}", hint=_FOREIGN
        )


def _size(body: Body) -> int:
    return body.stat().st_size if isinstance(body, Path) else len(body)


async def prune(store: ObjectStore, track_id: str, keep: Collection[str]) -> tuple[str, ...]:
    """Remove all generations of a track but those in *keep*, published or half-published.

    `presentation.json` goes first, so that a run which is killed leaves no description of objects
    that are gone. Nobody may publish the same track at the same time, except generations in *keep*.

    Returns:
        The generations that were removed, in order.
    """
    outdated: dict[str, list[str]] = {}
    async for info in store.list(track_prefix(track_id)):
        generation = generation_in(info.key)
        if generation is not None and generation not in keep:
            outdated.setdefault(generation, []).append(info.key)
    for generation, keys in outdated.items():
        await store.delete(presentation_key(track_id, generation))
        await _await_all(store.delete(key) for key in keys)
    return tuple(sorted(outdated))


async def _await_all(jobs: Iterable[Coroutine[None, None, None]]) -> None:
    """Await all *jobs*, `MAX_REQUESTS` at a time; the first error ends them all."""
    waiting = iter(jobs)

    async def work() -> None:
        for job in waiting:
            await job

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(MAX_REQUESTS):
                group.create_task(work())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
