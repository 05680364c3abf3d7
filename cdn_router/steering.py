"""Content steering manifests that are safe for every player, and what players say when asking.

HLS: draft-pantos-content-steering; DASH: ETSI TS 103 998. A cached manifest names one pathway,
`BASE_ID`, which is whatever host the session started on; the other pathways are added here as
clones of it. What players do with deviations (a missing TTL makes one reload in a tight loop, a
429 ends steering, a port in HOST is ignored) is ruled out by construction: the answer is always
a 200 with VERSION 1, an integer TTL, an absolute RELOAD-URI and every pathway in the priority.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from urllib.parse import urlsplit

from core.errors import InvalidInputError
from core.model import Pathway

BASE_ID = "base"
"""The one pathway that cached manifests declare."""
MIN_TTL_S, MAX_TTL_S = 1, 3600
UNSPREAD_TTL_S = 5
"""So short a life, and all below, is for a test or a demo: there is nobody to be spread."""
NORMAL_TTL_S = 300
"""Recommended by the draft; 3 million listeners then ask 10,000 times a second."""
ALARM_TTL_S = 20
"""While a pathway of the region is in trouble: failed requests fall from 1 % to 0.2 %."""
TTL_JITTER = 0.2
"""Share by which sessions' TTLs differ, so that they do not all come back together."""
MAX_REPORTED = 8
"""Pathways that are read from one request of a player."""

_encode = json.JSONEncoder(separators=(",", ":")).encode


class Format(StrEnum):
    """The two kinds of steering clients."""

    HLS = "hls"
    DASH = "dash"

    @property
    def content_type(self) -> str:
        """Of the answer."""
        return {"hls": "application/vnd.apple.steering-list", "dash": "application/json"}[self]


@dataclass(frozen=True, slots=True)
class PlayerReport:
    """What a player says in its query: pathways in use and their throughput, most recent first.

    A throughput that cannot be read is 0.
    """

    pathways: tuple[str, ...]
    throughputs_bps: tuple[int, ...]


def check_pathways(pathways: Iterable[Pathway]) -> None:
    """Refuse pathways that clones cannot express.

    A clone replaces nothing but the host name: hls.js ignores a port in HOST and Shaka knows no
    other replacement.

    Raises:
        InvalidInputError: They differ in scheme or port, an id is reserved, or a URL has a path.
    """
    parts = {p.id: urlsplit(p.base_url) for p in pathways}
    if len({(u.scheme, u.port) for u in parts.values()}) != 1:
        raise InvalidInputError(
            "all pathways must share one scheme and port",
            hint="players can only be steered to another host name",
        )
    for name, url in parts.items():
        if name == BASE_ID:
            raise InvalidInputError(f"the pathway id {BASE_ID!r} is taken", hint="choose another")
        if not url.hostname or url.path or url.query or "@" in url.netloc:
            raise InvalidInputError(f"pathway {name!r} needs a URL of scheme, host and port only")


def steering_manifest(  # noqa: PLR0913  each is a fact that the manifest states
    order: tuple[Pathway, ...],
    kind: Format,
    *,
    start: str | None,
    clones: bool,
    reload_uri: str,
    ttl_s: int,
) -> bytes:
    """The manifest for a session.

    Args:
        order: Every pathway, best first.
        kind: Whom the manifest is for: they disagree on ports.
        start: Id of the pathway the session started on, which `BASE_ID` stands for. None if it
            is not known: all become clones, and the base comes last.
        clones: False for players that break on clones; they stay where they started.
        reload_uri: Absolute, because players disagree on what to resolve it against.
        ttl_s: Put between `MIN_TTL_S` and `MAX_TTL_S`.
    """
    assert "://" in reload_uri
    priority = [BASE_ID]
    cloned: list[Pathway] = []
    if clones:
        priority = [BASE_ID if p.id == start else p.id for p in order]
        cloned = [p for p in order if p.id != start]
        if BASE_ID not in priority:
            priority.append(BASE_ID)
    body: dict[str, object] = {
        "VERSION": 1,
        "TTL": min(max(ttl_s, MIN_TTL_S), MAX_TTL_S),
        "RELOAD-URI": reload_uri,
        "PATHWAY-PRIORITY": priority,
    }
    if cloned:
        body["PATHWAY-CLONES"] = [_clone(p, kind) for p in cloned]
    return _encode(body).encode()


def staggered_ttl(ttl_s: int, session: str) -> int:
    """*ttl_s* for this session: up to `TTL_JITTER` more or less, always the same."""
    if ttl_s <= UNSPREAD_TTL_S:
        return max(MIN_TTL_S, ttl_s)
    digest = blake2b(session.encode(), digest_size=2, person=b"ttl").digest()
    spread = int.from_bytes(digest) / 0xFFFF * 2 - 1
    return max(UNSPREAD_TTL_S, round(ttl_s * (1 + TTL_JITTER * spread)))


def takes_clones(user_agent: str) -> bool:
    """AVPlayer refuses a whole manifest that it does not like, error -15881; spare it clones."""
    return "AppleCoreMedia" not in user_agent


def player_report(query: Mapping[str, str], kind: Format, start: str | None) -> PlayerReport:
    """Read the query parameters of a steering request; nothing in it can be an error.

    Args:
        query: The last value of each name: some players append to the RELOAD-URI's own.
        kind: Shaka sends one pathway, dash.js a quoted list, hls.js no quotes.
        start: What `BASE_ID` stands for in this session.
    """
    prefix = f"_{kind.name}_"
    names = [start or n if n == BASE_ID else n for n in _items(query.get(f"{prefix}pathway", ""))]
    numbers = _items(query.get(f"{prefix}throughput", ""))
    return PlayerReport(tuple(names), tuple(_bps(n) for n in numbers))


def _clone(pathway: Pathway, kind: Format) -> dict[str, object]:
    host = host_of(pathway)
    port = urlsplit(pathway.base_url).port
    if kind is Format.DASH and port is not None:
        # dash.js puts HOST in place of host and port; hls.js keeps the port and ignores one here
        host = f"{host}:{port}"
    return {"BASE-ID": BASE_ID, "ID": pathway.id, "URI-REPLACEMENT": {"HOST": host}}


def host_of(pathway: Pathway) -> str:
    """The bare host name; an IPv6 address keeps its brackets."""
    host = urlsplit(pathway.base_url).hostname or ""
    return f"[{host}]" if ":" in host else host


def _items(text: str) -> list[str]:
    parts = (part.strip().strip('"') for part in text[:1024].strip('" ').split(","))
    return [part for part in parts if part][:MAX_REPORTED]


def _bps(text: str) -> int:
    whole, _, _ = text.partition(".")
    return int(whole) if whole.isascii() and whole.isdigit() and len(whole) < 16 else 0
