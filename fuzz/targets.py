"""Our readers of foreign bytes, as functions of bytes: what `make fuzz` runs and a test replays.

A target returns if its reader kept the laws: it raised the error that it documents or none, what it
accepted survives writing and reading, and results are within their bounds. Anything else escapes
as an exception. Time and memory are bounded by whoever calls.
"""

import contextlib
import io
import json
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

from cdn_router import beacons
from core import cmcd, grants, ids, key_exchange, strict_json
from core.errors import (
    IntegrityError,
    InvalidInputError,
    MalformedBoxError,
    NotFoundError,
    SignatureError,
    UnauthorizedError,
)
from core.model import Codec, DrmProfile, Rung, Tier
from fuzz import seeds
from keyserver import eme
from origin.media import ranges
from packager.cmaf.grid import segment_samples
from packager.cmaf.segmenter import Output, package
from packager.cmaf.verify import verify_file
from packager.encoded.fast_mp4 import read_mp4
from packager.encoded.track import EncodedTrack
from packager.inspection import inspection
from packager.inspection.media_bytes import FileBytes
from packager.inspection.text import lines_of
from packager.manifest import places, presentation
from packager.mp4 import grammar
from packager.mp4.alac import AlacConfig
from packager.mp4.asc import aac_kind
from packager.mp4.dfla import FlacConfig
from packager.mp4.dops import OpusConfig
from packager.mp4.elst import EditList
from packager.mp4.esds import AacConfig
from packager.mp4.ftyp import FileType
from packager.mp4.hdlr import Handler
from packager.mp4.ludt import LoudnessBox
from packager.mp4.mdhd import MediaHeader
from packager.mp4.moof import MovieFragment
from packager.mp4.moof_size import IV_SIZE
from packager.mp4.moov import Movie
from packager.mp4.mvex import MovieExtends
from packager.mp4.mvhd import MovieHeader
from packager.mp4.pssh import ProtectionHeader
from packager.mp4.roll import RollDescription, RollMembers
from packager.mp4.saio import AuxiliaryOffset
from packager.mp4.saiz import AuxiliarySizes
from packager.mp4.senc import SampleEncryption
from packager.mp4.sidx import SegmentIndex
from packager.mp4.sinf import Protection
from packager.mp4.stbl import SampleTables
from packager.mp4.stsd import AudioEntry
from packager.mp4.tenc import TrackEncryption
from packager.mp4.tfdt import DecodeTime
from packager.mp4.tfhd import TrackFragmentHeader
from packager.mp4.tkhd import TrackHeader
from packager.mp4.trun import TrackRun
from packager.protect.protection import NO_CHOICES

