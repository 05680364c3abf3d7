"""Steering as players ask for it."""

import pytest

from cdn_router.belief import Observation
from cdn_router.chooser import RouterChooser
from core.errors import UnavailableError
from core.grants import UrlGrant, UrlSigner
from core.model import Pathway, SessionContext, Tier
from core.state.memory import MemoryState


async def _start(service, session_id="s1", region="ww"):
    chooser = RouterChooser(service.router)
    return await chooser.choose(SessionContext(session_id, region, "track"))


async def _learn(service, rtts):
    """Probes of the router, as if they had been made."""
    for pathway, rtt in rtts.items():
        for n in range(8):
            at_s = service.router.clock() + n
            first_byte = rtt and rtt + 5
            service.router.knowledge.note(Observation("ww", pathway, at_s, None, rtt, first_byte))
    await service.router.knowledge.sync(now_s=service.router.clock() + 10)


@pytest.mark.parametrize(
    "kind, content_type",
    [("hls", "application/vnd.apple.steering-list"), ("dash", "application/json")],
)
async def test_the_answer_has_the_headers_players_need(run_router, kind, content_type):
    service = await run_router()
    for path in (
        f"/{service.token()}/steering/{kind}",
        f"/v1/steering/{kind}?session={service.token()}",
    ):
        answer = await service.get(path)
        assert answer.status == 200
        assert answer.headers["Content-Type"] == content_type
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_a_session_keeps_its_start_and_is_steered_to_the_better_pathway(run_router):
    service = await run_router()
    decision = await _start(service)
    assert decision.order[0].id == "cdn-a"
    await _learn(service, {"cdn-a": 300, "cdn-b": 10, "cdn-c": 80})

    body = await service.steer(service.token())
    assert body["PATHWAY-PRIORITY"] == ["cdn-b", "cdn-c", "base"]
    assert {c["ID"] for c in body["PATHWAY-CLONES"]} == {"cdn-b", "cdn-c"}
    assert (await _start(service)).order[0].id == "cdn-a"
    assert (await _start(service, "s2")).order[0].id == "cdn-b"
    body = await service.steer(service.token("s2"))
    assert body["PATHWAY-PRIORITY"] == ["base", "cdn-c", "cdn-a"]


async def test_the_reload_uri_is_absolute_and_not_taken_from_the_request(run_router):
    service = await run_router()
    token = service.token()
    body = await service.steer(token, "dash", headers={"Host": "evil.example"})

    assert body["RELOAD-URI"] == f"http://router.example/{token}/steering/dash"


async def test_an_unknown_session_gets_every_pathway_as_a_clone(run_router):
    service = await run_router()
    body = await service.steer(service.token("never-started"))

    assert body["PATHWAY-PRIORITY"] == ["cdn-a", "cdn-b", "cdn-c", "base"]


async def test_an_expired_token_still_gets_the_order(run_router):
    service = await run_router()
    await _start(service)

    assert (await service.steer(service.token(ttl_s=-100)))["PATHWAY-PRIORITY"][0] == "base"


@pytest.mark.parametrize("kind", ["hls", "dash"])
async def test_a_forged_token_is_403_and_never_404_410_or_429(run_router, kind):
    service = await run_router()
    foreign = UrlSigner({"k1": b"x" * 32}, "k1").sign(
        UrlGrant("track", Tier.NORMAL, "ww", "s1", 2**31)
    )
    for token in (foreign, service.token()[:-2], "x", "a.b", "~"):
        answer = await service.get(f"/{token}/steering/{kind}")
        assert answer.status == 403
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert (await answer.json(content_type=None))["type"].endswith("signature-invalid")
    assert (await service.get(f"/v1/steering/{kind}")).status == 403


@pytest.mark.parametrize(
    "query",
    [
        '?_HLS_pathway="cdn-b"&_HLS_throughput=2150000',
        "?_HLS_pathway=cdn-a&_HLS_pathway=cdn-b",
        "?_HLS_pathway=&_HLS_throughput=NaN",
        '?_DASH_pathway="cdn-b,base"&_DASH_throughput=1,2',
        "?_HLS_pathway=%00%ff&x=" + "y" * 3000,
    ],
)
async def test_whatever_players_append_the_answer_is_200(run_router, query):
    service = await run_router()
    answer = await service.get(f"/{service.token()}/steering/hls{query}")

    assert answer.status == 200


