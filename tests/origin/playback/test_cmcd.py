"""CMCD version 2 events: read strictly, and good for heartbeats."""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInputError
from origin.playback.cmcd import MAX_EVENTS, parse_events
from tests.origin.playback.test_playback import beat, counted, started


def test_a_report_is_its_keys_and_bare_values():
    body = (
        b'br=(160;a "x,y"),bs,cid="a \\"b\\", c",e=t,pr=1.05,'
        b'sid="s-1",sn=7,sta=p;x="1,2",ts=@5\n\nsn=8'
    )

    assert parse_events(body) == [
        {
            "br": '(160;a "x,y")', "bs": "?1", "cid": 'a "b", c', "e": "t", "pr": "1.05",
            "sid": "s-1", "sn": "7", "sta": "p", "ts": "@5",
        },
        {"sn": "8"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [b"", b"\n", b"\xff", b"=", b"A=1", b'sid="x', b"a=1,,b", b"a=(", b"sn=1\n" * (MAX_EVENTS + 1)],
)
def test_what_is_not_cmcd_is_refused(body):
    with pytest.raises(InvalidInputError):
        parse_events(body)


@given(st.text(alphabet='asn=1,;"\\() \n', max_size=60))
def test_no_body_breaks_the_parser(text):
    with contextlib.suppress(InvalidInputError):
        parse_events(text.encode())


@pytest.mark.parametrize(
    "line",
    ["a=" + " " * 60_000 + "(", "a;" + " " * 60_000 + '"', 'a=("' + '""' * 30_000, "a" * 60_000],
)
def test_a_hostile_line_costs_no_time(line):
    started_s = time.perf_counter()
    with contextlib.suppress(InvalidInputError):
        parse_events(line.encode())

    assert time.perf_counter() - started_s < 1  # quadratic matching would take minutes


async def send(house, session, *lines, call="heartbeat"):
    return await house.client.post(
        f"/v1/play/{call}",
        data="\n".join(lines).encode(),
        headers={
            "Authorization": f"Bearer {session['license']['token']}",
            "Content-Type": "application/cmcd",
        },
    )


async def test_events_are_heartbeats(house):
    session = await started(house)
    sid = session["sessionId"]
    house.now_s += 21
    lines = [f'e=t,pt={n * 10_000},sid="{sid}",sn={n},sta=p,ts=1,v=2' for n in (0, 1, 2)]

    answer = await send(house, session, *lines, f'e=e,ec=("x"),sid="{sid}",sn=3,v=2')
    body = await answer.json()

    assert (body["acknowledged"], body["duplicate"], body["counted"]) == (2, False, True)
    assert (await (await send(house, session, *lines)).json())["duplicate"]
    assert counted(house) == 1
    # and the two forms of one session go together
    assert (await beat(house, session, 3, 21_000))["acknowledged"] == 3


async def test_a_batch_of_events_cannot_hear_more_than_time_allows(house):
    session = await started(house)
    sid = session["sessionId"]
    house.now_s += 1
    lines = [f'pt={n * 5_000},sid="{sid}",sn={n}' for n in range(8)]

    assert not (await (await send(house, session, *lines)).json())["counted"]


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["x"], 400), (["sn=1,pt=5"], 400), (['sid="SID",pt=5'], 400),
        (['sid="SID",sn=-1,pt=5'], 400),
        (['sid="SID",sn=1,pt=99999999999'], 400),
        (['sid="SID",sn=1,pt=1', 'sid="other",sn=2,pt=2'], 400),
        (['sid="other",sn=1,pt=1'], 401), (['sid="SID",sn=1,e=ps'], 200), (["=="], 400), ([], 400),
    ],
)  # fmt: skip
async def test_reports_are_checked(house, lines, status):
    session = await started(house)
    answer = await send(house, session, *(x.replace("SID", session["sessionId"]) for x in lines))

    assert answer.status == status
