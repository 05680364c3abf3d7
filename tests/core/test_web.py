"""What every server does, whatever its role: problems, ids, CORS, health and metrics."""

import asyncio
import io
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from core import web as shared
from core.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    RestoringError,
    ToolkitError,
    UnauthorizedError,
    UnavailableError,
)
from core.strict_json import MAX_BODY_SIZE
from core.telemetry import Metrics, open_log

FAILURES = {
    "invalid": InvalidInputError("the field is off", hint="mend it"),
    "unauthorized": UnauthorizedError("who are you"),
    "missing": NotFoundError("nothing here"),
    "conflict": ConflictError("it is there"),
    "restoring": RestoringError("coming back", retry_after_s=42),
    "bug": ZeroDivisionError("secret-token in a message"),
    "http": web.HTTPNotFound(),
}


@pytest.fixture
async def server():
    log = io.StringIO()
    app = shared.create_app(Metrics.create(), open_log("test", log))

    async def fail(request):
        raise FAILURES[request.match_info["how"]]

    async def echo(request):
        return web.Response(text=f"{len(await request.read())} {shared.bearer(request)}")

    async def redirect(_):
        raise web.HTTPFound("/elsewhere")

    async def stream(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"chunk")
        return response

    app.add_routes(
        [
            web.get("/fail/{how}", fail),
            web.post("/echo", echo),
            web.get("/redirect", redirect),
            web.get("/stream", stream),
        ]
    )
    async with TestClient(TestServer(app)) as client:
        client.log = log
        client.checks = app[shared.READINESS]
        yield client


@pytest.mark.parametrize(
    ("how", "status", "slug"),
    [
        ("invalid", 400, "invalid-input"), ("unauthorized", 401, "unauthorized"),
        ("missing", 404, "not-found"), ("conflict", 409, "conflict"),
        ("restoring", 503, "content-restoring"), ("bug", 500, "internal"),
        ("http", 404, "not-found"),
    ],
)  # fmt: skip
async def test_every_failure_is_a_problem_that_any_page_may_read(server, how, status, slug):
    answer = await server.get(f"/fail/{how}")

    body = await answer.json(content_type="application/problem+json")
    assert answer.status == body["status"] == status
    assert body["type"] == f"urn:tonearm:problem:{slug}"
    assert body["title"]
    assert body["detail"]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cache-Control"] == ("max-age=5" if status == 404 else "no-store")


async def test_a_problem_says_what_can_be_done(server):
    assert (await (await server.get("/fail/invalid")).json(content_type=None))["hint"] == "mend it"
    assert (await server.get("/fail/unauthorized")).headers["WWW-Authenticate"] == "Bearer"
    assert (await server.get("/fail/restoring")).headers["Retry-After"] == "42"


async def test_a_bug_says_nothing_to_the_caller_and_its_place_to_the_log(server):
    answer = await server.get("/fail/bug", headers={"X-Request-Id": "request-1234"})

    assert "secret-token" not in await answer.text()
    assert "secret-token" not in server.log.getvalue()
    (line,) = map(json.loads, server.log.getvalue().splitlines())
    assert line["error"] == "ZeroDivisionError"
    assert line["route"] == "/fail/{how}"
    assert line["request"] == "request-1234"
    assert "test_web.py" in line["where"]


@pytest.mark.parametrize("path", ["/nowhere", "/fail", "/fail/", "/x//fail/bug", "/%00"])
async def test_an_unknown_path_is_a_problem_too(server, path):
    answer = await server.get(path)

    assert answer.status == 404
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_a_wrong_method_names_the_right_ones(server):
    answer = await server.get("/echo")

    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_a_redirect_is_no_failure(server):
    answer = await server.get("/redirect", allow_redirects=False)

    assert (answer.status, answer.headers["Location"]) == (302, "/elsewhere")


async def test_a_preflight_is_answered_for_every_path(server):
    for path in ("/echo", "/nowhere"):
        answer = await server.options(path)
        assert answer.status == 204
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("given", ["short", "has space in it", "x" * 65, "weird;chars-in-it", ""])
async def test_a_request_id_of_ours_replaces_one_that_is_off(server, given):
    answer = await server.get("/healthz", headers={"X-Request-Id": given})

    assert answer.headers["X-Request-Id"] != given
    assert len(answer.headers["X-Request-Id"]) == 32


