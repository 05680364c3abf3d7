"""The playback API: who may play what, until when, and what counts as heard."""

import asyncio
import dataclasses
import json
from urllib.parse import urlsplit

import pytest

from core.errors import RestoringError, UnavailableError
from core.grants import PlaybackGrant, open_playback, sign_playback
from core.model import DrmProfile, Tier
from origin.playback import handlers as playback
from origin.playback import idempotency
from origin.playback.handlers import GRACE_S
from packager.manifest.places import presentation_key
from tests.origin.conftest import (
    SECRET_PLAYBACK,
    TwoPathways,
    make_origin,
    make_presentation,
    publish,
)

START = {"trackId": "song", "deviceId": "phone-1", "qualityHint": "auto"}


async def start(house, *, key="key-1", body=None, token=None, **changes):
    headers = {"Authorization": f"Bearer {house.user() if token is None else token}"}
    if key is not None:
        headers["Idempotency-Key"] = key
    body = {**START, **changes} if body is None else body
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await house.client.post("/v1/play/start", data=data, headers=headers)


async def started(house, **changes):
    answer = await start(house, **changes)
    assert answer.status == 200, await answer.text()
    return await answer.json()


async def report(house, session, seq, position_ms, **how):
    token, call = how.get("token"), how.get("call", "heartbeat")
    return await house.client.post(
        f"/v1/play/{call}",
        json={"sessionId": session["sessionId"], "seq": seq, "positionMs": position_ms},
        headers={"Authorization": f"Bearer {token or session['license']['token']}"},
    )


async def beat(house, session, seq, position_ms, **how):
    answer = await report(house, session, seq, position_ms, **how)
    assert answer.status == 200, await answer.text()
    return await answer.json()


def counted(house):
    return sum(
        sample.value
        for metric in house.metrics.registry.collect()
        if metric.name == "plays_counted"
        for sample in metric.samples
        if sample.name == "plays_counted_total"
    )


# --- start


async def test_start_says_everything_a_player_needs(house):
    answer = await start(house)
    body = await answer.json()

    assert answer.headers["Cache-Control"] == "no-store"
    assert set(body) == {
        "sessionId", "manifests", "manifestUrl", "token", "expiresAt", "license", "heartbeatS",
        "availability", "pathways", "gapless", "loudness",
    }  # fmt: skip
    generation = house.presentation.generation
    stem = f"http://near.example/{body['token']}/m/song/{generation}/ww/cbcs/high"
    assert body["manifests"] == {"hls": f"{stem}.m3u8", "dash": f"{stem}.mpd"}
    assert body["manifestUrl"] == body["manifests"]["hls"]
    assert body["license"]["clearkey"] == {"url": "http://near.example/v1/license/clearkey"}
    assert body["expiresAt"] == "2027-01-15T08:15:00Z"
    assert body["license"]["expiresAt"] == "2027-01-15T08:03:00Z"
    assert body["availability"] == {"state": "ready"}
    assert [p["id"] for p in body["pathways"]] == ["near", "far"]
    assert body["heartbeatS"] == 30


async def test_start_tells_the_gapless_numbers_and_loudness_of_what_may_be_heard(house):
    renditions = house.presentation.renditions

    best = await started(house)
    low = await started(house, key="key-2", qualityHint="low")

    assert best["gapless"] == {
        r.name: dataclasses.asdict(r.timing) for r in renditions if Tier.HIGH.includes(r.tier)
    }
    assert set(low["gapless"]) == {r.name for r in renditions if r.tier is Tier.LOW}
    measured = house.presentation.loudness
    assert best["loudness"]["track"]["integratedLufs"] == measured.integrated_lufs
    assert best["loudness"]["track"]["truePeakDbtp"] == measured.true_peak_dbtp


async def test_the_urls_of_a_start_open(house):
    body = await started(house)

    for url in body["manifests"].values():
        answer = await house.client.get(urlsplit(url).path)
        assert answer.status == 200
    segment = urlsplit(body["manifestUrl"]).path.rpartition("/")[0] + "/aac-320k/1.m4s"
    assert (await house.client.get(segment)).status == 200


async def test_the_playback_token_is_bound_to_device_session_and_track(house):
    body = await started(house)

    grant = open_playback(body["license"]["token"], SECRET_PLAYBACK, now_s=house.now_s)

    assert (grant.subject, grant.device_id) == ("listener", "phone-1")
    assert (grant.session_id, grant.track_id) == (body["sessionId"], "song")
    assert grant.tier is Tier.HIGH


