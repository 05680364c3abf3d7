"""Every id, how it is spelt, its bounds, and the sentence that refuses it: each stands here once.

What is taken at one door is taken at all: `ingest`, the catalogue, `presentation.json`, URLs, the
key server and the router ask the same `Form`. None of these texts ever needs escaping in a URL, an
object key or a playlist, but for titles and names of artists. Pure.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeGuard, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from core.errors import InvalidInputError
from core.model import Scheme, Tier

E = TypeVar("E", bound=StrEnum)

MAX_ID_LENGTH = 64
"""Characters of an id; the longest that what makes ids may make."""
MAX_TEXT = 500
"""Characters of a title or the name of an artist."""
MAX_REGIONS = 300
"""Region groups of one track."""
MAX_PERIOD = 2**31 - 1
"""Of the keys of a track that are rotated: the first is 0."""
MAX_BASE_URL = 500
"""Characters of what starts the URLs of a server."""
MAX_SHOWN = 80
"""Characters of a refused text that its refusal repeats."""

KEY_SIZE = 16
"""Bytes of a content key, whatever the scheme."""
IV_SIZES = {Scheme.CBCS: 16, Scheme.CENC: 8}
"""Bytes; a constant IV for cbcs, the start of the per-sample counters for cenc."""
SAMPLE_IV_SIZES = (0, 8, 16)
"""Bytes of an IV that a box may give each sample; 0 comes with a constant IV."""
CONSTANT_IV_SIZES = (8, 16)
"""Bytes of a constant IV in a box (ISO/IEC 23001-7:2023, 8.2)."""

COMMON_SYSTEM_ID = UUID("1077efec-c0b2-4d02-ace3-3c1e52e2fb4b")
"""The W3C's common system: a `pssh` of KIDs alone."""
CLEARKEY_SYSTEM_ID = UUID("e2719d58-a985-b3c9-781a-b030af78d30e")
"""ClearKey, as DASH signals it."""

EVERYWHERE = "ww"
"""The region group of a track that may be heard in all regions."""
URL_KEY_ID = "k1"
"""The id of a home's one key that signs URLs."""


@dataclass(frozen=True, slots=True)
class Form:
    """How one kind of text is spelt.

    Attributes:
        noun: What it is, for sentences.
        pattern: Of the whole text; holds no group, so that it can stand inside of another.
        hint: What to write instead of what was refused.
    """

    noun: str
    pattern: str
    hint: str

    def fits(self, value: object) -> TypeGuard[str]:
        """Whether *value* is such a text."""
        return isinstance(value, str) and re.fullmatch(self.pattern, value) is not None

    def check(self, value: object, field: str = "") -> str:
        """The text itself.

        Raises:
            InvalidInputError: It is none; *field* says where it was read.
        """
        if self.fits(value):
            return value
        place = f"{field}: " if field else ""
        given = ascii(value[:MAX_SHOWN]) if isinstance(value, str) else "what is there"
        raise InvalidInputError(f"{place}{given} is no {self.noun}", hint=self.hint)


_LETTERS = "of a-z, 0-9, - and _, starting with a letter or digit"
_BASE_URL = rf"[A-Za-z0-9:/\[\]._~%-]{{1,{MAX_BASE_URL}}}"
_NAME = r"[A-Za-z0-9_.-]{1,64}"
_NAME_HINT = "1 to 64 of A-Z, a-z, 0-9, -, _ and ."
_RESERVED = "|".join(("static", *Tier))
# surrogates come from file names that are no UTF-8, and from half an escaped character in JSON
_UTF8 = r"[^\ud800-\udfff]"

TRACK_ID = Form("track id", r"[a-z0-9][a-z0-9_-]{0,63}", f"1 to 64 {_LETTERS}")
ALBUM_ID = Form("album id", r"[a-z0-9][a-z0-9_-]{0,63}", f"1 to 64 {_LETTERS}")
LADDER_NAME = Form("name of a ladder", r"[a-z0-9][a-z0-9_-]{0,31}", f"1 to 32 {_LETTERS}")
GENERATION = Form("generation", r"[0-9a-f]{16}", "16 digits of 0-9 and a-f")
RENDITION = Form(
    "name of a rendition",
    # manifests of tiers lie beside renditions
    rf"(?!(?:{_RESERVED})(?![a-z0-9-]))[a-z0-9][a-z0-9-]{{0,31}}",
    "1 to 32 of a-z, 0-9 and -, and not the name of a tier",
)
REGION = Form("region group", r"[a-z0-9-]{1,16}", "1 to 16 of a-z, 0-9 and -; ww is everywhere")
TITLE = Form("title", rf"{_UTF8}{{0,{MAX_TEXT}}}", f"at most {MAX_TEXT} characters of Unicode")
ARTIST = Form("artist", TITLE.pattern, TITLE.hint)
SUBJECT = Form("listener's id", rf"{_UTF8}{{1,128}}", "1 to 128 characters of Unicode")
DEVICE_ID = Form("device id", _NAME, _NAME_HINT)
SESSION_ID = Form("session id", _NAME, _NAME_HINT)
SIGNING_KEY_ID = Form("id of a signing key", _NAME, _NAME_HINT)
PATHWAY_ID = Form(
    "pathway id",
    r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}",
    f"{_NAME_HINT}, starting with a letter or digit",
)
"""The letters that content steering allows (draft-pantos-content-steering, 4)."""
REQUEST_ID = Form("request id", r"[A-Za-z0-9_-]{8,64}", "8 to 64 of A-Z, a-z, 0-9, - and _")
SHA256 = Form("SHA-256", r"[0-9a-f]{64}", "64 digits of 0-9 and a-f")
ISRC = Form("ISRC", r"[A-Z]{2}[A-Z0-9]{3}[0-9]{7}", "such as GBAYE6900531 (ISO 3901)")


