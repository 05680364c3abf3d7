"""CMCD version 2 events as heartbeats (CTA-5004-A, event mode); pure.

A body holds one report a line; a report is a dictionary of structured fields (RFC 9651). Of its
keys `sid`, `sn` and `pt` make a heartbeat: session, sequence number and playhead in milliseconds.
Everything else is a player's telemetry, and is skipped.
"""

import re

from core.errors import InvalidInputError

MEDIA_TYPE = "application/cmcd"
MAX_EVENTS = 100
"""Reports of one body."""

# every repetition is possessive: a hostile line must not make the matcher go back and forth
_STRING = r'"(?:[^"\\]|\\.)*+"'
_MEMBER = re.compile(
    rf"""[ \t]*+([a-z*][a-z0-9_.*-]*+)      # key
    (?:=( {_STRING}
        | \([^()"]*+(?:{_STRING}[^()"]*+)*+\)  # inner list
        | [^,;"() \t]*+                    # number, token, boolean, date
    ))?+
    [ \t]*+
    (?:;[^,"]*+(?:{_STRING}[^,"]*+)*+)?+    # parameters
    (?:,|$)""",
    re.VERBOSE,
)

Members = dict[str, str]


def parse_events(body: bytes) -> list[Members]:
    """The reports of *body*, each as its keys and bare values; strings lose their quotes.

    Raises:
        InvalidInputError: It is not CMCD, or more than `MAX_EVENTS`.
    """
    try:
        lines = [line for line in body.decode("ascii").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise _malformed("bytes above 127") from None
    if not 0 < len(lines) <= MAX_EVENTS:
        raise _malformed(f"{len(lines)} reports instead of 1 to {MAX_EVENTS}")
    return [_members(line.rstrip()) for line in lines]


def _members(line: str) -> Members:
    members, at = {}, 0
    while at < len(line):
        match = _MEMBER.match(line, at)
        if match is None:
            raise _malformed("a line is no dictionary of structured fields")
        key, value = match[1], match[2]
        members[key] = "?1" if value is None else _bare(value)
        at = match.end()
    return members


def _bare(value: str) -> str:
    if value.startswith('"'):
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def _malformed(why: str) -> InvalidInputError:
    return InvalidInputError(f"the body is not CMCD: {why}", hint="send one report a line")
