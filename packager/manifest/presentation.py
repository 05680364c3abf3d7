"""`presentation.json`: canonical, compact JSON of a `core.model.Presentation`.

Canonical means: keys sorted, no white space, UTF-8, so that equal presentations are equal bytes
and the generation can be a hash of them. The fields are those of `core.model`, by their names;
UUIDs and enums are strings, bytes are base64. Reading is strict: bytes that `encode` would not
write (an unknown, doubled, missing or mistyped field, white space, a second spelling), or numbers
that contradict each other, raise `InvalidInputError`.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from operator import attrgetter
from typing import Any, NoReturn, get_type_hints
from uuid import UUID

import msgspec

from core import ids
from core.errors import InvalidInputError
from core.model import DrmProfile, KeyChange, Loudness, MediaFile, Presentation, Rendition, Timing
from packager.manifest.places import media_key

MAX_PRESENTATION_SIZE = 16 * 1024 * 1024
"""Bytes; ten hours of eight renditions in two schemes need about one MiB."""

FORMAT = 1
"""Goes up when a reader of today could misread what is written then."""

_END_OF_NUMBERS = 1 << 63
_DECODER = msgspec.json.Decoder(Presentation)


def encode(presentation: Presentation) -> bytes:
    """The canonical bytes of *presentation*."""
    return _canonical({"format": FORMAT, **_plain(presentation)})


def decode(data: bytes) -> Presentation:
    """Read what `encode` wrote.

    Raises:
        InvalidInputError: *data* is not a consistent presentation, or longer than
            `MAX_PRESENTATION_SIZE`.
    """
    if len(data) > MAX_PRESENTATION_SIZE:
        _refuse(f"{len(data)} bytes are more than {MAX_PRESENTATION_SIZE}")
    try:
        presentation = _DECODER.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _malformed(f"{error}") from None
    _check_written(presentation, data)
    _check(presentation)
    return presentation


def generation_of(presentation: Presentation) -> str:
    """The content hash that stands in URLs: 16 hex digits of SHA-256.

    Over the canonical JSON without the generation itself, in its field and in object keys.
    """
    tree = _plain(_with_generation(presentation, "-"))
    del tree["generation"]
    return hashlib.sha256(_canonical({"format": FORMAT, **tree})).hexdigest()[:16]


def seal(presentation: Presentation) -> Presentation:
    """Fill in the generation, in its field and in the object keys of all files."""
    return _with_generation(presentation, generation_of(presentation))


def _with_generation(p: Presentation, generation: str) -> Presentation:
    def file(rendition: Rendition, media: MediaFile) -> MediaFile:
        key = media_key(p.track_id, generation, media.drm, rendition)
        return dataclasses.replace(media, key=key)

    renditions = tuple(
        dataclasses.replace(r, files=tuple(file(r, f) for f in r.files)) for r in p.renditions
    )
    return dataclasses.replace(p, generation=generation, renditions=renditions)


def _canonical(tree: dict[str, Any]) -> bytes:
    text = json.dumps(
        tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8")


def _plain(p: Presentation) -> dict[str, Any]:
    """*p* as JSON types, without what came later and is not used."""
    tree: dict[str, Any] = msgspec.to_builtins(p, enc_hook=float)  # numbers of numpy
    _drop_unused(tree, Presentation)
    for loudness in (tree["loudness"], tree["album_loudness"]):
        for name, level in (loudness or {}).items():  # JSON tells 1 and 1.0 apart
            loudness[name] = None if level is None else float(level)
    for rendition in tree["renditions"]:
        _drop_unused(rendition, Rendition)
        for file in rendition["files"]:
            _drop_unused(file, MediaFile)
    return tree


def _drop_unused(tree: dict[str, Any], kind: type) -> None:
    for name, default in _LATE[kind].items():
        if tree[name] == default:
            del tree[name]


_LATE: dict[type, dict[str, Any]] = {
    kind: {
        f.name: msgspec.to_builtins(f.default)
        for f in dataclasses.fields(kind)
        if f.metadata.get("late")
    }
    for kind in (Presentation, Rendition, MediaFile)
}


def _check_written(p: Presentation, data: bytes) -> None:
    """Refuse *data* unless it is what `encode` writes of *p*, to the byte.

    So it names no field twice, none that is unknown, and nothing in a second spelling. Comparing
    costs a fifth of Python's own writer, which alone decides where the two print numbers
    differently.
    """
    tree = {"format": FORMAT, **_plain(p)}
    if msgspec.json.encode(tree, order="sorted") == data and not _oddly_printed(p):
        return
    if _canonical(tree) != data:
        _refuse(_difference(data))


def _oddly_printed(p: Presentation) -> bool:
    """Whether a number has an exponent: 1e-07 in Python's JSON, 1e-7 in others."""
    return any(level and not 1e-4 <= abs(level) < 1e16 for level in _levels(p))


def _levels(p: Presentation) -> list[float]:
    levels = [*_LOUDNESS(p.loudness), *(_LOUDNESS(p.album_loudness) if p.album_loudness else ())]
    return [level for level in levels if level is not None]


_LOUDNESS = attrgetter(*(f.name for f in dataclasses.fields(Loudness)))


def _difference(data: bytes) -> str:
    with suppress(msgspec.MsgspecError, RecursionError):  # what is unknown was skipped unread
        if msgspec.json.decode(data).get("format") != FORMAT:
            return f"format is not {FORMAT}"
    return "a field is unknown, stands twice, or is not written as it is written here"