async def test_the_last_of_several_values_is_what_the_player_uses(run_router):
    service = await run_router()
    query = "?_HLS_pathway=cdn-a&_HLS_pathway=cdn-b&_HLS_throughput=150000"
    await service.get(f"/{service.token()}/steering/hls{query}")
    text = await (await service.get("/metrics")).text()

    assert 'router_steered_total{format="hls",pathway="cdn-b"} 1.0' in text
    assert 'router_player_throughput_bps_sum{pathway="cdn-b"} 150000.0' in text


async def test_trouble_in_a_region_shortens_the_ttl(run_router):
    service = await run_router()
    await _learn(service, {"cdn-a": 30, "cdn-b": 10, "cdn-c": 80})
    calm = (await service.steer(service.token()))["TTL"]
    await _learn(service, {"cdn-a": 30, "cdn-b": None, "cdn-c": 80})
    alarmed = (await service.steer(service.token()))["TTL"]

    assert 240 <= calm <= 360
    assert 16 <= alarmed <= 24


async def test_avplayer_is_not_given_clones(run_router):
    service = await run_router()
    await _start(service)
    body = await service.steer(
        service.token(), headers={"User-Agent": "AppleCoreMedia/1.0.0.21F90 (iPhone)"}
    )

    assert body["PATHWAY-PRIORITY"] == ["base"]
    assert "PATHWAY-CLONES" not in body


async def test_with_one_pathway_there_is_nothing_but_the_base(run_router):
    service = await run_router(pathways=service_pathways(1))
    await _start(service)

    assert (await service.steer(service.token()))["PATHWAY-PRIORITY"] == ["base"]


def service_pathways(count):
    return tuple(Pathway(f"p{n}", f"http://127.1.1.{n}:1") for n in range(count))


class BrokenState(MemoryState):
    """A store that has gone away."""

    broken = False

    async def get(self, key, *, now_s):
        self._check()
        return await super().get(key, now_s=now_s)

    async def put_if_absent(self, key, value, *, ttl_s, now_s):
        self._check()
        return await super().put_if_absent(key, value, ttl_s=ttl_s, now_s=now_s)

    def _check(self):
        if self.broken:
            raise UnavailableError("gone")


async def test_without_its_store_the_router_still_decides_and_steers(run_router):
    state = BrokenState()
    service = await run_router(state=state)
    await _start(service)
    state.broken = True
    await _learn(service, {"cdn-a": 300, "cdn-b": 10, "cdn-c": 80})

    assert (await _start(service, "s2")).order[0].id == "cdn-b"
    assert (await service.steer(service.token()))["PATHWAY-PRIORITY"][0] == "cdn-b"


async def test_a_restart_goes_on_with_the_last_good_table(run_router):
    state = MemoryState()
    service = await run_router(state=state)
    await _learn(service, {"cdn-a": 300, "cdn-b": 10, "cdn-c": 80})
    again = await run_router(state=state)

    assert (await _start(again, "s3")).order[0].id == "cdn-b"


async def test_two_processes_with_one_store_decide_alike(run_router, until):
    state = MemoryState()
    one, two = await run_router(state=state), await run_router(state=state)
    await _learn(one, {"cdn-a": 300, "cdn-b": 10, "cdn-c": 80})
    await until(lambda: two.router.order("s", "ww")[0].id == "cdn-b")

    for n in range(20):
        assert one.router.order(f"s{n}", "ww") == two.router.order(f"s{n}", "ww")


async def test_explain_shows_beliefs_and_no_user_data(run_router):
    service = await run_router()
    await _start(service, "a-secret-session")
    await _learn(service, {"cdn-a": 300, "cdn-b": 10, "cdn-c": 80})
    answer = await service.get("/v1/router/explain?region=ww")
    told = await answer.json()

    (region,) = told["regions"]
    assert region["order"] == ["cdn-b", "cdn-c", "cdn-a"]
    assert region["reason"] == "best"
    assert region["lastChange"]["cause"] == "first measurement"
    assert region["pathways"][0]["srttMs"] == pytest.approx(10)
    assert "a-secret-session" not in await answer.text()
    assert (await (await service.get("/v1/router/explain?region=mars")).json())["regions"] == []
