"""Where a master is worked on, so that a run that dies loses nothing it had finished.

``work/{key}/`` belongs to one master and one way of encoding it, whatever the ladder::

    attempt/       encodes that nobody has checked: worthless, whoever finds them
    findings.json  what the meters heard; written before the first rung is marked
    {rung}.mp4     taken out of attempt/ once it was checked ...
    {rung}.done    ... and its mark, after it: size and hash
    packaged/      files on their way to the store: worthless without the run that made them
    ../{key}.lock  held by the one process that works here

So a rung counts when its mark describes the file beside it. A process may die at any line of this
module: an encode without mark is made again, a mark without its file counts as none, and findings
without a rung are measured again at no harm, because they would come out the same.

The kernel drops the lock of a dead process, so nobody waits for it. A lock file is removed by its
owner; one who opens it meanwhile holds a file that has no name any more, and tries again. Leaving a
workspace removes what is worthless, and the workspace itself if no rung in it was finished.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import ConflictError
from core.model import Rung
from ingest.measure.meters import Findings


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folder of one master: a name and what lies where; `opened` says whose it is."""

    folder: Path

    @property
    def attempt(self) -> Path:
        """For encodes that are not checked yet."""
        return self.folder / "attempt"

    @property
    def packaged(self) -> Path:
        """For CMAF files on their way to the store."""
        return self.folder / "packaged"

    def rung(self, rung: Rung) -> Path:
        """Where a finished rung lies."""
        return self.folder / f"{rung.name}.mp4"

    def has(self, rung: Rung) -> bool:
        """Whether a rung is finished and as it was when it was checked."""
        try:
            mark = json.loads(self._mark(rung).read_bytes())
            return bool(mark == _describe(self.rung(rung)))
        except (OSError, ValueError):
            return False

    def findings(self) -> Findings | None:
        """What the meters found in an earlier run, if it got that far."""
        try:
            return Findings.decode((self.folder / "findings.json").read_bytes())
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, rungs: tuple[Rung, ...], findings: Findings) -> None:
        """Take checked rungs out of `attempt` and mark them; the findings come first."""
        write_whole(self.folder / "findings.json", findings.encode())
        for rung in rungs:
            (self.attempt / f"{rung.name}.mp4").replace(self.rung(rung))
            write_whole(self._mark(rung), json.dumps(_describe(self.rung(rung))).encode())

    def fresh(self, folder: Path) -> Path:
        """*folder*, which is ours, empty."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def clear_attempts(self) -> None:
        """Remove what is not finished; keep what carries a mark."""
        for folder in (self.attempt, self.packaged):
            shutil.rmtree(folder, ignore_errors=True)
        if not any(self.folder.glob("*.done")):
            shutil.rmtree(self.folder, ignore_errors=True)

    def remove(self) -> None:
        """The track is published: nothing here is needed any more."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _mark(self, rung: Rung) -> Path:
        return self.folder / f"{rung.name}.done"


def workspace_key(track_id: str, master_sha256: str, settings: str) -> str:
    """The folder's name: track, master, and everything that alters an encode but the rung."""
    return f"{track_id}-{master_sha256[:16]}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"


@contextlib.contextmanager
def opened(work_dir: Path, key: str) -> Iterator[Workspace]:
    """The workspace *key*, ours alone until the block ends; attempts do not survive the block.

    Raises:
        ConflictError: Another process works on this master.
    """
    workspace = Workspace(work_dir / key)
    with locked(work_dir / f"{key}.lock"):
        workspace.folder.mkdir(parents=True, exist_ok=True)
        try:
            yield workspace
        finally:
            workspace.clear_attempts()


def discard(work_dir: Path, key: str) -> None:
    """Remove a workspace that a dead run left behind, if there is one."""
    if (work_dir / key).exists() or (work_dir / f"{key}.lock").exists():
        with opened(work_dir, key) as workspace:
            workspace.remove()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file *path*, which is removed afterwards.

    Raises:
        ConflictError: Another process, or another task of this one, holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConflictError(
                    "another run is at work on this track", hint="wait until it has finished"
                ) from None
            if not _is_at(lock.fileno(), path):
                continue  # its last owner has removed it since we opened it
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _describe(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"size": os.fstat(file.fileno()).st_size, "sha256": digest}


def write_whole(path: Path, data: bytes) -> None:
    """Write *data* to *path*, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(data)
    partial.replace(path)
