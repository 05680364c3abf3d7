"""What every server does, whatever its role: problems, ids, CORS, health and metrics."""

import asyncio
import contextlib
import gzip
import io
import json
import zlib

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
        return web.Response(text=f"{len(await shared.read_body(request))} {shared.bearer(request)}")

    async def redirect(_):
        raise web.HTTPFound("/elsewhere")

    async def stream(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"chunk")
        return response

    async def breaks(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"chunk")
        raise ZeroDivisionError("secret-token in a message")

    app.add_routes(
        [
            web.get("/breaks", breaks),
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


@pytest.mark.parametrize("fields", [("Bearer abc", "Bearer abc"), ("Bearer abc", "Basic x")])
async def test_of_two_authorizations_none_counts(server, fields):
    headers = [("Authorization", field) for field in fields]

    assert await (await server.post("/echo", headers=headers)).text() == "0 "


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


async def test_a_body_without_a_length_has_the_same_limit(server):
    async def parts(size):
        for _ in range(0, size, 1024):
            yield b"x" * 1024

    assert (await server.post("/echo", data=parts(MAX_BODY_SIZE))).status == 200
    assert (await server.post("/echo", data=parts(MAX_BODY_SIZE + 1024))).status == 413


@pytest.mark.parametrize("coding, pack", [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_body_is_refused_whatever_is_in_it(server, coding, pack):
    headers = {"Content-Encoding": coding}

    for body in (pack(bytes(50 * MAX_BODY_SIZE)), pack(b"12345")):
        answer = await server.post("/echo", data=body, headers=headers)
        assert (answer.status, (await answer.json())["title"]) == (415, "body encoded")
    plain = await server.post("/echo", data=b"12345", headers={"Content-Encoding": "identity"})
    assert await plain.text() == "5 "


async def test_a_body_that_does_not_come_is_not_waited_for_long(server, monkeypatch):
    monkeypatch.setattr(shared, "BODY_TIMEOUT_S", 0.1)

    async def parts():
        yield b"1"
        await slow.wait()

    slow = asyncio.Event()
    answer = await server.post("/echo", data=parts())

    assert (answer.status, (await answer.json())["title"]) == (408, "body too slow")
    slow.set()


async def raw(server, request):
    """What is answered to bytes that no client library would send; the server stays well."""
    reader, writer = await asyncio.open_connection(server.server.host, server.server.port)
    writer.write(request)
    await writer.drain()
    answer = b""
    with contextlib.suppress(ConnectionResetError):  # how an answer is broken off
        while part := await asyncio.wait_for(reader.read(65536), 10):
            answer += part
    writer.close()
    await writer.wait_closed()
    assert (await server.get("/healthz")).status == 200
    return answer


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /echo HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
    ids=range(10),
)
async def test_what_is_no_request_is_400_and_not_logged(server, request_):
    answer = await raw(server, request_)

    assert answer[:12] in (b"HTTP/1.0 400", b"HTTP/1.1 400")
    assert b"Traceback" not in answer
    assert "aaaaaaaa" not in server.log.getvalue()


async def test_a_bug_after_the_first_byte_ends_the_answer_without_a_second_one(server):
    answer = await raw(server, b"GET /breaks HTTP/1.1\r\nHost: x\r\n\r\n")

    # a second head, or the end of the chunks, would make a whole answer of it
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.endswith(b"\r\n\r\n5\r\nchunk\r\n")
    assert "ZeroDivisionError" in server.log.getvalue()
    assert "secret" not in server.log.getvalue()


async def test_a_part_that_raises_or_hangs_is_not_ready_and_the_others_are_named(server):
    async def fails():
        raise OSError("secret path")

    async def refuses():
        raise UnavailableError("secret host")

    async def works():
        pass

    server.checks.update(disk=fails, peer=refuses, clock=works)
    answer = await server.get("/readyz")

    assert answer.status == 503
    assert (await answer.json())["checks"] == {
        "disk": "OSError", "peer": "UnavailableError", "clock": "ok",
    }  # fmt: skip
    assert "secret" not in await answer.text()


@pytest.mark.parametrize("error", list(FAILURES.values()), ids=list(FAILURES))
def test_a_problem_is_never_cached_as_if_it_were_the_thing(error):
    if isinstance(error, ToolkitError):
        cache = shared.problem(error).headers["Cache-Control"]
        assert cache == ("max-age=5" if error.status == 404 else "no-store")
