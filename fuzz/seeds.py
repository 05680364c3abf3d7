"""Good input that fuzzing starts from, made by our own writers: the same bytes in every run."""

import struct
import tempfile
import uuid
from array import array
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from core import grants, key_exchange
from core.ids import COMMON_SYSTEM_ID
from core.keysource import KeyRequest
from core.model import (
    Codec,
    ContentKey,
    DrmProfile,
    DrmSignal,
    KeyDescription,
    Loudness,
    Presentation,
    Rendition,
    Rung,
    Scheme,
    Tier,
    Timing,
)
from packager.cmaf.segmenter import Output, package
from packager.encoded.track import EncodedTrack
from packager.manifest import presentation
from packager.mp4.alac import AlacConfig
from packager.mp4.dfla import FlacConfig
from packager.mp4.dops import OpusConfig
from packager.mp4.elst import Edit, EditList
from packager.mp4.esds import AacConfig
from packager.mp4.grammar import box, full_box
from packager.mp4.hdlr import Handler
from packager.mp4.mdhd import MediaHeader
from packager.mp4.mvhd import MovieHeader
from packager.mp4.pssh import ProtectionHeader
from packager.mp4.stsd import AudioEntry
from packager.mp4.tkhd import TrackHeader
from packager.protect.protection import NO_CHOICES, Encryption

KID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
ETAG = '"0123456789abcdef"'
NOW_S = 1_800_000_000
SECRET = bytes(range(32))
SIGNER = grants.UrlSigner({"a": SECRET}, "a")
_LOUDNESS = Loudness(-14.0, 6.5, -9.0, -11.0, -1.0)
_PACKET = bytes((0x08,)) + bytes(range(1, 11))
"""An Opus packet of one frame of 960 samples, as far as its first byte says."""


def _key(scheme: Scheme, period: int = 0) -> ContentKey:
    kid = uuid.UUID(int=KID.int + period)
    signal = DrmSignal(COMMON_SYSTEM_ID, ProtectionHeader(COMMON_SYSTEM_ID, (kid,)).encode())
    iv = bytes(range(16)) if scheme is Scheme.CBCS else bytes(range(8))
    description = KeyDescription(kid, Tier.HIGH, scheme, (signal,), period)
    return ContentKey(description, bytes(range(period, period + 16)), iv)


KEYS = {
    DrmProfile.CLEAR: (),
    DrmProfile.CBCS: tuple(_key(Scheme.CBCS, period) for period in range(3)),
    DrmProfile.CENC: tuple(_key(Scheme.CENC, period) for period in range(3)),
}
"""For three segments, of which each may have its own."""


@dataclass(frozen=True, slots=True)
class Packaged:
    """A rendition and its file under each protection."""

    rendition: Rendition
    files: dict[DrmProfile, bytes]


@cache
def packaged(choices: Encryption = NO_CHOICES) -> Packaged:
    """Twelve packets in three segments."""
    count = 12
    track = EncodedTrack(
        *(OpusConfig(2, 312, 48_000), Codec.OPUS, "opus", 48_000, 2, None, 960),
        sizes=array("I", [len(_PACKET)]) * count,
        payload=memoryview(_PACKET * count),
        timing=Timing(48_000, 312, 960 * count - 400, 88),
    )
    with tempfile.TemporaryDirectory() as name:
        outputs = {
            drm: Output(Path(name, drm), keys[0] if keys else None, later_keys=keys[1:])
            for drm, keys in KEYS.items()
        }
        rendition = package(
            track,
            rung=Rung(Codec.OPUS, 96_000, Tier.HIGH),
            outputs=outputs,
            segment_ticks=4 * 960,
            loudness=_LOUDNESS,
            encryption=choices,
        )
        return Packaged(rendition, {d: o.path.read_bytes() for d, o in outputs.items()})


CHANGING = Encryption(clear_segments=1, period_segments=1, full_pattern=True)
"""A clear lead, the pattern, and another key in each segment."""


def boxes() -> list[bytes]:
    """Whole files, ours and progressive ones."""
    return [*packaged().files.values(), *packaged(CHANGING).files.values(), *sources()]


def verifiable() -> list[bytes]:
    """A byte that says choices and protection, and the file."""
    files = [*packaged().files.values(), *packaged(CHANGING).files.values()]
    return [bytes((i,)) + body for i, body in enumerate(files)]


def sources() -> list[bytes]:
    """Progressive MP4 as encoders write it, one per codec."""
    streaminfo = struct.pack(">HH6xQ16x", 4096, 4096, 44_100 << 44 | 1 << 41 | 15 << 36)
    cookie = struct.pack(">IBBBBBBHIII", 4096, 0, 16, 40, 10, 14, 2, 255, 0, 0, 44_100)
    return [
        progressive(OpusConfig(2, 312, 48_000), 48_000, ((7, 960), (1, 500)), 312),
        progressive(OpusConfig(2, 312, 48_000), 48_000, ((1, 700),), 312),
        progressive(AacConfig(bytes.fromhex("1190"), 96_000, 96_000), 48_000, ((9, 1024),), 1024),
        progressive(AacConfig(bytes.fromhex("131056e598")), 24_000, ((9, 1024),), 0),
        progressive(FlacConfig(streaminfo), 44_100, ((8, 4096), (1, 17)), 0),
        progressive(AlacConfig(cookie), 44_100, ((8, 4096), (1, 17)), 0),
    ]


