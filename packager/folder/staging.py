"""A folder that appears whole or not at all."""

import contextlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import ConflictError, InvalidInputError


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of *folder* when all went well.

    It lies beside *folder*, so that a rename is all there is to do at the end. After an error
    nothing is left, not even the folders above that had to be made.

    Raises:
        ConflictError: There is something at *folder*, or it is the one that we are in.
        InvalidInputError: It cannot be written.
    """
    try:
        folder = folder.resolve()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConflictError(f"{folder} is not empty", hint="name a new folder, or remove it")
        if folder == Path.cwd():  # a shell in it would stay in the old one, which is gone
            raise ConflictError(f"{folder} is where you are", hint="name a folder below it")
        missing = [parent for parent in folder.parents if not parent.exists()]
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".tonearm-", dir=folder.parent) as staging:
                # below the private one: this has the permissions that folders have here
                target = Path(staging) / "folder"
                target.mkdir()
                yield target
                target.rename(folder)
        except BaseException:
            for parent in missing:
                with contextlib.suppress(OSError):
                    parent.rmdir()
            raise
    except OSError as error:
        raise InvalidInputError(
            f"{folder} cannot be written: {error.strerror}", hint="check permissions and disk space"
        ) from error