@pytest.mark.parametrize(
    ("plan", "hint", "tier"),
    [
        (Tier.HIGH, "auto", "high"), (Tier.HIGH, "normal", "normal"),
        (Tier.NORMAL, "high", "normal"),
        (Tier.LOW, "lossless", "low"), (Tier.LOSSLESS, "auto", "high"),
        (Tier.LOSSLESS, "lossless", "high"), (Tier.NORMAL, "low", "low"),
    ],
)  # fmt: skip
async def test_the_tier_is_the_least_of_plan_wish_and_what_exists(house, plan, hint, tier):
    body = await started(house, token=house.user(tier=plan), qualityHint=hint)

    assert body["manifestUrl"].endswith(f"/{tier}.m3u8")
    grant = open_playback(body["license"]["token"], SECRET_PLAYBACK, now_s=house.now_s)
    assert grant.tier == tier


async def test_a_normal_plan_cannot_fetch_a_premium_rung(house):
    body = await started(house, token=house.user(tier=Tier.NORMAL))
    stem = urlsplit(body["manifestUrl"]).path.rpartition("/")[0]

    assert (await house.client.get(f"{stem}/aac-160k/1.m4s")).status == 200
    for file in ("high.m3u8", "aac-320k.m3u8", "aac-320k/1.m4s", "aac-320k.mp4"):
        assert (await house.client.get(f"{stem}/{file}")).status == 403


async def test_a_plan_below_every_rendition_is_refused_in_plain_words(house):
    await publish(house, *make_presentation("premium", tiers=[Tier.HIGH]))

    answer = await start(house, trackId="premium", token=house.user(tier=Tier.LOW))

    assert answer.status == 403
    assert (await answer.json())["type"] == "urn:tonearm:problem:plan-too-low"


async def test_the_scheme_may_be_chosen(house):
    assert "/cenc/" in (await started(house, scheme="cenc"))["manifestUrl"]
    answer = await start(house, scheme="clear", key="key-2")
    assert answer.status == 404
    assert (await answer.json())["hint"] == "it is as cbcs, cenc"


async def test_a_clear_track_plays_without_being_asked_for(house):
    await publish(house, *make_presentation("free", drms=[DrmProfile.CLEAR]))

    assert "/clear/" in (await started(house, trackId="free"))["manifestUrl"]


async def test_regional_rights_decide_who_may_play(house):
    await publish(house, *make_presentation("local"), regions=("de", "far"))

    here = await started(house, trackId="local", token=house.user(region="de"))
    assert "/de/cbcs/" in here["manifestUrl"]
    assert (await house.client.get(urlsplit(here["manifestUrl"]).path)).status == 200
    elsewhere = await start(house, trackId="local", token=house.user(region="us"), key="key-2")
    assert elsewhere.status == 403
    assert (await elsewhere.json())["type"] == "urn:tonearm:problem:not-in-region"


async def test_the_manifest_comes_from_the_best_pathway_where_the_listener_is(house):
    near = await started(house, token=house.user(region="de"))
    far = await started(house, token=house.user(region="far"), key="key-2")

    assert near["manifestUrl"].startswith("http://near.example/")
    assert far["manifestUrl"].startswith("http://far.example/")
    assert [p["id"] for p in far["pathways"]] == ["far", "near"]
    # and yet one URL serves both: where rights have no borders, caches need none
    assert "/ww/" in near["manifestUrl"]
    assert "/ww/" in far["manifestUrl"]


async def test_a_restoring_track_says_when_it_will_be_there(house):
    await started(house)
    await house.client.get(house.path("high.m3u8"))
    house.store.failure = RestoringError("coming", retry_after_s=90)

    body = await started(house, key="key-2")

    assert body["availability"] == {"state": "restoring", "etaSeconds": 90}


async def test_an_outage_of_the_store_does_not_stop_what_edges_may_hold(house):
    await started(house)
    house.store.failure = UnavailableError("down")

    assert (await started(house, key="key-2"))["availability"] == {"state": "ready"}


@pytest.mark.parametrize("lost", ["description", "media"])
async def test_a_published_track_that_the_store_has_lost_is_our_fault(house, lost):
    if lost == "description":
        key = presentation_key("song", house.presentation.generation)
    else:
        key = house.presentation.rendition("aac-320k").file(DrmProfile.CBCS).key
    await house.store.delete(key)

    answer = await start(house)

    assert (answer.status, answer.headers["Cache-Control"]) == (500, "no-store")
    assert "tracks/" not in await answer.text()
    assert "is missing" in house.logged()


