"""The processes this one has started, so that none outlives it."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence

from core.errors import ToolkitError

PIPE_SIZE = 1 << 20
"""Bytes; the default of 64 KiB would wake us 40 times for one second of hi-res audio."""


class CancelledByUserError(ToolkitError):
    """The user stopped the run."""

    slug = "cancelled"


class Children:
    """Starts processes in their own groups and can end them all, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._cancelled = False

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def check(self) -> None:
        """Raise `CancelledByUserError` after `cancel`."""
        if self._cancelled:
            raise CancelledByUserError("stopped")

    def cancel(self) -> None:
        """Kill every child and let none start any more."""
        with self._lock:
            self._cancelled = True
            running = list(self._running)
        for process in running:
            kill(process)

    @contextlib.contextmanager
    def started(self, argv: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
        """Run *argv* with pipes on stdout and stderr; the process is gone when the block ends."""
        with self._lock:
            self.check()
            # Its own session: the terminal's Ctrl-C reaches us alone, and we end it in order.
            process = subprocess.Popen(  # noqa: S603 - argv is ours, there is no shell
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                pipesize=PIPE_SIZE,
            )
            self._running.add(process)
        try:
            yield process
        finally:
            kill(process)
            process.wait()
            with self._lock:
                self._running.discard(process)
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group at once, if it still runs."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
