"""Conditional and range requests (RFC 9110, 13 and 14): what to answer, without answering it.

Pure. Representations here have a strong entity tag and no modification date, so the conditions
that compare dates are ignored, and an `If-Range` date never matches (13.1.3 to 13.1.5).
"""

import re
from dataclasses import dataclass
from typing import Literal

MAX_RANGES = 8
"""Ranges of one request; a request for more is answered with the whole representation."""
MAX_RANGE_DIGITS = 18
"""Digits of a position that are looked at: more than any object has bytes."""

_ENTITY_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\U0010ffff]*)"')
_SPEC = re.compile(r"([0-9]*)-([0-9]*)")

Span = tuple[int, int]
"""Half-open: first byte, and the one after the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The header fields that matter; a field that came on several lines is joined by commas."""

    if_match: str | None = None
    if_none_match: str | None = None
    if_range: str | None = None
    range: str | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """The status to answer with, and which bytes.

    `spans` is the whole representation for 200, one span or several for 206, and empty for
    304, 412 and 416.
    """

    status: Literal[200, 206, 304, 412, 416]
    spans: tuple[Span, ...] = ()


def select(method: str, conditions: Conditions, *, etag: str, size: int) -> Selection:
    """Evaluate in the order of RFC 9110, 13.2.2.

    Args:
        method: GET or HEAD; only GET knows ranges (14.2).
        conditions: As received.
        etag: The strong entity tag of what would be sent, with its quotes.
        size: Bytes of what would be sent.
    """
    if conditions.if_match is not None and not _matches(conditions.if_match, etag, weak=False):
        return Selection(412)
    if conditions.if_none_match is not None and _matches(conditions.if_none_match, etag, weak=True):
        return Selection(304)
    whole = Selection(200, ((0, size),))
    if method != "GET" or conditions.range is None:
        return whole
    if conditions.if_range is not None and conditions.if_range.strip() != etag:
        return whole
    spans = parse_range(conditions.range, size)
    if spans is None:
        return whole
    return Selection(206, spans) if spans else Selection(416)


def parse_range(field: str, size: int) -> tuple[Span, ...] | None:
    """The satisfiable spans of a Range field, in ascending order, overlaps merged.

    Returns:
        None if the field is to be ignored: another unit, not the grammar, or more than
        `MAX_RANGES`. Empty if it is understood and nothing of it can be had (416).
    """
    unit, equals, specs = field.strip(" \t").partition("=")
    if unit.lower() != "bytes" or not equals:
        return None
    if specs[:1] in (" ", "\t"):
        return None  # the list follows the sign at once (14.1.1)
    items = [item for part in specs.split(",") if (item := part.strip(" \t"))]
    if not 0 < len(items) <= MAX_RANGES:
        return None
    spans = []
    for item in items:
        match = _SPEC.fullmatch(item)
        if match is None or item == "-":
            return None
        first, last = (_position(digits) for digits in match.groups())
        if first is not None and last is not None and last < first:
            return None
        if span := _span(first, last, size):
            spans.append(span)
    return _merged(spans)


def content_range(span: Span, size: int) -> str:
    """The Content-Range of *span*; its end is the last byte, included."""
    return f"bytes {span[0]}-{span[1] - 1}/{size}"


def _span(first: int | None, last: int | None, size: int) -> Span | None:
    """What of the range exists; None if nothing does."""
    if first is None:
        assert last is not None
        start, end = max(0, size - last), size
    else:
        start, end = first, size if last is None else min(last + 1, size)
    return (start, end) if start < end else None


def _merged(spans: list[Span]) -> tuple[Span, ...]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def _position(digits: str) -> int | None:
    if not digits:
        return None
    # bounded, because int() of thousands of digits is slow and then an error
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) <= MAX_RANGE_DIGITS else 10**18


def _matches(field: str, etag: str, *, weak: bool) -> bool:
    """Whether one of the listed tags is *etag*; a weak one only if *weak* (8.8.3.2)."""
    if field.strip() == "*":
        return True
    return any(
        f'"{tag}"' == etag and (weak or not weakness)
        for weakness, tag in _ENTITY_TAG.findall(field)
    )