def _check(p: Presentation) -> None:
    """Refuse numbers and names that contradict each other."""
    _check_ids(p)
    _check_numbers(p)
    if p.timing.timescale == 0 or p.timing.samples == 0:
        _refuse("timing is empty")
    _unique([r.name for r in p.renditions], "renditions")
    _unique([k.kid for k in p.keys], "keys")
    kids = frozenset(key.kid for key in p.keys)
    for rendition in p.renditions:
        _check_rendition(p, rendition, kids)


def _check_ids(p: Presentation) -> None:
    try:
        ids.TRACK_ID.check(p.track_id, "track_id")
        ids.GENERATION.check(p.generation, "generation")
        ids.TITLE.check(p.title, "title")
        ids.ARTIST.check(p.artist, "artist")
        if p.album_id is not None:
            ids.ALBUM_ID.check(p.album_id, "album_id")
        for rendition in p.renditions:
            ids.RENDITION.check(rendition.name)
            ids.SHA256.check(rendition.packets_sha256, f"{rendition.name}: packets_sha256")
            for file in rendition.files:
                ids.SHA256.check(file.sha256, f"{rendition.name}/{file.drm}: sha256")
        for digest in (p.master_sha256, p.recipe_sha256):
            ids.SHA256.check(digest)
        for key in p.keys:
            ids.check_period(key.period)
    except InvalidInputError as error:
        raise _malformed(error.message) from None


def _whole_numbers(kind: type) -> Callable[[Any], tuple[Any, ...]]:
    """A function that gets every field of *kind* that is one whole number, or none."""
    hints = get_type_hints(kind)
    names = [name for name, hint in hints.items() if hint in (int, int | None)]
    return attrgetter(*names, names[0])  # of two or more it gives a tuple


_WHOLE_NUMBERS = {kind: _whole_numbers(kind) for kind in (Timing, Rendition, MediaFile, KeyChange)}


def _check_numbers(p: Presentation) -> None:
    """Refuse what is negative or so large that players and boxes cannot hold it."""
    values: list[Any] = [p.timing]
    lists: list[tuple[int, ...]] = []
    for rendition in p.renditions:
        values += (rendition.timing, rendition, *rendition.files)
        lists.append(rendition.segment_ticks)
        for file in rendition.files:
            values += file.key_changes
            lists.append(file.segment_sizes)
    lists += (_WHOLE_NUMBERS[type(value)](value) for value in values)
    for numbers in lists:
        given = [number for number in numbers if number is not None] if None in numbers else numbers
        if given and not 0 <= min(given) <= max(given) < _END_OF_NUMBERS:
            _refuse("a number is not a whole number below 2^63")
    if any(abs(level) >= _END_OF_NUMBERS for level in _levels(p)):
        _refuse("a level is not a finite number")


def _check_rendition(p: Presentation, r: Rendition, kids: frozenset[UUID]) -> None:
    timing = r.timing
    if timing.timescale == 0 or sum(r.segment_ticks) != timing.media_ticks:
        _refuse(f"{r.name}: the segments' ticks are not priming, samples and padding")
    if min(r.segment_ticks, default=0) == 0:
        _refuse(f"{r.name}: a segment is empty")
    if r.segment_ticks[0] <= timing.priming or r.segment_ticks[-1] <= timing.padding:
        _refuse(f"{r.name}: the first or last segment holds no music")
    _unique([f.drm for f in r.files], f"{r.name}: files")
    for file in r.files:
        _check_file(p, r, file, kids)


def _check_file(p: Presentation, r: Rendition, f: MediaFile, kids: frozenset[UUID]) -> None:
    where = f"{r.name}/{f.drm}"
    if f.key != media_key(p.track_id, p.generation, f.drm, r):
        _refuse(f"{where}: the object key is not where files lie")
    if len(f.segment_sizes) != len(r.segment_ticks):
        _refuse(f"{where}: as many sizes as segments are needed")
    if f.size != f.init_size + f.index_size + sum(f.segment_sizes):
        _refuse(f"{where}: the parts do not add up to the size")
    if f.peak_bps < f.average_bps:
        _refuse(f"{where}: the peak is below the average")
    if (f.kid is None) != (f.drm is DrmProfile.CLEAR):
        _refuse(f"{where}: only clear files have no key")
    if not kids.issuperset(f.kids):
        _refuse(f"{where}: its key is not described")
    changes = [0, *(change.segment for change in f.key_changes), len(f.segment_sizes)]
    if f.kid is None and (f.clear_segments or f.key_changes):
        _refuse(f"{where}: a clear file has no clear lead and no other keys")
    if f.clear_segments >= len(f.segment_sizes) or any(a >= b for a, b in pairwise(changes)):
        _refuse(f"{where}: the clear lead or a key change is not inside of the file")
    if f.crypt_blocks not in ((0, 10) if f.drm is DrmProfile.CBCS else (0,)):
        _refuse(f"{where}: there is no such pattern")


def _unique(names: list[Any], what: str) -> None:
    if len(set(names)) != len(names):
        _refuse(f"{what} are named twice")


def _malformed(message: str) -> InvalidInputError:
    return InvalidInputError(
        f"malformed presentation: {message}"[:300], hint="ingest the master again"
    )


def _refuse(message: str) -> NoReturn:
    raise _malformed(message)
