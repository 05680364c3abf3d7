"""Static checks of a vault, and the search for keys where none may stand."""

import re
import stat
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import IntegrityError, InvalidInputError
from core.ids import KEY_SIZE
from keyserver.vault import Vault

MAX_KEYS = 100_000
"""Keys looked for in one run; their patterns are held in memory, some 1 kB each."""
CHUNK_SIZE = 4 * 1024 * 1024
"""Bytes of a file looked at together."""

_HEX_RUN = re.compile(rb"[0-9A-Fa-f]{32,}")
_BASE64_RUN = re.compile(rb"[A-Za-z0-9+/_-]{20,}")
_HEX_SIZE = 32
_BASE64_SIZE = 20  # what every alignment of 16 bytes determines wholly
_OVERLAP = 4 * _HEX_SIZE  # a key that straddles two chunks, in the widest spelling
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be; `where` names a KID or a file, never a key."""

    check: str
    where: str


def check_vault(vault: Vault, track_id: str | None) -> tuple[int, list[Finding]]:
    """Unseal every key; report those that do not open, equal their IV, or stand twice.

    Returns:
        How many keys were checked, and what was found.
    """
    findings = []
    keys: set[bytes] = set()
    ivs: set[bytes] = set()
    count = 0
    for row in vault.stored(track_id):
        count += 1
        try:
            key = vault.unseal(row)
        except IntegrityError:
            findings.append(Finding("does-not-open", str(row.kid)))
            continue
        if key.startswith(row.iv):
            findings.append(Finding("iv-is-key", str(row.kid)))
        if key in keys:
            findings.append(Finding("key-twice", str(row.kid)))
        if row.iv in ivs:
            findings.append(Finding("iv-twice", str(row.kid)))
        keys.add(key)
        ivs.add(row.iv)
    return count, findings


def check_ring(*paths: Path) -> list[Finding]:
    """Report files of secrets that others can read."""
    return [
        Finding("readable-by-others", str(path))
        for path in paths
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]


def find_keys(
    vault: Vault, places: Sequence[Path], track_id: str | None
) -> tuple[int, list[Finding]]:
    """Look for the vault's keys in files and folders.

    Returns:
        How many files there are, and one finding for each that holds a key or cannot be read.

    Raises:
        InvalidInputError: The vault has more than `MAX_KEYS` keys.
    """
    files = list(_files(places))
    if not files:
        return 0, []
    keys = []
    for row in vault.stored(track_id):
        keys.append(vault.unseal(row))
        if len(keys) > MAX_KEYS:
            raise InvalidInputError(f"more than {MAX_KEYS} keys to look for", hint="use --track")
    search = KeySearch(keys)
    return len(files), [finding for file in files for finding in _look(search, file)]


def _look(search: "KeySearch", file: Path) -> Iterator[Finding]:
    try:
        if search.is_in(file):
            yield Finding("key-in-file", str(file))
    except OSError:
        yield Finding("unreadable", str(file))


class KeySearch:
    """Knows keys in every spelling, and tells whether one of them stands in some bytes."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._raw = set(keys)
        self._begins = np.zeros(1 << 16, bool)
        self._begins[[int.from_bytes(key[:2], "big") for key in self._raw]] = True
        self._hex = {key.hex().encode() for key in self._raw}
        self._base64 = {form for key in self._raw for form in _base64_forms(key)}

    def __repr__(self) -> str:
        return f"KeySearch({len(self._raw)} keys)"

    def is_in(self, path: Path) -> bool:
        """Whether *path* holds a key; read in chunks that overlap."""
        tail = b""
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_SIZE):
                if self.finds(tail + chunk):
                    return True
                tail = chunk[-_OVERLAP:]
        return False

    def finds(self, data: bytes) -> bool:
        """Whether *data* holds a key as bytes, hexadecimal or base64, also in UTF-16."""
        if any(data[at : at + KEY_SIZE] in self._raw for at in self._possible(data)):
            return True
        # UTF-16 of ASCII is the same text with zero bytes between; UUID-like hex has hyphens
        narrow = data.replace(b"\0", b"") if b"\0" in data else data
        return self._in_text(narrow) or self._in_text(narrow.replace(b"-", b""))

    def _possible(self, data: bytes) -> Iterator[int]:
        """Where two bytes stand that a key begins with: one place in a thousand, of media."""
        octets = np.frombuffer(data, np.uint8).astype(np.uint16)
        yield from np.flatnonzero(self._begins[octets[:-1] << 8 | octets[1:]]).tolist()

    def _in_text(self, text: bytes) -> bool:
        hexes = (
            window for run in _HEX_RUN.findall(text) for window in _windows(run.lower(), _HEX_SIZE)
        )
        base64s = (
            window
            for run in _BASE64_RUN.findall(text)
            for window in _windows(run.translate(_TO_STANDARD), _BASE64_SIZE)
        )
        return any(w in self._hex for w in hexes) or any(w in self._base64 for w in base64s)


def _base64_forms(key: bytes) -> Iterator[bytes]:
    """The 20 characters that *key* determines wholly, at each place in a group of three bytes."""
    for shift, first in ((0, 0), (1, 2), (2, 3)):
        yield b64encode(b"\0" * shift + key)[first : first + _BASE64_SIZE]


def _windows(data: bytes, size: int) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(len(data) - size + 1))


def _files(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            yield from sorted(p for p in place.rglob("*") if p.is_file())
        else:
            yield place
