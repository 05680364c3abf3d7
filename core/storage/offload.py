"""Blocking calls off the event loop, in threads of their own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from core.errors import UnavailableError

MAX_PENDING = 2048
"""Calls that run or wait in one pool; more are refused."""

P = ParamSpec("P")
T = TypeVar("T")


class Offload:
    """A bounded pool: at most *threads* calls run, at most `MAX_PENDING` run or wait."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._pending = 0

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What *call* returns or raises; a cancelled caller leaves the call to finish.

        Raises:
            UnavailableError: `MAX_PENDING` calls are waiting already.
        """
        if self._pending >= MAX_PENDING:
            raise UnavailableError(f"{self._name} has {MAX_PENDING} calls waiting")
        loop = asyncio.get_running_loop()
        self._pending += 1
        future = loop.run_in_executor(self._executor, partial(call, *args, **kwargs))
        future.add_done_callback(self._done)
        return await future

    def _done(self, future: asyncio.Future[T]) -> None:
        self._pending -= 1
        if not future.cancelled():
            future.exception()  # the caller may be gone: the error is not "never retrieved"

    async def aclose(self) -> None:
        """Wait for the calls that run; those that wait are dropped."""
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)
