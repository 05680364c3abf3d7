"""A hot and a cold store that look like one.

Theory of operation. An object is *whole hot*, or *demoted*: its first bytes (the intro) hot, all
of it cold.

- Whole hot: ``{key}`` in the hot store.
- Demoted: ``{key}.intro`` in the hot store, ``{key}`` in the cold one.

A move goes through these steps, each of them a state that readers understand and that the same
move, done again, goes on from:

    demote    verified copy in cold ─► intro beside the hot object ─► hot object deleted
    promote   verified copy in hot ─► intro deleted; the cold copy stays

At every step all bytes are in at least one place, so a process may die at any of them. What is
copied has had the promised hash on the way, and a cold copy has it when it is read back, before
anything is deleted on account of it. The cold copy stays after a promotion: the next demotion
then moves no bytes, and a reader whom the promotion overtakes still finds it there.

A reader takes no lock and waits for no move. It asks for the hot object and, if that is missing,
for the cold one, of a range what the intro has first; so whoever misses the hot object finds the
cold one, and no read fails because of a move. A stream looks anew for each piece of `READ_SIZE`
bytes, because its object may move meanwhile. An archived object answers RestoringError, to readers
and to promotions.

Moves of one `TieredStore` wait for each other. Those of two processes do not: a demotion and a
promotion at once may leave neither hot object nor intro, which costs time and no bytes, since all
is read from the cold store until either is done again. `delete` removes all places.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, TypeVar, runtime_checkable

from core.errors import IntegrityError, InvalidInputError, NotFoundError, RestoringError
from core.storage.keys import check_key, check_prefix, check_range, clamp_range
from core.storage.protocol import CHUNK_SIZE, ObjectInfo, ObjectStore

INTRO_SUFFIX = ".intro"
"""How the key of an intro ends in the hot store; no key of a caller may."""

READ_SIZE = 4 * CHUNK_SIZE
"""Bytes that a stream of a demoted object asks for at a time."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An object that may be moved: what it must hash to, and how much of it stays hot.

    Attributes:
        sha256: In hexadecimal.
        intro_size: Bytes from the start: init, index and the first segments. From 1.
    """

    key: str
    sha256: str
    intro_size: int


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an object's bytes are; both sizes are the object's while it is in two places."""

    hot_size: int
    cold_size: int
    demoted: bool


@runtime_checkable
class Archive(Protocol):
    """A store whose objects may have to be asked for before they can be read."""

    async def request_restore(self, key: str) -> None:
        """Ask for the archived *key*; asking again is no error."""
        ...


