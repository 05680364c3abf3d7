"""The local key ring: named random secrets in one file that only its owner can read.

It serves a single machine and development. A fleet hands each role the secrets it needs
through the options of `tonearm serve`.
"""

import json
import os
import stat
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from pathlib import Path

from core.errors import InvalidInputError
from core.strict_json import read_object

SECRET_SIZE = 32
"""Bytes of a new secret."""
MIN_SECRET_SIZE = 16
"""Bytes of a secret that somebody put into the file; a shorter one can be guessed."""


class KeyRing:
    """Named secrets below one file, made when first asked for; never printed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __repr__(self) -> str:
        return f"KeyRing({str(self._path)!r})"

    def secret(self, name: str) -> bytes:
        """The secret called *name*; made, and safe on disk, before it is returned.

        Raises:
            InvalidInputError: The file is readable by others, is no key ring, cannot be read or
                written, or the secret in it is too short to be one.
        """
        try:
            return self._secret(name)
        except OSError as error:
            raise InvalidInputError(
                f"the key ring {self._path} cannot be used: {error.strerror}",
                hint="check the disk and the folder's permissions, or choose another --home",
            ) from None

    def _secret(self, name: str) -> bytes:
        ring = self._read()
        if name not in ring:
            with _Lock(self._path.with_suffix(".lock")):
                ring = self._read()
                if name not in ring:
                    ring[name] = b64encode(os.urandom(SECRET_SIZE)).decode()
                    self._write(ring)
        try:
            secret = b64decode(ring[name], validate=True)
        except (Base64Error, TypeError, ValueError):
            raise self._broken() from None
        if len(secret) < MIN_SECRET_SIZE:
            raise self._broken()
        return secret

    def _read(self) -> dict[str, str]:
        try:
            mode = self._path.stat().st_mode
            text = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        if stat.S_IMODE(mode) & 0o077:
            raise InvalidInputError(
                f"the key ring {self._path} can be read by other users",
                hint=f"chmod 600 {self._path}",
            )
        try:
            return read_object(text, what=str(self._path))
        except InvalidInputError:
            raise self._broken() from None

    def _broken(self) -> InvalidInputError:
        return InvalidInputError(
            f"{self._path} is not a key ring", hint="restore it from a backup; its keys open tracks"
        )

    def _write(self, ring: dict[str, str]) -> None:
        # rename is atomic: another process sees the old ring or the new one
        temporary = self._path.with_suffix(".new")
        temporary.unlink(missing_ok=True)  # of a writer that died; we hold the lock
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(ring, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)


class _Lock:
    """An advisory lock between processes; the kernel drops it when its holder dies."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        import fcntl  # noqa: PLC0415  POSIX only, and only when a secret is made

        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *exc: object) -> None:
        os.close(self._file)
