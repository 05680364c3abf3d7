"""What the whole house is for: a master that was ingested sounds in real players."""

import dataclasses
import math
import time
import wave

import numpy as np
import pytest

from core.grants import open_playback, sign_playback
from tests.levels import crossed

pytestmark = pytest.mark.asyncio(loop_scope="session")

TRACK = "night-drive"
MILLISECOND = 0.001
LISTEN_S = 2.0
LEVEL_DB = 1.5
"""The window that is heard and the one that is read from the master differ by some 50 ms."""

COMBINATIONS = [("shaka", "dash"), ("dash", "dash"), ("shaka", "hls"), ("hls", "hls")]
ONE_OF_EACH_PROTOCOL = [
    ("shaka", "dash"),
    pytest.param("dash", "dash", marks=pytest.mark.ci),
    pytest.param("shaka", "hls", marks=pytest.mark.ci),
    ("hls", "hls"),
]
"""What the manifest decides, whoever reads it."""


def _rms_dbfs(master, start_s, end_s):
    with wave.open(str(master)) as file:
        assert file.getsampwidth() == 2
        rate = file.getframerate()
        file.setpos(int(start_s * rate))
        pcm = np.frombuffer(file.readframes(int((end_s - start_s) * rate)), "<i2") / 32768
    return 20 * math.log10(np.sqrt(np.mean(pcm**2)))


def _words(session):
    return {
        "token": session["license"]["token"],
        "license_url": session["license"]["clearkey"]["url"],
        "pathways": {p["id"]: p["baseUrl"] for p in session["pathways"]},
    }


async def _open(player, name, session, kind):
    await player.load(name, session["manifests"][kind], **_words(session))


async def _select(player, rung):
    """Play *rung*, and be in it: Shaka forgets the init segment if a seek aborts its request."""
    await player.select(rung)
    selected = await player.until(lambda s: s.rung == rung, f"switches to {rung}")
    await player.until(lambda s: s.time > selected.time + 0.5 and s.ready >= 3, f"is in {rung}")


@pytest.mark.parametrize(
    ("name", "kind", "rung", "scheme"),
    crossed(COMBINATIONS, ["aac-160k", "opus-96k"], ["cbcs", "cenc"]),
)
async def test_the_master_is_heard_from_start_to_end(service, player, name, kind, rung, scheme):
    session = service.start(TRACK, scheme=scheme)
    timing = service.tracks[TRACK].timing
    await _open(player, name, session, kind)
    await player.meter()
    await player.play()
    await _select(player, rung)

    middle = await player.seek(timing.duration_s / 2)
    heard = await player.level(LISTEN_S)
    expected = _rms_dbfs(service.masters[TRACK], middle.time, middle.time + LISTEN_S)
    await player.call("seek", timing.duration_s - 0.8)
    end = await player.ended(timeout_s=10)

    assert middle.keySystem == "org.w3.clearkey"
    assert heard.rms_dbfs == pytest.approx(expected, abs=LEVEL_DB)
    assert end.duration == pytest.approx(timing.duration_s, abs=MILLISECOND)
    assert end.time == pytest.approx(timing.duration_s, abs=MILLISECOND)
    assert not end.errors


@pytest.mark.parametrize(("name", "kind"), ONE_OF_EACH_PROTOCOL)
async def test_a_normal_plan_is_offered_no_premium_rung(service, player, name, kind):
    await _open(player, name, service.start(TRACK, tier="normal"), kind)

    state = await player.play()

    assert {"aac-96k", "aac-160k", "opus-64k", "opus-96k"} == set(state.rungs)


@pytest.mark.parametrize(("name", "kind"), ONE_OF_EACH_PROTOCOL)
async def test_a_premium_plan_plays_the_premium_rung(service, player, name, kind):
    await _open(player, name, service.start(TRACK, tier="high"), kind)
    await player.play()

    await _select(player, "aac-320k")
    state = await player.seek(10)

    assert state.rung == "aac-320k"


@pytest.mark.parametrize(("name", "kind"), [("shaka", "dash"), ("hls", "hls")])
async def test_a_lossless_plan_plays_flac(service, player, name, kind):
    await _open(player, name, service.start("glass-hall", tier="lossless"), kind)
    await player.play()

    await _select(player, "flac")
    state = await player.seek(10)

    assert not state.errors


def _refused_token(service, honest, kind):
    """*honest*, changed or replaced so that the key server must not take it."""
    if kind == "of another track":
        return service.start("glass-hall")["license"]["token"]
    if kind == "forged":
        head, signature = honest.rsplit(".", 1)
        return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    secret, now_s = service.home.keyring.secret("playback"), int(time.time())
    grant = open_playback(honest, secret, now_s=now_s)
    past = dataclasses.replace(grant, issued_s=now_s - 60, expires_s=now_s - 1)
    return sign_playback(past, secret)


@pytest.mark.parametrize(
    ("name", "kind", "token", "status"),
    crossed(COMBINATIONS, [("forged", 401), ("expired", 401), ("of another track", 403)]),
)
async def test_a_licence_token_that_is_no_good_is_refused_and_an_honest_one_then_plays(
    service, player, name, kind, token, status
):
    session = service.start(TRACK)
    bad = _refused_token(service, session["license"]["token"], token)
    words = _words(session) | {"token": bad}

    refusal = await player.refused("/v1/license/", name, session["manifests"][kind], **words)
    assert refusal == status

    await _open(player, name, session, kind)
    await player.play()


@pytest.mark.parametrize(("name", "kind"), COMBINATIONS)
async def test_a_good_line_is_given_the_best_rung_of_the_plan(service, player, name, kind):
    await _open(player, name, service.start(TRACK), kind)
    await player.play()

    # tiers have keys of their own: players must adapt across AdaptationSets
    await player.until(lambda s: s.rung in {"aac-320k", "opus-160k"}, "adapts upwards")
