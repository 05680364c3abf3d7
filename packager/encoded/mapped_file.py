"""Files as memory that is read when it is looked at, and given back when it was."""

import mmap
from pathlib import Path

from core.errors import MalformedBoxError


def map_file(path: Path) -> memoryview:
    """The bytes of a file, read when they are looked at; the last view of them closes it.

    Raises:
        MalformedBoxError: The file is empty.
    """
    with path.open("rb") as file:
        try:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except ValueError as error:
            raise MalformedBoxError(f"{path.name} is empty") from error


def release(view: memoryview, start: int, end: int) -> None:
    """Give back the memory of a part of a mapped file; it stays readable.

    *view* may start anywhere in the file: what is given back are the pages at these offsets of the
    file, which lie before those of the view. Callers go forward and do not look back.
    """
    first, last = (at // mmap.PAGESIZE * mmap.PAGESIZE for at in (start, end))
    if isinstance(view.obj, mmap.mmap) and last > first:
        view.obj.madvise(mmap.MADV_DONTNEED, first, last - first)
