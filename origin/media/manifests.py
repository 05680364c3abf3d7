"""Manifests as bytes, plain and compressed; rendered by `packager.manifest`, pure."""

import gzip
import hashlib
import re
from dataclasses import dataclass, replace

from core.model import DrmProfile, Presentation, Tier
from origin.media.answers import Representation, manifest_cache_control
from packager.manifest import dash, hls
from packager.manifest.options import ManifestOptions
from packager.manifest.places import STEERING_DASH, STEERING_HLS, Kind, MediaFileName

HLS_TYPE = "application/vnd.apple.mpegurl"
DASH_TYPE = "application/dash+xml"

_GZIP = re.compile(
    r"(?:^|,)[ \t]*(?:x-)?(?:gzip|\*)[ \t]*(?:;[ \t]*q=([0-9.]+)[ \t]*)?(?=,|$)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A rendered manifest in both content codings."""

    plain: bytes
    compressed: bytes
    digest: str
    media_type: str

    @property
    def size(self) -> int:
        """Bytes that it takes in a cache."""
        return len(self.plain) + len(self.compressed)

    def choose(self, accept_encoding: str, tags: tuple[str, ...]) -> tuple[Representation, bytes]:
        """The coding that the client takes; each has an entity tag of its own (8.8.3.3)."""
        compressed = accepts_gzip(accept_encoding)
        body = self.compressed if compressed else self.plain
        etag = f'"{self.digest}{"-gzip" if compressed else ""}"'
        representation = Representation(
            etag=etag,
            size=len(body),
            media_type=self.media_type,
            cache_control=manifest_cache_control(self.digest),
            tags=tags,
            negotiated=True,
            encoding="gzip" if compressed else None,
        )
        return representation, body


def render(
    presentation: Presentation,
    drm: DrmProfile,
    file: MediaFileName,
    options: ManifestOptions,
    *,
    steering: bool,
) -> Manifest:
    """The manifest that *file* names, with the steering server of its kind if *steering*.

    Raises:
        NotFoundError: The presentation has nothing to list in it.
    """
    dash_wanted = file.kind is Kind.DASH_TIER
    if steering:
        options = replace(options, steering_uri=STEERING_DASH if dash_wanted else STEERING_HLS)
    if dash_wanted:
        text = dash.mpd(presentation, drm, Tier(file.name), options)
    elif file.kind is Kind.HLS_TIER:
        text = hls.multivariant(presentation, drm, Tier(file.name), options)
    else:
        text = hls.media(presentation, drm, file.name, options)
    plain = text.encode()
    # mtime 0: replicas must agree on the bytes, since they agree on the entity tag
    compressed = gzip.compress(plain, mtime=0)
    digest = "sha256-" + hashlib.sha256(plain).hexdigest()[:32]
    return Manifest(plain, compressed, digest, DASH_TYPE if dash_wanted else HLS_TYPE)


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the field allows gzip, with a weight above 0 (RFC 9110, 12.5.3)."""
    match = _GZIP.search(accept_encoding)
    return match is not None and (match[1] is None or match[1].strip("0.") != "")
