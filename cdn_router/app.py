"""The router over HTTP: steering manifests, listeners' reports, decisions and explanations."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from prometheus_client import Counter, Gauge, Histogram

from cdn_router.chooser import RouterChooser
from cdn_router.intake import take_in
from cdn_router.probes import probe_all
from cdn_router.router import ROUTER, Router
from cdn_router.scoring import Lead, Score, rank_all
from cdn_router.sessions import RoutedSession
from cdn_router.steering import (
    Format,
    PlayerReport,
    player_report,
    staggered_ttl,
    steering_manifest,
    takes_clones,
)
from core import ids
from core.errors import SignatureError, ToolkitError, UnauthorizedError
from core.grants import UrlGrant, open_choice, open_playback
from core.model import SessionContext
from core.strict_json import read_object
from core.web import METRICS, NO_STORE, bearer, read_body

THROUGHPUT_BUCKETS_BPS = (96e3, 160e3, 320e3, 1e6, 2e6, 5e6, 20e6, 100e6)
"""The borders of the lossy rungs, then powers."""


@dataclass(frozen=True, slots=True)
class _Numbers:
    """What the router counts; pathways and regions are bounded by the configuration."""

    probes: Counter
    reports: Counter
    steered: Counter
    throughput_bps: Histogram
    cost_ms: Gauge


_NUMBERS = web.AppKey("router-numbers", _Numbers)


def setup(app: web.Application, router: Router) -> None:
    """Add the router to *app*, which `core.web.create_app` made; the caller owns its resources."""
    app[ROUTER] = router
    registry = app[METRICS].registry
    app[_NUMBERS] = _Numbers(
        Counter("router_probes", "Active probes", ["pathway", "result"], registry=registry),
        Counter("router_reports", "Listeners' reports", ["result"], registry=registry),
        Counter("router_steered", "Steering answers", ["format", "pathway"], registry=registry),
        Histogram(
            "router_player_throughput_bps", "As players report it when they ask for steering",
            ["pathway"], registry=registry, buckets=THROUGHPUT_BUCKETS_BPS,
        ),
        Gauge("router_cost_ms", "Cost of a start", ["region", "pathway"], registry=registry),
    )  # fmt: skip
    app.add_routes(
        [
            web.get("/{token}/steering/{format:hls|dash}", _steer),
            web.get("/v1/steering/{format:hls|dash}", _steer),
            web.post("/v1/rum", _report),
            web.post("/v1/router/choose", _choose),
            web.get("/v1/router/explain", _explain),
        ]
    )
    app.cleanup_ctx.append(_background)


async def _background(app: web.Application) -> AsyncIterator[None]:
    """Restore the last good table, then probe and decide until the application ends."""
    router = app[ROUTER]
    await router.knowledge.sync(now_s=router.clock())
    tasks = [asyncio.create_task(work(app)) for work in (_probe, _decide)]
    yield
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task
    await router.knowledge.sync(now_s=router.clock())


async def _probe(app: web.Application) -> None:
    router, probes = app[ROUTER], app[_NUMBERS].probes
    interval_s = router.limits.probe_interval_s
    while len(router.pathways) > 1:  # one alone needs no choice
        now_s = router.clock()
        if await _my_turn(router, now_s):
            for seen in await probe_all(router.pathways, router.region, now_s=now_s):
                probes.labels(seen.pathway, "failed" if seen.failed else "ok").inc()
                router.knowledge.note(seen)
            # not left to `_decide`: other processes may wait for these
            await router.knowledge.sync(now_s=router.clock())
        await asyncio.sleep(max(0.0, interval_s - (router.clock() - now_s)))


async def _my_turn(router: Router, now_s: float) -> bool:
    """One process of a region probes for all; without a store, each for itself."""
    ttl_s = 0.9 * router.limits.probe_interval_s
    try:
        key = f"router/probe/{router.region}"
        return await router.state.put_if_absent(key, b"", ttl_s=ttl_s, now_s=now_s) is None
    except (ToolkitError, OSError):
        return True


async def _decide(app: web.Application) -> None:
    router, cost_ms = app[ROUTER], app[_NUMBERS].cost_ms
    while True:
        await asyncio.sleep(router.limits.epoch_s)
        now_s = router.clock()
        await router.knowledge.sync(now_s=now_s)
        for region, scores in rank_all(router.knowledge.table, now_s).items():
            for score in scores:
                cost_ms.labels(region, score.pathway).set(score.cost_ms)


async def _steer(request: web.Request) -> web.Response:
    """Always 200 for a token of ours, however old: 4xx makes some players stop asking for good."""
    router, kind = request.app[ROUTER], Format(request.match_info["format"])
    token = request.match_info.get("token") or request.query.get("session", "")
    grant = _grant(router, token)
    now_s = router.clock()
    session = await _recall(router, grant.session_id, now_s)
    start = session.start if session and session.start in _ids(router) else None
    region = session.region if session else grant.region
    clones = takes_clones(request.headers.get("User-Agent", ""))
    order = router.order(grant.session_id, region)
    # of several values the last, unlike MultiDict: some players append to what is there
    report = player_report(dict(request.query.items()), kind, start)
    _count(request.app[_NUMBERS], report, kind, _ids(router))
    if session and clones:
        with suppress(ToolkitError, OSError):
            await router.sessions.mark_steered(grant.session_id, session, now_s=now_s)
    limits = router.limits
    alarmed = router.knowledge.table.alarmed(region, now_s)
    body = steering_manifest(
        order,
        kind,
        start=start,
        clones=clones,
        reload_uri=f"{router.public_url}/{token}/steering/{kind.value}",
        ttl_s=staggered_ttl(limits.alarm_ttl_s if alarmed else limits.ttl_s, grant.session_id),
    )
    return web.Response(
        body=body, headers={"Content-Type": kind.content_type, "Cache-Control": NO_STORE}
    )


def _count(numbers: _Numbers, report: PlayerReport, kind: Format, known: tuple[str, ...]) -> None:
    using = next((p for p in report.pathways if p in known), "unknown")
    numbers.steered.labels(kind.value, using).inc()
    for pathway, bps in zip(report.pathways, report.throughputs_bps, strict=False):
        if pathway in known and bps:
            numbers.throughput_bps.labels(pathway).observe(bps)


async def _recall(router: Router, session_id: str, now_s: float) -> RoutedSession | None:
    """The session; None as well if the store fails, because steering must answer."""
    try:
        return await router.sessions.find(session_id, now_s=now_s)
    except (ToolkitError, OSError):
        return None


async def _report(request: web.Request) -> web.Response:
    router = request.app[ROUTER]
    session_id = _reporter(request, router)
    results = await take_in(router, session_id, await read_body(request))
    for result, number in results.items():
        request.app[_NUMBERS].reports.labels(result).inc(number)
    counted = results.pop("counted", 0)
    return web.json_response(
        {"counted": counted, "ignored": dict(results)},
        status=202,
        headers={"Cache-Control": NO_STORE},
    )


def _reporter(request: web.Request, router: Router) -> str:
    """The session that reports: by playback token, or by URL token where no header can be sent."""
    if token := request.query.get("session", ""):
        return router.url_signer.open(token, now_s=router.clock()).session_id
    secret = router.playback_secret
    return open_playback(bearer(request), secret, now_s=router.clock()).session_id


async def _choose(request: web.Request) -> web.Response:
    router = request.app[ROUTER]
    open_choice(bearer(request), router.operator_secret, now_s=router.clock())
    decision = await RouterChooser(router).choose(_context(read_object(await read_body(request))))
    return web.json_response(
        {
            "id": decision.id,
            "pathways": [{"id": p.id, "baseUrl": p.base_url} for p in decision.order],
        },
        headers={"Cache-Control": NO_STORE},
    )


def _context(body: dict[str, Any]) -> SessionContext:
    return SessionContext(
        ids.SESSION_ID.check(body.get("sessionId"), "sessionId"),
        ids.REGION.check(body.get("region"), "region"),
        ids.TRACK_ID.check(body.get("trackId"), "trackId"),
    )


async def _explain(request: web.Request) -> web.Response:
    """What is believed and why the order is as it is; no user data in it."""
    router = request.app[ROUTER]
    now_s, table = router.clock(), router.knowledge.table
    wanted = request.query.get("region")
    return web.json_response(
        {
            "epoch": table.epoch,
            "epochSeconds": table.epoch_s,
            "regions": [
                {
                    "region": region,
                    "alarm": table.alarmed(region, now_s),
                    **_lead(table.leads.get(region), now_s),
                    "pathways": [_score(s) for s in scores],
                }
                for region, scores in rank_all(table, now_s).items()
                if wanted in (None, region)
            ],
        },
        headers={"Cache-Control": NO_STORE},
    )


def _lead(lead: Lead | None, now_s: float) -> dict[str, Any]:
    if lead is None:
        return {"order": [], "reason": "nothing measured yet"}
    return {
        "order": list(lead.order),
        "reason": lead.reason,
        "lastChange": {"cause": lead.cause, "secondsAgo": round(now_s - lead.changed_s, 1)},
        "leaving": list(lead.former) if lead.former else None,
    }


def _score(s: Score) -> dict[str, Any]:
    return {
        "pathway": s.pathway,
        "costMs": round(s.cost_ms, 1),
        "typicalStartMs": round(s.typical_ms, 1),
        "jitter": round(s.jitter, 3),
        "sdMs": round(s.sd_ms, 1),
        "errorRate": round(s.error_rate, 4),
        "samples": round(s.samples, 1),
        "breaker": s.breaker.value,
        "alarm": s.alarmed,
        "srttMs": None if s.srtt_ms is None else round(s.srtt_ms, 2),
        "rttvarMs": round(s.rttvar_ms, 2),
    }


def _grant(router: Router, token: str) -> UrlGrant:
    """What *token* says, even if its time is over: an order of hosts is no access.

    A forged token is a 403 all the same. It is not a 404, on which dash.js stops for good, nor
    a 200, which would tell anybody how the operator steers; players keep what they have.
    """
    try:
        return router.url_signer.open(token, now_s=0.0)
    except (SignatureError, UnauthorizedError):
        raise SignatureError(
            "this URL is not signed for this path", hint="start at /v1/play/start"
        ) from None


def _ids(router: Router) -> tuple[str, ...]:
    return tuple(p.id for p in router.pathways)