async def test_a_good_request_id_is_kept_on_streams_and_problems_too(server):
    for path in ("/healthz", "/stream", "/fail/bug", "/nowhere"):
        answer = await server.get(path, headers={"X-Request-Id": "abcd_1234-x"})
        assert answer.headers["X-Request-Id"] == "abcd_1234-x"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_no_version_of_ours_is_told(server):
    assert (await server.get("/healthz")).headers["Server"] == "tonearm"


async def test_a_body_has_a_limit(server):
    fits, too_big = b"x" * MAX_BODY_SIZE, b"x" * (MAX_BODY_SIZE + 1)

    assert (await server.post("/echo", data=fits)).status == 200
    answer = await server.post("/echo", data=too_big)
    assert (answer.status, answer.content_type) == (413, "application/problem+json")


@pytest.mark.parametrize(
    ("field", "token"),
    [
        ("Bearer abc", "abc"), ("bearer abc", "abc"), ("BEARER  abc ", "abc"), ("Basic abc", ""),
        ("Bearer", ""), ("", ""), ("abc", ""),
    ],
)  # fmt: skip
async def test_a_bearer_token_is_found(server, field, token):
    answer = await server.post("/echo", headers={"Authorization": field})

    assert await answer.text() == f"0 {token}"


async def test_metrics_count_patterns_and_not_paths(server):
    await server.get("/fail/missing?token=secret")
    await server.get("/secret-path")

    text = await (await server.get("/metrics")).text()

    assert 'http_requests_total{method="GET",route="/fail/{how}",status="404"} 1.0' in text
    assert 'route="unmatched"' in text
    assert "secret" not in text
    assert 'http_request_duration_seconds_bucket{le="0.8",route="/fail/{how}"} 1.0' in text


async def test_methods_from_outside_do_not_become_labels_without_end(server):
    for method in ("PROPFIND", "MKCOL", "LOCK"):
        await server.request(method, "/healthz")

    text = await (await server.get("/metrics")).text()

    assert 'method="other",route="unmatched",status="405"} 3.0' in text
    assert "MKCOL" not in text


async def test_ready_means_that_every_part_answers(server, monkeypatch):
    monkeypatch.setattr(shared, "READINESS_TIMEOUT_S", 0.05)

    async def fine():
        return None

    async def down():
        raise UnavailableError("secret address")

    async def hang():
        await asyncio.sleep(10)

    server.checks["fine"] = fine
    assert (await server.get("/readyz")).status == 200
    server.checks.update(down=down, hang=hang)
    answer = await server.get("/readyz")

    assert answer.status == 503
    assert await answer.json() == {
        "status": "not ready",
        "checks": {"fine": "ok", "down": "UnavailableError", "hang": "TimeoutError"},
    }
    assert (await server.get("/healthz")).status == 200


def test_every_error_of_ours_has_a_status_and_a_slug_of_its_own():
    def children(kind):
        for child in kind.__subclasses__():
            yield child
            yield from children(child)

    for kind in children(ToolkitError):
        if kind.__module__ == "core.errors":
            answer = shared.problem(kind("x"))
            assert 400 <= answer.status < 600
            assert kind.slug != "internal"


async def test_api_answers_name_the_page_that_asks_because_dash_js_sends_credentials(server):
    page = {"Origin": "https://player.example"}

    preflight = await server.options("/v1/license/clearkey", headers=page)
    answer = await server.post("/v1/license/clearkey", headers=page)

    for response in (preflight, answer):
        assert response.headers["Access-Control-Allow-Origin"] == page["Origin"]
        assert response.headers["Access-Control-Allow-Credentials"] == "true"
        assert response.headers["Vary"] == "Origin"


async def test_media_answers_are_the_same_for_every_page(server):
    answer = await server.get("/stream", headers={"Origin": "https://player.example"})

    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Vary" not in answer.headers
