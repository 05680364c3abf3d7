"""The origin as part of an application: one route table, one dependencies object."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from aiohttp import web
from prometheus_client import Counter

from core.errors import NotFoundError
from core.web import LOG, METRICS, READINESS
from origin.dependencies import ORIGIN, Limits, Origin
from origin.media.handlers import Media
from origin.media.library import Library
from origin.playback.handlers import Playback
from origin.playback.session import Session

__all__ = ["ORIGIN", "Limits", "Origin", "setup"]

_PROBE = "readiness-probe"
_MEDIA = "m/{track}/{generation}/{region}/{drm}/{file:(?s:.+)}"  # encoded line breaks, too


def setup(app: web.Application, origin: Origin) -> None:
    """Add the origin to *app*, which `core.web.create_app` made; the caller owns its resources."""
    app[ORIGIN] = origin
    library = Library(origin)
    media = Media(origin, library)
    playback = Playback(origin, library, _counter(app))
    app.add_routes(
        [
            web.get(f"/{{token}}/{_MEDIA}", media.serve),
            web.get(f"/{_MEDIA}", media.refuse),
            web.post("/v1/play/start", playback.start),
            web.post("/v1/play/heartbeat", playback.heartbeat),
            web.post("/v1/play/end", playback.end),
        ]
    )

    async def caches(_: web.Application) -> AsyncIterator[None]:
        yield
        await media.aclose()
        await library.aclose()

    app.cleanup_ctx.append(caches)
    _add_checks(app, origin)


def _add_checks(app: web.Application, origin: Origin) -> None:
    async def store() -> None:
        with suppress(NotFoundError):
            await origin.store.head(_PROBE)

    async def catalogue() -> None:
        await asyncio.to_thread(origin.catalogue.get, _PROBE)

    async def state() -> None:
        await origin.state.get(_PROBE, now_s=origin.clock())

    app[READINESS].update(store=store, catalogue=catalogue, state=state)


def _counter(app: web.Application) -> Callable[[Session], None]:
    """Where plays are counted: a metric for dashboards, a log line for the books."""
    plays = Counter(
        "plays_counted",
        "Plays heard long enough to count",
        ["tier"],
        registry=app[METRICS].registry,
    )

    def count(session: Session) -> None:
        plays.labels(session.tier.value).inc()
        fields = {
            "session": session.session_id,
            "track": session.track_id,
            "generation": session.generation,
            "region": session.region,
            "tier": session.tier.value,
        }
        app[LOG].info("play counted", extra={"fields": fields})

    return count
