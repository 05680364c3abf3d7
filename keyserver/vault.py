"""The vault: content keys at rest, sealed below a root secret, in one SQLite file.

::

    root secret                      handed in; never stored here
     └ KEK  AES-256, by version      sealed by the root
        └ content key  AES-128       sealed by a KEK; one per track, tier, scheme and period

Keys and IVs are random and drawn by separate calls; a KID comes from the KID secret and from what
the key is for, never from the key. The context that a key is sealed with holds all columns that
decide who gets it, so that an edited row does not open.

Several processes and threads may use one vault: a key is inserted if it is absent and then read
back, so all of them hold what was there first.
"""

import contextlib
import hmac
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self
from uuid import UUID

from core.errors import ConflictError, IntegrityError
from core.ids import IV_SIZES, KEY_SIZE, TRACK_ID
from core.keysource import KeyRequest
from core.model import ContentKey, KeyDescription, Scheme, Tier
from keyserver.database import (
    COLUMNS,
    StoredKey,
    connect,
    create_database,
    read_row,
    transaction,
    translated,
)
from keyserver.signals import make_signals
from keyserver.systems import choose_systems, chosen_systems
from keyserver.wrapping import NONCE_SIZE, WRAPPING_KEY_SIZE, WrappingKey, context, derive_root

MAX_PERIODS = 128
"""Later periods whose keys come with a licence; some eight minutes of a key for each segment."""
MIN_SECRET_SIZE = 16
REWRAP_BATCH = 500
"""Keys of one transaction of `Vault.rewrap`; others wait for its end, some 20 ms."""

_INCLUDED = {tier: [t for t in Tier if tier.includes(t)] for tier in Tier}

Random = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class LicensedKey:
    """A key on its way to a player; `key` stays out of `repr`."""

    kid: UUID
    key: bytes = field(repr=False)


