"""Lists of S3-compatible stores, put into the order of their keys.

AWS lists by key. Stores that keep folders list a folder's content by *name*: ``abc/x``
before ``abc-1/x``, though ``-`` sorts before the slash.
"""

import heapq
from collections.abc import AsyncIterator

from core.errors import UnavailableError
from core.storage.protocol import ObjectInfo

MAX_HELD = 200_000
"""Objects held back while smaller keys may follow: those of one folder below the prefix."""


async def in_key_order(found: AsyncIterator[ObjectInfo], prefix: str) -> AsyncIterator[ObjectInfo]:
    """The objects of *found*, by key, when they come by key or folder by folder.

    Raises:
        UnavailableError: A folder below *prefix* holds more than `MAX_HELD` objects.
    """
    base = prefix.rfind("/") + 1
    held: list[tuple[str, ObjectInfo]] = []
    async for info in found:
        name = _name(info.key, base)
        while held and not _may_precede(name, _name(held[0][0], base)):
            yield heapq.heappop(held)[1]
        if len(held) >= MAX_HELD:
            raise UnavailableError(
                f"more than {MAX_HELD} objects in a folder below {prefix!r}",
                hint="list the folders one by one",
            )
        heapq.heappush(held, (info.key, info))
    while held:
        yield heapq.heappop(held)[1]


def _name(key: str, base: int) -> str:
    name, _, _ = key[base:].partition("/")
    return name


def _may_precede(name: str, held: str) -> bool:
    """Whether a key in *name* or behind it, by name, may sort before one in the folder *held*."""
    return name.startswith(held) and name[len(held) :] < "/"
