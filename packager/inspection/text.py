"""An inspection as lines for people; whoever prints drops the colours where none are wanted."""

from collections.abc import Iterator
from typing import Any

from core.output import Styled
from packager.inspection.box_codec_fields import Values
from packager.inspection.box_tree import Node
from packager.inspection.inspection import MAX_SHOWN_FRAGMENTS, Fragment, Inspection

_LONG = 24
"""Rows from which the middle of the table is left out, unless all are asked for."""


Line = tuple[str | Styled, ...]


def lines_of(inspection: Inspection, *, everything: bool) -> Iterator[Line]:
    """The tree, the tables, and at last what is wrong."""
    yield from _heading("Boxes", "offset      size  type")
    for node in inspection.boxes:
        yield from _tree(node, 0)
    if inspection.folded:
        yield (Styled(f"{'':>22}... {inspection.folded} more at the top of the file", dim=True),)
    for track in inspection.tracks:
        yield from _track(track)
    if inspection.fragments:
        yield from _fragments(inspection, MAX_SHOWN_FRAGMENTS if everything else _LONG)
    for index in inspection.index:
        word = "matches the fragments" if index["matches_fragments"] else "does not match"
        references = index.get("references", 0)
        yield (f"sidx at byte {index['offset']}: {references} references, {word}",)
    yield from _encryption(inspection)
    if inspection.loudness:
        yield from _heading("Loudness")
        for name, values in inspection.loudness.items():
            yield (f"{name}  {_pairs(values)}",)
    if inspection.problems:
        yield from _heading("Broken")
        yield from ((Styled(problem, "red"),) for problem in inspection.problems)


def _heading(title: str, columns: str = "") -> Iterator[Line]:
    yield ()
    yield (Styled(title, bold=True),)
    if columns:
        yield (f"{columns:>29}",)


def _tree(node: Node, depth: int) -> Iterator[Line]:
    name = f"{node.name} ({node.clause})" if node.name else "not known"
    fourcc = Styled(node.fourcc, "cyan" if node.name else "yellow")
    place = Styled(f"{node.offset:>10}{node.size:>10}", dim=True)
    yield place, "  " * (depth + 1), fourcc, f"  {name}  {_pairs(node.fields)}".rstrip()
    for child in node.children:
        yield from _tree(child, depth + 1)


def _pairs(values: Values) -> str:
    return " ".join(f"{name}={_shown(value)}" for name, value in values.items())


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_shown, value)) or "-"
    if isinstance(value, dict):
        return f"({_pairs(value)})"
    return str(value)


def _track(track: Values) -> Iterator[Line]:
    yield from _heading(f"Track {track['track_id']}")
    names = {k: v for k, v in track.items() if v not in (None, [], "") and k != "track_id"}
    yield (_pairs(names),)
    ticks, scale = track["sample_ticks"] or track["fragments_duration"], track["timescale"]
    if ticks and scale:
        yield (f"{ticks} ticks of 1/{scale} s = {ticks / scale:.6f} s",)


def _fragments(inspection: Inspection, limit: int) -> Iterator[Line]:
    rows, total = inspection.fragments, len(inspection.fragments)
    yield from _heading("Fragments")
    columns = f"{'samples':>9}{'ticks':>11}{'bytes':>11}  senc"
    yield (f"{'':>6}{'track':>6}{'offset':>12}{'tfdt':>14}{columns}",)
    head = rows if total <= limit else rows[: limit // 2]
    tail = [] if total <= limit else rows[-(limit // 2) :]
    for number, row in enumerate(head, 1):
        yield (_row(number, row),)
    if tail:
        hint = "--all prints them" if total <= MAX_SHOWN_FRAGMENTS else "--json has all"
        left_out = total - len(head) - len(tail)
        yield (Styled(f"   ... {left_out} fragments; {hint}", dim=True),)
    for number, row in enumerate(tail, total - len(tail) + 1):
        yield (_row(number, row),)
    ticks = [row.ticks for row in rows if row.ticks is not None]
    samples, size = sum(r.samples for r in rows), sum(r.size for r in rows)
    yield (f"{total:>6} altogether{'':>22}{samples:>8}{sum(ticks):>11}{size:>11}",)


def _row(number: int, row: Fragment) -> str:
    start, ticks = ("?" if n is None else n for n in (row.decode_time, row.ticks))
    ivs = "-" if row.ivs is None else str(row.ivs)
    return (
        f"{number:>6}{row.track_id:>6}{row.offset:>12}{start:>14}{row.samples:>9}{ticks:>11}"
        f"{row.size:>11}  {ivs}"
    )


def _encryption(inspection: Inspection) -> Iterator[Line]:
    yield from _heading("Encryption")
    if not inspection.encryption and not inspection.systems:
        yield ("none",)
    for row in inspection.encryption:
        yield (_pairs(row),)
    for system in inspection.systems:
        yield (f"pssh  {_pairs(system)}",)
