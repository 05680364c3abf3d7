"""The words of the house as frozen values.

Units stand last in names. Media time is integer ticks of a timescale; seconds appear
only in manifests and logs.
"""

import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Codec(StrEnum):
    """What a rung is encoded with."""

    AAC = "aac"
    OPUS = "opus"
    FLAC = "flac"
    ALAC = "alac"


class Scheme(StrEnum):
    """Common Encryption scheme (ISO/IEC 23001-7, clause 10)."""

    CBCS = "cbcs"
    CENC = "cenc"

    @property
    def hls_method(self) -> str:
        """METHOD of an EXT-X-KEY whose samples are encrypted so."""
        return "SAMPLE-AES" if self is Scheme.CBCS else "SAMPLE-AES-CTR"


class DrmProfile(StrEnum):
    """How a file is protected, as a URL segment."""

    CLEAR = "clear"
    CBCS = "cbcs"
    CENC = "cenc"


class Tier(StrEnum):
    """What a plan entitles to; ordered by `rank`."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    LOSSLESS = "lossless"

    @property
    def rank(self) -> int:
        """0 for the lowest tier; a tier includes every tier of smaller rank."""
        return list(Tier).index(self)

    def includes(self, other: "Tier") -> bool:
        """Whether a plan of this tier may have what belongs to *other*."""
        return other.rank <= self.rank


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of a ladder: a promise of codec and bitrate.

    `bitrate_bps` is 0 for lossless codecs: their rate is what the music needs.
    """

    codec: Codec
    bitrate_bps: int
    tier: Tier
    channels: int = 2

    @property
    def name(self) -> str:
        """The name used in paths and manifests: ``aac-96k``, or ``flac``."""
        return f"{self.codec}-{self.bitrate_bps // 1000}k" if self.bitrate_bps else f"{self.codec}"


@dataclass(frozen=True, slots=True)
class Ladder:
    """The rungs a master is transcoded into."""

    name: str
    rungs: tuple[Rung, ...]


@dataclass(frozen=True, slots=True)
class Timing:
    """The gapless numbers of a rendition, in samples of `timescale` Hz.

    A decoder's output is `priming` samples of encoder delay, then `samples` samples of
    music, then `padding` samples that fill the last frame.
    """

    timescale: int
    priming: int
    samples: int
    padding: int

    @property
    def media_ticks(self) -> int:
        """What the file decodes to when nothing is trimmed."""
        return self.priming + self.samples + self.padding

    @property
    def duration_s(self) -> float:
        """The track's exact length, for manifests."""
        return self.samples / self.timescale


@dataclass(frozen=True, slots=True)
class Loudness:
    """BS.1770-4 and EBU Tech 3341/3342 numbers; None where the programme has none (silence)."""

    integrated_lufs: float | None
    range_lu: float | None
    momentary_max_lufs: float | None
    short_term_max_lufs: float | None
    true_peak_dbtp: float | None


_LATE = {"late": True}
"""Marks fields that came later: left out of JSON at their default, so that old hashes hold."""


@dataclass(frozen=True, slots=True)
class KeyChange:
    """From segment `segment` on (the first is 0), packets are encrypted with the key `kid`."""

    segment: int
    kid: uuid.UUID


@dataclass(frozen=True, slots=True)
class MediaFile:
    """One CMAF file of a rendition: init, one `sidx`, then the fragments.

    Attributes:
        key: Object key; empty until its presentation is sealed.
        init_size: Bytes of `ftyp` and `moov`, which start the file.
        index_size: Bytes of the `sidx` that follows.
        segment_sizes: Bytes of each `moof` + `mdat`; the sum with the two above is `size`.
        kid: Of the content key; None in the clear. With `key_changes`, of the first one.
        average_bps: Measured over the whole track.
        peak_bps: Of the largest segment; never below `average_bps`.
        clear_segments: How many segments at the start are not encrypted: the clear lead.
        crypt_blocks: 10 if a cbcs pattern of 10:0 is signalled; 0 for the usual 0:0.
        key_changes: Where other keys begin, in order.
    """

    drm: DrmProfile
    key: str
    size: int
    sha256: str
    init_size: int
    index_size: int
    segment_sizes: tuple[int, ...]
    average_bps: int
    peak_bps: int
    kid: uuid.UUID | None = None
    clear_segments: int = field(default=0, metadata=_LATE)
    crypt_blocks: int = field(default=0, metadata=_LATE)
    key_changes: tuple[KeyChange, ...] = field(default=(), metadata=_LATE)

    @property
    def kids(self) -> tuple[uuid.UUID, ...]:
        """Of all its keys, in the order in which they are needed; empty in the clear."""
        return () if self.kid is None else (self.kid, *(c.kid for c in self.key_changes))


