"""`tonearm demo`: what a newcomer would type, typed for them, and a page to hear it on.

It runs the very commands a user runs (`serve`, `ingest`) as child processes, puts two shaped
pathways in front of the server, and serves one page. Nothing in it takes a short cut.
"""

import signal
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from core.errors import InvalidInputError
from core.output import print_error, print_line, print_note
from core.wiring import Wiring

if TYPE_CHECKING:  # slow to import, and help must be quick
    from origin.demo.masters import IngestRun
    from origin.demo.page_server import DemoPage
    from origin.demo.preparation import Preparation


@click.command()
@click.argument("masters", nargs=-1, type=click.Path(path_type=Path))
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
    help="Length of the masters that are synthesised.",
)
@click.option(
    "--players",
    type=click.Path(file_okay=False, path_type=Path),
    show_default=True,
    default="node_modules",
    help="Folder that holds shaka-player.",
)
@click.option("--open/--no-open", "open_page", default=True, help="Open the page in a browser.")
@click.pass_context
def demo(  # noqa: PLR0913  one argument per option is click's way
    ctx: click.Context,
    masters: tuple[Path, ...],
    *,
    port: int,
    seconds: int,
    players: Path,
    open_page: bool,
) -> None:
    """Play MASTERS, files or folders of them, on a page that shows all that happens on the way.

    Without MASTERS, what is published in the home plays; if nothing is, music is synthesised.
    """
    from origin.demo.page_server import DemoPage, listen_on
    from origin.demo.preparation import Preparation
    from origin.demo.show import Show, run_show

    wiring: Wiring = ctx.obj
    page = DemoPage(
        port=port,
        players=players.absolute(),
        catalogue=wiring.catalogue(),
        store=wiring.store(),
        user_secret=wiring.home.keyring.secret("user"),
    )
    with listen_on(page) as listeners:
        preparation = Preparation()
        show = Show(
            home=wiring.home.path,
            options=_options(wiring),
            runs=_runs(wiring, page, masters, preparation),
            seconds=seconds,
            on_ready=lambda: _announce(page, open_page=open_page),
        )
        ended_by = run_show(show, page, listeners, preparation)
    if ended_by is signal.SIGINT:
        ctx.exit(130)


def _options(wiring: Wiring) -> tuple[str, ...]:
    named = {
        "--home": str(wiring.home.path),
        "--store": wiring.store_url,
        "--cold-store": wiring.cold_store_url,
        "--key-source": wiring.key_source_url,
    }
    return tuple(word for name, value in named.items() if value for word in (name, value))


def _runs(
    wiring: Wiring, page: "DemoPage", masters: tuple[Path, ...], preparation: "Preparation"
) -> "list[IngestRun] | None":
    """What is to be ingested; None if masters are to be synthesised."""
    from origin.demo.masters import runs_for, select_masters

    if masters:
        selection = select_masters(masters)
        for refusal in selection.refused:
            print_error(InvalidInputError(refusal.reason, hint=refusal.hint), refusal.name)
        if not selection.masters:
            raise InvalidInputError("there is nothing to play", hint="name audio files")
        preparation.refused += selection.refused
        preparation.named = [str(path) for path in selection.masters]
        return runs_for(selection.masters)
    # nobody wants synthesised tracks among their own; what an earlier demo began is completed
    if page.catalogue.list(limit=1) and not (wiring.home.path / "masters").exists():
        return []
    return None


def _announce(page: "DemoPage", *, open_page: bool) -> None:
    print_line(f"page      {page.url}")
    for shaped in page.pathways:
        print_line(f"pathway   {shaped.base_url} ({shaped.id}, +{shaped.latency_ms} ms)")
    print_line(f"server    {page.server_url}")
    if not page.has_player:
        print_note(
            f"missing   shaka-player in {page.players}: run 'make players', or name --players"
        )
    print_note("Tracks appear on the page as they are ready. Press Ctrl-C to stop.")
    if open_page:
        webbrowser.open(page.url)
