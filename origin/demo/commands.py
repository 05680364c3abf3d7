"""`tonearm demo`: what a newcomer would type, typed for them, and a page to hear it on.

It runs the very commands a user runs (`ingest`, `serve`) as child processes, puts two shaped
pathways in front of the server, and serves one page. Nothing in it takes a short cut.
"""

import subprocess
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from core.errors import ToolkitError
from core.home import Home
from core.output import print_line, print_note
from core.wiring import Wiring

if TYPE_CHECKING:  # slow to import, and help must be quick
    from origin.demo.page_server import DemoPage

STOP_TIMEOUT_S = 15.0
"""How long the server may take to end before it is killed."""
SYNTHESIS_TIMEOUT_S = 600.0
"""How long making the masters may take."""


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65533),
    default=8080,
    show_default=True,
    help="Players use this port on 127.0.0.1 and 127.0.0.2; the page the next one.",
)
@click.option(
    "--seconds",
    type=click.IntRange(6, 600),
    default=30,
    show_default=True,
    help="Length of the masters.",
)
@click.option(
    "--players",
    type=click.Path(file_okay=False, path_type=Path),
    show_default=True,
    default="node_modules",
    help="Folder that holds shaka-player.",
)
@click.option("--open/--no-open", "open_page", default=True, help="Open the page in a browser.")
@click.pass_obj
def demo(wiring: Wiring, *, port: int, seconds: int, players: Path, open_page: bool) -> None:
    """Synthesise masters, ingest them, serve everything and open a page that plays them."""
    from origin.demo.page_server import DemoPage, run_page

    masters = _synthesise(wiring.home.path / "masters", seconds)
    print_note(f"Ingesting {len(masters)} masters")
    ingest = ["ingest", "--scheme", "both", "--lossless", *map(str, masters)]
    if _tonearm(wiring.home, ingest).wait() != 0:
        raise ToolkitError("the demo's masters could not be ingested", hint="see the lines above")
    page = DemoPage(
        port=port,
        players=players.absolute(),
        catalogue=wiring.catalogue(),
        store=wiring.store(),
        user_secret=wiring.home.keyring.secret("user"),
    )
    with _server(wiring.home, page):
        run_page(page, when_ready=lambda: _announce(page, open_page=open_page))


def _announce(page: "DemoPage", *, open_page: bool) -> None:
    url = f"http://127.0.0.1:{page.page_port}/"
    print_line(f"page      {url}")
    for shaped in page.pathways:
        print_line(f"pathway   {shaped.base_url} ({shaped.id}, +{shaped.latency_ms} ms)")
    print_line(f"server    {page.server_url}")
    if not (page.players / "shaka-player").exists():
        print_note("missing   shaka-player: run 'make players' (needs npm)")
    print_note("Press Ctrl-C to stop.")
    if open_page:
        webbrowser.open(url)


def _synthesise(folder: Path, seconds: int) -> list[Path]:
    """Masters of *seconds*; made once, since the same command gives the same bytes."""
    folder = folder / f"{seconds}s"
    command = [
        sys.executable,
        "-P",
        "-m",
        "ingest.master.synthesis",
        str(folder),
        "--seconds",
        str(seconds),
    ]
    if not folder.exists():
        print_note(f"Synthesising masters of {seconds} s")
        partial = folder.with_suffix(".partial")
        command[4] = str(partial)
        subprocess.run(command, check=True, stdout=sys.stderr, timeout=SYNTHESIS_TIMEOUT_S)  # noqa: S603  our own module
        partial.rename(folder)
    return sorted(p for p in folder.iterdir() if p.is_file())


def _tonearm(home: Home, arguments: list[str]) -> subprocess.Popen[bytes]:
    # -P: what lies in the working folder is not ours
    command = [sys.executable, "-P", "-m", "cli", "--home", str(home.path), *arguments]
    return subprocess.Popen(command)  # noqa: S603  our own command line


@contextmanager
def _server(home: Home, page: "DemoPage") -> Iterator[None]:
    pathways = [f"--pathway={p.id}={p.base_url}" for p in page.pathways]
    server = _tonearm(
        home, ["serve", "--port", str(page.server_port), "--steering-ttl", "5", *pathways]
    )
    try:
        yield
    finally:
        server.terminate()
        try:
            server.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
