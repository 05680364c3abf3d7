"""A demo from its first process to its last.

Theory of operation. Everything that can be refused is refused before there is work: the caller
hands in sockets that listen already, and `serve` is started first and must answer. Then the page
opens, and masters are made and ingested while it is shown; a track appears on it as soon as it is
published. Whatever ends the demo (a signal, a server that dies, masters of which none plays), the
way out is the same: the running child is ended, waited for, and killed if it does not go; then the
server; then the page and its pathways.

Children have sessions of their own, so that Ctrl-C in a terminal is ours alone to handle, and a
child ends with all that it has started.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from core.errors import ToolkitError, UnavailableError
from core.output import print_line, print_note
from core.web import LOG
from origin.demo.masters import IngestRun, Refusal, synthesised_runs
from origin.demo.page_server import DemoPage, Listeners, create_page_app
from origin.demo.preparation import Preparation

READY_TIMEOUT_S = 30.0
"""How long the server may take to start."""
STOP_TIMEOUT_S = 15.0
"""How long a child may take to end before it is killed."""
MAX_LINE_SIZE = 1024 * 1024
"""Bytes of one line of what `ingest --json` prints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """What a demo is told to do.

    Attributes:
        home: Where state lies.
        options: Of every `tonearm` that is run, before the command.
        runs: Masters to ingest; None to synthesise some.
        seconds: Length of the masters that are synthesised.
        on_ready: Called once the page answers.
    """

    home: Path
    options: tuple[str, ...]
    runs: list[IngestRun] | None
    seconds: int
    on_ready: Callable[[], object]


def run_show(
    show: Show, page: DemoPage, listeners: Listeners, preparation: Preparation
) -> signal.Signals:
    """Show it until a signal comes, and say which one.

    Raises:
        ToolkitError: The server does not run, or nothing plays.
    """
    return asyncio.run(_run(show, page, listeners, preparation))


async def _run(
    show: Show, page: DemoPage, listeners: Listeners, preparation: Preparation
) -> signal.Signals:
    loop = asyncio.get_running_loop()
    ending: asyncio.Future[signal.Signals] = loop.create_future()

    def end(number: signal.Signals) -> None:
        if not ending.done():
            ending.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        loop.add_signal_handler(signal.SIGHUP, end, signal.SIGHUP)
    app = create_page_app(page, listeners, preparation)
    # our own logger: aiohttp's would print a traceback for each request that is none
    runner = web.AppRunner(app, access_log=None, logger=app[LOG], auto_decompress=False)
    await runner.setup()
    try:
        pathways = [f"--pathway={p.id}={p.base_url}" for p in page.pathways]
        serve = ["serve", "--port", str(page.server_port), *page.serve_options, *pathways]
        async with _child(_tonearm(show, serve)) as server:
            work = asyncio.create_task(_prepare(show, page, preparation, server))
            works = [work, asyncio.create_task(server.wait())]
            try:
                await web.SockSite(runner, listeners.page).start()
                return await _outcome(ending, *works)
            finally:
                for task in works:
                    task.cancel()
                await asyncio.gather(*works, return_exceptions=True)
    finally:
        await runner.cleanup()


async def _outcome(
    ending: asyncio.Future[signal.Signals], work: asyncio.Task[Any], server: asyncio.Task[Any]
) -> signal.Signals:
    """The signal that ends it all; what goes wrong before is raised."""
    await asyncio.wait({ending, work, server}, return_when=asyncio.FIRST_COMPLETED)
    if work.done():
        await work
        await asyncio.wait({ending, server}, return_when=asyncio.FIRST_COMPLETED)
    if ending.done():
        return ending.result()
    raise UnavailableError("the server has ended", hint="see its lines above")


async def _prepare(show: Show, page: DemoPage, preparation: Preparation, server: Process) -> None:
    """Wait for the server, open the page, and publish one master after the other."""
    await _until_ready(f"{page.server_url}/readyz", server)
    show.on_ready()
    runs = show.runs
    if runs is None:
        preparation.stage = "making music"
        runs = synthesised_runs(await _synthesise(show))
    preparation.stage = "transcoding, measuring and encrypting"
    preparation.named = preparation.named or [str(p) for run in runs for p in run.masters]
    preparation.waiting = len(preparation.named)
    for run in runs:
        await _ingest(show, run, preparation)
    preparation.stage = ""
    if preparation.named and not preparation.ready:
        raise ToolkitError(
            "there is nothing to play: no master could be ingested", hint="see the lines above"
        )


async def _until_ready(url: str, server: Process) -> None:
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    async with ClientSession(timeout=ClientTimeout(total=2)) as session:
        while time.monotonic() < deadline_s and server.returncode is None:
            try:
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            except (ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.1)
    raise UnavailableError("the server did not become ready", hint="see its lines above")


async def _synthesise(show: Show) -> Path:
    """Masters of the wanted length; made once, since the same command gives the same bytes."""
    folder = show.home / "masters" / f"{show.seconds}s"
    if folder.exists():
        return folder
    print_note(f"Synthesising masters of {show.seconds} s")
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    module = [sys.executable, "-P", "-m", "ingest.master.synthesis"]
    command = [*module, str(partial), "--seconds", str(show.seconds)]
    async with _child(command, stdout=PIPE) as child:
        await child.communicate()  # it prints paths, which are nobody's business
    if child.returncode != 0:
        raise ToolkitError("the demo's masters could not be made", hint="see the lines above")
    partial.rename(folder)
    return folder


async def _ingest(show: Show, run: IngestRun, preparation: Preparation) -> None:
    """Run `tonearm ingest`; it says on our stderr what is wrong with a master."""
    masters = [str(path) for path in run.masters]
    ingest = ["ingest", "--json", "--scheme", "both", "--lossless", *run.options, "--", *masters]
    said: set[str] = set()
    async with _child(_tonearm(show, ingest), stdout=PIPE, limit=MAX_LINE_SIZE) as child:
        assert child.stdout is not None
        async for line in child.stdout:
            outcome = json.loads(line)
            said.add(outcome["path"])
            _take_in(outcome, preparation)
    for path in masters:
        if path not in said:
            preparation.waiting -= 1
            refusal = Refusal(Path(path).name, "it was not ingested", "the terminal says more")
            preparation.refused.append(refusal)


def _take_in(outcome: dict[str, Any], preparation: Preparation) -> None:
    preparation.waiting -= 1
    name = Path(outcome["path"]).name
    if error := outcome.get("error"):
        preparation.refused.append(Refusal(name, error, outcome.get("hint", "")))
        return
    track_id = outcome["trackId"]
    preparation.ready[track_id] = preparation.named.index(outcome["path"])
    print_line(f"plays     {name} ({track_id})")


def _tonearm(show: Show, arguments: list[str]) -> list[str]:
    # -P: what lies in the working folder is not ours
    return [sys.executable, "-P", "-m", "cli", *show.options, *arguments]


@contextlib.asynccontextmanager
async def _child(command: list[str], **streams: Any) -> AsyncIterator[Process]:
    """A process that is over when the block is."""
    child = await asyncio.create_subprocess_exec(*command, start_new_session=True, **streams)
    try:
        yield child
    finally:
        _signal(child, signal.SIGTERM)
        try:
            await asyncio.wait_for(child.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            _signal(child, signal.SIGKILL)
            await child.wait()


def _signal(child: Process, number: signal.Signals) -> None:
    """To *child* and all that it has started, if it is still there."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
