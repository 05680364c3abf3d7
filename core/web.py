"""What all servers share: problem+json, request ids, CORS, RED metrics and health.

`create_app` makes an application with these; a role's `setup` adds its key and its routes.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from core import ids
from core.errors import InvalidInputError, ToolkitError, UnavailableError
from core.strict_json import MAX_BODY_SIZE
from core.telemetry import Metrics

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ReadinessCheck = Callable[[], Awaitable[None]]

METRICS = web.AppKey("metrics", Metrics)
LOG = web.AppKey("log", logging.Logger)
READINESS: web.AppKey[dict[str, ReadinessCheck]] = web.AppKey("readiness", dict)
REQUEST_ID = web.RequestKey("request_id", str)
BEGUN = web.RequestKey("begun", web.StreamResponse)
"""The answer whose head is sent, or is about to be."""

READINESS_TIMEOUT_S = 2.0
"""How long one dependency may take to say that it is there."""

BODY_TIMEOUT_S = 10.0
"""How long a body may take to arrive: at the slowest, 6.5 kB a second."""

API_PREFIX = "/v1/"
PROBLEM = "application/problem+json"
NO_STORE = "no-store"
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": (
        "Content-Length, Content-Range, Accept-Ranges, ETag, Date, Age, Cache-Status, CMSD-Static, "
        "CMSD-Dynamic, CTA-Common-Access-Token, Retry-After, Server-Timing, X-Request-Id"
    ),
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Timing-Allow-Origin": "*",
}
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": (
        "Authorization, Content-Type, Idempotency-Key, Range, If-Range, If-None-Match, "
        "CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status, CTA-Common-Access-Token"
    ),
    "Access-Control-Max-Age": "86400",
}
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class SlowBodyError(ToolkitError):
    """A body took longer than `BODY_TIMEOUT_S`."""

    status = 408
    slug = "body-too-slow"


class CodedBodyError(ToolkitError):
    """A body is compressed: a few bytes of it may cost a second of work."""

    status = 415
    slug = "body-encoded"


def create_app(metrics: Metrics, log: logging.Logger) -> web.Application:
    """An application with health, metrics and the shared behaviour, and no routes of a role."""
    app = web.Application(
        middlewares=[_observe, _problems], client_max_size=MAX_BODY_SIZE
    )  # more is 413
    app[METRICS], app[LOG], app[READINESS] = metrics, log, {}
    app.on_response_prepare.append(_add_shared_headers)
    app.add_routes(
        [
            web.get("/healthz", _healthz),
            web.get("/readyz", _readyz),
            web.get("/metrics", _metrics),
        ]
    )
    return app


def problem(error: ToolkitError) -> web.Response:
    """*error* as RFC 9457 problem details."""
    body = {
        "type": f"urn:tonearm:problem:{error.slug}",
        "title": error.slug.replace("-", " "),
        "status": error.status,
        "detail": error.message,
    }
    if error.hint:
        body["hint"] = error.hint
    headers = {"Cache-Control": "max-age=5" if error.status == 404 else NO_STORE}
    if isinstance(error, UnavailableError):
        headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.json_response(body, status=error.status, headers=headers, content_type=PROBLEM)


def bearer(request: web.Request) -> str:
    """The token of the Authorization header; empty if there is none, which no verifier accepts.

    Of two headers none counts: an edge in front may have looked at the other.
    """
    fields = request.headers.getall("Authorization", [])
    kind, _, token = fields[0].partition(" ") if len(fields) == 1 else ("", "", "")
    return token.strip() if kind.lower() == "bearer" else ""


async def read_body(request: web.Request) -> bytes:
    """The body, whole and as it was sent; every door that takes one reads it here.

    Raises:
        InvalidInputError: It ends early, or is not what its head says.
        SlowBodyError: It does not arrive in time.
        CodedBodyError: It has a Content-Encoding.
    """
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise CodedBodyError("the request body is compressed", hint="send it as it is")
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except TimeoutError:
        raise SlowBodyError(
            f"the request body did not arrive in {BODY_TIMEOUT_S:.0f} s", hint="send it at once"
        ) from None
    except web.RequestPayloadError:
        raise InvalidInputError("the request body is not what its head says") from None


@web.middleware
async def _observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    given = request.headers.get("X-Request-Id", "")
    request_id = given if ids.REQUEST_ID.fits(given) else uuid4().hex
    request[REQUEST_ID] = request_id
    resource = request.match_info.route.resource
    # the pattern, not the path: the path may hold a token, and its values are unbounded
    route = resource.canonical if resource else "unmatched"
    started_s = time.perf_counter()
    status = 500
    try:
        response = await handler(request)
        status = response.status
        return response
    finally:
        metrics = request.app[METRICS]
        method = request.method if request.method in _METHODS else "other"
        metrics.requests.labels(route, method, str(status)).inc()
        metrics.latency_s.labels(route).observe(time.perf_counter() - started_s)


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.method == "OPTIONS":
        return web.Response(status=204, headers=PREFLIGHT)
    try:
        return await handler(request)
    except Exception as error:  # the last line: whatever it is gets an answer
        if isinstance(error, web.HTTPException) and error.status < 400:
            raise
        if (begun := request.get(BEGUN)) is not None:
            return _broken_off(request, begun, error)
        return _answer_to(request, error)


def _answer_to(request: web.Request, error: Exception) -> web.Response:
    if isinstance(error, web.HTTPException):
        answer = problem(_from_http(error))
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
    if not isinstance(error, ToolkitError):  # a bug stays a 500 and says nothing
        _log_failure(request, error)
        return problem(ToolkitError("something went wrong here", hint="quote the X-Request-Id"))
    if error.status >= 500:
        _log_failure(request, error)
    return problem(_for_callers(error))


def _broken_off(
    request: web.Request, begun: web.StreamResponse, error: Exception
) -> web.StreamResponse:
    """End an answer whose head is sent: a problem would be written into its body.

    Only a broken connection can still say that the body is incomplete. A client that has gone away
    or takes nothing more is no failure of ours.
    """
    if not isinstance(error, ConnectionError | TimeoutError):
        _log_failure(request, error)
    if request.transport is not None:
        request.transport.abort()
    return begun


def _for_callers(error: ToolkitError) -> ToolkitError:
    """What is broken here is for our log: a caller has no business with keys of a store."""
    if error.status != 500:
        return error
    return type(error)("something is broken here", hint="quote the X-Request-Id")


def _from_http(error: web.HTTPException) -> ToolkitError:
    kind = type(
        "HttpError",
        (ToolkitError,),
        {"status": error.status, "slug": error.reason.lower().replace(" ", "-")},
    )
    failure: ToolkitError = kind(error.reason.lower())
    return failure


def _log_failure(request: web.Request, error: Exception) -> None:
    resource = request.match_info.route.resource
    fields = {
        "request": request.get(REQUEST_ID),
        "method": request.method,
        "route": resource.canonical if resource else "unmatched",
    }
    if isinstance(error, ToolkitError) and error.status == 500:
        fields["reason"] = error.message  # ours, about what is ours: nothing of the request
    request.app[LOG].error(
        "request failed",
        exc_info=(type(error), error, error.__traceback__),
        extra={"fields": fields},
    )


async def _add_shared_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Here and not in a middleware: a streamed answer has sent its headers when it returns."""
    request[BEGUN] = response
    response.headers.update(CORS)
    page = request.headers.get("Origin")
    if page and request.path.startswith(API_PREFIX):
        # dash.js asks for licences in credentials mode, to which `*` is no answer. There are no
        # cookies to misuse: only a token in a header opens anything. Never on media: see Vary.
        response.headers["Access-Control-Allow-Origin"] = page
        response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Vary"] = "Origin"
    response.headers["Server"] = "tonearm"  # versions are nobody's business
    if REQUEST_ID in request:
        response.headers["X-Request-Id"] = request[REQUEST_ID]


async def _healthz(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"}, headers={"Cache-Control": NO_STORE})


async def _readyz(request: web.Request) -> web.Response:
    results = {}
    for name, check in request.app[READINESS].items():
        try:
            await asyncio.wait_for(check(), READINESS_TIMEOUT_S)
            results[name] = "ok"
        except (ToolkitError, TimeoutError, OSError) as error:
            results[name] = type(error).__name__
    ready = all(result == "ok" for result in results.values())
    return web.json_response(
        {"status": "ready" if ready else "not ready", "checks": results},
        status=200 if ready else 503,
        headers={"Cache-Control": NO_STORE},
    )


async def _metrics(request: web.Request) -> web.Response:
    return web.Response(
        body=generate_latest(request.app[METRICS].registry),
        headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": NO_STORE},
    )
