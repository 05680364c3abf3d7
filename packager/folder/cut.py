"""A packaged file cut into the files of its segments."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from core.errors import IntegrityError
from core.model import MediaFile
from packager.manifest.places import init_name, segment_name

_HINT = "is the disk sound, and does nothing else write there?"

Sealing = Callable[[int, bytes], bytes]
"""Given the number of a segment, from 0, and its bytes: what is written instead of them."""


def cut(path: Path, file: MediaFile, seal: Sealing | None = None) -> list[int]:
    """Replace *path* by `{rendition}/init.mp4` and `{rendition}/{n}.m4s`.

    The file was proved before, but is read again here: its hash, which was taken when it was
    written, says that these are the bytes that were proved.

    Returns:
        The sizes of the segments as they were written.

    Raises:
        IntegrityError: The file has changed on disk.
    """
    folder, name = path.parent, path.stem
    (folder / name).mkdir()
    digest, sizes = hashlib.sha256(), []
    with path.open("rb") as source:

        def read(size: int) -> bytes:
            data = source.read(size)
            digest.update(data)
            return data

        (folder / init_name(name)).write_bytes(read(file.init_size))
        read(file.index_size)
        for number, size in enumerate(file.segment_sizes):
            segment = read(size)
            written = seal(number, segment) if seal else segment
            place = folder / segment_name(name, number + 1)
            place.write_bytes(written)
            if place.read_bytes() != written:
                raise IntegrityError(f"{place.name} of {name} cannot be read back", hint=_HINT)
            sizes.append(len(written))
        digest.update(source.read(1))
    if digest.hexdigest() != file.sha256:
        raise IntegrityError(f"{path.name} changed on disk after it was written", hint=_HINT)
    path.unlink()
    return sizes
