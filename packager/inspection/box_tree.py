"""The boxes of any MP4, healthy or not: headers by seeking, small payloads decoded, no media.

Nothing here raises for what the bytes say: what is broken becomes a problem with its place, and
reading goes on behind the box that holds it. Depth, number, and what is held are limited.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from core.errors import MalformedBoxError
from packager.inspection.box_codec_fields import Values
from packager.inspection.box_fields import (
    READERS,
    SAMPLE_ENTRIES,
    read_fields,
    sidx_references,
    text,
)
from packager.inspection.box_names import NAMES
from packager.inspection.media_bytes import MediaBytes
from packager.mp4.grammar import MAX_DEPTH

MAX_BOXES = 1 << 20
"""Boxes that are looked at in one file."""
MAX_KEPT = 1 << 14
"""Boxes of one box at the top of the file that are held and shown."""
MAX_PAYLOAD = 1 << 22
"""Bytes of a payload that is decoded."""
MAX_PROBLEMS = 20

_PLAIN = {
    "dinf", "edts", "ludt", "mdia", "mfra", "minf", "moof", "moov", "mvex", "schi", "sinf", "stbl",
    "traf", "trak", "udta", "wave",
}  # fmt: skip
_SKIPPED = {"dref": 8, "stsd": 8}
"""Bytes between the header and the children."""
_ENTRY_SIZES = {0: 28, 1: 44, 2: 64}
"""Bytes of an audio sample entry before its children, by QuickTime's version."""


@dataclass(slots=True)
class Node:
    """A box; `size` is what it claims, which a broken file need not hold."""

    fourcc: str
    offset: int
    size: int
    fields: Values = field(default_factory=dict)
    children: list["Node"] = field(default_factory=list)
    references: list[tuple[int, int]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What the box is called; empty if that is not known."""
        return NAMES.get(self.fourcc, ("", ""))[0]

    @property
    def clause(self) -> str:
        """Where it is written down."""
        return NAMES.get(self.fourcc, ("", ""))[1]

    def find(self, *path: str) -> "Node | None":
        """The first box that *path* leads to."""
        found: Node | None = self
        for fourcc in path:
            found = next((c for c in found.children if c.fourcc == fourcc), None) if found else None
        return found

    def all(self, fourcc: str) -> "Iterator[Node]":
        """Every box of this type below, in the order of the file."""
        for child in self.children:
            if child.fourcc == fourcc:
                yield child
            yield from child.all(fourcc)


class Walk:
    """One pass over a file; `problems` fills while it goes on."""

    def __init__(self, source: MediaBytes) -> None:
        self._source = source
        self._looked_at = 0
        self._kept = 0
        self.problems: list[str] = []

    def top(self) -> Iterator[Node]:
        """The boxes at the top of the file, each whole, one at a time."""
        at = 0
        while at < self._source.size:
            self._kept = 0
            node = self._read(at, self._source.size, "", 0)
            if node is None:
                return
            yield node
            at += node.size

    def problem(self, at: int, where: str, what: str) -> None:
        """Take down that something is wrong."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(f"byte {at}{f' in {where}' if where else ''}: {what}")

    def _read(self, at: int, end: int, where: str, depth: int) -> Node | None:
        """The box at *at* with all below it, or None if nothing behind it can be read either."""
        if self._looked_at == MAX_BOXES or self._kept == MAX_KEPT:
            self.problem(at, where, "there are too many boxes to go on")
            return None
        self._looked_at += 1
        self._kept += 1
        head = self._source.read(at, min(16, end - at))
        header, size = _sizes(head, end - at)
        fourcc = text(head[4:8])
        if size < header or len(head) < header:
            self.problem(at, where, f"{_shown(head)} is no box header")
            return None
        if not at and not fourcc.isalnum():
            self.problem(at, where, f"this is no MP4 file: it starts with {_shown(head)}")
            return None
        node = Node(fourcc, at, size)
        inside = f"{where}/{fourcc}" if where else fourcc
        if size > end - at:
            missing = size - (end - at)
            self.problem(at, inside, f"the box claims {size} bytes, {missing} more than there are")
        self._content(node, at + header, min(at + size, end), inside, depth)
        return node

    def _content(self, node: Node, start: int, end: int, where: str, depth: int) -> None:
        entry = where.endswith(f"stsd/{node.fourcc}")
        if node.fourcc in READERS or node.fourcc in SAMPLE_ENTRIES:
            self._fields(node, start, end, where, entry=entry)
        skip = self._before_children(node, start, end, entry=entry)
        if skip is None:
            return
        if depth == MAX_DEPTH:
            self.problem(node.offset, where, f"boxes are nested deeper than {MAX_DEPTH}")
            return
        at = start + skip
        while at < end:
            if end - at < 8 and not any(self._source.read(at, end - at)):
                return  # QuickTime ends lists with four zero bytes
            child = self._read(at, end, where, depth + 1)
            if child is None:
                return
            node.children.append(child)
            at += child.size

    def _fields(self, node: Node, start: int, end: int, where: str, *, entry: bool) -> None:
        # of containers the head alone: their children come as boxes of their own
        limit = _ENTRY_SIZES[2] if entry else 8 if node.fourcc in _SKIPPED else MAX_PAYLOAD
        if end - start > MAX_PAYLOAD and limit == MAX_PAYLOAD:
            node.fields = {"not_decoded": f"{end - start} bytes"}
            return
        payload = self._source.read(start, min(limit, end - start))
        try:
            node.fields = read_fields(node.fourcc, payload, entry=entry)
            if node.fourcc == "sidx":
                node.references = sidx_references(payload)
        except MalformedBoxError as error:
            self.problem(node.offset, where, error.message)

    def _before_children(self, node: Node, start: int, end: int, *, entry: bool) -> int | None:
        """Bytes of the payload that precede child boxes; None if there are no children."""
        if entry:
            known = node.fourcc in SAMPLE_ENTRIES
            return _ENTRY_SIZES.get(node.fields.get("quicktime_version", 0)) if known else None
        if node.fourcc == "meta":  # QuickTime's is no full box
            return 0 if self._source.read(start + 4, 4) == b"hdlr" else 4
        if node.fourcc in _PLAIN:
            return 0
        return _SKIPPED.get(node.fourcc)


def _sizes(head: bytes, left: int) -> tuple[int, int]:
    """Of the header and of the box; a box whose size is 0 goes on to the end."""
    size = int.from_bytes(head[:4], "big")
    if size == 1:
        return 16, int.from_bytes(head[8:16], "big")
    return 8, size or left


def _shown(head: bytes) -> str:
    return f"{head[:8].hex(' ')} ({text(head[:8])})"