class TieredStore:
    """An `ObjectStore` over *hot* and *cold*, which it closes.

    Moves keep one object at a time in a file below *scratch*, or the system's temporary folder.
    """

    def __init__(self, hot: ObjectStore, cold: ObjectStore, *, scratch: Path | None = None) -> None:
        self._hot = hot
        self._cold = cold
        self._scratch = scratch
        self._moving = asyncio.Lock()

    async def put_if_absent(self, key: str, body: bytes | Path) -> bool:
        # hot first: a demotion writes the intro before the hot object goes, so one of them is seen.
        # The cold store is not asked: masters come in while it is down
        if await _exists(self._hot, _check(key)) or await _exists(self._hot, _intro(key)):
            return False
        return await self._hot.put_if_absent(key, body)

    async def head(self, key: str) -> ObjectInfo:
        return await _first(key, self._hot.head, self._cold.head)

    async def get(self, key: str) -> bytes:
        return await _first(key, self._hot.get, self._cold.get)

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        check_range(key, start, end)
        return await _first(
            key,
            lambda _: self._hot.get_range(key, start, end),
            lambda _: self._demoted_range(key, start, end),
        )

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        end = clamp_range(key, start, end, (await self.head(key)).size)
        # pieces: an object that moves meanwhile is found again for the next one
        for offset in range(start, end, READ_SIZE):
            piece_end = min(offset + READ_SIZE, end)
            body = await self.get_range(key, offset, piece_end)
            for at in range(0, len(body), CHUNK_SIZE):
                yield body[at : at + CHUNK_SIZE]

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        check_prefix(prefix)
        async for info in _merged(self._hot.list(prefix), self._cold.list(prefix)):
            if not info.key.endswith(INTRO_SUFFIX):
                yield info

    async def delete(self, key: str) -> None:
        await self._hot.delete(_check(key))
        await self._hot.delete(_intro(key))
        await self._cold.delete(key)

    async def aclose(self) -> None:
        await self._hot.aclose()
        await self._cold.aclose()

    async def placement(self, key: str) -> Placement:
        """Where the bytes of *key* are; NotFoundError if they are nowhere."""
        whole, intro, cold = [
            await _size(store, name)
            for store, name in (
                (self._hot, _check(key)),
                (self._hot, _intro(key)),
                (self._cold, key),
            )
        ]
        if whole is None and cold is None:
            raise NotFoundError(f"there is no object {key}")
        hot = (intro or 0) if whole is None else whole
        return Placement(hot_size=hot, cold_size=cold or 0, demoted=whole is None)

    async def demote(self, files: Iterable[StoredFile]) -> None:
        """Move all but the intros of *files* to the cold store; demoted already: no error.

        Raises:
            IntegrityError: Bytes do not have the promised hash; the hot object is left alone.
            InvalidInputError: An intro has no bytes, or all of its object's.
        """
        async with self._moving:
            for file in files:
                await self._demote(file)

    async def promote(self, files: Iterable[StoredFile]) -> None:
        """Bring *files* back to the hot store; whole hot already: no error.

        Archived objects are asked for, all of them, before RestoringError is raised.

        Raises:
            IntegrityError: The cold bytes do not have the promised hash; intros are left alone.
            RestoringError: Some objects are archived; promote again in `retry_after_s`.
        """
        restoring: list[RestoringError] = []
        async with self._moving:
            for file in files:
                try:
                    await self._promote(file)
                except RestoringError as error:
                    if isinstance(self._cold, Archive):
                        await self._cold.request_restore(file.key)
                    restoring.append(error)
        if restoring:
            raise RestoringError(
                f"{len(restoring)} archived objects are being restored",
                hint="promote again later",
                retry_after_s=max(error.retry_after_s for error in restoring),
            )

    async def _demote(self, file: StoredFile) -> None:
        size = await _size(self._hot, _check(file.key))
        if size is None:
            if not await _exists(self._hot, _intro(file.key)):
                await self._write_intro(file)
            return
        if not 0 < file.intro_size < size:
            raise InvalidInputError(
                f"an intro of {file.intro_size} of the {size} bytes of {file.key} is none"
            )
        if not await self._is_whole_in_cold(file):
            await self._copy_to_cold(file)
        await self._write_intro(file)
        await self._hot.delete(file.key)

    async def _promote(self, file: StoredFile) -> None:
        if not await _exists(self._hot, _check(file.key)):
            with self._fetched() as (path, target):
                await _fetch(self._cold, file, target)
                await self._hot.put_if_absent(file.key, path)
        await self._hot.delete(_intro(file.key))

    async def _copy_to_cold(self, file: StoredFile) -> None:
        with self._fetched() as (path, target):
            await _fetch(self._hot, file, target)
            await self._cold.delete(file.key)  # if anything is there, its hash is wrong
            await self._cold.put_if_absent(file.key, path)
        if not await self._is_whole_in_cold(file):
            raise IntegrityError(
                f"the cold store did not keep {file.key} as it was written",
                hint="the hot object is untouched; check the cold store",
            )

    async def _is_whole_in_cold(self, file: StoredFile) -> bool:
        try:
            await _fetch(self._cold, file, None)
        except (NotFoundError, IntegrityError):
            return False
        return True

    async def _write_intro(self, file: StoredFile) -> None:
        key = _intro(file.key)
        intro = await self._cold.get_range(file.key, 0, file.intro_size)
        if not await self._hot.put_if_absent(key, intro) and await self._hot.get(key) != intro:
            await self._hot.delete(key)  # of another size: left by a move that did not end
            await self._hot.put_if_absent(key, intro)

    async def _demoted_range(self, key: str, start: int, end: int) -> bytes:
        intro = b""
        with suppress(NotFoundError, InvalidInputError):  # gone by now, or ended before *start*
            intro = await self._hot.get_range(_intro(key), start, end)
        if len(intro) == end - start:
            return intro
        return intro + await self._cold.get_range(key, start + len(intro), end)

    @contextmanager
    def _fetched(self) -> Iterator[tuple[Path, IO[bytes]]]:
        """A file to fetch an object into; gone afterwards."""
        if self._scratch is not None:
            self._scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._scratch, prefix="tier-") as target:
            yield Path(target.name), target.file


async def _fetch(store: ObjectStore, file: StoredFile, target: IO[bytes] | None) -> None:
    """Read an object and check its hash; keep it in *target* if one is given."""
    size = (await store.head(file.key)).size
    digest = hashlib.sha256()
    if size:
        async for chunk in store.stream(file.key, 0, size):
            await asyncio.to_thread(_absorb, chunk, digest.update, target)
    if digest.hexdigest() != file.sha256:
        raise IntegrityError(
            f"the bytes of {file.key} do not have the hash that was published",
            hint="restore the object from a backup, or ingest the master again",
        )
    if target is not None:
        target.flush()


def _absorb(chunk: bytes, update: Callable[[bytes], None], target: IO[bytes] | None) -> None:
    update(chunk)
    if target is not None:
        target.write(chunk)


async def _first(
    key: str, hot: Callable[[str], Awaitable[T]], cold: Callable[[str], Awaitable[T]]
) -> T:
    try:
        return await hot(_check(key))
    except NotFoundError:
        return await cold(key)


async def _merged(
    hot: AsyncIterator[ObjectInfo], cold: AsyncIterator[ObjectInfo]
) -> AsyncIterator[ObjectInfo]:
    """Two lists by key as one; what is in both is said once."""
    one, other = await anext(hot, None), await anext(cold, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one.key <= other.key):
            assert one is not None
            yield one
            if other is not None and other.key == one.key:
                other = await anext(cold, None)
            one = await anext(hot, None)
        else:
            yield other
            other = await anext(cold, None)


async def _size(store: ObjectStore, key: str) -> int | None:
    try:
        return (await store.head(key)).size
    except NotFoundError:
        return None


async def _exists(store: ObjectStore, key: str) -> bool:
    return await _size(store, key) is not None


def _check(key: str) -> str:
    if key.endswith(INTRO_SUFFIX):
        raise InvalidInputError(f"the key {key} ends as the keys of intros do")
    return check_key(key)


def _intro(key: str) -> str:
    return check_key(_check(key) + INTRO_SUFFIX)
