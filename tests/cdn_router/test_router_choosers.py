"""Choosers: a start never fails because of the router."""

import asyncio
import contextlib
import time

import pytest
from aiohttp import web

from cdn_router.belief import Observation
from cdn_router.chooser import ASK_TIMEOUT_S, HttpChooser, RouterChooser, SinglePathway
from cdn_router.router import Limits
from core.errors import InvalidInputError
from core.grants import sign_choice, sign_operator
from core.model import Pathway, SessionContext

CONTEXT = SessionContext("s1", "ww", "track")


@pytest.fixture
async def ask():
    """A function that makes an `HttpChooser`; it is closed after the test."""
    async with contextlib.AsyncExitStack() as stack:

        def make(url, pathways, secret=b"o" * 32):
            chooser = HttpChooser(url, secret, pathways, clock=time.time)
            stack.push_async_callback(chooser.aclose)
            return chooser

        yield make


@contextlib.asynccontextmanager
async def answering(handler):
    """The URL of a server that answers every choice as *handler* does."""
    app = web.Application()
    app.add_routes([web.post("/v1/router/choose", handler)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _learn(service, rtts):
    for pathway, rtt in rtts.items():
        for _ in range(8):
            at_s = service.router.clock()
            service.router.knowledge.note(Observation("ww", pathway, at_s, None, rtt, rtt + 5))
    await service.router.knowledge.sync(now_s=service.router.clock() + 10)


def _ids(decision):
    return [p.id for p in decision.order]


async def test_in_process_and_over_the_network_the_answer_is_the_same(run_router, ask):
    service = await run_router()
    await _learn(service, {"cdn-a": 300, "cdn-b": 10, "cdn-c": 80})
    far = ask(service.base, service.router.pathways)
    near = RouterChooser(service.router)

    assert _ids(await far.choose(CONTEXT)) == ["cdn-b", "cdn-c", "cdn-a"]
    assert (await near.choose(CONTEXT)).order == (await far.choose(CONTEXT)).order


async def test_a_session_starts_where_it_was_told_first(run_router):
    service = await run_router()
    near = RouterChooser(service.router)
    assert _ids(await near.choose(CONTEXT))[0] == "cdn-a"
    await _learn(service, {"cdn-a": 300, "cdn-b": 10, "cdn-c": 80})

    assert _ids(await near.choose(CONTEXT)) == ["cdn-a", "cdn-b", "cdn-c"]


async def test_only_an_origin_may_ask_for_a_choice(run_router):
    service = await run_router()
    body = {"sessionId": "s", "region": "ww", "trackId": "t"}
    now_s = int(time.time())
    secret = service.router.operator_secret
    tokens = [
        (401, sign_choice(b"x" * 32, now_s=now_s)),
        (401, sign_operator(secret, now_s=now_s)),
        (200, sign_choice(secret, now_s=now_s)),
    ]
    assert (await service.post("/v1/router/choose", json=body)).status == 401
    for status, token in tokens:
        headers = {"Authorization": f"Bearer {token}"}
        answer = await service.post("/v1/router/choose", json=body, headers=headers)
        assert answer.status == status
    for bad in ({}, [], {**body, "region": 7}, {**body, "sessionId": "x" * 65}):
        answer = await service.post("/v1/router/choose", json=bad, headers=headers)
        assert answer.status == 400


async def test_without_a_router_the_configured_order_holds(ask, run_router):
    pathways = (await run_router()).router.pathways
    chooser = ask("http://127.0.0.1:1", pathways)

    assert (await chooser.choose(CONTEXT)).order == pathways


async def test_after_a_good_answer_the_last_good_order_holds(ask, run_router):
    pathways = (await run_router()).router.pathways
    answers = [{"id": "d1", "pathways": [{"id": "cdn-c"}, {"id": "cdn-a"}, {"id": "cdn-b"}]}]

    async def handler(_):
        return web.json_response(answers.pop()) if answers else web.Response(status=503)

    async with answering(handler) as url:
        chooser = ask(url, pathways)
        first = await chooser.choose(CONTEXT)
        again = await chooser.choose(CONTEXT)

    assert _ids(first) == _ids(again) == ["cdn-c", "cdn-a", "cdn-b"]
    assert first.id == "d1"


async def test_a_redirect_is_not_followed(ask, run_router):
    pathways = (await run_router()).router.pathways
    asked = []

    async def elsewhere(request):
        asked.append(request.headers)
        return web.json_response({"id": "d1", "pathways": [{"id": "cdn-c"}]})

    async with answering(elsewhere) as other:

        async def moved(_):
            raise web.HTTPTemporaryRedirect(other)

        async with answering(moved) as url:
            assert (await ask(url, pathways).choose(CONTEXT)).order == pathways
    assert not asked


async def test_a_slow_router_delays_a_start_by_less_than_half_a_second(ask, run_router):
    pathways = (await run_router()).router.pathways

    decided = asyncio.Event()

    async def handler(_):
        await decided.wait()

    async with answering(handler) as url, asyncio.timeout(20):
        decision = await ask(url, pathways).choose(CONTEXT)
        decided.set()

    assert decision.order == pathways
    assert ASK_TIMEOUT_S < 0.5


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b'{"id":"d","pathways":[]}',
        b'{"id":"d","pathways":[{"id":"evil"}]}',
        b'{"id":"d","pathways":7}',
        b"[" * 20_000,
        b"\xff",
    ],
)
async def test_an_answer_that_is_none_is_not_believed(ask, run_router, body):
    pathways = (await run_router()).router.pathways

    async def handler(_):
        return web.Response(body=body, content_type="application/json")

    async with answering(handler) as url:
        assert (await ask(url, pathways).choose(CONTEXT)).order == pathways


async def test_an_answer_can_reorder_pathways_but_not_add_or_lose_one(ask, run_router):
    pathways = (await run_router()).router.pathways
    names = ["cdn-c", "evil", "cdn-c"]

    async def handler(_):
        return web.json_response({"id": "d", "pathways": [{"id": n} for n in names]})

    async with answering(handler) as url:
        decision = await ask(url, pathways).choose(CONTEXT)

    assert _ids(decision) == ["cdn-c", "cdn-a", "cdn-b"]


async def test_one_pathway_needs_no_router():
    only = Pathway("default", "http://127.0.0.1:8080")

    assert (await SinglePathway(only).choose(CONTEXT)).order == (only,)


async def test_pathways_that_players_cannot_be_steered_between_are_refused(run_router):
    with pytest.raises(InvalidInputError, match="scheme and port"):
        await run_router(
            pathways=(Pathway("a", "http://a.example"), Pathway("b", "https://b.example"))
        )
    with pytest.raises(InvalidInputError, match="pathways"):
        await run_router(pathways=(), limits=Limits())


async def test_no_secret_is_in_the_routers_repr(run_router):
    text = repr((await run_router()).router)

    assert "ooooo" not in text
    assert "ppppp" not in text
    assert "uuuuu" not in text
