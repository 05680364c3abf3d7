"""SQLite's write-ahead log, switched on by whichever process comes first."""

import sqlite3
import time

ATTEMPTS = 100
"""The switch does not wait for other connections, so it is tried again ..."""

PAUSE_S = 0.05
"""... after such a pause."""


def use_wal(db: sqlite3.Connection) -> None:
    """Let readers and the one writer of the file behind *db* not wait for each other.

    Raises:
        sqlite3.Error: The file is no database, or stays locked for `ATTEMPTS` pauses.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if attempt == ATTEMPTS:
                raise
            time.sleep(PAUSE_S)
        else:
            return
