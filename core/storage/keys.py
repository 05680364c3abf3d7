"""What a key and a byte range may be, the same for every store."""

from core.errors import InvalidInputError

MAX_KEY_SIZE = 900
"""Bytes of UTF-8; S3 stops at 1024 and a bucket prefix needs some of them."""

MAX_PART_SIZE = 200
"""Bytes of UTF-8 between two slashes; file systems stop at 255."""

TEMPORARY_PREFIX = ".tonearm-"
"""How the name of a file that is still being written starts; no key part may."""


def check_key(key: str) -> str:
    """The key itself, when it is safe in every store.

    Raises:
        InvalidInputError: The key is empty or too long, starts with a slash, has an empty,
            ``.`` or ``..`` part, a reserved part, a backslash or control characters.
    """
    if not key:
        raise InvalidInputError("an object key is empty")
    _check_parts(key, key.split("/"))
    return key


def check_prefix(prefix: str) -> str:
    """The prefix itself, when a key may start with it; the last part may be cut short."""
    *folders, _ = prefix.split("/")
    _check_parts(prefix, folders)
    return prefix


def _check_parts(key: str, parts: list[str]) -> None:
    try:
        too_long = len(key.encode()) > MAX_KEY_SIZE
    except UnicodeEncodeError:
        raise InvalidInputError(f"the object key {key!a} is not valid Unicode") from None
    if too_long or any(len(part.encode()) > MAX_PART_SIZE for part in parts):
        raise InvalidInputError(
            f"the object key {key[:80]!r} is too long",
            hint=f"at most {MAX_KEY_SIZE} bytes, {MAX_PART_SIZE} between two slashes",
        )
    # S3 lists are XML; some stores take a backslash for a slash
    if any(char in "\\\x7f" or ord(char) < 0x20 for char in key):
        raise InvalidInputError(f"the object key {key!r} has a control character or a backslash")
    if any(part in ("", ".", "..") or part.startswith(TEMPORARY_PREFIX) for part in parts):
        raise InvalidInputError(f"the object key {key!r} has an empty or reserved part")


def clamp_range(key: str, start: int, end: int, size: int) -> int:
    """Where the half-open range really ends in an object of *size* bytes.

    Raises:
        InvalidInputError: The range is empty or does not start within the object.
    """
    check_range(key, start, end)
    if start >= size:
        raise InvalidInputError(f"{key} has {size} bytes; the range starts at {start}")
    return min(end, size)


def check_range(key: str, start: int, end: int) -> None:
    """Raise InvalidInputError when the range is empty, whatever the object's size."""
    if not 0 <= start < end:
        raise InvalidInputError(f"the range {start} to {end} of {key} is empty")
