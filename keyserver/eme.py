"""ClearKey's licence request and licence: W3C Encrypted Media Extensions, 9.1.3 and 9.1.4. Pure.

Strict: a KID has one spelling, canonical base64url without padding. Python's decoder takes many
for the same bytes, and limits or audits keyed by text would be passed by.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from uuid import UUID

from core.errors import InvalidInputError
from keyserver.strict_json import read_object

MAX_KIDS = 32
"""KIDs of one request; a track has one per tier."""
MAX_REQUEST_SIZE = 2048
"""Bytes; the longest request that is served has 837."""

# the last character holds two bits of the KID: the other four must be zero
_KID = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]")


def read_request(body: bytes) -> tuple[UUID, ...]:
    """The KIDs that a player asks for, each once, in its order.

    Raises:
        InvalidInputError: It is not a licence request for a temporary session.
    """
    request = read_object(body, max_size=MAX_REQUEST_SIZE)
    kids = request.get("kids")
    if not request.keys() <= {"kids", "type"} or not isinstance(kids, list):
        raise _refused("members other than kids and type, or no kids")
    if request.get("type", "temporary") != "temporary":
        raise InvalidInputError(
            "ClearKey licences here are temporary", hint="open a temporary session"
        )
    if not 0 < len(kids) <= MAX_KIDS:
        raise _refused(f"it takes 1 to {MAX_KIDS} KIDs")
    if not all(isinstance(kid, str) and _KID.fullmatch(kid) for kid in kids):
        raise _refused("a KID is not canonical base64url of 16 bytes")
    if len(set(kids)) < len(kids):
        raise _refused("a KID stands twice")
    return tuple(UUID(bytes=urlsafe_b64decode(f"{kid}==")) for kid in kids)


def write_licence(keys: Iterable[tuple[UUID, bytes]]) -> bytes:
    """A JSON Web Key set (RFC 7517) as ClearKey wants it: no padding, ASCII."""
    members = [{"kty": "oct", "kid": b64url(kid.bytes), "k": b64url(key)} for kid, key in keys]
    return json.dumps({"keys": members, "type": "temporary"}, separators=(",", ":")).encode()


def b64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515, 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _refused(why: str) -> InvalidInputError:
    return InvalidInputError(f"not a ClearKey licence request: {why}")
