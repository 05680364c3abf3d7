"""`POST /v1/keys`: what packagers ask and what they are answered, in both directions. Pure.

::

    {"trackId": "a", "tiers": ["low", "high"], "schemes": ["cbcs"], "period": 0}

    {"keys": [{"kid": "<uuid>", "tier": "low", "scheme": "cbcs", "period": 0,
               "key": "<base64url>", "iv": "<base64url>",
               "signals": [{"systemId": "<uuid>", "pssh": "<base64url>",
                            "dashValue": "ClearKey1.0", "licensePath": "/...",
                            "hls": [{"method": "SAMPLE-AES", "uri": "/...", "keyformat": "identity",
                                     "keyformatversions": "1", "iv": null, "keyid": null}]}]}]}

Each writer stands above its reader. The server reads a request strictly: a member that it does not
know may be an option that it would not honour. The client reads an answer openly: a newer server
may say more. Neither quotes what it refuses, which may hold a key.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, TypeVar

from core.errors import IntegrityError, InvalidInputError
from core.ids import (
    check_content_key,
    check_member,
    check_period,
    read_base64url,
    read_uuid,
    write_base64url,
)
from core.keysource import KeyRequest
from core.model import ContentKey, DrmSignal, HlsKeyTag, KeyDescription, Scheme, Tier
from core.strict_json import read_object

PATH = "/v1/keys"
"""Below the key server's address."""
DIGEST = "Content-Digest"
"""Header of an answer, which is refused without it."""
MAX_REQUEST_SIZE = 1024
"""Bytes of a request."""
MAX_ANSWER_SIZE = 1024 * 1024
"""Bytes; eight keys with the signals of every DRM system need about 30 kB."""

T = TypeVar("T")
Tree = dict[str, Any]


def write_request(request: KeyRequest) -> bytes:
    """The body that asks for *request*."""
    tree = {
        "trackId": request.track_id,
        "tiers": request.tiers,
        "schemes": request.schemes,
        "period": request.period,
    }
    return json.dumps(tree).encode()


def read_request(body: bytes) -> KeyRequest:
    """The request in *body*.

    Raises:
        InvalidInputError: It has not the shape above, or no server has such keys.
    """
    tree = {"period": 0, **read_object(body, max_size=MAX_REQUEST_SIZE)}
    if tree.keys() != {"trackId", "tiers", "schemes", "period"}:
        raise InvalidInputError(
            "not a key request", hint="send trackId, tiers, schemes and perhaps period, no more"
        )
    tiers, schemes = tree["tiers"], tree["schemes"]
    if not isinstance(tiers, list) or not isinstance(schemes, list):
        raise InvalidInputError("not a key request", hint="tiers and schemes are lists")
    request = KeyRequest(
        tree["trackId"],
        tuple(check_member(Tier, tier, "tiers") for tier in tiers),
        tuple(check_member(Scheme, scheme, "schemes") for scheme in schemes),
        tree["period"],
    )
    request.uses()
    return request


def write_keys(keys: Iterable[ContentKey]) -> bytes:
    """The answer; it holds keys, so it must not be cached or logged."""
    return json.dumps({"keys": [_write_key(key) for key in keys]}, separators=(",", ":")).encode()


def content_digest(answer: bytes) -> str:
    """The answer's `DIGEST` header (RFC 9530): a flipped bit of a key makes another good key."""
    return f"sha-256=:{b64encode(sha256(answer).digest()).decode()}:"


def check_digest(answer: bytes, given: str) -> None:
    """Raise `IntegrityError` unless the header *given* has the digest of *answer*."""
    if not given:
        raise _not_keys()
    if content_digest(answer) not in (digest.strip() for digest in given.split(",")):
        raise IntegrityError(
            "the key server's answer was changed on its way", hint="run the command again"
        )


def read_keys(answer: bytes, request: KeyRequest) -> tuple[ContentKey, ...]:
    """The keys in *answer*, which are those of *request* in its order.

    Raises:
        IntegrityError: They are not, or a key, KID or IV cannot be or stands twice.
    """
    try:
        tree = read_object(answer, max_size=MAX_ANSWER_SIZE)
        keys = tuple(_read_key(member) for member in tree["keys"])
    except (ValueError, TypeError, KeyError, InvalidInputError):
        raise _not_keys() from None  # not chained: the error may quote a key
    wanted = [(tier, scheme, request.period) for tier, scheme in request.uses()]
    given = [(d.tier, d.scheme, d.period) for d in (key.description for key in keys)]
    distinct = {key.key for key in keys}, {key.description.kid for key in keys}
    if given != wanted or any(len(values) < len(keys) for values in distinct):
        raise _not_keys()
    return keys


def _not_keys() -> IntegrityError:
    return IntegrityError(
        "the key server's answer is not the keys that were asked for",
        hint="is --key-source the address of a key server of this version?",
    )


def _write_key(key: ContentKey) -> Tree:
    description = key.description
    return {
        "kid": str(description.kid),
        "tier": description.tier,
        "scheme": description.scheme,
        "period": description.period,
        "key": write_base64url(key.key),
        "iv": write_base64url(key.iv),
        "signals": [_write_signal(signal) for signal in description.signals],
    }


def _read_key(tree: Tree) -> ContentKey:
    scheme = check_member(Scheme, tree["scheme"], "scheme")
    key, iv = read_base64url(tree["key"]), read_base64url(tree["iv"])
    check_content_key(key, iv, scheme)
    if key.startswith(iv):
        raise ValueError("a key and its IV are one")
    description = KeyDescription(
        read_uuid(tree["kid"]),
        check_member(Tier, tree["tier"], "tier"),
        scheme,
        tuple(_read_signal(member) for member in tree["signals"]),
        check_period(tree["period"]),
    )
    return ContentKey(description, key, iv)


def _write_signal(signal: DrmSignal) -> Tree:
    return {
        "systemId": str(signal.system_id),
        "pssh": write_base64url(signal.pssh),
        "dashValue": signal.dash_value,
        "licensePath": signal.license_path,
        "hls": [_write_tag(tag) for tag in signal.hls],
    }


def _read_signal(tree: Tree) -> DrmSignal:
    return DrmSignal(
        system_id=read_uuid(tree["systemId"]),
        pssh=read_base64url(tree["pssh"]),
        hls=tuple(_read_tag(member) for member in tree["hls"]),
        dash_value=_optional(_text, tree["dashValue"]),
        license_path=_optional(_text, tree["licensePath"]),
    )


def _write_tag(tag: HlsKeyTag) -> Tree:
    return {
        "method": tag.method,
        "uri": tag.uri,
        "keyformat": tag.keyformat,
        "keyformatversions": tag.keyformatversions,
        "iv": write_base64url(tag.iv) if tag.iv is not None else None,
        "keyid": str(tag.keyid) if tag.keyid is not None else None,
    }


def _read_tag(tree: Tree) -> HlsKeyTag:
    return HlsKeyTag(
        method=_text(tree["method"]),
        uri=_text(tree["uri"]),
        keyformat=_text(tree["keyformat"]),
        keyformatversions=_text(tree["keyformatversions"]),
        iv=_optional(read_base64url, tree["iv"]),
        keyid=_optional(read_uuid, tree["keyid"]),
    )


def _optional(read: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else read(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("not text")
    return value
