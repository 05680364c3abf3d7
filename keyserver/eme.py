"""ClearKey's licence request and licence: W3C Encrypted Media Extensions, 9.1.3 and 9.1.4. Pure.

Strict: a KID has one spelling, canonical base64url without padding. Python's decoder takes many
for the same bytes, and limits or audits keyed by text would be passed by.
"""

import json
from collections.abc import Iterable
from uuid import UUID

from core import ids
from core.errors import InvalidInputError
from core.strict_json import read_object

MAX_KIDS = 32
"""KIDs of one request; a track has one per tier."""
KID_SIZE = 16
MAX_REQUEST_SIZE = 2048
"""Bytes; the longest request that is served has 837."""


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
    try:
        asked = tuple(UUID(bytes=ids.read_base64url(kid, size=KID_SIZE)) for kid in kids)
    except InvalidInputError as error:
        raise _refused(f"a KID is {error.message}") from None
    if len(set(asked)) < len(asked):
        raise _refused("a KID stands twice")
    return asked


def write_licence(keys: Iterable[tuple[UUID, bytes]]) -> bytes:
    """A JSON Web Key set (RFC 7517) as ClearKey wants it: no padding, ASCII."""
    b64url = ids.write_base64url
    members = [{"kty": "oct", "kid": b64url(kid.bytes), "k": b64url(key)} for kid, key in keys]
    return json.dumps({"keys": members, "type": "temporary"}, separators=(",", ":")).encode()


def _refused(why: str) -> InvalidInputError:
    return InvalidInputError(f"not a ClearKey licence request: {why}")