@dataclass(frozen=True, slots=True)
class Rendition:
    """A rung realised for one master.

    Attributes:
        codecs: RFC 6381 string in the spelling of DASH, e.g. ``mp4a.40.2``, ``opus``, ``flac``.
        bit_depth: Of lossless renditions; None for lossy ones.
        segment_ticks: Media duration of each segment, priming and full last frame included.
        packets_sha256: Over the encoder's packets, one after the other.
    """

    name: str
    codec: Codec
    tier: Tier
    codecs: str
    bitrate_bps: int
    sample_rate: int
    channels: int
    bit_depth: int | None
    timing: Timing
    segment_ticks: tuple[int, ...]
    packets_sha256: str
    files: tuple[MediaFile, ...]

    def file(self, drm: DrmProfile) -> MediaFile | None:
        """The file protected as *drm*, or None if it was not made."""
        return next((f for f in self.files if f.drm is drm), None)


@dataclass(frozen=True, slots=True)
class HlsKeyTag:
    """Attributes of one EXT-X-KEY and its EXT-X-SESSION-KEY (RFC 8216, 4.3.2.4).

    `uri` may be absolute (``skd:``, ``data:``) or a path below the key server's public base.
    """

    method: str
    uri: str
    keyformat: str
    keyformatversions: str = "1"
    iv: bytes | None = None
    keyid: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class DrmSignal:
    """What one DRM system wants said about one content key; made by the key server alone.

    Attributes:
        system_id: As registered at dashif.org/identifiers/content_protection.
        pssh: The whole box, or empty.
        hls: Tags for media and multivariant playlists.
        dash_value: `ContentProtection@value`, or None if DASH gets no descriptor.
        license_path: Path below the key server's public base, for `dashif:Laurl`.
    """

    system_id: uuid.UUID
    pssh: bytes = b""
    hls: tuple[HlsKeyTag, ...] = ()
    dash_value: str | None = None
    license_path: str | None = None


@dataclass(frozen=True, slots=True)
class KeyDescription:
    """What everyone may know about a content key: all but the key."""

    kid: uuid.UUID
    tier: Tier
    scheme: Scheme
    signals: tuple[DrmSignal, ...]
    period: int = 0


@dataclass(frozen=True, slots=True)
class ContentKey:
    """A key, with what it opens.

    `key` and `iv` stay out of `repr`: a log line must never hold them. `iv` has 16 bytes for
    `cbcs` (the constant IV) and 8 for `cenc` (where the per-sample IVs start to count).
    """

    description: KeyDescription
    key: bytes = field(repr=False)
    iv: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Presentation:
    """All renditions of one master, cut and encrypted: what a track is served from.

    Attributes:
        generation: Content hash; stands in every URL, so that a URL's bytes never change.
        timing: Of the master, at its own rate, with no priming and no padding.
        master_sha256: Of the master file.
        recipe_sha256: Of the ladder, the encoder settings and the tool chain.
    """

    track_id: str
    generation: str
    title: str
    artist: str
    timing: Timing
    loudness: Loudness
    album_id: str | None
    album_loudness: Loudness | None
    master_sha256: str
    recipe_sha256: str
    keys: tuple[KeyDescription, ...]
    renditions: tuple[Rendition, ...]

    def rendition(self, name: str) -> Rendition | None:
        """The rendition called *name*, or None."""
        return next((r for r in self.renditions if r.name == name), None)

    def key(self, kid: uuid.UUID) -> KeyDescription | None:
        """The description of the key *kid*, or None."""
        return next((k for k in self.keys if k.kid == kid), None)


@dataclass(frozen=True, slots=True)
class KeyRotation:
    """What became of a track that was given new keys; `period` and `kids` are those of these.

    Attributes:
        previous: The generation before, which stays in the store.
    """

    track_id: str
    generation: str
    previous: str
    period: int
    kids: tuple[uuid.UUID, ...]


@dataclass(frozen=True, slots=True)
class Pathway:
    """A CDN as a player sees it: an id to steer by and where its URLs start.

    `base_url` is scheme, host and port, without a trailing slash.
    """

    id: str
    base_url: str


@dataclass(frozen=True, slots=True)
class SessionContext:
    """What a pathway decision may depend on."""

    session_id: str
    region: str
    track_id: str


@dataclass(frozen=True, slots=True)
class PathwayDecision:
    """All pathways, best first; `id` ties logs, beacons and steering answers together."""

    id: str
    order: tuple[Pathway, ...]


class PathwayChooser(Protocol):
    """Decides on which pathway a session starts; the same answer for a session and epoch."""

    async def choose(self, session: SessionContext) -> PathwayDecision:
        """Every configured pathway, best first; never empty."""
        ...
