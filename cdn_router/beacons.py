"""What listeners report of pathways: our JSON, and CMCD version 2 events (`core.cmcd`). Pure.

A report is a claim. Here it is only read and checked for sense; whether it counts is decided by
`intake`, which knows the session.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from core import cmcd, strict_json
from core.errors import InvalidInputError
from core.ids import PATHWAY_ID

MAX_REPORTS = cmcd.MAX_EVENTS
"""Reports, or lines, in one request."""
MAX_MS = 60_000.0
"""Above, a duration is nonsense."""
MIN_FIRST_BYTE_RTTS = 0.5
"""A first byte in less of a round trip than this was not measured."""
_HINT = 'send {"pathway": "...", "rttMs": 12, "firstByteMs": 40} or a list of such'


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
    reports = (_from_cmcd(event) for event in cmcd.read_events(body))
    return [report for report in reports if report is not None]


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
    if not PATHWAY_ID.fits(pathway) or not isinstance(failed, bool):
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


def _from_cmcd(event: cmcd.Line) -> Report | None:
    """A response-received event (`e=rr`); None for every other event."""
    if event.get("v") != 2 and "e" not in event:
        raise InvalidInputError("neither JSON nor CMCD version 2", hint=_HINT)
    if cmcd.text(event, "e") != "rr":
        return None
    try:
        host = urlsplit(cmcd.text(event, "url")).hostname or ""
    except ValueError:
        host = ""
    status, first_byte_ms = cmcd.whole(event, "rc"), cmcd.whole(event, "ttfb")
    # a 4xx is about the listener's rights or the track, not about the pathway
    failed = status is not None and (status == 0 or 500 <= status <= 599)
    if not failed and first_byte_ms is None:
        return None
    pathway = cmcd.text(event, "cdn")
    return Report(pathway, host, None, None if failed else float(first_byte_ms or 0))