def check_regions(regions: Sequence[str]) -> None:
    """Raise InvalidInputError unless a track can have these region groups."""
    if not 0 < len(regions) <= MAX_REGIONS:
        raise InvalidInputError(
            f"a track has 1 to {MAX_REGIONS} region groups, not {len(regions)}",
            hint=f"{EVERYWHERE} is everywhere; larger groups need fewer names",
        )
    for region in regions:
        REGION.check(region)


def check_base_url(url: str, option: str) -> None:
    """Refuse what cannot start URLs; empty means none.

    It is written into playlists, MPDs and answers as it is.

    Raises:
        InvalidInputError: It has no scheme and host, or a user, a query or a letter that would
            need escaping; *option* says where it was given.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an address that is none
        usable = False
    if url and not (usable and re.fullmatch(_BASE_URL, url)):
        raise InvalidInputError(
            f"{option} {url[:MAX_SHOWN]!a} is no base of URLs",
            hint=f"such as https://a.example: no user, no query, at most {MAX_BASE_URL} characters",
        )


def check_member(kind: type[E], value: object, field: str) -> E:
    """The member of *kind* that *value* spells.

    Raises:
        InvalidInputError: None is spelt so; *field* says where it was read.
    """
    member = next((m for m in kind if m.value == value), None)
    if member is None:
        raise InvalidInputError(
            f"{field} is missing or unknown", hint=f"it is one of {', '.join(kind)}"
        )
    return member


def check_period(value: object, field: str = "period") -> int:
    """The number of a key period.

    Raises:
        InvalidInputError: It is none.
    """
    if type(value) is not int or not 0 <= value <= MAX_PERIOD:  # True is an int to isinstance
        raise InvalidInputError(
            f"{field} is not a key period", hint=f"a whole number from 0 to {MAX_PERIOD}"
        )
    return value


def check_content_key(key: bytes, iv: bytes, scheme: Scheme) -> None:
    """Refuse a content key whose sizes do not fit the scheme, without showing it.

    Raises:
        InvalidInputError: *key* has not 16 bytes, or *iv* not what *scheme* needs.
    """
    if len(key) != KEY_SIZE or len(iv) != IV_SIZES[scheme]:
        raise InvalidInputError(
            f"a content key has {len(key)} bytes and an IV of {len(iv)}",
            hint=f"{scheme} needs {KEY_SIZE} and {IV_SIZES[scheme]} bytes",
        )


def read_uuid(value: object, noun: str = "a KID") -> UUID:
    """The UUID in its one spelling: UUID() also takes braces, urn:uuid: and misplaced hyphens.

    Raises:
        InvalidInputError: It is none. The message never shows it: somebody may mistake a key
            for its id.
    """
    if isinstance(value, str):
        try:
            parsed = UUID(value)
        except ValueError:
            parsed = None
        if parsed is not None and str(parsed) == value:
            return parsed
    raise InvalidInputError(f"not {noun}", hint="a lower-case UUID, 8-4-4-4-12")


def write_base64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515, 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def read_base64url(value: object, *, size: int | None = None) -> bytes:
    """What `write_base64url` wrote, and no other spelling of the same bytes.

    Python's decoder takes many texts for one value; limits and audits that are keyed by the text
    would be passed by.

    Raises:
        InvalidInputError: It is not canonical, or has not *size* bytes. It is never shown.
    """
    if isinstance(value, str) and value.isascii():
        try:
            data = urlsafe_b64decode(value + "=" * (-len(value) % 4))
        except ValueError:
            data = b""
        if write_base64url(data) == value and size in (None, len(data)):
            return data
    raise InvalidInputError(
        "not canonical base64url" + (f" of {size} bytes" if size is not None else ""),
        hint="A-Z, a-z, 0-9, - and _, without padding (RFC 7515, 2)",
    )
