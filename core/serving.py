"""`tonearm serve`: the roles of this process, its addresses, its workers and a clean end.

Theory of operation. The process that was started binds the sockets, forks the other workers, and
is a worker itself. SIGTERM and SIGINT are blocked from before the first fork until a worker's loop
handles them: a signal that comes while a worker still starts waits for it, and nobody is left
behind without a parent. What ends the first worker ends all: it tells the others before it looks
at its own requests, so all of them finish what they do in the same `SHUTDOWN_TIMEOUT_S`.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from core.errors import InvalidInputError
from core.ids import EVERYWHERE, PATHWAY_ID, REGION, check_base_url
from core.model import Pathway
from core.wiring import ServeOptions, Wiring

if TYPE_CHECKING:  # slow to import, and help must be quick
    from aiohttp import web

SHUTDOWN_TIMEOUT_S = 10.0
"""How long requests under way may take to end before they are cut off, in all workers at once."""
KEEPALIVE_TIMEOUT_S = 75.0
"""How long a connection may stay open between two requests."""
BACKLOG = 1024
"""Connections that wait to be accepted, per socket."""
MAX_WORKERS = 64
"""Processes that may share a port."""
PROBE_INTERVAL_BOUNDS_S = (0.1, 60.0)
"""More often is a load on the CDNs; more seldom, an outage would be over before it is seen."""
ROUTING_EPOCH_BOUNDS_S = (0.25, 60.0)
"""In each epoch every process reads and writes the state store."""
_ENDING = (signal.SIGTERM, signal.SIGINT)


def _pathways(
    _: click.Context, __: click.Parameter, values: tuple[str, ...]
) -> tuple[Pathway, ...]:
    pathways = []
    for value in values:
        name, url = value.split("=", 1) if "=" in value else ("", value)
        base_url = _base_of(url)
        if base_url is None or not PATHWAY_ID.fits(name):
            raise click.BadParameter(f"{value!r} is not ID=URL, as in eu-a=https://a.example")
        pathways.append(Pathway(name, base_url))
    if len({p.id for p in pathways}) < len(pathways):
        raise click.BadParameter("two pathways have the same id")
    return tuple(pathways)


def _base_of(url: str) -> str | None:
    """Scheme, host and port of *url*; None if it has none of ours."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # parsed on access; a bad one raises here
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return f"{parts.scheme}://{parts.netloc}"


@click.command()
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(["all", "origin", "keyserver", "router"]),
    default=("all",),
    show_default=True,
    help="What this process is; may be given several times.",
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    default=("127.0.0.1",),
    show_default=True,
    help="Address to listen on; may be given several times.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, MAX_WORKERS),
    default=1,
    show_default=True,
    help="Processes that share the port.",
)
@click.option(
    "--pathway",
    "pathways",
    multiple=True,
    metavar="ID=URL",
    callback=_pathways,
    help="A CDN that players may be sent to; may be given several times.",
)
@click.option(
    "--region", default=EVERYWHERE, show_default=True, help="Region this router measures from."
)
@click.option("--public-url", metavar="URL", help="Where players reach this process.")
@click.option("--license-base", metavar="URL", default="", help="Public base of the key server.")
@click.option("--router-url", metavar="URL", help="The router to ask, if it is another process.")
@click.option(
    "--steering-ttl", "steering_ttl_s", type=click.IntRange(1, 3600), help="Seconds, for all."
)
@click.option(
    "--probe-interval",
    "probe_interval_s",
    type=click.FloatRange(*PROBE_INTERVAL_BOUNDS_S),
    help="Seconds between two probes of a pathway.",
)
@click.option(
    "--routing-epoch",
    "routing_epoch_s",
    type=click.FloatRange(*ROUTING_EPOCH_BOUNDS_S),
    help="Seconds in which the order of pathways changes at most once.",
)
@click.pass_obj
def serve(  # noqa: PLR0913  one argument per option is click's way
    wiring: Wiring,
    *,
    roles: tuple[str, ...],
    hosts: tuple[str, ...],
    port: int,
    workers: int,
    pathways: tuple[Pathway, ...],
    region: str,
    public_url: str | None,
    license_base: str,
    router_url: str | None,
    steering_ttl_s: int | None,
    probe_interval_s: float | None,
    routing_epoch_s: float | None,
) -> None:
    """Serve tracks, keys and pathway decisions to players and edges."""
    from core.telemetry import Metrics, open_log
    from core.web import create_app

    # the router first: the origin asks it
    every = ("router", "keyserver", "origin")
    host = f"[{hosts[0]}]" if ":" in hosts[0] else hosts[0]
    given = (
        ("--public-url", public_url),
        ("--license-base", license_base),
        ("--router-url", router_url),
    )
    for option, url in given:
        check_base_url(url or "", option)
    public_url = (public_url or f"http://{host}:{port}").rstrip("/")
    options = ServeOptions(
        roles=tuple(r for r in every if r in roles or "all" in roles),
        pathways=pathways or (Pathway("default", public_url),),
        region=REGION.check(region, "--region"),
        public_url=public_url,
        license_base=(license_base or public_url).rstrip("/"),
        router_url=router_url,
        steering_ttl_s=steering_ttl_s,
        probe_interval_s=probe_interval_s,
        routing_epoch_s=routing_epoch_s,
    )
    log = open_log("tonearm")

    def create() -> "web.Application":
        app = create_app(Metrics.create(), log)
        for role in options.roles:
            wiring.setup_role(role, app, options)
        return app

    run(create, [(host, port) for host in hosts], workers=workers, log=log)


