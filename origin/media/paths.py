"""Media URLs: `/{token}/m/{track}/{generation}/{region}/{drm}/{file}` taken apart; pure.

No character of such a path ever needs percent-encoding, so a path in which anything is encoded,
doubled or dotted was made to slip past somebody's prefix match, ours or an edge's, and is refused
before it is understood.
"""

import re
from dataclasses import dataclass
from enum import Enum

from core import ids
from core.errors import InvalidInputError, NotFoundError
from core.model import DrmProfile, Tier

MAX_PATH_LENGTH = 4096
"""Characters of a URL's path."""

# segments do not start with a dot: that excludes '.' and '..', and nothing of ours does
_CANONICAL = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_SEGMENTS = 6
"""From `m` to the first of `{file}`."""
_SEGMENT = re.compile(rf"({ids.RENDITION.pattern})/([1-9][0-9]{{0,6}})\.m4s")
_INIT = re.compile(rf"({ids.RENDITION.pattern})/init\.mp4")
_NAMED = re.compile(rf"({'|'.join(Tier)}|{ids.RENDITION.pattern})\.(m3u8|mpd|mp4)")


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

    def profile(self) -> DrmProfile:
        """The DRM profile.

        Raises:
            NotFoundError: There is no such profile.
        """
        if self.drm not in list(DrmProfile) or not ids.GENERATION.fits(self.generation):
            raise not_found()
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
            raise not_found()
        name, extension = match.groups()
        if extension == "mp4":
            return MediaFileName(Kind.WHOLE, name)
        if extension == "m3u8":
            return MediaFileName(Kind.HLS_TIER if name in list(Tier) else Kind.HLS_MEDIA, name)
        if name not in list(Tier):
            raise not_found()
        return MediaFileName(Kind.DASH_TIER, name)


def parse(raw_path: str) -> MediaPath:
    """Take the raw path of a request apart; the token is empty if there is none.

    Raises:
        InvalidInputError: The path is not canonical.
    """
    if len(raw_path) > MAX_PATH_LENGTH or not _CANONICAL.fullmatch(raw_path):
        raise _refused()
    first, *rest = raw_path[1:].split("/")
    token, marked = ("", ["m", *rest]) if first == "m" else (first, rest)
    if len(marked) < _SEGMENTS or marked[0] != "m":
        raise _refused()
    _, track_id, generation, region, drm, *file = marked
    return MediaPath(token, track_id, generation, region, drm, "/".join(file))


def _refused() -> InvalidInputError:
    return InvalidInputError(
        "the path is not in its canonical form",
        hint="send it as it stands in the manifest: nothing encoded, no empty or dot segments",
    )


def not_found() -> NotFoundError:
    """The one sentence for everything that a valid token may ask for in vain."""
    return NotFoundError("there is no such file", hint="take URLs from the manifest")