def progressive(
    config: OpusConfig | AacConfig | FlacConfig | AlacConfig,
    timescale: int,
    runs: tuple[tuple[int, int], ...],
    priming: int,
) -> bytes:
    """`ftyp`, `mdat`, `moov`: packets of 11 bytes, (how many, ticks of each) in *runs*."""
    count = sum(n for n, _ in runs)
    ftyp = box(b"ftyp", b"isom", bytes(4), b"isommp42")
    mdat = box(b"mdat", _PACKET * count)
    stbl = box(
        b"stbl",
        AudioEntry(config, 2, 16, timescale).encode(),
        full_box(b"stts", 0, 0, _numbers(len(runs), *(n for run in runs for n in run))),
        full_box(b"stsc", 0, 0, _numbers(1, 1, count, 1)),
        full_box(b"stsz", 0, 0, _numbers(0, count, *[len(_PACKET)] * count)),
        full_box(b"stco", 0, 0, _numbers(1, len(ftyp) + 8)),
    )
    minf = box(b"minf", full_box(b"smhd", 0, 0, bytes(4)), stbl)
    mdia = box(b"mdia", MediaHeader(timescale).encode(), Handler().encode(), minf)
    ticks = sum(n * each for n, each in runs) - priming
    edts = box(b"edts", EditList((Edit(ticks, priming),)).encode())
    trak = box(b"trak", TrackHeader().encode(), edts, mdia)
    return ftyp + mdat + box(b"moov", MovieHeader(timescale).encode(), trak)


def _numbers(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def presentations() -> list[bytes]:
    """Two sealed descriptions of three files."""
    return [presentation.encode(_presentation(choices)) for choices in (NO_CHOICES, CHANGING)]


def _presentation(choices: Encryption) -> Presentation:
    rendition = packaged(choices).rendition
    # the schemes' keys share KIDs here, which a real presentation never does: one set is enough
    keys = tuple(key.description for key in KEYS[DrmProfile.CBCS])
    draft = Presentation(
        *("t", "", "Título", "Künstler", Timing(44_100, 0, 10_216, 0), _LOUDNESS, "album", None),
        *("0" * 64, "1" * 64, keys, (rendition,)),
    )
    return presentation.seal(draft)


def range_requests() -> list[bytes]:
    """Two bytes of size; then Range, If-Range, If-Match, If-None-Match, a line each."""
    fields = ("bytes=0-9", "bytes=-5,2-3 , 900-", f"bytes=0-\n{ETAG}", f"\n\n{ETAG}\nW/{ETAG}, *")
    return [bytes((3, 232)) + field.encode() for field in fields]


def url_paths() -> list[bytes]:
    """Paths of every kind of file, with and without a token."""
    base = "m/track-1/0123456789abcdef/ww/cbcs"
    files = ("high.m3u8", "low.mpd", "aac-96k.m3u8", "opus-160k/init.mp4", "flac/17.m4s")
    return [f"/{base}/{file}".encode() for file in files] + [f"/tok.en/{base}/flac.mp4".encode()]


def reports() -> list[bytes]:
    """Our JSON, and CMCD version 2."""
    return [
        b'{"pathway":"a","rttMs":12,"firstByteMs":40.5}',
        b'[{"pathway":"b","failed":true},{"pathway":"c","firstByteMs":1e3,"rttMs":null}]',
        b'v=2,e=rr,cdn="a",rc=200,ttfb=41,url="https://cdn.example/x/y?q=1"\nv=2,e=ps,sta=p',
    ]


def events() -> list[bytes]:
    """Two events of a player."""
    return [b'v=2,e=ps,sta=p,ts=1700000000000,sid="a-b",sn=3,pt=4000\ne=rr,bl=(1;v 2),cid="x\\"y"']


def key_requests() -> list[bytes]:
    """What the packager asks the key server."""
    return [b'{"trackId":"t","tiers":["low","high"],"schemes":["cbcs","cenc"],"period":1}']


KEY_REQUEST = KeyRequest("t", (Tier.HIGH,), (Scheme.CBCS,))


def key_answers() -> list[bytes]:
    """One key with a signal."""
    return [key_exchange.write_keys(KEYS[DrmProfile.CBCS][:1])]


def json_bodies() -> list[bytes]:
    """Bodies of every door, and what Python's own reader takes beside them."""
    return [*key_requests(), *licence_requests(), *reports()[:2], b'{"a":NaN,"\\ud800":[1e9]}']


def licence_requests() -> list[bytes]:
    """One KID, and two."""
    return [
        b'{"kids":["ABEiM0RVZneImaq7zN3u_w"],"type":"temporary"}',
        b'{"kids":["ABEiM0RVZneImaq7zN3u_w","AAAAAAAAAAAAAAAAAAAAAA"]}',
    ]


def url_tokens() -> list[bytes]:
    """Of a short grant and a long one."""
    return [
        SIGNER.sign(grants.UrlGrant(track, Tier.HIGH, "ww", session, NOW_S)).encode()
        for track, session in (("t", "s"), ("a" * 64, "b" * 64))
    ]


@cache
def user_tokens() -> list[bytes]:
    """One for each audience."""
    user = grants.User("someone", Tier.HIGH, "ww")
    playback = grants.PlaybackGrant("someone", "d", "s", "t", Tier.LOW, NOW_S, NOW_S + 60)
    tokens = (
        grants.sign_user(user, SECRET, now_s=NOW_S, ttl_s=60),
        grants.sign_playback(playback, SECRET),
        grants.sign_operator(SECRET, now_s=NOW_S),
        grants.sign_choice(SECRET, now_s=NOW_S),
    )
    return [token.encode() for token in tokens]
