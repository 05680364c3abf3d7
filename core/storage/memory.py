"""Objects in this process: for tests, demonstrations and small caches."""

import asyncio
from bisect import bisect_left, insort
from collections.abc import AsyncIterator
from pathlib import Path

from core.errors import InvalidInputError, NotFoundError, UnavailableError
from core.storage.keys import check_key, check_prefix, clamp_range
from core.storage.protocol import CHUNK_SIZE, ObjectInfo

MAX_SIZE = 1 << 30
"""Bytes that a memory store holds unless told otherwise."""


class MemoryStore:
    """An `ObjectStore` of at most *max_size* bytes; a put beyond raises UnavailableError."""

    def __init__(self, max_size: int = MAX_SIZE) -> None:
        self._objects: dict[str, bytes] = {}
        self._keys: list[str] = []
        self._max_size = max_size
        self._size = 0

    async def put_if_absent(self, key: str, body: bytes | Path) -> bool:
        check_key(key)
        if key in self._objects:
            return False
        content = await asyncio.to_thread(_read, body) if isinstance(body, Path) else bytes(body)
        if key in self._objects:  # another task was faster while the file was read
            return False
        if self._size + len(content) > self._max_size:
            raise UnavailableError(
                f"the memory store is full: {self._max_size} bytes", hint="use a local store"
            )
        self._size += len(content)
        self._objects[key] = content
        insort(self._keys, key)
        return True

    async def head(self, key: str) -> ObjectInfo:
        return ObjectInfo(key, len(self._body(key)))

    async def get(self, key: str) -> bytes:
        return self._body(key)

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        body = self._body(key)
        return body[start : clamp_range(key, start, end, len(body))]

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        body = self._body(key)
        end = clamp_range(key, start, end, len(body))
        for offset in range(start, end, CHUNK_SIZE):
            yield body[offset : min(offset + CHUNK_SIZE, end)]

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        after = check_prefix(prefix)
        # searched anew after each object: keys come and go while the caller works
        while (at := bisect_left(self._keys, after)) < len(self._keys):
            key = self._keys[at]
            if not key.startswith(prefix):
                return
            yield ObjectInfo(key, len(self._objects[key]))
            after = key + "\0"

    async def delete(self, key: str) -> None:
        body = self._objects.pop(check_key(key), None)
        if body is not None:
            self._size -= len(body)
            del self._keys[bisect_left(self._keys, key)]

    async def aclose(self) -> None:
        """Nothing to give back."""

    def _body(self, key: str) -> bytes:
        try:
            return self._objects[check_key(key)]
        except KeyError:
            raise NotFoundError(f"there is no object {key}") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}") from error
