"""What a store promises; the tests of the contract suite are its meaning."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

CHUNK_SIZE = 1 << 20
"""Bytes that `ObjectStore.stream` yields at most at a time."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What is known about an object without reading it."""

    key: str
    size: int


class ObjectStore(Protocol):
    """Immutable objects under ``/``-separated keys.

    An object is visible whole or not at all, and never changes: there is no overwrite.
    Every method raises `NotFoundError` for a key that is not there (except `delete` and
    `list`), `InvalidInputError` for a key with empty, ``.`` or ``..`` parts, a leading slash
    or a NUL, `RestoringError` while the object is archived, and `UnavailableError` when the
    store does not answer.
    """

    async def put_if_absent(self, key: str, body: bytes | Path) -> bool:
        """Store *body* (bytes, or a file that is streamed); False if *key* exists already."""
        ...

    async def head(self, key: str) -> ObjectInfo:
        """Size of an object."""
        ...

    async def get(self, key: str) -> bytes:
        """The whole object."""
        ...

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        """Bytes of the half-open range; clamped at the object's end; *start* within it."""
        ...

    def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The half-open range in chunks of at most `CHUNK_SIZE` bytes."""
        ...

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Objects whose keys start with *prefix*, in the order of their keys."""
        ...

    async def delete(self, key: str) -> None:
        """Remove an object; deleting what is not there is no error."""
        ...

    async def aclose(self) -> None:
        """Give back connections and threads."""
        ...
