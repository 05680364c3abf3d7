"""Common Media Client Data: what players say of their requests (CTA-5004, CTA-5004-A). Pure.

::

    bl=21300,br=(160;v 320;a),cdn="eu-a",e=rr,rc=200,sid="6e2f",sn=42,su,ttfb=82,v=2

A *line* is a dictionary of structured fields (RFC 9651): version 1 puts one into the query or
into four header fields, version 2 posts events, one a line. Values are numbers, booleans, strings
and tokens (both `str` here), or lists of them; parameters, which CMCD only uses to say what kind of
stream a number is for, are dropped. Of a key that stands twice the last counts, as the RFC says.

A player's word is a claim. Here it is only read: the same line has one reading, whoever asks.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from http_sf import StructuredFieldError, parse

from core.errors import InvalidInputError

MEDIA_TYPE = "application/cmcd"
MAX_EVENTS = 100
"""Lines of one body."""
MAX_LINE_SIZE = 8192
"""Bytes of a line: several times what every key of version 2 takes, with long URLs."""
MAX_KEYS = 128
"""Keys of a line; the standard has half of that, applications add their own."""

Value = bool | int | float | str | bytes | tuple["Value", ...]
Line = Mapping[str, Value]


def read_events(body: bytes) -> list[Line]:
    """The events in *body*, one a line; empty lines are skipped.

    Raises:
        InvalidInputError: A line is none, or there are more than `MAX_EVENTS`.
    """
    lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) > MAX_EVENTS:
        raise _malformed(f"{len(lines)} lines are more than {MAX_EVENTS}")
    return [read_line(line) for line in lines]


def read_line(line: bytes) -> Line:
    """The keys of *line* and their values.

    Raises:
        InvalidInputError: It is no dictionary of structured fields, too long or has too many keys.
    """
    if len(line) > MAX_LINE_SIZE:
        raise _malformed(f"a line has more than {MAX_LINE_SIZE} bytes")
    try:
        members = parse(line, tltype="dictionary")
    except (StructuredFieldError, ValueError, OverflowError):  # the last two: no such date
        raise _malformed("a line is no dictionary of structured fields (RFC 9651)") from None
    assert isinstance(members, dict)
    if len(members) > MAX_KEYS:
        raise _malformed(f"a line has more than {MAX_KEYS} keys")
    return {key: _bare(member) for key, member in members.items()}


def text(line: Line, key: str) -> str:
    """The string or token *key*; empty if there is none, or it is something else."""
    value = line.get(key)
    return value if isinstance(value, str) else ""


def whole(line: Line, key: str) -> int | None:
    """The whole number *key*; None if there is none, or it is something else."""
    value = line.get(key)
    return value if type(value) is int else None  # True is an int to isinstance


def _bare(member: Any) -> Value:
    """A value without its parameters: the parser gives (value, parameters)."""
    value = member[0] if isinstance(member, tuple) else member
    if isinstance(value, list):
        return tuple(_bare(item) for item in value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return int(value.timestamp())
    # tokens and display strings are no str to Python
    return value if isinstance(value, bool | int | float | bytes) else str(value)


def _malformed(why: str) -> InvalidInputError:
    return InvalidInputError(
        f"not CMCD: {why}", hint='one report a line, as in e=rr,sid="...",sn=1,v=2 (CTA-5004-A)'
    )
