"""Short-lived state behind one protocol."""

from pathlib import Path

from core.errors import InvalidInputError
from core.state.memory import MemoryState
from core.state.protocol import StateStore
from core.state.sqlite import SqliteState

__all__ = ["StateStore", "open_state"]


def open_state(url: str) -> StateStore:
    """The state store at *url*: ``memory:`` or ``sqlite:/path``; no file is touched yet.

    Raises:
        InvalidInputError: No state store has such a URL.
    """
    scheme, _, path = url.partition(":")
    if scheme == "memory" and not path:
        return MemoryState()
    if scheme == "sqlite" and path:
        return SqliteState(Path(path))
    raise InvalidInputError(f"no state store is at {url!r}", hint="use memory: or sqlite:/path")
