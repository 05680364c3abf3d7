"""The key server's routes: licences for players, keys for packagers.

==============================  ==============  =====================================
``POST /v1/license/clearkey``   playback token  W3C EME JSON in and out
``GET /v1/license/raw/{kid}``   playback token  16 octets, for HLS KEYFORMAT identity
``POST /v1/keys``               operator token  keys, IVs and signals (`core.key_exchange`)
==============================  ==============  =====================================

A licence holds the keys of the token's track that the token's tier includes, and no others. A KID
of nobody, of another track and of a higher tier are refused in the same words after the same work.
Tokens come in the Authorization header alone: a URL is written to logs.
"""

import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from aiohttp import web
from prometheus_client import Counter

from core import key_exchange
from core.grants import PlaybackGrant, open_operator, open_playback
from core.ids import read_uuid
from core.storage.offload import Offload
from core.web import METRICS, NO_STORE, PROBLEM, READINESS, bearer, read_body
from keyserver import eme
from keyserver.lookups import Lookups
from keyserver.throttle import DenialLimit, Throttle
from keyserver.vault import LicensedKey, Vault

INSUFFICIENT = "https://dashif.org/drm-problems/insufficient-proof-of-authorization"
"""DASH-IF's problem type: the client drops its token, gets a new one and tries again."""
THREADS = 1
"""That wait for the vault, which serves one at a time."""
_SECRET_HEADERS = {"Cache-Control": NO_STORE, "Vary": "Authorization"}


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyServer:
    """What the routes work with.

    Attributes:
        playback_secret: Opens playback tokens.
        operator_secret: Opens the tokens of packagers.
        clock: Unix time in seconds.
        denials: Of one session.
    """

    vault: Vault
    playback_secret: bytes = field(repr=False)
    operator_secret: bytes = field(repr=False)
    clock: Callable[[], float]
    denials: DenialLimit = field(default_factory=DenialLimit)


@dataclass(frozen=True, slots=True)
class _Running:
    """What lives as long as the application."""

    offload: Offload
    lookups: Lookups
    throttle: Throttle
    licences: Counter


KEYSERVER = web.AppKey("keyserver", KeyServer)
_RUNNING = web.AppKey("keyserver_running", _Running)


def setup(app: web.Application, keyserver: KeyServer) -> None:
    """Add the key server to *app* (from `core.web.create_app`); the caller closes the vault."""
    app[KEYSERVER] = keyserver
    offload = Offload("vault", THREADS)
    app[_RUNNING] = _Running(
        offload,
        Lookups(keyserver.vault, offload),
        Throttle(keyserver.denials),
        # no label names a user, a track or a KID
        Counter(
            "license_requests", "Licence requests that were decided", ["result"],
            registry=app[METRICS].registry,
        ),
    )  # fmt: skip
    app[READINESS]["vault"] = lambda: offload.run(keyserver.vault.check)
    app.cleanup_ctx.append(_threads)
    app.add_routes(
        [
            web.post("/v1/license/clearkey", _clearkey),
            web.get("/v1/license/raw/{kid}", _raw),
            web.post("/v1/keys", _keys),
        ]
    )


async def _threads(app: web.Application) -> AsyncIterator[None]:
    yield
    await app[_RUNNING].offload.aclose()


async def _clearkey(request: web.Request) -> web.Response:
    grant = _playback(request)
    kids = eme.read_request(await read_body(request))
    keys = await _license(request, kids, grant)
    if not keys:
        return _refuse(request, grant)
    # in the order of the request, whatever order the index gave; then those of later periods
    found = {key.kid: key.key for key in keys}
    _count(request, "full" if found.keys() >= set(kids) else "partial")
    order = dict.fromkeys((*(kid for kid in kids if kid in found), *found))
    return web.Response(
        body=eme.write_licence((kid, found[kid]) for kid in order),
        content_type="application/json",
        headers=_SECRET_HEADERS,
    )


async def _raw(request: web.Request) -> web.Response:
    grant = _playback(request)
    kid = read_uuid(request.match_info["kid"])
    keys = await _license(request, (kid,), grant)
    if not keys:
        return _refuse(request, grant)
    _count(request, "full")
    return web.Response(
        body=keys[0].key,  # the one that was asked for; later periods follow
        content_type="application/octet-stream",
        headers=_SECRET_HEADERS,
    )


async def _keys(request: web.Request) -> web.Response:
    keyserver = request.app[KEYSERVER]
    open_operator(bearer(request), keyserver.operator_secret, now_s=keyserver.clock())
    query = key_exchange.read_request(await read_body(request))
    keys = await request.app[_RUNNING].offload.run(keyserver.vault.keys, query)
    body = key_exchange.write_keys(keys)
    return web.Response(
        body=body,
        content_type="application/json",
        headers={**_SECRET_HEADERS, key_exchange.DIGEST: key_exchange.content_digest(body)},
    )


def _playback(request: web.Request) -> PlaybackGrant:
    keyserver = request.app[KEYSERVER]
    return open_playback(bearer(request), keyserver.playback_secret, now_s=keyserver.clock())


async def _license(
    request: web.Request, kids: Sequence[UUID], grant: PlaybackGrant
) -> tuple[LicensedKey, ...]:
    """The entitled keys; none at all once the session has been refused too often."""
    keyserver, running = request.app[KEYSERVER], request.app[_RUNNING]
    if running.throttle.wait_s(grant.session_id, now_s=keyserver.clock()):
        return ()
    return await running.lookups.licence(kids, track_id=grant.track_id, tier=grant.tier)


def _refuse(request: web.Request, grant: PlaybackGrant) -> web.Response:
    keyserver, throttle = request.app[KEYSERVER], request.app[_RUNNING].throttle
    now_s = keyserver.clock()
    wait_s = throttle.wait_s(grant.session_id, now_s=now_s)
    if wait_s:
        _count(request, "throttled")
        return _problem(
            429, "about:blank", "too many requests", "this session asked for too many foreign keys",
            {"Retry-After": str(math.ceil(wait_s))},
        )  # fmt: skip
    throttle.deny(grant.session_id, now_s=now_s)
    _count(request, "denied")
    return _problem(
        403, INSUFFICIENT, "insufficient proof of authorization",
        "the token does not open any of these keys", {},
    )  # fmt: skip


def _problem(
    status: int, kind: str, title: str, detail: str, headers: dict[str, str]
) -> web.Response:
    return web.json_response(
        {"type": kind, "title": title, "status": status, "detail": detail},
        status=status,
        headers=_SECRET_HEADERS | headers,
        content_type=PROBLEM,
    )


def _count(request: web.Request, result: str) -> None:
    request.app[_RUNNING].licences.labels(result).inc()