async def test_tracks_that_cannot_be_played_are_refused_with_a_reason(house):
    unknown = await start(house, trackId="nosuch")
    house.catalogue.withdraw("song")
    withdrawn = await start(house, key="key-2")

    assert (unknown.status, withdrawn.status) == (404, 403)
    assert (await withdrawn.json())["type"] == "urn:tonearm:problem:track-withdrawn"


@pytest.mark.parametrize("token", ["", "x.y.z", "none"])
async def test_who_is_not_known_gets_401(house, token):
    answer = await start(house, token=token)

    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_a_playback_token_is_no_user_token_and_the_reverse(house):
    session = await started(house)

    assert (await start(house, token=session["license"]["token"], key="k2")).status == 401
    assert (await report(house, session, 1, 0, token=house.user())).status == 401


@pytest.mark.parametrize(
    "body",
    [
        b"", b"x", b"[]", b"null", b"[" * 5000, b'{"trackId":"song"}', b"\xff\xfe",
        {**START, "trackId": "../x"}, {**START, "trackId": 5}, {**START, "deviceId": ""},
        {**START, "deviceId": "a b"}, {**START, "deviceId": "x" * 65},
        {**START, "qualityHint": "best"}, {**START, "qualityHint": []},
        {**START, "scheme": "fairplay"},
        {**START, "scheme": {}},
    ],
)  # fmt: skip
async def test_a_body_that_cannot_be_used_is_400_with_a_hint(house, body):
    answer = await start(house, body=body)

    assert answer.status == 400
    assert (await answer.json())["hint"]


async def test_a_huge_body_is_413(house):
    assert (await start(house, body=b" " * 70_000)).status == 413


# --- idempotency


@pytest.mark.parametrize("key", [None, "", '""', '"' + "x" * 129 + '"', 'a"b', '"a', "a b"])
async def test_a_start_needs_a_usable_idempotency_key(house, key):
    answer = await start(house, key=key)

    assert answer.status == 400
    assert "Idempotency-Key" in (await answer.json())["detail"]


async def test_the_same_key_gets_the_same_answer_later_too(house):
    first = await started(house, key='"abc def"')
    house.now_s += 100

    assert await started(house, key='"abc def"') == first
    assert (await started(house, key="other"))["sessionId"] != first["sessionId"]


async def test_json_written_in_another_way_is_the_same_request(house):
    first = await started(house)
    again = json.dumps(dict(reversed(START.items())), indent=3).encode()

    assert await started(house, body=again) == first


async def test_a_key_for_another_request_is_422(house):
    await started(house)

    answer = await start(house, qualityHint="low")

    assert answer.status == 422
    assert (await answer.json())["type"] == "urn:tonearm:problem:idempotency-key-reused"


async def test_keys_of_two_users_do_not_meet(house):
    first = await started(house)
    other = await started(house, token=house.user("someone-else"))

    assert first["sessionId"] != other["sessionId"]


async def test_a_key_in_flight_is_409_and_one_session_is_made(house):
    house.store.gate = asyncio.Event()
    first = asyncio.create_task(start(house))
    await asyncio.sleep(0.1)
    seconds = await asyncio.gather(*(start(house) for _ in range(5)))
    other = await start(house, qualityHint="low")
    house.store.gate.set()

    assert {answer.status for answer in seconds} == {409}
    assert other.status == 422
    assert (await first).status == 200
    assert (await started(house)) == await (await first).json()
    assert house.ids == 1


async def test_a_failure_may_be_tried_again_with_the_same_key(house):
    house.catalogue.withdraw("song")
    assert (await start(house)).status == 403
    house.catalogue.restore("song")

    assert (await start(house)).status == 200


async def test_a_start_that_outlives_its_key_does_not_overwrite_the_next_one(house):
    house.store.gate = asyncio.Event()
    hanging = asyncio.create_task(start(house))
    await asyncio.sleep(0.1)
    house.now_s += 31
    house.store.gate.set()

    # the one that took too long must not overwrite what another made in between
    second = await start(house)
    first = await hanging
    assert sorted([first.status, second.status]) in ([200, 200], [200, 409])
    assert (await start(house)).status == 200


