"""The grammar of ISO base media files: boxes, full boxes and the fields inside them.

Boxes are joined, never patched by seeking back. Reading is bounded in depth and count, copies
nothing, and raises `MalformedBoxError` alone. ISO/IEC 14496-12:2022, 4.2.
"""

import sys
from array import array
from typing import NamedTuple

from core.errors import MalformedBoxError

HEADER_SIZE = 8
MAX_BOXES = 1 << 14
"""Boxes in one container. Whole files are sliced by their index before boxes are read in them, and
a thousand boxes cost 0.3 MB each time that someone descends."""
MAX_DEPTH = 16
"""Containers inside containers; ``moov/trak/mdia/minf/stbl/stsd/enca/sinf/schi/tenc`` is 10."""

Bytes = bytes | memoryview


class Box(NamedTuple):
    """A box that was read: its type, what follows the header, and where the header starts."""

    fourcc: bytes
    payload: memoryview
    offset: int
    size: int


def box(fourcc: bytes, *children: Bytes) -> bytes:
    """Wrap *children* in a box; the size includes the eight-byte header."""
    size = HEADER_SIZE + sum(map(len, children))
    return b"".join((size.to_bytes(4, "big"), fourcc, *children))


def full_box(fourcc: bytes, version: int, flags: int, *children: Bytes) -> bytes:
    """A box whose payload starts with a version and 24 flags (4.2.2)."""
    return box(fourcc, bytes((version,)) + flags.to_bytes(3, "big"), *children)


def big_endian(numbers: "array[int]") -> bytes:
    """The numbers as they stand in a file, each as wide as the array's items."""
    if sys.byteorder == "little":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def big_endian_array(kind: str, data: Bytes) -> "array[int]":
    """What `big_endian` wrote, as an array of that *kind* (`I` or `Q`)."""
    numbers = array(kind)
    numbers.frombytes(data)
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def read_boxes(data: Bytes, *, depth: int = 0) -> list[Box]:
    """The boxes that *data* consists of, to the last byte.

    *depth* is that of the container that *data* is the payload of; who descends counts up.
    """
    if depth > MAX_DEPTH:
        raise MalformedBoxError(f"boxes are nested deeper than {MAX_DEPTH}")
    view = memoryview(data).cast("B")
    boxes: list[Box] = []
    at = 0
    while at < len(view):
        if len(boxes) == MAX_BOXES:
            raise MalformedBoxError(f"more than {MAX_BOXES} boxes in one container")
        header, size = _header(view, at)
        fourcc = bytes(view[at + 4 : at + 8])
        boxes.append(Box(fourcc, view[at + header : at + size], at, size))
        at += size
    return boxes


def _header(view: memoryview, at: int) -> tuple[int, int]:
    """Sizes of the header and of the whole box at *at*."""
    left = len(view) - at
    if left < HEADER_SIZE:
        raise MalformedBoxError(f"{left} stray bytes after the last box")
    header, size = HEADER_SIZE, int.from_bytes(view[at : at + 4], "big")
    if size == 1:  # a 64-bit size follows the type
        header, size = 16, int.from_bytes(view[at + 8 : at + 16], "big")
    elif size == 0:  # to the end of the file
        size = left
    if not header <= size <= left:
        name = bytes(view[at + 4 : at + 8])
        raise MalformedBoxError(f"box {name!r} claims {size} bytes where {left} are left")
    return header, size


def only(boxes: list[Box], fourcc: bytes) -> memoryview:
    """The payload of the one box of this type."""
    found = optional(boxes, fourcc)
    if found is None:
        raise MalformedBoxError(f"there is no {fourcc.decode()} box")
    return found


def optional(boxes: list[Box], fourcc: bytes) -> memoryview | None:
    """The payload of the one box of this type, or None if there is none."""
    found = [b.payload for b in boxes if b.fourcc == fourcc]
    if len(found) > 1:
        raise MalformedBoxError(f"there are {len(found)} {fourcc.decode()} boxes instead of one")
    return found[0] if found else None


def descend(data: Bytes, *path: bytes) -> list[Box]:
    """The boxes inside the container that *path* leads to, each step being the only one."""
    boxes = read_boxes(data)
    for depth, fourcc in enumerate(path, 1):
        boxes = read_boxes(only(boxes, fourcc), depth=depth)
    return boxes


class Fields:
    """A cursor over a payload; running past the end is the writer's fault."""

    __slots__ = ("_at", "_view")

    def __init__(self, payload: Bytes) -> None:
        self._view = memoryview(payload)
        self._at = 0

    def view(self, size: int) -> memoryview:
        """The next *size* bytes, not copied."""
        end = self._at + size
        if end > len(self._view):
            raise MalformedBoxError(f"a payload of {len(self._view)} bytes ends before {end}")
        self._at, start = end, self._at
        return self._view[start:end]

    def take(self, size: int) -> bytes:
        """The next *size* bytes."""
        return bytes(self.view(size))

    def uint(self, size: int) -> int:
        """An unsigned integer of *size* bytes."""
        return int.from_bytes(self.view(size), "big")

    def sint(self, size: int) -> int:
        """A two's complement integer of *size* bytes."""
        return int.from_bytes(self.view(size), "big", signed=True)

    def version(self, highest: int = 0) -> tuple[int, int]:
        """Version and flags of a full box; later versions than *highest* are refused."""
        version, flags = self.uint(1), self.uint(3)
        if version > highest:
            raise MalformedBoxError(f"version {version} is not known; the highest is {highest}")
        return version, flags

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._view) - self._at

    def rest(self) -> memoryview:
        """All that is left."""
        return self.view(self.left)

    def end(self) -> None:
        """Refuse trailing bytes."""
        if self.left:
            raise MalformedBoxError(f"{self.left} bytes follow the last field")
