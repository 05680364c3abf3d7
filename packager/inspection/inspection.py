"""What any MP4 holds: its boxes, its timing, its encryption (never a key) and its loudness."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from packager.inspection.box_codec_fields import Values
from packager.inspection.box_tree import Node, Walk
from packager.inspection.media_bytes import MediaBytes

SHOWN_FRAGMENTS = 2
"""Fragments whose boxes are told; the others are rows of the timing table."""
MAX_SHOWN_FRAGMENTS = 1000
"""The most that a caller may ask to be shown."""
MAX_FRAGMENTS = 1 << 17
"""Rows that are held: 140 hours in segments of 3.84 s."""
MAX_TOP_BOXES = 8192
"""Boxes at the top of the file that are told, fragments apart."""

_FRAGMENT_PARTS = {"moof", "mdat", "styp", "emsg", "prft"}


@dataclass(slots=True)
class Fragment:
    """A row of the timing table: one `traf`, with its `moof` and what follows up to the next.

    `ticks` and `decode_time` are None where the file does not say; `ivs` counts the samples that
    `senc` lists, None without one.
    """

    track_id: int
    offset: int
    decode_time: int | None
    samples: int
    ticks: int | None
    size: int
    ivs: int | None = None


@dataclass(slots=True)
class Inspection:
    """Everything that was found; `problems` says where the file is broken, with byte offsets."""

    size: int
    boxes: list[Node] = field(default_factory=list)
    folded: int = 0
    tracks: list[Values] = field(default_factory=list)
    fragments: list[Fragment] = field(default_factory=list)
    index: list[Values] = field(default_factory=list)
    encryption: list[Values] = field(default_factory=list)
    systems: list[Values] = field(default_factory=list)
    loudness: dict[str, Values] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def inspect(source: MediaBytes, *, shown_fragments: int = SHOWN_FRAGMENTS) -> Inspection:
    """Read all headers of *source* once, from its start to its end or to where it breaks.

    Raises:
        ToolkitError: *source* itself cannot be read; nothing that its bytes say raises.
    """
    walk = Walk(source)
    found = Inspection(source.size, problems=walk.problems)
    moov: Node | None = None
    indices: list[Node] = []
    fragments = references = 0
    for node in walk.top():
        fragments += node.fourcc == "moof"
        if node.fourcc == "moov" and moov is None:
            moov = node
            found.tracks = [_track(trak, moov) for trak in moov.all("trak")]
        elif node.fourcc == "moof":
            _add_fragments(found, node, moov, walk)
        elif fragments:
            _extend_last(found, node)
        if node.references:
            references += len(node.references)
            indices += [node] * (references <= MAX_FRAGMENTS)
            node.references = node.references if references <= MAX_FRAGMENTS else []
        found.systems += [p.fields for p in node.all("pssh") if p.fields and fragments < 2]
        if _is_folded(node, fragments, shown_fragments) or len(found.boxes) >= MAX_TOP_BOXES:
            found.folded += 1
        else:
            found.boxes.append(node)
    if not source.size:
        walk.problem(0, "", "the file is empty")
    ends = {f.offset + f.size: f.offset for f in found.fragments}
    found.index = [_compared(node, ends, walk) for node in indices]
    if moov:
        found.encryption = list(_encryption(moov, found, walk))
        boxes = (moov.all(name) for name in ("tlou", "alou"))
        found.loudness = {b.fourcc: b.fields for group in boxes for b in group}
    _check_timeline(found, walk)
    return found


def _is_folded(node: Node, fragments: int, shown: int) -> bool:
    """Whether *node* belongs to a fragment that is a row of the table and no more."""
    return fragments > min(shown, MAX_SHOWN_FRAGMENTS) and node.fourcc in _FRAGMENT_PARTS | {"sidx"}


def _track(trak: Node, moov: Node) -> Values:
    """What a track is, and the numbers that its timeline depends on."""
    media = trak.find("mdia", "mdhd")
    stbl = trak.find("mdia", "minf", "stbl") or Node("stbl", 0, 0)
    stsd = stbl.find("stsd")
    entry = stsd.children[0] if stsd and stsd.children else None
    config = {k: v for box in (entry.children if entry else ()) for k, v in box.fields.items()}
    track_id = _value(trak.find("tkhd"), "track_id")
    edits = _value(trak.find("edts", "elst"), "edits") or []
    fragmented = moov.find("mvex")
    roll = next((s.fields.get("roll_distance") for s in stbl.all("sgpd") if s.fields), None)
    return {
        "track_id": track_id,
        "handler": _value(trak.find("mdia", "hdlr"), "handler"),
        "entry": entry.fourcc if entry else None,
        "codecs": config.get("codecs"),
        "sample_rate": config.get("sample_rate") or _value(entry, "sample_rate"),
        "channels": config.get("channels") or _value(entry, "channels"),
        "timescale": _value(media, "timescale"),
        "movie_timescale": _value(moov.find("mvhd"), "timescale"),
        "media_duration": _value(media, "duration"),
        "fragments_duration": _value(fragmented and fragmented.find("mehd"), "duration"),
        "edits": edits,
        "priming": next((e["media_time"] for e in edits if e["media_time"] >= 0), 0),
        "roll_distance": roll,
        "samples": _value(stbl.find("stsz"), "samples"),
        "sample_bytes": _value(stbl.find("stsz"), "bytes"),
        "sample_ticks": _value(stbl.find("stts"), "ticks"),
    }


def _value(node: Node | None, name: str) -> Any:
    return node.fields.get(name) if node else None


def _add_fragments(found: Inspection, moof: Node, moov: Node | None, walk: Walk) -> None:
    defaults = {b.fields.get("track_id"): b.fields for b in moov.all("trex")} if moov else {}
    for traf in moof.all("traf"):
        if len(found.fragments) == MAX_FRAGMENTS:
            walk.problem(moof.offset, "", "there are too many fragments to tell of")
            return
        header = traf.find("tfhd")
        track_id = _value(header, "track_id") or 0
        inherited = defaults.get(track_id, {}) | (header.fields if header else {})
        runs = [run.fields for run in traf.all("trun") if run.fields]
        ivs = _value(traf.find("senc"), "samples")
        fragment = Fragment(
            track_id,
            moof.offset,
            _value(traf.find("tfdt"), "decode_time"),
            sum(run["samples"] for run in runs),
            _ticks(runs, inherited.get("sample_duration")),
            moof.size,
            ivs,
        )
        if ivs is not None and ivs != fragment.samples:
            walk.problem(moof.offset, "moof/traf/senc", f"{ivs} of {fragment.samples} samples")
        found.fragments.append(fragment)


def _ticks(runs: Iterable[Values], default: int | None) -> int | None:
    total = 0
    for run in runs:
        ticks = run.get("ticks", None if default is None else default * run["samples"])
        if ticks is None:
            return None
        total += ticks
    return total


def _extend_last(found: Inspection, node: Node) -> None:
    """An `mdat` belongs to the fragment before it."""
    if node.fourcc == "mdat":
        for fragment in reversed(found.fragments):
            if fragment.offset != found.fragments[-1].offset:
                break
            fragment.size += node.size


def _compared(node: Node, ends: Mapping[int, int], walk: Walk) -> Values:
    """A `sidx` beside the fragments that it lists: a row where they differ is a problem.

    *ends* gives the start of the fragment that ends at a byte.
    """
    at, broken = node.offset + node.size + (_value(node, "first_offset") or 0), None
    for number, (size, _) in enumerate(node.references, 1):
        # styp, emsg or prft may precede the moof, so its end tells more than its start
        if not at <= ends.get(at + size, -1):
            broken = f"reference {number} is bytes {at} to {at + size}, where no fragment lies"
            break
        at += size
    summary = {k: v for k, v in node.fields.items() if k != "nested"}
    if broken and not node.fields.get("nested"):
        walk.problem(node.offset, "sidx", broken)
    return {"offset": node.offset, **summary, "matches_fragments": broken is None}


def _check_timeline(found: Inspection, walk: Walk) -> None:
    """Each `tfdt` must be the sum of what came before it in its track."""
    expected: dict[int, int | None] = {}
    for fragment in found.fragments:
        want, start = expected.get(fragment.track_id), fragment.decode_time
        if want is not None and start is not None and start != want:
            walk.problem(
                fragment.offset,
                "moof/traf/tfdt",
                f"starts at {start}, the one before ends at {want}",
            )
        ends = start is not None and fragment.ticks is not None
        expected[fragment.track_id] = (start or 0) + (fragment.ticks or 0) if ends else None


def _encryption(moov: Node, found: Inspection, walk: Walk) -> Iterator[Values]:
    """For each sample entry that is protected: scheme, KID and how IVs are told; no key."""
    for trak in moov.all("trak"):
        track_id = _value(trak.find("tkhd"), "track_id")
        rows = [f for f in found.fragments if f.track_id == track_id]
        for sinf in trak.all("sinf"):
            tenc = sinf.find("schi", "tenc")
            if tenc is None or not tenc.fields:
                walk.problem(sinf.offset, "sinf", "there is no tenc: nobody can decrypt this")
                continue
            yield {
                "track_id": track_id,
                "scheme": _value(sinf.find("schm"), "scheme"),
                "original_format": _value(sinf.find("frma"), "format"),
                **tenc.fields,
                "fragments_with_senc": sum(f.ivs is not None for f in rows),
                "samples_in_senc": sum(f.ivs or 0 for f in rows),
                "samples": sum(f.samples for f in rows),
            }


def as_json(found: Inspection, name: str) -> dict[str, Any]:
    """*found* as JSON types."""
    return {
        "name": name,
        "size": found.size,
        "boxes": [_plain(node) for node in found.boxes],
        "folded_boxes": found.folded,
        "tracks": found.tracks,
        "fragments": [
            {name: getattr(f, name) for name in Fragment.__dataclass_fields__}
            for f in found.fragments
        ],
        "index": found.index,
        "encryption": found.encryption,
        "systems": found.systems,
        "loudness": found.loudness,
        "problems": found.problems,
    }


def _plain(node: Node) -> dict[str, Any]:
    return {
        "type": node.fourcc,
        "offset": node.offset,
        "size": node.size,
        "name": node.name,
        "clause": node.clause,
        "fields": node.fields,
        "children": [_plain(child) for child in node.children],
    }
