"""Where everything lies: object keys, media URLs and the names of files below them; pure.

::

    tracks/{track}/{generation}/presentation.json          written last, names all the others
    tracks/{track}/{generation}/{drm}/{rendition}.mp4      init, sidx, fragments
    tracks/{track}/{generation}/{drm}/static/{manifest}    byte-range manifests, for a bucket
    tracks/{track}/{generation}/waveform.json  report.json  sha256.json
    albums/{album}/{hash}/{drm}/{manifest}                 of an album; album.json last

    /{token}/m/{track}/{generation}/{region}/{drm}/{file}  what players fetch

where `{file}` is `{tier}.m3u8`, `{tier}.mpd`, `{rendition}.m3u8`, `{rendition}.mp4`,
`{rendition}/init.mp4` or `{rendition}/{number}.m4s`. No other module writes or reads such a text.

No character of a media URL ever needs percent-encoding, so one in which anything is encoded,
doubled or dotted was made to slip past somebody's prefix match, ours or an edge's, and is refused
before it is understood.
"""

import re
from dataclasses import dataclass
from enum import Enum

from core import ids
from core.errors import InvalidInputError, NotFoundError
from core.model import DrmProfile, Rendition, Tier

DESCRIPTION = "presentation.json"
SUMS = "sha256.json"
WAVEFORM = "waveform.json"
REPORT = "report.json"
ALBUM = "album.json"

MAX_PATH_LENGTH = 4096
"""Characters of a URL's path."""

_GENERATION_IN_KEY = re.compile(r"tracks/[^/]+/(?P<generation>[^/]+)/.")
# segments do not start with a dot: that excludes '.' and '..', and nothing of ours does
_CANONICAL = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_SEGMENTS = 6
"""From `m` to the first of `{file}`."""
_SEGMENT = re.compile(rf"({ids.RENDITION.pattern})/([1-9][0-9]{{0,6}})\.m4s")
_INIT = re.compile(rf"({ids.RENDITION.pattern})/init\.mp4")
_NAMED = re.compile(rf"({'|'.join(Tier)}|{ids.RENDITION.pattern})\.(m3u8|mpd|mp4)")


# names of files, in a store, a folder and a URL alike


def whole_name(rendition: str) -> str:
    """A rendition in one file."""
    return f"{rendition}.mp4"


def init_name(rendition: str) -> str:
    """Its init segment, for itself."""
    return f"{rendition}/init.mp4"


def segment_name(rendition: str, number: int | str) -> str:
    """Its media segment *number*, counted from 1; the template of one, too."""
    return f"{rendition}/{number}.m4s"


def hls_name(name: str) -> str:
    """The playlist of a tier, or of a rendition."""
    return f"{name}.m3u8"


def dash_name(tier: str) -> str:
    """The MPD of a tier."""
    return f"{tier}.mpd"


# object keys


def track_prefix(track_id: str) -> str:
    """What the keys of all generations start with; ends with a slash, as all prefixes do."""
    return f"tracks/{track_id}/"


def generation_prefix(track_id: str, generation: str) -> str:
    """What the keys of a generation's objects start with."""
    return f"{track_prefix(track_id)}{generation}/"


def generation_in(key: str) -> str | None:
    """The generation that the object under *key* belongs to; None if it belongs to none."""
    match = _GENERATION_IN_KEY.match(key)
    return match["generation"] if match else None


def presentation_key(track_id: str, generation: str) -> str:
    """Where the description lies that makes a generation visible."""
    return f"{generation_prefix(track_id, generation)}{DESCRIPTION}"


def media_prefix(track_id: str, generation: str, drm: DrmProfile) -> str:
    """What the keys of a generation's media files of one profile start with."""
    return f"{generation_prefix(track_id, generation)}{drm}/"


def media_key(track_id: str, generation: str, drm: DrmProfile, rendition: Rendition) -> str:
    """Where a rendition's file lies."""
    return f"{media_prefix(track_id, generation, drm)}{whole_name(rendition.name)}"


def static_name(drm: DrmProfile, name: str) -> str:
    """A byte-range manifest, below a generation's prefix."""
    return f"{drm}/static/{name}"


STATIC_TO_MEDIA = "../"
"""From a static manifest to the media files of its profile."""


def album_prefix(album_id: str, digest: str) -> str:
    """What the keys of an album's manifests, named by their content, start with."""
    return f"albums/{album_id}/{digest}/"


