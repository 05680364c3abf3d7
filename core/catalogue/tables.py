"""The catalogue's tables, and its engine."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from core.catalogue.entries import Publication, Status, Tail, Track, TrackEntry
from core.errors import InvalidInputError, UnavailableError
from core.model import Loudness, Scheme, Tier
from core.state.wal import use_wal

BUSY_TIMEOUT_S = 10.0
"""How long a write waits for the transactions of other processes."""

SCHEMA_VERSION = 1
"""Kept in the file's `user_version`."""

METADATA = sa.MetaData()

LOUDNESS = (
    "integrated_lufs",
    "range_lu",
    "momentary_max_lufs",
    "short_term_max_lufs",
    "true_peak_dbtp",
)

TRACKS = sa.Table(
    "tracks",
    METADATA,
    sa.Column("track_id", sa.Text, primary_key=True),
    sa.Column("generation", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("artist", sa.Text, nullable=False),
    sa.Column("regions", sa.JSON, nullable=False),
    sa.Column("master_sha256", sa.Text, nullable=False),
    sa.Column("recipe_sha256", sa.Text, nullable=False),
    sa.Column("tiers", sa.JSON, nullable=False),
    sa.Column("schemes", sa.JSON, nullable=False),
    sa.Column("duration_ticks", sa.BigInteger, nullable=False),
    sa.Column("timescale", sa.Integer, nullable=False),
    *(sa.Column(name, sa.Float) for name in LOUDNESS),
    sa.Column("album_id", sa.Text),
    sa.Column("album_position", sa.Integer),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("tail", sa.Text, nullable=False),
    sa.Column("published_at_s", sa.Float, nullable=False),
    sa.Index("tracks_by_album", "album_id", "album_position"),
)

GENERATIONS = sa.Table(
    "generations",
    METADATA,
    sa.Column("track_id", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("generation", sa.Text, nullable=False),
    sa.Column("master_sha256", sa.Text, nullable=False),
    sa.Column("recipe_sha256", sa.Text, nullable=False),
    sa.Column("published_at_s", sa.Float, nullable=False),
    sa.Column("kept", sa.Boolean, nullable=False),
)


def open_engine(url: str) -> sa.Engine:
    """An engine over the SQLite file at *url*, whose folder is made.

    Raises:
        InvalidInputError: *url* is not ``sqlite:///path``.
        UnavailableError: The file is no database, or cannot be read or written.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        parsed = None
    if parsed is None or parsed.drivername != "sqlite" or not parsed.database:
        raise InvalidInputError("the catalogue's URL is unknown", hint="use sqlite:///path")
    try:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(parsed.database, timeout=BUSY_TIMEOUT_S)) as db:
            use_wal(db)
    except (OSError, sqlite3.Error) as error:
        raise UnavailableError(
            f"the catalogue {parsed.database} cannot be opened: {error}",
            hint="check the disk and the file's permissions",
        ) from error
    engine = sa.create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_S})
    sa.event.listen(engine, "connect", _configure)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves; the driver would say it too late
    connection.execute("PRAGMA synchronous = FULL")  # a published track survives a power cut


def _begin(connection: sa.Connection) -> None:
    # a write that starts as a read can fail when it turns into a write; this one waits first
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def make_tables(connection: sa.Connection) -> None:
    """Make what is missing; InvalidInputError if a later tonearm made the file."""
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if version > SCHEMA_VERSION:
        raise InvalidInputError(
            f"the catalogue has schema {version}; this tonearm knows {SCHEMA_VERSION}",
            hint="upgrade tonearm",
        )
    METADATA.create_all(connection)
    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


def row_of(entry: TrackEntry) -> dict[str, Any]:
    """The columns that *entry* fills."""
    return {
        "track_id": entry.track_id,
        "generation": entry.generation,
        "title": entry.title,
        "artist": entry.artist,
        "regions": list(entry.regions),
        "master_sha256": entry.master_sha256,
        "recipe_sha256": entry.recipe_sha256,
        "tiers": [tier.value for tier in entry.tiers],
        "schemes": [scheme.value for scheme in entry.schemes],
        "duration_ticks": entry.duration_ticks,
        "timescale": entry.timescale,
        **{name: getattr(entry.loudness, name) for name in LOUDNESS},
        "album_id": entry.album_id,
        "album_position": entry.album_position,
    }


def track_of(row: Mapping[Any, Any]) -> Track:
    """What a row of `TRACKS` says."""
    entry = TrackEntry(
        track_id=row["track_id"],
        generation=row["generation"],
        title=row["title"],
        artist=row["artist"],
        regions=tuple(row["regions"]),
        master_sha256=row["master_sha256"],
        recipe_sha256=row["recipe_sha256"],
        tiers=tuple(Tier(tier) for tier in row["tiers"]),
        schemes=tuple(Scheme(scheme) for scheme in row["schemes"]),
        duration_ticks=row["duration_ticks"],
        timescale=row["timescale"],
        loudness=Loudness(**{name: row[name] for name in LOUDNESS}),
        album_id=row["album_id"],
        album_position=row["album_position"],
    )
    return Track(entry, Status(row["status"]), Tail(row["tail"]), row["published_at_s"])


def publication_of(row: Mapping[Any, Any]) -> Publication:
    """What a row of `GENERATIONS` says."""
    return Publication(**row)