async def test_a_start_that_takes_too_long_is_503_and_its_key_free_again(house, monkeypatch):
    monkeypatch.setattr(idempotency, "ACTION_TIMEOUT_S", 0.05)
    house.store.gate = asyncio.Event()
    answer = await start(house)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    house.store.gate.set()

    assert (await start(house)).status == 200


async def test_a_router_that_hangs_does_not_hang_the_listener(house, monkeypatch):
    async def hang(*_):
        await asyncio.sleep(10)

    monkeypatch.setattr(playback, "CHOOSER_TIMEOUT_S", 0.05)
    monkeypatch.setattr(TwoPathways, "choose", hang)

    assert (await start(house)).status == 503


async def test_no_token_is_kept_in_the_state_or_the_log(house):
    session = await started(house)
    await beat(house, session, 1, 1000)
    house.store.failure = ValueError("a bug")
    await house.client.get(
        urlsplit(session["manifestUrl"]).path.replace("high.m3u8", "aac-96k.mp4")
    )

    kept = repr(vars(house.state)) + house.logged()
    metrics = await (await house.client.get("/metrics")).text()
    for secret in (session["token"], session["license"]["token"], house.user()):
        assert secret not in kept + metrics
        assert secret.rpartition(".")[2] not in kept + metrics


# --- heartbeats


async def test_a_heartbeat_early_on_changes_no_token(house):
    session = await started(house)
    house.now_s += 30

    answer = await beat(house, session, 1, 29_000)

    assert answer["acknowledged"] == 1
    assert not answer["duplicate"]
    assert "license" not in answer
    assert "token" not in answer


async def test_a_heartbeat_renews_what_is_due(house):
    session = await started(house)
    house.now_s += 120
    first = await beat(house, session, 1, 1000)
    renewed = open_playback(first["license"]["token"], SECRET_PLAYBACK, now_s=house.now_s)
    assert renewed.expires_s == house.now_s + 180
    assert renewed.session_id == session["sessionId"]
    assert "token" not in first
    house.now_s += 180 - 1
    second = await beat(house, {**session, "license": first["license"]}, 2, 2000)
    assert "token" not in second
    house.now_s += 2
    third = await beat(house, {**session, "license": second["license"]}, 3, 3000)

    assert third["token"] != session["token"]
    assert third["manifests"]["hls"].count(third["token"]) == 1
    grant = house.signer.open(third["token"], now_s=house.now_s)
    assert 600 <= grant.expires_s - house.now_s <= 900
    assert (await house.client.get(urlsplit(third["manifestUrl"]).path)).status == 200


async def test_a_long_session_never_holds_an_expired_url(house):
    session = await started(house)
    license_, url = session["license"], session["manifestUrl"]
    for seq in range(1, 100):
        house.now_s += 30
        assert (await house.client.get(urlsplit(url).path)).status == 200
        answer = await beat(house, {**session, "license": license_}, seq, seq * 30_000)
        license_, url = answer.get("license", license_), answer.get("manifestUrl", url)


async def test_a_paused_player_may_come_back_within_the_grace_and_not_later(house):
    session = await started(house)
    house.now_s += 180 + GRACE_S - 1

    assert "license" in await beat(house, session, 1, 1000)
    house.now_s += 1
    assert (await report(house, session, 2, 1000)).status == 401


async def test_a_session_that_was_silent_too_long_is_over(house):
    session = await started(house)
    house.now_s += 180 + GRACE_S
    now_s = int(house.now_s)
    grant = PlaybackGrant(
        "listener", "phone-1", session["sessionId"], "song", Tier.HIGH, now_s, now_s + 60
    )
    fresh = sign_playback(grant, SECRET_PLAYBACK)

    answer = await report(house, session, 1, 1000, token=fresh)

    assert answer.status == 404
    assert (await answer.json())["hint"] == "start again at /v1/play/start"


async def test_a_token_of_one_session_does_not_speak_for_another(house):
    first, second = await started(house), await started(house, key="key-2")

    answer = await report(house, second, 1, 1000, token=first["license"]["token"])

    assert answer.status == 401


async def test_duplicates_are_acknowledged_once_and_older_ones_ignored(house):
    session = await started(house)
    house.now_s += 10
    await beat(house, session, 5, 10_000)

    again = await beat(house, session, 5, 99_000)
    older = await beat(house, session, 3, 1_000)

    assert (again["acknowledged"], again["duplicate"]) == (5, True)
    assert (older["acknowledged"], older["duplicate"]) == (5, True)
    end = await beat(house, session, 6, 11_000, call="end")
    assert (end["positionMs"], end["listenedMs"]) == (11_000, 11_000)