def album_name(drm: DrmProfile, name: str) -> str:
    """A manifest, below an album's prefix."""
    return f"{drm}/{name}"


def album_to_media(track_id: str, generation: str, drm: DrmProfile) -> str:
    """The relative URL from an album's manifest to the media files of one of its tracks."""
    depth = f"{album_prefix('-', '-')}{album_name(drm, '')}".count("/")
    return "../" * depth + media_prefix(track_id, generation, drm)


# URLs


class Kind(Enum):
    """What a `{file}` is."""

    HLS_TIER = "HLS playlist of a tier"
    HLS_MEDIA = "HLS playlist of a rendition"
    DASH_TIER = "MPD of a tier"
    INIT = "init segment"
    SEGMENT = "media segment"
    WHOLE = "whole CMAF file"


@dataclass(frozen=True, slots=True)
class MediaFileName:
    """A `{file}`: its kind, the tier or rendition it names, and the segment's number from 1."""

    kind: Kind
    name: str
    number: int = 0

    @property
    def tier(self) -> Tier | None:
        """The tier of a tier's manifest; None for what belongs to a rendition."""
        return Tier(self.name) if self.kind in (Kind.HLS_TIER, Kind.DASH_TIER) else None


@dataclass(frozen=True, slots=True)
class MediaPath:
    """What a media URL says; whether it exists is another question."""

    token: str
    track_id: str
    generation: str
    region: str
    drm: str
    file: str

    @property
    def url(self) -> str:
        """The path that `parse` takes apart; without a token it is what edges know it by."""
        in_front = f"/{self.token}" if self.token else ""
        return (
            f"{in_front}/m/{self.track_id}/{self.generation}/{self.region}/{self.drm}/{self.file}"
        )

    def profile(self) -> DrmProfile:
        """The DRM profile.

        Raises:
            NotFoundError: There is no such profile.
        """
        if self.drm not in list(DrmProfile) or not ids.GENERATION.fits(self.generation):
            raise no_such_file()
        return DrmProfile(self.drm)

    def parse_file(self) -> MediaFileName:
        """The file.

        Raises:
            NotFoundError: No file of ours has such a name.
        """
        if match := _SEGMENT.fullmatch(self.file):
            return MediaFileName(Kind.SEGMENT, match[1], int(match[2]))
        if match := _INIT.fullmatch(self.file):
            return MediaFileName(Kind.INIT, match[1])
        match = _NAMED.fullmatch(self.file)
        if match is None:
            raise no_such_file()
        name, extension = match.groups()
        if extension == "mp4":
            return MediaFileName(Kind.WHOLE, name)
        if extension == "m3u8":
            return MediaFileName(Kind.HLS_TIER if name in list(Tier) else Kind.HLS_MEDIA, name)
        if name not in list(Tier):
            raise no_such_file()
        return MediaFileName(Kind.DASH_TIER, name)


STEERING_HLS = "../../../../../steering/hls"
STEERING_DASH = "../../../../../steering/dash"
"""From `/{token}/m/{track}/{generation}/{region}/{drm}/{tier}.m3u8` to `/{token}/steering/...`.

Relative, because a manifest is cached for all listeners and may not hold anybody's token: the
path segment in front of `/m/` is inherited, so the steering server knows the session.
"""


def parse(raw_path: str) -> MediaPath:
    """Take the raw path of a request apart; the token is empty if there is none.

    Raises:
        InvalidInputError: The path is not canonical.
    """
    if len(raw_path) > MAX_PATH_LENGTH or not _CANONICAL.fullmatch(raw_path):
        raise _not_canonical()
    first, *rest = raw_path[1:].split("/")
    token, marked = ("", ["m", *rest]) if first == "m" else (first, rest)
    if len(marked) < _SEGMENTS or marked[0] != "m":
        raise _not_canonical()
    _, track_id, generation, region, drm, *file = marked
    return MediaPath(token, track_id, generation, region, drm, "/".join(file))


def _not_canonical() -> InvalidInputError:
    return InvalidInputError(
        "the path is not in its canonical form",
        hint="send it as it stands in the manifest: nothing encoded, no empty or dot segments",
    )


def no_such_file() -> NotFoundError:
    """The one sentence for everything that a valid token may ask for in vain."""
    return NotFoundError("there is no such file", hint="take URLs from the manifest")
