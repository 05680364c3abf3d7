"""What a key, a value and a life may be, the same for every state store."""

import math

from core.errors import InvalidInputError

MAX_KEY_SIZE = 512
"""Bytes of UTF-8 of a key."""

MAX_VALUE_SIZE = 64 << 10
"""Bytes of a value."""


def check_key(key: str) -> None:
    """Raise InvalidInputError for a key that is empty, too long or not Unicode."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise InvalidInputError("a state key is not valid Unicode") from None
    if not 0 < size <= MAX_KEY_SIZE:
        raise InvalidInputError(f"a state key has {size} bytes; 1 to {MAX_KEY_SIZE} are allowed")


def check_entry(key: str, value: bytes, ttl_s: float) -> None:
    """Raise InvalidInputError for a bad key, a value that is too large or a life that is none."""
    check_key(key)
    if len(value) > MAX_VALUE_SIZE:
        raise InvalidInputError(
            f"a state value has {len(value)} bytes; {MAX_VALUE_SIZE} are allowed"
        )
    if not (math.isfinite(ttl_s) and ttl_s > 0):
        raise InvalidInputError(f"a life of {ttl_s} s is none")
