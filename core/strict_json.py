"""JSON from outside: small, flat, without surprises. Pure."""

import json
from typing import Any

from core.errors import InvalidInputError

MAX_BRACKETS = 16
"""Opening brackets of a request body; it bounds the depth before anything is parsed."""


def read_object(body: bytes, *, max_size: int) -> dict[str, Any]:
    """The object in *body*, UTF-8, at most *max_size* bytes.

    Raises:
        InvalidInputError: It is anything else, too deep, too long, or names a member twice. The
            message never quotes the body.
    """
    if len(body) > max_size:
        raise _refused(f"it has more than {max_size} bytes")
    if body.count(b"[") + body.count(b"{") > MAX_BRACKETS:
        raise _refused("it is nested too deep")
    try:
        tree = json.loads(body.decode("utf-8"), object_pairs_hook=_object)
    except (ValueError, RecursionError):
        raise _refused("it is not JSON") from None
    if not isinstance(tree, dict):
        raise _refused("it is not an object")
    return tree


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise ValueError("a member stands twice")
    return tree


def _refused(why: str) -> InvalidInputError:
    return InvalidInputError(f"the request body cannot be read: {why}")
