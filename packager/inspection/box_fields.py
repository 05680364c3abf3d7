"""Fields of boxes by anybody, for people to read.

More lenient than `packager.mp4`, whose readers take what we write and refuse the rest: here any
version and any flags are told as they are. A reader is handed `Fields` behind the box's header and
answers with plain values; a payload that ends too early raises `MalformedBoxError`. No key is ever
among the values: nothing of a `pssh` but its system, KIDs and size.
"""

import uuid
from array import array
from collections.abc import Callable
from sys import byteorder

from core.errors import MalformedBoxError
from packager.inspection.box_codec_fields import CODEC_READERS, Values
from packager.inspection.box_names import SYSTEMS
from packager.mp4.grammar import Fields

MAX_LISTED = 16
"""Entries of a list within a box that are told."""


def text(data: bytes) -> str:
    """*data* as characters that a terminal may be shown."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in data.decode("latin-1"))


def _full(fields: Fields) -> tuple[int, int]:
    return fields.uint(1), fields.uint(3)


def _numbers(fields: Fields, count: int) -> "array[int]":
    """*count* 32-bit numbers."""
    numbers = array("I", fields.take(4 * count))
    if byteorder == "little":
        numbers.byteswap()
    return numbers


def _brands(fields: Fields) -> Values:
    major, minor = text(fields.take(4)), fields.uint(4)
    brands = [text(fields.take(4)) for _ in range(min(fields.left // 4, MAX_LISTED))]
    return {"major": major, "minor": minor, "brands": brands}


def _header(fields: Fields) -> Values:
    """`mvhd` and `mdhd` start alike."""
    width = 8 if _full(fields)[0] else 4
    fields.view(2 * width)
    return {"timescale": fields.uint(4), "duration": fields.uint(width)}


def _tkhd(fields: Fields) -> Values:
    version, flags = _full(fields)
    width = 8 if version else 4
    fields.view(2 * width)
    track_id, _, duration = fields.uint(4), fields.uint(4), fields.uint(width)
    return {"track_id": track_id, "duration": duration, "enabled": bool(flags & 1)}


def _hdlr(fields: Fields) -> Values:
    fields.view(8)
    kind = text(fields.take(4))
    fields.view(12)
    return {"handler": kind, "name": text(fields.take(min(fields.left, 64)).rstrip(b"\0"))}


def _elst(fields: Fields) -> Values:
    width = 8 if _full(fields)[0] else 4
    count = fields.uint(4)
    edits = []
    for _ in range(min(count, MAX_LISTED)):
        duration, media_time, rate = fields.uint(width), fields.sint(width), fields.uint(4)
        edits.append({"duration": duration, "media_time": media_time, "rate": rate / 65536})
    return {"entries": count, "edits": edits}


def _mehd(fields: Fields) -> Values:
    return {"duration": fields.uint(8 if _full(fields)[0] else 4)}


def _trex(fields: Fields) -> Values:
    fields.view(4)
    names = ("track_id", "description", "sample_duration", "sample_size", "sample_flags")
    return {name: fields.uint(4) for name in names}


def _counted(fields: Fields) -> Values:
    fields.view(4)
    return {"entries": fields.uint(4)}


def _stts(fields: Fields) -> Values:
    fields.view(4)
    count = fields.uint(4)
    numbers = _numbers(fields, 2 * count)
    runs = list(zip(numbers[0::2], numbers[1::2], strict=True))
    return {
        "entries": count,
        "samples": sum(numbers[0::2]),
        "ticks": sum(samples * ticks for samples, ticks in runs),
        "runs": [f"{samples}x{ticks}" for samples, ticks in runs[:MAX_LISTED]],
    }


def _stsz(fields: Fields) -> Values:
    fields.view(4)
    size, count = fields.uint(4), fields.uint(4)
    return {"samples": count, "bytes": size * count if size else sum(_numbers(fields, count))}


def _sample_entry(fields: Fields) -> Values:
    fields.view(8)
    version = fields.uint(2)
    fields.view(6)
    channels, bits = fields.uint(2), fields.uint(2)
    fields.view(4)
    found = {"channels": channels, "sample_size": bits, "sample_rate": fields.uint(4) >> 16}
    return found | ({"quicktime_version": version} if version else {})


def _btrt(fields: Fields) -> Values:
    return {name: fields.uint(4) for name in ("buffer_size", "max_bps", "average_bps")}


def _sidx(fields: Fields) -> Values:
    width = 8 if _full(fields)[0] else 4
    found: Values = {"reference_id": fields.uint(4), "timescale": fields.uint(4)}
    found |= {"earliest_time": fields.uint(width), "first_offset": fields.uint(width)}
    fields.view(2)
    count = fields.uint(2)
    numbers = _numbers(fields, 3 * count)
    sizes = [n & 0x7FFFFFFF for n in numbers[0::3]]
    found |= {"references": count, "bytes": sum(sizes), "ticks": sum(numbers[1::3])}
    return found | {"nested": any(n >> 31 for n in numbers[0::3])}


def sidx_references(payload: bytes) -> list[tuple[int, int]]:
    """(bytes, ticks) of each reference of a `sidx` that has been read without an error."""
    fields = Fields(payload)
    fields.view(8 + 2 * (8 if _full(fields)[0] else 4) + 2)
    numbers = _numbers(fields, 3 * fields.uint(2))
    return [(s & 0x7FFFFFFF, t) for s, t in zip(numbers[0::3], numbers[1::3], strict=True)]


def _mfhd(fields: Fields) -> Values:
    fields.view(4)
    return {"sequence_number": fields.uint(4)}


def _tfhd(fields: Fields) -> Values:
    _, flags = _full(fields)
    found: Values = {"flags": f"{flags:#08x}", "track_id": fields.uint(4)}
    optional = (
        (0x01, "base_data_offset", 8),
        (0x02, "description", 4),
        (0x08, "sample_duration", 4),
        (0x10, "sample_size", 4),
        (0x20, "sample_flags", 4),
    )
    return found | {name: fields.uint(width) for bit, name, width in optional if flags & bit}


def _tfdt(fields: Fields) -> Values:
    version, _ = _full(fields)
    return {"version": version, "decode_time": fields.uint(8 if version else 4)}


def _trun(fields: Fields) -> Values:
    _, flags = _full(fields)
    count = fields.uint(4)
    found: Values = {"flags": f"{flags:#08x}", "samples": count}
    if flags & 0x001:
        found["data_offset"] = fields.sint(4)
    if flags & 0x004:
        fields.view(4)
    columns = [bit for bit in (0x100, 0x200, 0x400, 0x800) if flags & bit]
    numbers = _numbers(fields, count * len(columns))
    if 0x100 in columns:
        found["ticks"] = sum(numbers[0 :: len(columns)])
        found["last_ticks"] = numbers[-len(columns)] if count else 0
    if 0x200 in columns:
        found["bytes"] = sum(numbers[columns.index(0x200) :: len(columns)])
    return found


def _sgpd(fields: Fields) -> Values:
    version, _ = _full(fields)
    kind = text(fields.take(4))
    length = fields.uint(4) if version else 0
    if version > 1:
        fields.view(4)
    count = fields.uint(4)
    found: Values = {"grouping": kind, "entries": count}
    if kind == "roll" and count and version == 1:
        found["roll_distance"] = fields.sint(length or 2)
    if kind == "seig" and count and version == 1:
        found |= _seig(Fields(fields.view(length or fields.uint(4))))
    return found


def _seig(fields: Fields) -> Values:
    """CencSampleEncryptionInformationGroupEntry (CENC 6)."""
    fields.view(1)
    pattern, protected, iv_size = fields.take(3)
    found: Values = {"protected": bool(protected), "iv_size": iv_size}
    found["kid"] = str(uuid.UUID(bytes=fields.take(16)))
    return found | ({"pattern": f"{pattern >> 4}:{pattern & 15}"} if pattern else {})


def _sbgp(fields: Fields) -> Values:
    version, _ = _full(fields)
    kind = text(fields.take(4))
    if version:
        fields.view(4)
    count = fields.uint(4)
    runs = [f"{fields.uint(4)}->{fields.uint(4)}" for _ in range(min(count, MAX_LISTED))]
    return {"grouping": kind, "entries": count, "runs": runs}


def _senc(fields: Fields) -> Values:
    _, flags = _full(fields)
    count = fields.uint(4)
    found: Values = {"samples": count, "subsamples": bool(flags & 2)}
    if count and not flags & 2:
        found["iv_size"], rest = divmod(fields.left, count)
        if rest:
            raise MalformedBoxError(f"{fields.left} bytes of IVs are not for {count} samples")
    return found


def _saiz(fields: Fields) -> Values:
    if _full(fields)[1] & 1:
        fields.view(8)
    return {"size": fields.uint(1), "samples": fields.uint(4)}


def _saio(fields: Fields) -> Values:
    version, flags = _full(fields)
    if flags & 1:
        fields.view(8)
    count = fields.uint(4)
    width = 8 if version else 4
    return {"entries": count} | ({"offset": fields.uint(width)} if count else {})


def _tenc(fields: Fields) -> Values:
    version, _ = _full(fields)
    _, pattern, protected, iv_size = fields.take(4)
    found: Values = {"version": version, "protected": bool(protected), "iv_size": iv_size}
    found["kid"] = str(uuid.UUID(bytes=fields.take(16)))
    if version:
        found["pattern"] = f"{pattern >> 4}:{pattern & 15}"
    if protected and not iv_size:
        found["constant_iv"] = fields.take(fields.uint(1)).hex()
    return found


def _pssh(fields: Fields) -> Values:
    version, _ = _full(fields)
    system = str(uuid.UUID(bytes=fields.take(16)))
    count = fields.uint(4) if version else 0
    kids = [str(uuid.UUID(bytes=fields.take(16))) for _ in range(min(count, MAX_LISTED))]
    fields.view(16 * (count - len(kids)))
    size = fields.uint(4)
    fields.view(size)
    name = SYSTEMS.get(system, "unknown system")
    return {"system_id": system, "system": name, "kids": kids, "data_size": size}


def _frma(fields: Fields) -> Values:
    return {"format": text(fields.take(4))}


def _schm(fields: Fields) -> Values:
    fields.view(4)
    return {"scheme": text(fields.take(4)), "version": f"{fields.uint(4):#010x}"}


READERS: dict[str, Callable[[Fields], Values]] = {
    **CODEC_READERS,
    "btrt": _btrt,
    "co64": _counted,
    "dref": _counted,
    "elst": _elst,
    "frma": _frma,
    "ftyp": _brands,
    "hdlr": _hdlr,
    "mdhd": _header,
    "mehd": _mehd,
    "mfhd": _mfhd,
    "mvhd": _header,
    "pssh": _pssh,
    "saio": _saio,
    "saiz": _saiz,
    "sbgp": _sbgp,
    "schm": _schm,
    "senc": _senc,
    "sgpd": _sgpd,
    "sidx": _sidx,
    "stco": _counted,
    "stsc": _counted,
    "stsd": _counted,
    "stsz": _stsz,
    "stts": _stts,
    "styp": _brands,
    "tenc": _tenc,
    "tfdt": _tfdt,
    "tfhd": _tfhd,
    "tkhd": _tkhd,
    "trex": _trex,
    "trun": _trun,
}
SAMPLE_ENTRIES = {"alac", "enca", "fLaC", "mp4a", "Opus"}


def read_fields(fourcc: str, payload: bytes, *, entry: bool) -> Values:
    """The values of a box that is known, else none; *entry* if it stands in `stsd`.

    Raises:
        MalformedBoxError: The payload is not what its fields need.
    """
    if entry:
        return _sample_entry(Fields(payload)) if fourcc in SAMPLE_ENTRIES else {}
    reader = READERS.get(fourcc)
    return reader(Fields(payload)) if reader else {}
