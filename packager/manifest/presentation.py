"""`presentation.json`: canonical, compact JSON of a `core.model.Presentation`.

Canonical means: keys sorted, no white space, UTF-8, so that equal presentations are equal bytes
and the generation can be a hash of them. The fields are those of `core.model`, by their names;
UUIDs and enums are strings, bytes are base64. Reading is strict: an unknown, missing, doubled or
mistyped field, or numbers that contradict each other, raise `InvalidInputError`.
"""

import base64
import dataclasses
import hashlib
import json
import types
import uuid
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from itertools import pairwise
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

from core import ids
from core.errors import InvalidInputError
from core.model import DrmProfile, MediaFile, Presentation, Rendition
from packager.manifest.places import media_key

MAX_PRESENTATION_SIZE = 16 * 1024 * 1024
"""Bytes; ten hours of eight renditions in two schemes need about one MiB."""

FORMAT = 1
"""Goes up when a reader of today could misread what is written then."""

_END_OF_NUMBERS = 1 << 63


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
        tree = json.loads(data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"not JSON: {error}") from error
    if not isinstance(tree, dict) or tree.pop("format", None) != FORMAT:
        _refuse(f"format is not {FORMAT}")
    presentation: Presentation = _reader(Presentation)(tree, "presentation")
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


def _plain(value: Any) -> Any:
    """*value* as JSON types; the inverse of `_reader`."""
    if dataclasses.is_dataclass(value):
        named = [(f, getattr(value, f.name)) for f in dataclasses.fields(value)]
        return {f.name: _plain(v) for f, v in named if not f.metadata.get("late") or v != f.default}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, uuid.UUID | StrEnum):
        return str(value)
    return value


_Reader = Callable[[Any, str], Any]


@cache
def _reader(kind: Any) -> _Reader:
    """A function (JSON value, path for errors) -> value of type *kind*."""
    if kind in _SCALARS:
        return _SCALARS[kind]
    if isinstance(kind, types.UnionType):
        return _optional(_reader(get_args(kind)[0]))
    if get_origin(kind) is tuple:
        return _sequence(_reader(get_args(kind)[0]))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _enum(kind)
    assert dataclasses.is_dataclass(kind), kind
    return _record(kind)


def _record(kind: Any) -> _Reader:
    hints = get_type_hints(kind)
    readers = {f.name: _reader(hints[f.name]) for f in dataclasses.fields(kind)}
    needed = {f.name for f in dataclasses.fields(kind) if not f.metadata.get("late")}

    def read(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            _refuse(f"{path} is not an object")
        if not needed <= value.keys() <= readers.keys():
            wrong = value.keys() - readers.keys() | needed - value.keys()
            _refuse(f"{path} has wrong fields: {sorted(wrong)[:5]}")
        return kind(**{name: readers[name](value[name], f"{path}.{name}") for name in value})

    return read


def _sequence(item: _Reader) -> _Reader:
    def read(value: Any, path: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            _refuse(f"{path} is not a list")
        return tuple(item(v, f"{path}[{i}]") for i, v in enumerate(value))

    return read


def _optional(inner: _Reader) -> _Reader:
    return lambda value, path: None if value is None else inner(value, path)


def _enum(kind: type[StrEnum]) -> _Reader:
    members = {str(member): member for member in kind}

    def read(value: Any, path: str) -> StrEnum:
        if not isinstance(value, str) or value not in members:
            _refuse(f"{path} is none of {sorted(members)}")
        return members[value]

    return read


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        _refuse(f"{path} is not text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _malformed(f"{path} holds half a surrogate pair") from error
    return value


def _whole(value: Any, path: str) -> int:
    if type(value) is not int or not 0 <= value < _END_OF_NUMBERS:  # True is an int to isinstance
        _refuse(f"{path} is not a whole number below 2^63")
    return value


def _number(value: Any, path: str) -> float:
    # infinity is outside, NaN compares to nothing, and some integers are too large for a float
    if type(value) not in (int, float) or not -_END_OF_NUMBERS < value < _END_OF_NUMBERS:
        _refuse(f"{path} is not a finite number")
    if abs(number := float(value)) >= _END_OF_NUMBERS:  # an integer just below was rounded up
        _refuse(f"{path} is not a finite number")
    return number


def _bytes(value: Any, path: str) -> bytes:
    try:
        return base64.b64decode(_text(value, path), validate=True)
    except ValueError as error:
        raise _malformed(f"{path} is not base64") from error


def _uuid(value: Any, path: str) -> uuid.UUID:
    try:
        return ids.read_uuid(value, "a UUID")
    except InvalidInputError as error:
        raise _malformed(f"{path}: {error.message}") from None


_SCALARS: dict[Any, _Reader] = {
    str: _text,
    int: _whole,
    float: _number,
    bytes: _bytes,
    uuid.UUID: _uuid,
}


def _check(p: Presentation) -> None:
    """Refuse numbers and names that contradict each other."""
    _check_ids(p)
    if p.timing.timescale == 0 or p.timing.samples == 0:
        _refuse("timing is empty")
    _unique([r.name for r in p.renditions], "renditions")
    _unique([k.kid for k in p.keys], "keys")
    for rendition in p.renditions:
        _check_rendition(p, rendition)


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


def _check_rendition(p: Presentation, r: Rendition) -> None:
    timing = r.timing
    if timing.timescale == 0 or sum(r.segment_ticks) != timing.media_ticks:
        _refuse(f"{r.name}: the segments' ticks are not priming, samples and padding")
    if min(r.segment_ticks, default=0) == 0:
        _refuse(f"{r.name}: a segment is empty")
    if r.segment_ticks[0] <= timing.priming or r.segment_ticks[-1] <= timing.padding:
        _refuse(f"{r.name}: the first or last segment holds no music")
    _unique([f.drm for f in r.files], f"{r.name}: files")
    for file in r.files:
        _check_file(p, r, file)


def _check_file(p: Presentation, r: Rendition, f: MediaFile) -> None:
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
    if any(p.key(kid) is None for kid in f.kids):
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


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise ValueError("a field stands twice")
    return tree


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _malformed(message: str) -> InvalidInputError:
    return InvalidInputError(
        f"malformed presentation: {message}"[:300], hint="ingest the master again"
    )


def _refuse(message: str) -> NoReturn:
    raise _malformed(message)
