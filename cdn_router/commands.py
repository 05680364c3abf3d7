"""`tonearm router`, and the router's role in `tonearm serve`."""

import time
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit
from urllib.request import urlopen

import click

from core.errors import InvalidInputError, NotFoundError, UnavailableError
from core.output import NOTHING, Table, format_number, json_option, print_json, print_line
from core.wiring import Wiring

if TYPE_CHECKING:  # slow to import, and help must be quick
    from aiohttp import web

    from core.model import PathwayChooser
    from core.wiring import ServeOptions

MAX_EXPLANATION_SIZE = 1 << 20
"""Bytes of the router's answer; 24 regions of eight pathways need about 60 kB."""
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
@json_option
def show(url: str, region: str | None, *, as_json: bool) -> None:
    """Show each region's pathways, best first, and why the order is as it is."""
    told = _explain(url, region)
    if region and not told["regions"]:
        raise NotFoundError(f"there is no region {region}", hint="see: tonearm router show")
    if as_json:
        print_json(told, indent=2)
        return
    for region_row in told["regions"]:
        alarm = ", alarm" if region_row["alarm"] else ""
        order = " > ".join(region_row["order"]) or NOTHING
        print_line(f"{region_row['region']}: {order}  ({region_row['reason']}{alarm})")
        table = Table(
            ("  pathway", 18), ("cost", -10), ("start", -10), ("RTT", -10), ("± RTT", -10),
            ("errors", -7), ("samples", -8), ("breaker", 0),
        )  # fmt: skip
        for row in region_row["pathways"]:
            table.print_row(
                f"  {row['pathway']}",
                format_number(row["costMs"], "ms"),
                format_number(row["typicalStartMs"], "ms"),
                format_number(row["srttMs"], "ms"),
                format_number(row["rttvarMs"], "ms"),
                f"{row['errorRate']:.1%}",
                f"{row['samples']:.1f}",
                row["breaker"],
            )


def _explain(url: str, region: str | None) -> Any:
    from core.strict_json import read_object

    if urlsplit(url).scheme not in ("http", "https"):
        raise InvalidInputError(f"{url!r} is no router", hint="as in http://127.0.0.1:8080")
    query = f"?region={quote(region)}" if region else ""
    try:
        where = f"{url.rstrip('/')}/v1/router/explain{query}"
        with urlopen(where, timeout=SHOW_TIMEOUT_S) as answer:  # noqa: S310  scheme checked above
            body = answer.read(MAX_EXPLANATION_SIZE + 1)
        told = read_object(body, max_size=MAX_EXPLANATION_SIZE, what="its answer")
    except (OSError, HTTPException, InvalidInputError) as error:
        reason = getattr(error, "reason", error)  # urllib wraps what the system said
        why = getattr(reason, "strerror", None) or reason
        raise UnavailableError(
            f"no router answers at {url}: {why}", hint="start one: tonearm serve --role router"
        ) from None
    if "regions" not in told:
        raise UnavailableError(f"what answers at {url} is no router")
    return told
