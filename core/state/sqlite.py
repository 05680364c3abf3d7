"""State in an SQLite file: survives a restart, shared by the processes of one machine.

All statements of one call run in one visit to one thread: a hop per statement costs more
than the statements do.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from core.errors import UnavailableError
from core.state.limits import check_entry, check_key
from core.state.wal import use_wal
from core.storage.offload import Offload

BUSY_TIMEOUT_S = 5.0
"""How long a call waits for the writes of another process."""

MAX_PAGES = 1 << 20
"""Of 4 KiB: the file grows to 4 GiB, then a put raises UnavailableError."""

SWEEP_EVERY = 16
"""Writes between two sweeps."""

SWEEP_LIMIT = 64
"""Expired values removed by one sweep: four times what was written since the last one."""

T = TypeVar("T")


class SqliteState:
    """A `StateStore` over the file *path*, which is made by the first call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = Offload("sqlite-state", 1)
        self._db: sqlite3.Connection | None = None
        self._writes = 0

    async def put(self, key: str, value: bytes, *, ttl_s: float, now_s: float) -> None:
        check_entry(key, value, ttl_s)
        await self._write(lambda db: _set(db, key, value, now_s + ttl_s), now_s)

    async def put_if_absent(
        self, key: str, value: bytes, *, ttl_s: float, now_s: float
    ) -> bytes | None:
        check_entry(key, value, ttl_s)

        def put(db: sqlite3.Connection) -> bytes | None:
            if (present := _get(db, key, now_s)) is None:
                _set(db, key, value, now_s + ttl_s)
            return present

        return await self._write(put, now_s)

    async def get(self, key: str, *, now_s: float) -> bytes | None:
        check_key(key)
        return await self._run(lambda db: _get(db, key, now_s))

    async def compare_and_put(
        self, key: str, old: bytes, value: bytes, *, ttl_s: float, now_s: float
    ) -> bool:
        check_entry(key, value, ttl_s)

        def put(db: sqlite3.Connection) -> bool:
            if _get(db, key, now_s) != old:
                return False
            _set(db, key, value, now_s + ttl_s)
            return True

        return await self._write(put, now_s)

    async def delete(self, key: str) -> None:
        check_key(key)
        await self._run(lambda db: db.execute("DELETE FROM state WHERE key = ?", (key,)))

    async def aclose(self) -> None:
        if self._db is not None:
            await self._thread.run(self._db.close)
        await self._thread.aclose()

    async def _write(self, action: Callable[[sqlite3.Connection], T], now_s: float) -> T:
        """What *action* returns; it is one transaction, alone in the file."""

        def write(db: sqlite3.Connection) -> T:
            db.execute("BEGIN IMMEDIATE")
            try:
                answer = action(db)
                self._writes += 1
                if self._writes % SWEEP_EVERY == 0:
                    _sweep(db, now_s)
                db.execute("COMMIT")
            except BaseException:
                db.execute("ROLLBACK")
                raise
            return answer

        return await self._run(write)

    async def _run(self, action: Callable[[sqlite3.Connection], T]) -> T:
        return await self._thread.run(self._in_thread, action)

    def _in_thread(self, action: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._db is None:
                self._db = _open(self._path)
            return action(self._db)
        except (sqlite3.Error, OSError) as error:
            raise UnavailableError(
                f"the state file {self._path} does not work: {error}",
                hint="check the disk and the file's permissions",
            ) from error


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        use_wal(db)
        db.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last calls, no more
        db.execute(f"PRAGMA max_page_count = {MAX_PAGES}")
        db.execute(
            "CREATE TABLE IF NOT EXISTS state"
            " (key TEXT PRIMARY KEY, value BLOB NOT NULL, expires_s REAL NOT NULL)"
        )
        db.execute("CREATE INDEX IF NOT EXISTS state_by_expiry ON state (expires_s)")
    except BaseException:
        db.close()
        raise
    return db


def _get(db: sqlite3.Connection, key: str, now_s: float) -> bytes | None:
    query = "SELECT value FROM state WHERE key = ? AND expires_s > ?"
    row = db.execute(query, (key, now_s)).fetchone()
    return row[0] if row else None


def _set(db: sqlite3.Connection, key: str, value: bytes, expires_s: float) -> None:
    db.execute("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", (key, value, expires_s))


def _sweep(db: sqlite3.Connection, now_s: float) -> None:
    db.execute(
        "DELETE FROM state WHERE key IN"
        " (SELECT key FROM state WHERE expires_s <= ? ORDER BY expires_s LIMIT ?)",
        (now_s, SWEEP_LIMIT),
    )
