"""Objects as files of a folder.

A key is the file's path below the root. A file is written under a temporary name beside its
place, synced, and then linked to its name: `link` never replaces, so of two writers exactly
one wins, and a reader sees the whole file or none. A writer holds a lock on its temporary
file; one that nobody holds belongs to a writer that died, and the next put or delete in
that folder removes it.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

from core.errors import InvalidInputError, NotFoundError, ToolkitError, UnavailableError
from core.storage.keys import TEMPORARY_PREFIX, check_key, check_prefix, clamp_range
from core.storage.offload import Offload
from core.storage.protocol import CHUNK_SIZE, ObjectInfo

THREADS = 8
"""Files read or written at a time."""

MAX_ATTEMPTS = 16
"""How often a put makes its folder anew while others delete it."""

LIST_PAGE = 512
"""Objects found in one visit to the thread pool."""


class LocalStore:
    """An `ObjectStore` over the folder *root*, which is made by the first put."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._offload = Offload("local-store", THREADS)

    async def put_if_absent(self, key: str, body: bytes | Path) -> bool:
        return await self._offload.run(self._put, check_key(key), body)

    async def head(self, key: str) -> ObjectInfo:
        return await self._offload.run(self._head, check_key(key))

    async def get(self, key: str) -> bytes:
        return await self._offload.run(self._get, check_key(key))

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        return await self._offload.run(self._get_range, check_key(key), start, end)

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        # one open file for all chunks: a delete meanwhile does not cut the stream
        file = await self._offload.run(self._open, check_key(key))
        try:
            end = clamp_range(key, start, end, os.fstat(file.fileno()).st_size)
            for offset in range(start, end, CHUNK_SIZE):
                size = min(CHUNK_SIZE, end - offset)
                yield await self._offload.run(os.pread, file.fileno(), size, offset)
        finally:
            file.close()

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        found = self._walk(check_prefix(prefix))
        while page := await self._offload.run(_take, found, LIST_PAGE):
            for info in page:
                yield info

    async def delete(self, key: str) -> None:
        await self._offload.run(self._delete, check_key(key))

    async def aclose(self) -> None:
        await self._offload.aclose()

    def _path(self, key: str) -> Path:
        return self._root / key

    def _put(self, key: str, body: bytes | Path) -> bool:
        path = self._path(key)
        if path.is_file():
            return False
        for _ in range(MAX_ATTEMPTS):
            try:
                return _put_file(path, body)
            except (FileNotFoundError, FileExistsError, NotADirectoryError):
                # mostly the folder went with its last object: make it again
                if path.is_dir() or any(folder.is_file() for folder in path.parents):
                    raise InvalidInputError(
                        f"{key} is the folder of another object, or lies below one"
                    ) from None
            except OSError as error:
                raise _unavailable(error) from error
        raise UnavailableError(f"the folder of {key} is deleted as fast as it is made")

    def _open(self, key: str) -> BinaryIO:
        try:
            return self._path(key).open("rb")
        except OSError as error:
            raise _absent_or_unavailable(key, error) from None

    def _head(self, key: str) -> ObjectInfo:
        try:
            status = self._path(key).lstat()
        except OSError as error:
            raise _absent_or_unavailable(key, error) from None
        if not _is_file(status):
            raise NotFoundError(f"there is no object {key}")
        return ObjectInfo(key, status.st_size)

    def _get(self, key: str) -> bytes:
        with self._open(key) as file:
            return file.read()

    def _get_range(self, key: str, start: int, end: int) -> bytes:
        with self._open(key) as file:
            end = clamp_range(key, start, end, os.fstat(file.fileno()).st_size)
            return os.pread(file.fileno(), end - start, start)

    def _delete(self, key: str) -> None:
        path = self._path(key)
        try:
            path.unlink()
            _sync_folder(path.parent)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return  # not there, below a file, or a folder: no object
        except OSError as error:
            raise _unavailable(error) from error
        for folder in path.parents:
            if folder == self._root:
                return
            _remove_abandoned(folder)
            try:
                folder.rmdir()
            except OSError:
                return  # something is in it

    def _walk(self, prefix: str) -> Iterator[ObjectInfo]:
        folder, _, _ = prefix.rpartition("/")
        yield from _walk(self._root / folder, f"{folder}/" if folder else "", prefix)


def _put_file(path: Path, body: bytes | Path) -> bool:
    new = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in new:
        _sync_folder(folder.parent)
    _remove_abandoned(path.parent)
    with _temporary(path.parent) as (temporary, file):
        _copy(body, file)
        file.flush()
        os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            if path.is_file():
                return False
            raise
    _sync_folder(path.parent)
    return True


@contextlib.contextmanager
def _temporary(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new locked file in *folder*, which is gone afterwards."""
    temporary = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    with temporary.open("xb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)  # between open and lock it looked abandoned ...
            if not os.fstat(file.fileno()).st_nlink:
                raise FileNotFoundError  # ... and was removed
            yield temporary, file
        finally:
            temporary.unlink(missing_ok=True)


def _copy(body: bytes | Path, file: BinaryIO) -> None:
    if isinstance(body, bytes):
        file.write(body)
        return
    try:
        source = body.open("rb")
    except OSError as error:
        raise InvalidInputError(f"cannot read {body}: {error.strerror}") from error
    with source:
        shutil.copyfileobj(source, file, CHUNK_SIZE)


def _remove_abandoned(folder: Path) -> None:
    """Remove the temporary files whose writers died."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(TEMPORARY_PREFIX):
                _remove_if_unlocked(Path(entry.path))


def _remove_if_unlocked(path: Path) -> None:
    gone_or_busy = (FileNotFoundError, BlockingIOError, PermissionError)
    with contextlib.suppress(*gone_or_busy), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


def _sync_folder(folder: Path) -> None:
    """Make names in *folder* survive a power cut."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return  # removed with its last object
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _walk(folder: Path, base: str, prefix: str) -> Iterator[ObjectInfo]:
    """Objects below *folder*, whose keys start with *base*, in the order of their keys."""
    try:
        with os.scandir(folder) as entries:
            found = [(f"{e.name}/" if e.is_dir(follow_symlinks=False) else e.name) for e in entries]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise _unavailable(error) from error
    for name in sorted(found):  # "a.b" comes before "a/": folders are sorted with their slash
        key = base + name
        if name.startswith(TEMPORARY_PREFIX):
            continue
        if name.endswith("/"):
            if key.startswith(prefix) or prefix.startswith(key):
                yield from _walk(folder / name, key, prefix)
        elif key.startswith(prefix):
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                yield ObjectInfo(key, (folder / name).lstat().st_size)


def _take(found: Iterator[ObjectInfo], count: int) -> list[ObjectInfo]:
    return [info for _, info in zip(range(count), found, strict=False)]


def _is_file(status: os.stat_result) -> bool:
    return (status.st_mode & 0o170000) == 0o100000


def _absent_or_unavailable(key: str, error: OSError) -> ToolkitError:
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return NotFoundError(f"there is no object {key}")
    return _unavailable(error)


def _unavailable(error: OSError) -> UnavailableError:
    return UnavailableError(
        f"the local store does not work: {error.strerror}",
        hint="check the disk, its free space, permissions and the limit of open files (ulimit -n)",
    )
