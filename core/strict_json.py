"""JSON from outside: no surprises, one refusal. Every body that a door takes is read here. Pure.

Python's reader keeps the last of two members with one name, takes NaN and Infinity, numbers of
any length and half of a surrogate pair; two readers of one body would then disagree about it, and
the second may be an edge, a log or a signature. `presentation.json` alone has a reader of its own,
which is held to the same by comparing bytes.
"""

import json
import math
import re
from typing import Any, NoReturn

from core.errors import InvalidInputError

MAX_BODY_SIZE = 64 * 1024
"""Bytes of a request's body."""
MAX_DEPTH = 16
"""Arrays and objects inside of each other."""
MAX_DIGITS = 18
"""Of a whole number: nothing of ours needs 64 bits."""

# strings first: a bracket inside of one opens nothing; possessive, so never slower than linear
_OPENING = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def read(body: bytes, *, max_size: int = MAX_BODY_SIZE, what: str = "the request body") -> Any:
    """The value in *body*, UTF-8, at most *max_size* bytes.

    Raises:
        InvalidInputError: It is no JSON (RFC 8259), too deep or too long, names a member twice, or
            holds NaN, a huge number or half of a surrogate pair. The message never quotes it.
    """
    if len(body) > max_size:
        raise _refused(what, f"it has more than {max_size} bytes")
    if _depth(body) > MAX_DEPTH:
        raise _refused(what, "it is nested too deep")
    try:
        value = _DECODER.decode(body.decode("utf-8"))
    except _NotStrictError as error:
        raise _refused(what, str(error)) from None
    except ValueError:
        raise _refused(what, "it is not JSON") from None
    if b"\\u" in body and _has_half_a_pair(value):
        raise _refused(what, "it holds half of a surrogate pair")
    return value


def read_object(
    body: bytes, *, max_size: int = MAX_BODY_SIZE, what: str = "the request body"
) -> dict[str, Any]:
    """As `read`, and refuse what is not an object."""
    tree = read(body, max_size=max_size, what=what)
    if not isinstance(tree, dict):
        raise _refused(what, "it is not an object")
    return tree


class _NotStrictError(Exception):
    """Python would take it, we do not. No ValueError: those are about syntax."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise _NotStrictError("a member stands twice")
    return tree


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > MAX_DIGITS:
        raise _NotStrictError(f"a whole number has more than {MAX_DIGITS} digits")
    return int(text)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _NotStrictError("a number is too large")
    return number


def _constant(name: str) -> NoReturn:
    raise _NotStrictError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_whole, parse_float=_number, parse_constant=_constant
)


def _depth(body: bytes) -> int:
    """How deep *body* is nested: counted before anything is parsed."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return 0
    depth = deepest = 0
    for token in _OPENING.findall(body):
        if token in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token in b"]}":
            depth -= 1
    return deepest


def _has_half_a_pair(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _refused(what: str, why: str) -> InvalidInputError:
    return InvalidInputError(
        f"{what} cannot be read: {why}", hint="send JSON in UTF-8, with each member once"
    )