DECODERS: dict[bytes, tuple[Callable[[memoryview], Any], ...]] = {
    b"Opus": (),
    b"alac": (AlacConfig.decode,),
    b"dOps": (OpusConfig.decode,),
    b"dfLa": (FlacConfig.decode,),
    b"elst": (EditList.decode,),
    b"esds": (AacConfig.decode,),
    b"ftyp": (FileType.decode,),
    b"hdlr": (Handler.decode,),
    b"ludt": (LoudnessBox.decode,),
    b"mdhd": (MediaHeader.decode,),
    b"moof": (MovieFragment.decode, lambda payload: MovieFragment.decode(payload, IV_SIZE)),
    b"moov": (Movie.decode,),
    b"mvex": (MovieExtends.decode,),
    b"mvhd": (MovieHeader.decode,),
    b"pssh": (ProtectionHeader.decode,),
    b"saio": (AuxiliaryOffset.decode,),
    b"saiz": (AuxiliarySizes.decode,),
    b"sbgp": (RollMembers.decode,),
    b"sgpd": (RollDescription.decode,),
    b"senc": tuple(
        lambda payload, size=size: SampleEncryption.decode(payload, size) for size in (0, 8, 16)
    ),
    b"sidx": (SegmentIndex.decode,),
    b"sinf": (Protection.decode,),
    b"stsd": (AudioEntry.decode,),
    b"tenc": (TrackEncryption.decode,),
    b"tfdt": (DecodeTime.decode,),
    b"tfhd": (TrackFragmentHeader.decode,),
    b"tkhd": (TrackHeader.decode,),
    b"trun": (TrackRun.decode,),
}
CONTAINERS = frozenset(
    (b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl", b"udta", b"moof", b"traf", b"schi")
)


def boxes(data: bytes) -> None:
    """Every box at every depth to its own decoder; what one accepts must be what it writes."""
    with contextlib.suppress(MalformedBoxError):
        _walk(data, depth=0)


def _walk(data: grammar.Bytes, *, depth: int) -> None:
    found = grammar.read_boxes(data, depth=depth)
    assert sum(box.size for box in found) == len(data)
    for box in found:
        for decode in DECODERS.get(box.fourcc, ()):
            _round_trip(decode, box.payload)
        if box.fourcc == b"stbl":
            with contextlib.suppress(MalformedBoxError):
                SampleTables.decode(grammar.read_boxes(box.payload), 1 << 20).start_if_contiguous()
        if box.fourcc in CONTAINERS:
            with contextlib.suppress(MalformedBoxError):
                _walk(box.payload, depth=depth + 1)


def _round_trip(decode: Callable[[memoryview], Any], payload: memoryview) -> None:
    try:
        value = decode(payload)
    except MalformedBoxError:
        return
    [box] = grammar.read_boxes(value.encode())
    assert decode(box.payload) == value
    if isinstance(value, AacConfig):
        with contextlib.suppress(MalformedBoxError):
            assert aac_kind(value.specific).codecs


def source(data: bytes) -> None:
    """A progressive MP4: refused, or cut, encrypted and verified like any other."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "source.mp4")
        path.write_bytes(data)
        try:
            track = read_mp4(path)
        except InvalidInputError:
            return
        assert sum(track.sizes) == len(track.payload)
        assert track.timing.samples > 0
        _package(track, Path(name, "packaged.mp4"))


def _package(track: EncodedTrack, path: Path) -> None:
    key = seeds.KEYS[DrmProfile.CENC][0]
    try:
        rendition = package(
            track,
            rung=Rung(Codec.AAC, 96_000, Tier.LOW),
            outputs={DrmProfile.CENC: Output(path, key)},
            segment_ticks=segment_samples(track.timing.timescale),
        )
    except InvalidInputError:
        return
    assert verify_file(path, rendition, rendition.files[0], key).packets == len(track.sizes)


def verify(data: bytes) -> None:
    """A packaged file with what the first byte chooses: refused, or equal to what was written."""
    choices, drm = list(product((NO_CHOICES, seeds.CHANGING), DrmProfile))[(data or b"0")[0] % 6]
    made, keys = seeds.packaged(choices), seeds.KEYS[drm]
    first, later = (keys[0], keys[1:]) if keys else (None, ())
    try:
        verify_file(
            data[1:],
            made.rendition,
            made.rendition.file(drm),
            first,
            later if choices is seeds.CHANGING else (),
        )
    except IntegrityError:
        return
    assert data[1:] == made.files[drm]


def inspected(data: bytes) -> None:
    """Any MP4, as `tonearm inspect` shows it: never an error, whatever the bytes are."""
    found = inspection.inspect(FileBytes(io.BytesIO(data)))
    assert json.dumps(inspection.as_json(found, "name"))
    assert list(lines_of(found, everything=True))


def description(data: bytes) -> None:
    """A `presentation.json`: refused, or the same after writing and reading."""
    try:
        found = presentation.decode(data)
    except InvalidInputError:
        return
    assert presentation.decode(presentation.encode(found)) == found
    presentation.generation_of(found)


def range_request(data: bytes) -> None:
    """Four header fields, a line each: never an error, and never a byte that does not exist."""
    fields = [line or None for line in data[2:].decode("utf-8", "replace").split("\n")]
    size = int.from_bytes(data[:2], "big")
    names = ("range", "if_range", "if_match", "if_none_match")
    conditions = ranges.Conditions(**dict(zip(names, fields, strict=False)))
    for method in ("GET", "HEAD"):
        selection = ranges.select(method, conditions, etag=seeds.ETAG, size=size)
        assert selection.status == 206 or len(selection.spans) == (selection.status == 200)
        end = -1
        for start, after in selection.spans:
            assert end < start <= after <= size
            assert selection.status == 200 or start < after
            end = after
            assert ranges.content_range((start, after), size).endswith(f"/{size}")


def url_path(data: bytes) -> None:
    """The path of a media URL: refused, or the parts are the whole."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        path = places.parse(text)
    except InvalidInputError:
        return
    parts = (path.track_id, path.generation, path.region, path.drm, path.file)
    assert text.endswith("/".join(("", "m" if not path.token else text.split("/")[2], *parts)))
    with contextlib.suppress(NotFoundError):
        path.profile()
    with contextlib.suppress(NotFoundError):
        assert path.parse_file().name


def report(data: bytes) -> None:
    """What a player reports of pathways."""
    with contextlib.suppress(InvalidInputError):
        for item in beacons.parse(data):
            assert item.failed or item.first_byte_ms is not None
            assert isinstance(item.plausible, bool)


def player_events(data: bytes) -> None:
    """CMCD events, as the origin and the router read them."""
    with contextlib.suppress(InvalidInputError):
        events = cmcd.read_events(data)
        assert len(events) <= cmcd.MAX_EVENTS
        assert all(len(event) <= cmcd.MAX_KEYS for event in events)


def key_request(data: bytes) -> None:
    """What the packager asks the key server for."""
    with contextlib.suppress(InvalidInputError):
        request = key_exchange.read_request(data)
        assert key_exchange.read_request(key_exchange.write_request(request)) == request


def key_answer(data: bytes) -> None:
    """What a key server answers: refused, or the same after writing and reading."""
    with contextlib.suppress(IntegrityError):
        keys = key_exchange.read_keys(data, seeds.KEY_REQUEST)
        assert key_exchange.read_keys(key_exchange.write_keys(keys), seeds.KEY_REQUEST) == keys


def json_body(data: bytes) -> None:
    """Any body: refused, or what every reader of JSON would see."""
    with contextlib.suppress(InvalidInputError):
        value = strict_json.read(data)
        assert json.loads(data) == value
        assert strict_json.read(json.dumps(value).encode(), max_size=1 << 20) == value


def licence_request(data: bytes) -> None:
    """ClearKey's JSON: refused, or the KIDs have but one spelling."""
    with contextlib.suppress(InvalidInputError):
        kids = eme.read_request(data)
        assert (
            all(ids.write_base64url(kid.bytes).encode() in data for kid in kids) or b"\\u" in data
        )


def url_token(data: bytes) -> None:
    """A URL token: refused, or a text that we signed."""
    token = data.decode("utf-8", "surrogateescape")
    with contextlib.suppress(SignatureError):
        grant = seeds.SIGNER.open(token, now_s=0)
        assert seeds.SIGNER.sign(grant) == token


def user_token(data: bytes) -> None:
    """A JWT: refused in all its roles, or signed by us."""
    token = data.decode("utf-8", "surrogateescape")
    for read in (grants.open_playback, grants.open_user, grants.open_operator, grants.open_choice):
        with contextlib.suppress(UnauthorizedError):
            read(token, seeds.SECRET, now_s=seeds.NOW_S)
            assert data in seeds.user_tokens()


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "boxes": (boxes, seeds.boxes),
    "source": (source, seeds.sources),
    "verify": (verify, seeds.verifiable),
    "inspect": (inspected, seeds.boxes),
    "presentation": (description, seeds.presentations),
    "ranges": (range_request, seeds.range_requests),
    "media-path": (url_path, seeds.url_paths),
    "beacons": (report, seeds.reports),
    "cmcd": (player_events, seeds.events),
    "eme": (licence_request, seeds.licence_requests),
    "key-request": (key_request, seeds.key_requests),
    "key-answer": (key_answer, seeds.key_answers),
    "json": (json_body, seeds.json_bodies),
    "url-token": (url_token, seeds.url_tokens),
    "user-token": (user_token, seeds.user_tokens),
}
"""By name: the target, and good input to start from."""
