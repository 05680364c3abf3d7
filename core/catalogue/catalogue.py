"""The catalogue's verbs; each is one transaction.

Calls block for as long as the disk takes: a server runs them in a thread. One catalogue may
be used by many threads, and one file by many processes.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from core import ids
from core.catalogue.entries import (
    Publication,
    Status,
    Tail,
    Track,
    TrackEntry,
    check_entry,
)
from core.catalogue.tables import (
    GENERATIONS,
    TRACKS,
    make_tables,
    open_engine,
    publication_of,
    row_of,
    track_of,
)
from core.errors import ConflictError, NotFoundError, UnavailableError

MAX_PAGE = 1000
"""Tracks of one answer of `Catalogue.list`, publications of one `history`."""

MAX_ALBUM = 1000
"""Tracks of one album."""


class Catalogue:
    """Tracks, their generations and albums in one SQLite file."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str) -> "Catalogue":
        """The catalogue at *url*, ``sqlite:///path``; made if it is not there.

        Raises:
            InvalidInputError: The URL is unknown, or a later tonearm made the file.
            UnavailableError: The file is no database, or cannot be read or written.
        """
        catalogue = cls(open_engine(url))
        try:
            with catalogue._writing() as connection:
                make_tables(connection)
        except BaseException:
            catalogue.close()
            raise
        return catalogue

    def publish(self, entry: TrackEntry, *, published_at_s: float) -> str | None:
        """Make *entry* the current one; return the generation it follows, None if it is the first.

        The same generation published again only changes the terms (regions, titles): it is not a
        new line of the history, and the tail stays where it is.

        Raises:
            ConflictError: The track is withdrawn: a release must not undo a withdrawal.
            InvalidInputError: A field is out of its bounds.
        """
        check_entry(entry)
        with self._writing() as connection:
            current = _find(connection, entry.track_id)
            if current is None:
                connection.execute(TRACKS.insert().values(**row_of(entry), **_new(published_at_s)))
                _record(connection, entry, published_at_s)
                return None
            if current.status is Status.WITHDRAWN:
                raise ConflictError(
                    f"track {entry.track_id} is withdrawn", hint="restore or remove it first"
                )
            changed = row_of(entry)
            if current.entry.generation != entry.generation:
                changed |= _new(published_at_s)
                _record(connection, entry, published_at_s)
            connection.execute(_update(entry.track_id).values(**changed))
            return current.entry.generation

    def get(self, track_id: str) -> Track | None:
        """The track, published or withdrawn; None if there is none."""
        with self._reading() as connection:
            return _find(connection, track_id)

    def list(self, after: str = "", limit: int = MAX_PAGE) -> tuple[Track, ...]:
        """Up to *limit* tracks, by id, behind the id *after*; at most `MAX_PAGE`."""
        query = TRACKS.select().where(TRACKS.c.track_id > after).order_by(TRACKS.c.track_id)
        with self._reading() as connection:
            rows = connection.execute(query.limit(_page(limit))).mappings()
            return tuple(track_of(row) for row in rows)

    def album(self, album_id: str) -> tuple[Track, ...]:
        """The tracks of an album, in their order; those without a position come last, by id."""
        place = sa.nulls_last(TRACKS.c.album_position)
        query = TRACKS.select().where(TRACKS.c.album_id == album_id)
        with self._reading() as connection:
            rows = connection.execute(query.order_by(place, TRACKS.c.track_id).limit(MAX_ALBUM))
            return tuple(track_of(row) for row in rows.mappings())

    def history(self, track_id: str, limit: int = MAX_PAGE) -> tuple[Publication, ...]:
        """What was published under an id, newest first; it outlives `remove`."""
        query = GENERATIONS.select().where(GENERATIONS.c.track_id == track_id)
        with self._reading() as connection:
            newest_first = query.order_by(GENERATIONS.c.number.desc()).limit(_page(limit))
            rows = connection.execute(newest_first).mappings()
            return tuple(publication_of(row) for row in rows)

    def generations_kept(self, track_id: str) -> tuple[str, ...]:
        """Generations whose objects are not known to be deleted, the current one included."""
        kept = [line.generation for line in self.history(track_id) if line.kept]
        return tuple(dict.fromkeys(kept))

    def drop_generation(self, track_id: str, generation: str) -> None:
        """Record that a generation's objects are deleted.

        Raises:
            ConflictError: It is the current generation.
        """
        with self._writing() as connection:
            current = _find(connection, track_id)
            if current is not None and current.entry.generation == generation:
                raise ConflictError(f"{generation} is the current generation of {track_id}")
            lines = (GENERATIONS.c.track_id == track_id, GENERATIONS.c.generation == generation)
            connection.execute(GENERATIONS.update().where(*lines).values(kept=False))

    def withdraw(self, track_id: str) -> Track:
        """Take a track from players; everything is kept. Withdrawn already: no error."""
        return self._change(track_id, status=Status.WITHDRAWN.value)

    def restore(self, track_id: str) -> Track:
        """Give a withdrawn track back to players. Published already: no error."""
        return self._change(track_id, status=Status.PUBLISHED.value)

    def set_tail(self, track_id: str, tail: Tail, *, generation: str) -> bool:
        """Record where the tail of *generation* is; False if another one is current by now."""
        with self._writing() as connection:
            same = _update(track_id).where(TRACKS.c.generation == generation)
            if connection.execute(same.values(tail=tail.value)).rowcount:
                return True
            _get(connection, track_id)
            return False

    def remove(self, track_id: str) -> tuple[str, ...]:
        """Forget a track but not its history; return `generations_kept`, to be deleted.

        Delete their objects *before* the call and a crash leaves a track that can be removed
        again, or *after* it and `generations_kept` still names what is left.
        """
        with self._writing() as connection:
            _get(connection, track_id)
            connection.execute(TRACKS.delete().where(TRACKS.c.track_id == track_id))
        return self.generations_kept(track_id)

    def close(self) -> None:
        """Give back the connections."""
        self._engine.dispose()

    def _change(self, track_id: str, **values: str) -> Track:
        with self._writing() as connection:
            connection.execute(_update(track_id).values(**values))
            return _get(connection, track_id)

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with _clear_errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """One transaction, alone in the file from its first statement."""
        with (
            _clear_errors(),
            self._engine.connect() as connection,
            connection.execution_options(writes=True).begin(),
        ):
            yield connection


@contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise UnavailableError(
            f"the catalogue does not work: {error.orig}",
            hint="check the disk, its free space and the file's permissions",
        ) from error


def _find(connection: sa.Connection, track_id: str) -> Track | None:
    query = TRACKS.select().where(TRACKS.c.track_id == ids.TRACK_ID.check(track_id))
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else track_of(row)


def _get(connection: sa.Connection, track_id: str) -> Track:
    track = _find(connection, track_id)
    if track is None:
        raise NotFoundError(
            f"there is no track {track_id}", hint="`tonearm track list` names them all"
        )
    return track


def _update(track_id: str) -> sa.Update:
    return TRACKS.update().where(TRACKS.c.track_id == ids.TRACK_ID.check(track_id))


def _new(published_at_s: float) -> dict[str, str | float]:
    """The columns of a new generation: published, and hot from end to end."""
    return {
        "status": Status.PUBLISHED.value,
        "tail": Tail.HOT.value,
        "published_at_s": published_at_s,
    }


def _record(connection: sa.Connection, entry: TrackEntry, published_at_s: float) -> None:
    """Add a line to the history; a generation that comes back is kept again."""
    lines = GENERATIONS.c.track_id == entry.track_id
    last = connection.execute(sa.select(sa.func.max(GENERATIONS.c.number)).where(lines)).scalar()
    connection.execute(
        GENERATIONS.insert().values(
            track_id=entry.track_id,
            number=(last or 0) + 1,
            generation=entry.generation,
            master_sha256=entry.master_sha256,
            recipe_sha256=entry.recipe_sha256,
            published_at_s=published_at_s,
            kept=True,
        )
    )


def _page(limit: int) -> int:
    return max(1, min(limit, MAX_PAGE))
