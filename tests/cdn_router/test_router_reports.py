"""`POST /v1/rum`: honest reports count, and what abuse cannot do."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdn_router.beacons import MAX_REPORTS, parse
from cdn_router.chooser import RouterChooser
from core.errors import InvalidInputError
from core.grants import PlaybackGrant, sign_playback
from core.model import SessionContext, Tier

GOOD = {"pathway": "base", "rttMs": 20, "firstByteMs": 50}


class Clock:
    """Time that a test moves."""

    now_s = 1_800_000_000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
async def service(run_router):
    clock = Clock()
    service = await run_router(clock=clock)
    await begin(service, "s1")
    return service


async def begin(service, session_id, region="ww"):
    await RouterChooser(service.router).choose(SessionContext(session_id, region, "track"))


async def send(service, report, session_id="s1", **given):
    answer = await service.post(
        "/v1/rum", data=json.dumps(report), headers=service.playback(session_id), **given
    )
    return answer.status, await answer.json(content_type=None)


async def counted(service, report, session_id="s1"):
    status, body = await send(service, report, session_id)
    assert status == 202
    return body["counted"]


async def test_an_honest_report_counts(service):
    assert await send(service, GOOD) == (202, {"counted": 1, "ignored": {}})


async def test_a_report_counts_once_in_fifteen_seconds_and_session_and_pathway(service):
    assert await counted(service, [GOOD] * 5) == 1
    assert await counted(service, {**GOOD, "firstByteMs": 51}) == 0
    service.router.clock.now_s += 15
    assert await counted(service, {**GOOD, "firstByteMs": 52}) == 1


async def test_at_most_three_errors_count_beside_it(service):
    failed = {"pathway": "base", "failed": True}
    assert await counted(service, [failed] * 20 + [GOOD]) == 4


async def test_the_same_body_counts_once_however_late_it_is_repeated(service):
    assert await counted(service, GOOD) == 1
    service.router.clock.now_s += 60
    assert await send(service, GOOD) == (202, {"counted": 0, "ignored": {"duplicate": 1}})


async def test_a_pathway_the_session_was_not_told_of_does_not_count(service):
    report = {**GOOD, "pathway": "cdn-b"}
    assert (await send(service, report))[1] == {"counted": 0, "ignored": {"unexposed": 1}}
    await service.steer(service.token("s1"))
    assert await counted(service, {**report, "firstByteMs": 51}) == 1


async def test_a_session_that_was_never_routed_does_not_count(service):
    assert (await send(service, GOOD, "s9"))[1] == {"counted": 0, "ignored": {"unexposed": 1}}


@pytest.mark.parametrize(
    "numbers",
    [
        {"rttMs": 500, "firstByteMs": 5},
        {"rttMs": -1, "firstByteMs": 5},
        {"firstByteMs": 0},
        {"firstByteMs": 61_000},
    ],
)
async def test_numbers_that_cannot_be_do_not_count(service, numbers):
    body = (await send(service, {"pathway": "base", **numbers}))[1]
    assert body == {"counted": 0, "ignored": {"implausible": 1}}


async def test_unknown_pathways_do_not_count_and_make_no_state(service):
    reports = [{**GOOD, "pathway": f"cdn-{n}"} for n in range(10, 60)]
    assert (await send(service, reports))[1]["ignored"] == {"unknown": 50}
    await service.router.knowledge.sync(now_s=service.router.clock())
    assert service.router.knowledge.table.cells == {}


async def test_the_region_is_the_origins_and_not_the_reporters(service):
    await begin(service, "s2", region="eu")
    await counted(service, {**GOOD, "region": "us"}, "s2")
    await service.router.knowledge.sync(now_s=service.router.clock())

    assert {region for region, _ in service.router.knowledge.table.cells} == {"eu"}


async def test_cmcd_version_2_lines_count(service):
    await service.steer(service.token())
    lines = (
        'cdn="cdn-b",cid="trk",e=rr,rc=200,sid="6e2f",sn=42,su,ts=1766875158000,ttfb=82,v=2\n'
        "e=ps,sta=p,ts=1766875158001,v=2\n"
        'e=rr,rc=200,sn=43,ttfb=90,url="http://127.1.0.3:1/m/s1.m4s?a=b,c=d",v=2\n'
        'e=rr,rc=503,sn=44,url="http://127.1.0.1:1/m/s1.m4s",v=2\n'
        'e=rr,rc=404,sn=45,url="http://127.1.0.1:1/m/s1.m4s",v=2\n'
        'e=rr,rc=200,sn=46,ttfb=90,url="http://169.254.169.254/",v=2\n'
    )
    for kind in ("application/cmcd", "text/plain"):
        answer = await service.post(
            f"/v1/rum?session={service.token()}", data=lines, headers={"Content-Type": kind}
        )
        assert answer.status == 202
        if kind == "application/cmcd":
            assert await answer.json() == {"counted": 3, "ignored": {"unknown": 1}}


async def test_a_beacon_may_come_with_the_url_token_and_as_text(service):
    answer = await service.post(
        f"/v1/rum?session={service.token()}",
        data=json.dumps(GOOD),
        headers={"Content-Type": "text/plain;charset=UTF-8"},
    )
    assert (await answer.json())["counted"] == 1


async def test_without_a_valid_token_nothing_is_read(service):
    now_s = int(service.router.clock())
    grant = PlaybackGrant("u", "d", "s1", "track", Tier.NORMAL, now_s, now_s + 120)
    forged = {"Authorization": f"Bearer {sign_playback(grant, b'x' * 32)}"}
    body = json.dumps(GOOD)

    assert (await service.post("/v1/rum", data=body)).status == 401
    assert (await service.post("/v1/rum", data=body, headers=forged)).status == 401
    assert (await service.post("/v1/rum?session=x", data=body)).status == 403
    expired = service.token(ttl_s=-1)
    assert (await service.post(f"/v1/rum?session={expired}", data=body)).status == 403


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 50_000,
        b"[1]",
        b'{"pathway": 1}',
        b'{"pathway": "base"}',
        b'{"pathway": "base", "firstByteMs": "5"}',
        b'{"pathway": "base", "firstByteMs": true}',
        json.dumps([GOOD] * (MAX_REPORTS + 1)).encode(),
        b"e=rr,v=2\n" * (MAX_REPORTS + 1),
        b"hello world",
    ],
)
async def test_nonsense_is_a_clear_400(service, body):
    answer = await service.post("/v1/rum", data=body, headers=service.playback())
    if body == b"":
        assert (answer.status, await answer.json()) == (202, {"counted": 0, "ignored": {}})
        return
    assert answer.status == 400
    assert (await answer.json(content_type=None))["detail"]


async def test_a_body_above_the_limit_is_413(service):
    answer = await service.post("/v1/rum", data=b"x" * 70_000, headers=service.playback())
    assert answer.status == 413


async def test_browsers_may_ask_before_they_post(service):
    async with service.client.options(service.base + "/v1/rum") as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Max-Age"] == "86400"


async def test_reports_that_do_not_count_leave_no_state(service):
    await counted(service, GOOD)
    before = len(service.router.state)
    for n in range(50):
        await counted(service, {**GOOD, "firstByteMs": 60 + n})

    assert len(service.router.state) == before


async def test_one_session_cannot_turn_a_region_however_it_lies(service):
    router = service.router
    for n in range(30):
        await begin(service, f"honest-{n}")
    noise = random.Random(5)
    for minute in range(20):
        router.clock.now_s += 16
        for n in range(30):
            good = {"pathway": "base", "rttMs": 20, "firstByteMs": 40 * noise.uniform(0.8, 1.3)}
            await counted(service, good, f"honest-{n}")
        lies = [{"pathway": "base", "failed": True}] * 50 + [
            {"pathway": "base", "firstByteMs": 8000}
        ]
        await counted(service, [*lies, {"pathway": "base", "firstByteMs": 100 + minute}])
        await router.knowledge.sync(now_s=router.clock())

    assert router.order("s", "ww")[0].id == "cdn-a"
    assert not router.knowledge.table.alarmed("ww", router.clock())


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_bytes_from_outside_raise_nothing_but_our_error(body):
    try:
        reports = parse(body)
    except InvalidInputError:
        return
    assert len(reports) <= MAX_REPORTS
