"""What a run tells while it goes on."""

from collections.abc import Callable
from enum import StrEnum


class Stage(StrEnum):
    """Where a track is; in this order."""

    CHECK = "check"
    QUEUED = "queued"
    ENCODE = "encode"
    ALBUM = "album"
    PACKAGE = "package"
    STORE = "store"
    DONE = "done"


Listener = Callable[[int, Stage, float], None]
"""Told the place of a master (from 1), its stage, and how much of that stage is done, 0 to 1.

Called from any thread."""
