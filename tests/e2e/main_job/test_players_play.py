"""What the whole house is for: a master that was ingested sounds in real players."""

import math
import wave

import numpy as np
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")

TRACK = "night-drive"
MILLISECOND = 0.001
LISTEN_S = 2.0
NOTHING_S = 0.2
"""Shaka steps over the first 0.1 s when it waits for a key: no sound comes out."""
LEVEL_DB = 1.5
"""The window that is heard and the one that is read from the master differ by some 50 ms."""

COMBINATIONS = [("shaka", "dash"), ("dash", "dash"), ("shaka", "hls"), ("hls", "hls")]


def _rms_dbfs(master, start_s, end_s):
    with wave.open(str(master)) as file:
        assert file.getsampwidth() == 2
        rate = file.getframerate()
        file.setpos(int(start_s * rate))
        pcm = np.frombuffer(file.readframes(int((end_s - start_s) * rate)), "<i2") / 32768
    return 20 * math.log10(np.sqrt(np.mean(pcm**2)))


async def _open(player, name, session, kind):
    await player.load(
        name,
        session["manifests"][kind],
        token=session["license"]["token"],
        license_url=session["license"]["clearkey"]["url"],
        pathways={p["id"]: p["baseUrl"] for p in session["pathways"]},
    )


async def _select(player, rung):
    """Play *rung*, and be in it: Shaka forgets the init segment if a seek aborts its request."""
    await player.select(rung)
    selected = await player.until(lambda s: s.rung == rung, f"switches to {rung}")
    await player.until(lambda s: s.time > selected.time + 0.5 and s.ready >= 3, f"is in {rung}")


@pytest.mark.parametrize("scheme", ["cbcs", "cenc"])
@pytest.mark.parametrize("rung", ["aac-160k", "opus-96k"])
@pytest.mark.parametrize(("name", "kind"), COMBINATIONS)
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


@pytest.mark.parametrize(("name", "kind"), COMBINATIONS)
async def test_a_normal_plan_is_offered_no_premium_rung(service, player, name, kind):
    await _open(player, name, service.start(TRACK, tier="normal"), kind)

    state = await player.play()

    assert {"aac-96k", "aac-160k", "opus-64k", "opus-96k"} == set(state.rungs)


@pytest.mark.parametrize(("name", "kind"), COMBINATIONS)
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


async def test_forged_and_expired_licence_tokens_play_nothing(service, player):
    session = service.start(TRACK)
    session["license"]["token"] = service.start("glass-hall")["license"]["token"]
    await _open(player, "shaka", session, "dash")

    with pytest.raises(AssertionError):
        await player.play(timeout_s=4)
    assert (await player.state()).time < NOTHING_S


@pytest.mark.parametrize(("name", "kind"), COMBINATIONS)
async def test_a_good_line_is_given_the_best_rung_of_the_plan(service, player, name, kind):
    await _open(player, name, service.start(TRACK), kind)
    await player.play()

    # tiers have keys of their own: players must adapt across AdaptationSets
    await player.until(lambda s: s.rung in {"aac-320k", "opus-160k"}, "adapts upwards")