class Vault:
    """Makes, keeps and hands out content keys."""

    def __init__(
        self,
        database: sqlite3.Connection,
        *,
        root: WrappingKey,
        kid_secret: bytes,
        random: Random,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._root = root
        self._kid_secret = kid_secret
        self._random = random
        self._clock = clock
        self._keks: dict[int, WrappingKey] = {}

    @classmethod
    def open(
        cls,
        path: Path,
        root_secret: bytes,
        kid_secret: bytes,
        *,
        random: Random = secrets.token_bytes,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """The vault at *path*, made if there is none.

        Args:
            path: Of the SQLite file; made with mode 0600.
            root_secret: Seals the key-encryption keys.
            kid_secret: KIDs are made with it; without it they cannot be guessed.
            random: Gives that many random bytes.
            clock: Unix time in seconds.

        Raises:
            IntegrityError: Another root secret sealed this vault, or it is no vault.
        """
        assert min(len(root_secret), len(kid_secret)) >= MIN_SECRET_SIZE
        if not path.exists():
            with contextlib.suppress(ConflictError):  # another process was quicker: use its vault
                cls.create(path, root_secret, random=random, clock=clock)
        with translated():
            database = connect(path)
        vault = cls(
            database,
            root=derive_root(root_secret),
            kid_secret=kid_secret,
            random=random,
            clock=clock,
        )
        try:
            vault.check()
        except BaseException:  # the file is given back whatever went wrong
            database.close()
            raise
        return vault

    @staticmethod
    def create(
        path: Path,
        root_secret: bytes,
        *,
        random: Random = secrets.token_bytes,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make an empty vault with its first KEK; it appears whole or not at all.

        Raises:
            ConflictError: There is something at *path*.
        """
        sealed = seal_kek(derive_root(root_secret), 1, random=random)
        create_database(path, sealed, created_s=int(clock()))

    def close(self) -> None:
        """Give back the file."""
        with self._lock:
            self._database.close()

    def check(self) -> None:
        """Raise `UnavailableError` or `IntegrityError` unless keys can be served."""
        with self._lock, translated():
            self._kek(self._newest_kek())

    def systems(self) -> tuple[str, ...]:
        """The DRM systems that keys are signalled for."""
        with self._lock, translated():
            return chosen_systems(self._database)

    def choose_systems(self, names: Sequence[str]) -> None:
        """Signal keys for these from now on, in every process; see `keyserver.systems`."""
        with self._lock, translated():
            choose_systems(self._database, names)

    def keys(self, request: KeyRequest) -> tuple[ContentKey, ...]:
        """The keys of *request*, tier by tier; asked again, the same KIDs, keys and IVs.

        Raises:
            InvalidInputError: The request is not for one of our tracks, or is empty.
            UnavailableError: Another process holds the vault for too long.
            IntegrityError: A row was changed.
        """
        wanted = [
            (request.track_id, tier, scheme, request.period) for tier, scheme in request.uses()
        ]
        with self._lock, translated():
            rows = self._find(wanted)
            if any(row is None for row in rows):
                with transaction(self._database):
                    for place, row in zip(wanted, rows, strict=True):
                        if row is None:
                            self._insert(*place)
                    rows = self._find(wanted)
            found = [row for row in rows if row is not None]
            assert len(found) == len(wanted), "a KID of two keys"
            return tuple(self._content_key(row) for row in found)

    def licence(
        self, kids: Sequence[UUID], *, track_id: str, tier: Tier
    ) -> tuple[LicensedKey, ...]:
        """Those of *kids* that belong to *track_id* and that *tier* includes, each once.

        With each come the keys of up to `MAX_PERIODS` later periods of the same use: where keys
        change within a track, DASH players ask for the first one alone.

        A KID of nobody, of another track and of a higher tier are one case: the query does not
        find them.
        """
        tiers = _INCLUDED[tier]
        columns = ", ".join(f"found.{name}" for name in COLUMNS.split(", "))
        query = (
            f"SELECT DISTINCT {columns} FROM content_key AS asked"  # noqa: S608  our own names
            " JOIN content_key AS found USING (track_id, tier, scheme)"
            f" WHERE asked.kid IN ({_marks(kids)})"
            f" AND asked.track_id = ? AND asked.tier IN ({_marks(tiers)})"
            " AND found.period BETWEEN asked.period AND asked.period + ?"
            " ORDER BY found.period"
        )
        values = [*(k.bytes for k in kids), track_id, *tiers, MAX_PERIODS]
        with self._lock, translated():
            rows = [read_row(row) for row in self._database.execute(query, values)]
            return tuple(LicensedKey(row.kid, self._unseal(row)) for row in rows)

    def stored(self, track_id: str | None = None) -> Iterator[StoredKey]:
        """All rows, or those of a track, in the order of their KIDs."""
        if track_id is not None:
            TRACK_ID.check(track_id)
        after = b""
        while True:
            with self._lock, translated():
                page = self._database.execute(
                    f"SELECT {COLUMNS} FROM content_key"  # noqa: S608  our own column names
                    " WHERE kid > ? AND (? IS NULL OR track_id = ?) ORDER BY kid LIMIT 1000",
                    (after, track_id, track_id),
                ).fetchall()
            if not page:
                return
            yield from map(read_row, page)
            after = page[-1][0]

    def unseal(self, row: StoredKey) -> bytes:
        """The content key of *row*, 16 bytes.

        Raises:
            IntegrityError: The row was changed.
        """
        with self._lock, translated():
            return self._unseal(row)

    def rewrap(self) -> Iterator[int]:
        """Make a new KEK, seal every key with it, and forget the old ones.

        Keys, KIDs and IVs stay, and are served all the while. Stopped half-way, nothing is lost:
        the next run moves the rest.

        Yields:
            How many keys were moved, batch by batch.
        """
        with self._lock, translated(), transaction(self._database):
            version = self._newest_kek() + 1
            sealed = seal_kek(self._root, version, random=self._random)
            self._database.execute(
                "INSERT INTO kek VALUES (?, ?, ?)", (version, sealed, int(self._clock()))
            )
        # others insert under the new KEK from here on: they read the newest in their transaction
        while True:
            with self._lock, translated(), transaction(self._database):
                moved = self._move(version)
                if not moved:
                    self._database.execute("DELETE FROM kek WHERE version < ?", (version,))
                    return
            yield moved

    def _move(self, version: int) -> int:
        rows = self._database.execute(
            f"SELECT {COLUMNS} FROM content_key"  # noqa: S608  our own column names
            " WHERE kek_version < ? LIMIT ?",
            (version, REWRAP_BATCH),
        ).fetchall()
        for old in map(read_row, rows):
            key = self._unseal(old)
            new = replace(old, kek_version=version)
            self._database.execute(
                "UPDATE content_key SET kek_version = ?, sealed = ? WHERE kid = ?",
                (version, self._seal(new, key), new.kid.bytes),
            )
        return len(rows)

    def _newest_kek(self) -> int:
        [version] = self._database.execute("SELECT max(version) FROM kek").fetchone()
        if version is None:
            raise IntegrityError("the vault has no key-encryption key", hint="restore a backup")
        return int(version)

    def _find(self, wanted: Sequence[tuple[str, Tier, Scheme, int]]) -> list[StoredKey | None]:
        query = (
            f"SELECT {COLUMNS} FROM content_key"  # noqa: S608  our own column names
            " WHERE track_id = ? AND tier = ? AND scheme = ? AND period = ?"
        )
        rows = [self._database.execute(query, place).fetchone() for place in wanted]
        return [read_row(row) if row else None for row in rows]

    def _insert(self, track_id: str, tier: Tier, scheme: Scheme, period: int) -> None:
        version = self._newest_kek()
        # two calls: a generator that answers both at once has published keys as IVs before
        key = self._random(KEY_SIZE)
        iv = self._random(IV_SIZES[scheme])
        assert key[: len(iv)] != iv, "the random source repeats itself"
        kid = make_kid(self._kid_secret, track_id, tier, scheme, period)
        row = StoredKey(
            kid, track_id, tier, scheme, period, iv, version, b"", int(self._clock())
        )  # fmt: skip
        sealed = self._seal(row, key)
        # OR IGNORE: whoever came first has made the key that everyone uses
        self._database.execute(
            f"INSERT OR IGNORE INTO content_key ({COLUMNS})"  # noqa: S608  our own column names
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (kid.bytes, track_id, tier, scheme, period, iv, version, sealed, row.created_s),
        )

    def _content_key(self, row: StoredKey) -> ContentKey:
        key = self._unseal(row)
        signals = make_signals(row.kid, row.scheme, key, systems=chosen_systems(self._database))
        description = KeyDescription(row.kid, row.tier, row.scheme, signals, row.period)
        return ContentKey(description, key, row.iv)

    def _unseal(self, row: StoredKey) -> bytes:
        key = self._kek(row.kek_version).unwrap(row.sealed, context=row.context)
        if len(key) != KEY_SIZE:
            raise IntegrityError("a sealed key has a wrong size", hint="restore a backup")
        return key

    def _seal(self, row: StoredKey, key: bytes) -> bytes:
        nonce = self._random(NONCE_SIZE)
        return self._kek(row.kek_version).wrap(key, context=row.context, nonce=nonce)

    def _kek(self, version: int) -> WrappingKey:
        """Unsealed once per process: no key derivation per request."""
        if version not in self._keks:
            row = self._database.execute(
                "SELECT sealed FROM kek WHERE version = ?", (version,)
            ).fetchone()
            if row is None:
                raise IntegrityError("a key-encryption key is gone", hint="restore a backup")
            key = self._root.unwrap(row[0], context=context("kek/1", version))
            self._keks[version] = WrappingKey(key)
        return self._keks[version]


def seal_kek(root: WrappingKey, version: int, *, random: Random) -> bytes:
    """A new KEK, sealed; it is opened when it is used."""
    kek, nonce = random(WRAPPING_KEY_SIZE), random(NONCE_SIZE)
    return root.wrap(kek, context=context("kek/1", version), nonce=nonce)


def make_kid(secret: bytes, track_id: str, tier: Tier, scheme: Scheme, period: int) -> UUID:
    """The KID of what a key is for: repeatable, and not to be guessed without *secret*.

    A version 8 UUID (RFC 9562, 5.8).
    """
    digest = hmac.digest(secret, context("kid/1", track_id, tier, scheme, period), "sha256")
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | 8 << 76
    return UUID(int=number & ~(0x3 << 62) | 0x2 << 62)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