@pytest.mark.parametrize(
    "body",
    [{}, {"seq": 1, "positionMs": 1}, {"sessionId": "session-1", "seq": -1, "positionMs": 0},
     {"sessionId": "session-1", "seq": True, "positionMs": 0},
     {"sessionId": "session-1", "seq": 1, "positionMs": 1.5},
     {"sessionId": "session-1", "seq": 2**31, "positionMs": 0},
     {"sessionId": "session-1", "seq": "1", "positionMs": 0}],
)  # fmt: skip
async def test_a_report_that_cannot_be_used_is_400(house, body):
    session = await started(house)
    answer = await house.client.post(
        "/v1/play/heartbeat",
        json=body,
        headers={"Authorization": f"Bearer {session['license']['token']}"},
    )

    assert answer.status == 400


async def test_a_withdrawal_reaches_a_session_that_plays(house):
    session = await started(house)
    house.catalogue.withdraw("song")
    house.now_s += 30

    answer = await report(house, session, 1, 30_000)

    assert answer.status == 403
    assert (await answer.json())["type"] == "urn:tonearm:problem:track-withdrawn"


async def test_a_session_does_not_last_for_ever(house):
    session = await started(house)
    license_ = session["license"]
    answer = None
    for seq in range(1, 60):
        house.now_s += 900
        answer = await report(house, session, seq, seq, token=license_["token"])
        if answer.status != 200:
            break
        license_ = (await answer.json())["license"]

    assert answer.status == 404
    assert seq == 48


# --- plays


async def test_a_play_counts_once_when_half_a_minute_was_heard(house):
    # the track lasts 38.4 s, so half of it is what counts
    session = await started(house)
    for seq, second in enumerate((10, 19)):
        house.now_s += 10
        assert not (await beat(house, session, seq, second * 1000))["counted"]
    house.now_s += 1
    assert (await beat(house, session, 2, 20_000))["counted"]
    assert counted(house) == 1
    house.now_s += 15
    await beat(house, session, 3, 35_000)
    end = await beat(house, session, 4, 38_000, call="end")

    assert end["counted"]
    assert counted(house) == 1
    assert house.logged().count("play counted") == 1


async def test_reports_that_race_count_one_play(house):
    session = await started(house)
    house.now_s += 30

    answers = await asyncio.gather(*(report(house, session, n, 25_000 + n) for n in range(12)))

    assert {answer.status for answer in answers} <= {200, 503}
    assert counted(house) == 1


async def test_skipping_through_a_track_is_not_hearing_it(house):
    session = await started(house)
    house.now_s += 2

    answer = await beat(house, session, 1, 37_000)

    assert not answer["counted"]


async def test_a_pause_is_not_hearing_either(house):
    session = await started(house)
    for seq in range(1, 6):
        house.now_s += 30
        assert not (await beat(house, session, seq, 5_000))["counted"]


async def test_a_lost_end_loses_no_play(house):
    session = await started(house)
    house.now_s += 30
    await beat(house, session, 1, 29_000)

    assert counted(house) == 1


async def test_an_end_is_final_and_repeatable(house):
    session = await started(house)
    house.now_s += 12
    first = await beat(house, session, 7, 12_000, call="end")

    again = await beat(house, session, 8, 30_000, call="end")

    assert again == {**first, "duplicate": True}
    late = await report(house, session, 9, 31_000)
    assert late.status == 409
    assert counted(house) == 0


async def test_an_end_with_the_number_of_the_last_heartbeat_still_ends(house):
    session = await started(house)
    house.now_s += 10
    await beat(house, session, 3, 10_000)

    assert not (await beat(house, session, 3, 10_500, call="end"))["duplicate"]
    assert (await report(house, session, 4, 11_000)).status == 409


# --- the rest


async def test_the_origin_is_ready_when_its_parts_answer(house):
    answer = await house.client.get("/readyz")
    assert answer.status == 200
    assert set((await answer.json())["checks"]) == {"store", "catalogue", "state"}
    house.store.failure = RestoringError("gone")

    assert (await house.client.get("/readyz")).status == 503


async def test_secrets_are_not_in_the_repr(house):
    text = repr(make_origin(house))

    for secret in ("pppp", "uuuu", "ssss"):
        assert secret not in text
