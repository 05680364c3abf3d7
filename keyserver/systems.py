"""Which DRM systems an operator has chosen: a table of the vault, so that all roles agree."""

import sqlite3
from collections.abc import Sequence

from core.errors import IntegrityError, InvalidInputError
from keyserver.database import transaction
from keyserver.signals import CLEARKEY, SYSTEMS


def chosen_systems(database: sqlite3.Connection) -> tuple[str, ...]:
    """Names from `SYSTEMS`, in the order that was given; ClearKey until others are chosen.

    Raises:
        IntegrityError: One is not known to this version.
    """
    rows = database.execute("SELECT name FROM drm_system ORDER BY position")
    names = tuple(name for [name] in rows) or (CLEARKEY,)
    if unknown := set(names) - SYSTEMS.keys():
        raise IntegrityError(f"the vault names a DRM system that is not known: {min(unknown)}")
    return names


def choose_systems(database: sqlite3.Connection, names: Sequence[str]) -> None:
    """Replace the choice.

    Raises:
        InvalidInputError: A name is unknown.
    """
    if unknown := set(names) - SYSTEMS.keys():
        raise InvalidInputError(
            f"unknown DRM system {min(unknown)}", hint=f"one of {', '.join(SYSTEMS)}"
        )
    with transaction(database):
        database.execute("DELETE FROM drm_system")
        rows = enumerate(dict.fromkeys(names), 1)
        database.executemany("INSERT INTO drm_system VALUES (?, ?)", rows)
