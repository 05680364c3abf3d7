"""How much of each kind of work goes on at a time.

Each kind has threads of its own, so that no kind waits behind another: an encoder's thread holds
its place for as long as its ffmpeg runs, minutes, and what was encoded must not wait for that to be
packaged. Work that nobody has begun is dropped when its track is cancelled. Work that runs cannot
be dropped: whoever is cancelled waits for its end, because it writes into a workspace that would
else be given up under its hands. It is short, but for encoding and hashing, which `children` ends.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from ingest.encode.children import Children

READERS = 4
"""Masters that are probed or hashed at a time: it is the disk that they wait for, and a disk that
reads more files at once is slower, not faster."""
ASKERS = 4
"""Requests for keys under way: many more would only queue in one key server or one vault's file."""
TRACKS_AHEAD = 8
"""Tracks at work besides those that are encoded: read before it, packaged and stored after it. Each
holds a lock file and its encoded rungs, which is what is limited here."""

P = ParamSpec("P")
T = TypeVar("T")


class Slots:
    """The executors of one run.

    Attributes:
        children: Processes that the work has started. Reading and encoding are cancelled when the
            whole run is, and not before: then these end, too.
        places: Of tracks at work. Tracks of one album wait for each other and must not ask for one.
    """

    def __init__(self, jobs: int) -> None:
        self.children = Children()
        self.places = asyncio.Semaphore(jobs + TRACKS_AHEAD)
        self._reading = ThreadPoolExecutor(READERS, "read")
        self._asking = ThreadPoolExecutor(ASKERS, "ask")
        # As the user says: a thread waits for one ffmpeg, and listens to what it decodes.
        self._encoding = ThreadPoolExecutor(jobs, "encode")
        # Arithmetic from end to end: one rung for each core.
        self._packaging = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "package")

    async def read(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What *work* returns or raises, which looks at a master."""
        return await self._run(self._reading, partial(work, *args, **kwargs), self.children.cancel)

    async def ask(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What *work* returns or raises, which asks for keys."""
        return await self._run(self._asking, partial(work, *args, **kwargs))

    async def encode(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What *work* returns or raises, which runs ffmpeg."""
        return await self._run(self._encoding, partial(work, *args, **kwargs), self.children.cancel)

    async def package(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What *work* returns or raises, which writes and proves files."""
        return await self._run(self._packaging, partial(work, *args, **kwargs))

    async def _run(
        self,
        executor: ThreadPoolExecutor,
        work: Callable[[], T],
        hurry: Callable[[], None] = lambda: None,
    ) -> T:
        """What *work* returns or raises; *hurry* makes work that nobody wants any more end soon."""
        running = executor.submit(work)
        result = asyncio.wrap_future(running)
        try:
            return await asyncio.shield(result)
        except asyncio.CancelledError:
            if not running.cancel():
                hurry()
                await _ended(result)
                result.exception()  # nobody asks for it any more, and asyncio would complain
            raise

    def close(self) -> None:
        """End every process and every thread; for when the run is over, however it ended."""
        self.children.cancel()
        for executor in (self._reading, self._asking, self._encoding, self._packaging):
            executor.shutdown(cancel_futures=True)


async def _ended(work: asyncio.Future[T]) -> None:
    """Wait for the end of *work*, however often we are cancelled meanwhile."""
    while not work.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([work])


async def gather(jobs: Sequence[Coroutine[None, None, T]]) -> list[T]:
    """The results in order; the first error stops the others and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in jobs]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
