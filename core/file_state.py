"""What tells that a file is not what it was when somebody looked at it.

Masters and encoded rungs are other people's, who may copy over them while they are read.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class FileState:
    """A file's size and time of change."""

    size: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Of the file at *path*, now."""
        stat = path.stat()
        return cls(stat.st_size, stat.st_mtime_ns)
