"""`POST /v1/keys`: what packagers ask and what they are answered, as JSON. Pure.

::

    {"trackId": "a", "tiers": ["low", "high"], "schemes": ["cbcs"], "period": 0}

    {"keys": [{"kid": "<uuid>", "tier": "low", "scheme": "cbcs", "period": 0,
               "key": "<base64url>", "iv": "<base64url>",
               "signals": [{"systemId": "<uuid>", "pssh": "<base64url>",
                            "dashValue": "ClearKey1.0", "licensePath": "/...",
                            "hls": [{"method": "SAMPLE-AES", "uri": "/...", "keyformat": "identity",
                                     "keyformatversions": "1", "iv": null, "keyid": null}]}]}]}
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from core.errors import InvalidInputError
from core.ids import write_base64url as b64url
from core.model import ContentKey, DrmSignal, HlsKeyTag, Scheme, Tier
from core.strict_json import read_object

MAX_REQUEST_SIZE = 1024
"""Bytes of a key request."""

E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class KeyQuery:
    """A key request as it came over the network; a `keyserver.vault.KeyRequest`."""

    track_id: str
    tiers: tuple[Tier, ...]
    schemes: tuple[Scheme, ...]
    period: int


def read_query(body: bytes) -> KeyQuery:
    """The request in *body*; the vault checks what its fields may hold.

    Raises:
        InvalidInputError: It has not the shape above.
    """
    tree = read_object(body, max_size=MAX_REQUEST_SIZE)
    tree.setdefault("period", 0)
    if tree.keys() != {"trackId", "tiers", "schemes", "period"}:
        raise _refused("it wants trackId, tiers, schemes and perhaps period")
    track_id, period = tree["trackId"], tree["period"]
    if not isinstance(track_id, str) or type(period) is not int:  # True is an int to isinstance
        raise _refused("trackId is text and period a whole number")
    return KeyQuery(
        track_id, _members(Tier, tree["tiers"]), _members(Scheme, tree["schemes"]), period
    )


def write_keys(keys: Iterable[ContentKey]) -> bytes:
    """The answer; it holds keys, so it must not be cached or logged."""
    return json.dumps({"keys": [_key(key) for key in keys]}, separators=(",", ":")).encode()


def _members(kind: type[E], values: Any) -> tuple[E, ...]:
    if not isinstance(values, list) or not all(v in list(kind) for v in values):
        raise _refused(f"a list holds something that is none of {', '.join(kind)}")
    return tuple(kind(v) for v in values)


def _key(key: ContentKey) -> dict[str, Any]:
    said = key.description
    return {
        "kid": str(said.kid),
        "tier": said.tier,
        "scheme": said.scheme,
        "period": said.period,
        "key": b64url(key.key),
        "iv": b64url(key.iv),
        "signals": [_signal(signal) for signal in said.signals],
    }


def _signal(signal: DrmSignal) -> dict[str, Any]:
    return {
        "systemId": str(signal.system_id),
        "pssh": b64url(signal.pssh),
        "dashValue": signal.dash_value,
        "licensePath": signal.license_path,
        "hls": [_tag(tag) for tag in signal.hls],
    }


def _tag(tag: HlsKeyTag) -> dict[str, Any]:
    return {
        "method": tag.method,
        "uri": tag.uri,
        "keyformat": tag.keyformat,
        "keyformatversions": tag.keyformatversions,
        "iv": b64url(tag.iv) if tag.iv is not None else None,
        "keyid": str(tag.keyid) if tag.keyid is not None else None,
    }


def _refused(why: str) -> InvalidInputError:
    return InvalidInputError(f"not a key request: {why}")
