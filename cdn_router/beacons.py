"""What listeners report of pathways: our JSON, and CMCD version 2 lines (CTA-5004). Pure.

A report is a claim. Here it is only read and checked for sense; whether it counts is decided by
`intake`, which knows the session.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from core import strict_json
from core.errors import InvalidInputError
from core.ids import PATHWAY_ID

MAX_REPORTS = 100
"""Reports, or lines, in one request."""
MAX_MS = 60_000.0
"""Above, a duration is nonsense."""
MIN_FIRST_BYTE_RTTS = 0.5
"""A first byte in less of a round trip than this was not measured."""
_HINT = 'send {"pathway": "...", "rttMs": 12, "firstByteMs": 40} or a list of such'
# a member of a structured-field dictionary (RFC 9651): key, then a string or a bare value
_MEMBER = re.compile(r'([a-z*][a-z0-9_.*-]*)(?:=(?:"((?:[^"\\]|\\.){0,2048})"|([^,;"]{0,256})))?')


@dataclass(frozen=True, slots=True)
class Report:
    """One request of a player, as it saw it.

    Attributes:
        pathway: Id as reported; empty if only the host is known.
        host: Host name that was asked; empty if unknown. It is compared, never contacted.
        rtt_ms: None if the player cannot tell.
        first_byte_ms: None if the request failed.
    """

    pathway: str
    host: str = ""
    rtt_ms: float | None = None
    first_byte_ms: float | None = None

    @property
    def failed(self) -> bool:
        """Whether no usable answer came."""
        return self.first_byte_ms is None

    @property
    def plausible(self) -> bool:
        """Whether the numbers can belong to one request."""
        numbers = [n for n in (self.rtt_ms, self.first_byte_ms) if n is not None]
        if not all(0 < n <= MAX_MS for n in numbers):
            return False
        if self.rtt_ms is None or self.first_byte_ms is None:
            return True
        return self.first_byte_ms >= MIN_FIRST_BYTE_RTTS * self.rtt_ms


def parse(body: bytes) -> list[Report]:
    """The reports in *body*, whatever its declared type: beacons can only say text/plain.

    Raises:
        InvalidInputError: It is neither our JSON nor CMCD version 2.
    """
    if body.lstrip()[:1] in (b"{", b"["):
        return _parse_json(body)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise InvalidInputError("the report is not UTF-8", hint=_HINT) from None
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) > MAX_REPORTS:
        raise InvalidInputError(f"more than {MAX_REPORTS} lines", hint="send smaller batches")
    return [r for line in lines if (r := _parse_cmcd(line)) is not None]


def _parse_json(body: bytes) -> list[Report]:
    raw = strict_json.read(body)
    items = raw if isinstance(raw, list) else [raw]
    if len(items) > MAX_REPORTS:
        raise InvalidInputError(f"more than {MAX_REPORTS} reports", hint="send smaller batches")
    return [_from_json(item) for item in items]


def _from_json(item: Any) -> Report:
    if not isinstance(item, dict):
        raise InvalidInputError("a report is not an object", hint=_HINT)
    pathway, failed = item.get("pathway"), item.get("failed", False)
    if not isinstance(pathway, str) or not PATHWAY_ID.fits(pathway) or not isinstance(failed, bool):
        raise InvalidInputError("a report does not name its pathway", hint=_HINT)
    rtt_ms, first_byte_ms = (_number(item.get(name)) for name in ("rttMs", "firstByteMs"))
    if failed:
        return Report(pathway)
    if first_byte_ms is None:
        raise InvalidInputError("a report needs firstByteMs, or failed: true", hint=_HINT)
    return Report(pathway, "", rtt_ms, first_byte_ms)


def _number(value: Any) -> float | None:
    if value is None:
        return None
    # bool is an int to Python, not to a player
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInputError("rttMs and firstByteMs are numbers", hint=_HINT)
    return float(value)


def _parse_cmcd(line: str) -> Report | None:
    """A response-received event (`e=rr`); None for every other event."""
    keys = dict(_members(line))
    if keys.get("v") != "2" and "e" not in keys:
        raise InvalidInputError("neither JSON nor CMCD version 2", hint=_HINT)
    if keys.get("e") != "rr":
        return None
    try:
        host = urlsplit(keys.get("url", "")).hostname or ""
    except ValueError:
        host = ""
    status, ttfb = keys.get("rc", ""), keys.get("ttfb", "")
    # a 4xx is about the listener's rights or the track, not about the pathway
    failed = status == "0" or (len(status) == 3 and status.startswith("5"))
    if not failed and not re.fullmatch(r"[0-9]{1,6}", ttfb):
        return None
    return Report(keys.get("cdn", "")[:128], host, None, None if failed else float(ttfb))


def _members(line: str) -> Iterator[tuple[str, str]]:
    for match in _MEMBER.finditer(line):
        key, quoted, bare = match.groups()
        yield key, quoted if quoted is not None else (bare or "").strip()
