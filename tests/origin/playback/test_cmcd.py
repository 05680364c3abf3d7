"""CMCD version 2 events are heartbeats."""

import pytest

from tests.origin.playback.test_playback import beat, counted, started


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
