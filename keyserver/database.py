"""The vault's SQLite file: its tables, how it comes to be, and its errors as ours."""

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from core.errors import ConflictError, IntegrityError, UnavailableError
from core.model import Scheme, Tier
from keyserver.wrapping import context

LOCK_TIMEOUT_S = 5.0
"""How long a request waits for another process's transaction."""

_APPLICATION_ID = 0x746F6E65  # "tone": another program's database is not a vault
_FORMAT = 1
_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_FORMAT};
CREATE TABLE kek (
  version INTEGER PRIMARY KEY,
  sealed BLOB NOT NULL,
  created_s INTEGER NOT NULL
) STRICT;
CREATE TABLE content_key (
  kid BLOB PRIMARY KEY CHECK (length(kid) = 16),
  track_id TEXT NOT NULL,
  tier TEXT NOT NULL,
  scheme TEXT NOT NULL,
  period INTEGER NOT NULL,
  iv BLOB NOT NULL,
  kek_version INTEGER NOT NULL REFERENCES kek (version),
  sealed BLOB NOT NULL,
  created_s INTEGER NOT NULL,
  UNIQUE (track_id, tier, scheme, period)
) STRICT, WITHOUT ROWID;
"""
_LATER = """
CREATE TABLE IF NOT EXISTS drm_system (
  position INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;
"""
"""What older vaults lack."""
COLUMNS = "kid, track_id, tier, scheme, period, iv, kek_version, sealed, created_s"
"""Of a content key, as `read_row` takes them."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A row of the vault; the key in it is sealed.

    `created_s` is Unix time.
    """

    kid: UUID
    track_id: str
    tier: Tier
    scheme: Scheme
    period: int
    iv: bytes = field(repr=False)
    kek_version: int
    sealed: bytes = field(repr=False)
    created_s: int

    @property
    def context(self) -> bytes:
        """All that the key is bound to."""
        return context(
            "cek/1", self.kid.bytes, self.track_id, self.tier, self.scheme, self.period,
            self.iv, self.kek_version, "aes-128",
        )  # fmt: skip


def create_database(path: Path, sealed_kek: bytes, *, created_s: int) -> None:
    """Make an empty vault with its first KEK; it appears whole or not at all.

    Raises:
        ConflictError: There is something at *path*.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with translated(), contextlib.closing(sqlite3.connect(draft)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.executescript(_SCHEMA)
            database.execute("INSERT INTO kek VALUES (1, ?, ?)", (sealed_kek, created_s))
            database.commit()
        # unlike rename, link fails if another process was first
        os.link(draft, path)
        _sync_folder(path.parent)
    except FileExistsError:
        raise ConflictError(
            f"there is a vault at {path}", hint="its keys open tracks: keep it"
        ) from None
    finally:
        draft.unlink()


def _sync_folder(path: Path) -> None:
    """Until then a power cut could take the vault's name away, and its keys with it."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def connect(path: Path) -> sqlite3.Connection:
    """The vault at *path*, for any thread, one at a time.

    Raises:
        IntegrityError: It is another program's database, or of another version.
    """
    # mode=rw: a vault is made by `create` alone, whole
    database = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=LOCK_TIMEOUT_S,
        isolation_level=None,  # transactions are written out
        check_same_thread=False,  # the vault's lock serialises threads
    )
    try:
        database.execute("PRAGMA synchronous = FULL")  # a key that was handed out must not be lost
        [application] = database.execute("PRAGMA application_id").fetchone()
        [form] = database.execute("PRAGMA user_version").fetchone()
    except BaseException:  # the file is given back whatever went wrong
        database.close()
        raise
    if (application, form) != (_APPLICATION_ID, _FORMAT):
        database.close()
        raise IntegrityError(f"{path} is not a vault that this version reads")
    database.execute(_LATER)
    return database


def read_row(row: tuple[bytes, str, str, str, int, bytes, int, bytes, int]) -> StoredKey:
    """`COLUMNS` as a value.

    Raises:
        IntegrityError: They hold what no vault writes.
    """
    kid, track_id, tier, scheme, period, iv, kek_version, sealed, created_s = row
    try:
        return StoredKey(
            UUID(bytes=kid), track_id, Tier(tier), Scheme(scheme), period, iv, kek_version,
            sealed, created_s,
        )  # fmt: skip
    except ValueError:
        raise IntegrityError("a row of the vault was changed", hint="restore a backup") from None


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All or nothing."""
    # IMMEDIATE: a read that turns into a write could fail half-way, whatever it waits
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:  # undone whatever went wrong, also by Ctrl-C
        with contextlib.suppress(sqlite3.OperationalError):
            database.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """SQLite's errors as ours; their text is dropped, it may quote a statement."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise UnavailableError(
            f"the vault cannot be used now ({error.sqlite_errorname})",
            hint="is its file readable, writable, and its disk not full?",
        ) from None
    except sqlite3.DatabaseError:
        raise IntegrityError("the vault's file is damaged", hint="restore a backup") from None