def run(
    create: Callable[[], "web.Application"],
    addresses: Sequence[tuple[str, int]],
    *,
    workers: int,
    log: logging.Logger,
) -> None:
    """Serve on every address until SIGTERM or SIGINT; each worker makes its own application.

    Raises:
        InvalidInputError: An address cannot be listened on.
    """
    # bound once here: a port that is taken is one clear error, not one per worker
    sockets = [listen(host, port) for host, port in addresses]
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    children: list[int] = []
    for _ in range(workers - 1):
        pid = os.fork()
        if pid == 0:
            _run(create, sockets, log, others=[])
            os._exit(0)
        children.append(pid)
    try:
        _run(create, sockets, log, others=children)
    finally:
        _end(children)
        for pid in children:
            os.waitpid(pid, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def _end(workers: Sequence[int]) -> None:
    for pid in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there already.

    Raises:
        InvalidInputError: The address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise InvalidInputError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint="choose another --port, or stop what listens there",
        ) from None
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _run(
    create: Callable[[], "web.Application"],
    sockets: Sequence[socket.socket],
    log: logging.Logger,
    *,
    others: Sequence[int],
) -> None:
    import uvloop

    uvloop.run(_until_signalled(create, sockets, log, others))


async def _until_signalled(
    create: Callable[[], "web.Application"],
    sockets: Sequence[socket.socket],
    log: logging.Logger,
    others: Sequence[int],
) -> None:
    from aiohttp import web

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _ENDING:
        loop.add_signal_handler(number, stop.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    # No access log: the metrics and the edge's log say more for less. Our own logger, because
    # aiohttp's would quote a request line that it cannot parse, and a token stands in it.
    runner = web.AppRunner(
        create(),
        access_log=None,
        logger=log,
        auto_decompress=False,  # bodies are refused then, not unpacked: `core.web.read_body`
        keepalive_timeout=KEEPALIVE_TIMEOUT_S,
        # aiohttp waits for a request twice: as it is, and after telling its reader of an end
        shutdown_timeout=SHUTDOWN_TIMEOUT_S / 2,
    )
    await runner.setup()
    try:
        for listener in sockets:
            await web.SockSite(runner, listener).start()
        for listener in sockets:
            host, port = listener.getsockname()[:2]
            log.info("serving", extra={"fields": {"host": host, "port": port, "pid": os.getpid()}})
        await stop.wait()
    finally:
        _end(others)  # now, so that they finish what they do while we finish ours
        await runner.cleanup()
