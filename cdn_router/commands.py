"""`tonearm router`, and the router's role in `tonearm serve`."""

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.parse import quote, urlsplit
from urllib.request import urlopen

import click

from core.errors import InvalidInputError, UnavailableError
from core.wiring import Wiring

if TYPE_CHECKING:  # slow to import, and help must be quick
    from aiohttp import web

    from core.model import PathwayChooser
    from core.serving import ServeOptions

SHOW_TIMEOUT_S = 5.0
"""How long `router show` waits for the router."""


def setup_role(app: "web.Application", wiring: Wiring, options: "ServeOptions") -> None:
    """Add the router of this home to *app*."""
    from cdn_router.app import setup
    from cdn_router.router import Limits, Router
    from core.grants import UrlSigner
    from core.ids import URL_KEY_ID

    ring, state = wiring.home.keyring, wiring.state()
    default = Limits()
    limits = Limits(
        probe_interval_s=options.probe_interval_s or default.probe_interval_s,
        epoch_s=options.routing_epoch_s or default.epoch_s,
        ttl_s=options.steering_ttl_s or default.ttl_s,
        alarm_ttl_s=options.steering_ttl_s or default.alarm_ttl_s,
    )
    router = Router(
        pathways=options.pathways,
        region=options.region,
        state=state,
        url_signer=UrlSigner({URL_KEY_ID: ring.secret("url-token")}, URL_KEY_ID),
        playback_secret=ring.secret("playback"),
        operator_secret=ring.secret("operator"),
        public_url=options.public_url,
        clock=time.time,
        limits=limits,
    )
    setup(app, router)

    async def close(_: "web.Application") -> None:
        await state.aclose()

    # after the tasks that use it: clean-ups of cleanup_ctx run first
    app.on_cleanup.append(close)


def make_chooser(
    app: "web.Application", wiring: Wiring, options: "ServeOptions"
) -> "PathwayChooser":
    """The router of this process if it is one, else the one at `router_url`.

    Raises:
        InvalidInputError: There is neither, and more than one pathway to choose from.
    """
    from cdn_router.chooser import HttpChooser, RouterChooser, SinglePathway
    from cdn_router.router import ROUTER

    if ROUTER in app:
        return RouterChooser(app[ROUTER])
    if options.router_url is None:
        if len(options.pathways) > 1:
            raise InvalidInputError(
                "several pathways and no router to choose between them",
                hint="add --role router, or name one with --router-url",
            )
        return SinglePathway(options.pathways[0])
    secret = wiring.home.keyring.secret("operator")
    chooser = HttpChooser(options.router_url, secret, options.pathways, clock=time.time)

    async def close(_: "web.Application") -> None:
        await chooser.aclose()

    app.on_cleanup.append(close)
    return chooser


@click.group()
def router() -> None:
    """Look into the router's beliefs and decisions."""


@router.command()
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="The router.")
@click.option("--region", help="Only this region.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(url: str, region: str | None, *, as_json: bool) -> None:
    """Show each region's pathways, best first, and why the order is as it is."""
    told = _explain(url, region)
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    for at in told["regions"]:
        alarm = ", alarm" if at["alarm"] else ""
        click.echo(f"{at['region']}: {' > '.join(at['order']) or '-'}  ({at['reason']}{alarm})")
        click.echo(
            f"  {'pathway':<16} {'cost':>8} {'start':>8} {'rtt':>8} {'± rtt':>8} "
            f"{'errors':>7} {'samples':>8}  breaker"
        )
        for p in at["pathways"]:
            rtt = "-" if p["srttMs"] is None else f"{p['srttMs']:.1f}"
            click.echo(
                f"  {p['pathway']:<16} {p['costMs']:>8.1f} {p['typicalStartMs']:>8.1f} {rtt:>8} "
                f"{p['rttvarMs']:>8.1f} {p['errorRate']:>7.1%} {p['samples']:>8.1f}  {p['breaker']}"
            )


def _explain(url: str, region: str | None) -> Any:
    if urlsplit(url).scheme not in ("http", "https"):
        raise InvalidInputError(f"{url!r} is no router", hint="as in http://127.0.0.1:8080")
    query = f"?region={quote(region)}" if region else ""
    try:
        where = f"{url.rstrip('/')}/v1/router/explain{query}"
        with urlopen(where, timeout=SHOW_TIMEOUT_S) as answer:  # noqa: S310  scheme checked above
            told = json.load(answer)
    except (URLError, TimeoutError, ValueError) as error:
        raise UnavailableError(
            f"no router answers at {url}: {error}", hint="start one: tonearm serve --role router"
        ) from None
    if not isinstance(told, dict) or "regions" not in told:
        raise UnavailableError(f"what answers at {url} is no router")
    return told
