"""One packaged track in every player: it sounds, seeks, ends, and is as long as the master."""

import pytest
import pytest_asyncio

from core.model import DrmProfile
from packager.manifest import presentation
from tests.e2e.players.packaged import RMS_DBFS, SAMPLES, content_keys, package_track
from tests.e2e.players.track_server import LICENCE_TOKEN, TrackServer
from tests.levels import crossed

LENGTH_S = SAMPLES / 48_000
MILLISECOND = 0.001
LEVEL_DB = 0.3
"""Encoders at 64 kb/s keep two pure tones better than this."""

COMBINATIONS = [("shaka", "mpd"), ("dash", "mpd"), ("shaka", "m3u8"), ("hls", "m3u8")]

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def track(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two-tones")
    return package_track(folder), folder


@pytest_asyncio.fixture(loop_scope="session")
async def server(track):
    p, folder = track
    async with TrackServer(p, content_keys(), folder).running() as running:
        yield running


async def test_the_packaged_track_is_a_consistent_presentation(track):
    p, _ = track

    assert presentation.decode(presentation.encode(p)) == p


@pytest.mark.parametrize(("name", "ending", "drm"), crossed(COMBINATIONS, DrmProfile))
async def test_a_track_sounds_seeks_and_ends(player, server, name, ending, drm):
    await player.load(
        name,
        server.url(drm, f"normal.{ending}"),
        token=LICENCE_TOKEN,
        license_url=server.license_url if drm is not DrmProfile.CLEAR else None,
    )
    await player.meter()

    playing = await player.play()
    await player.sounds(RMS_DBFS, within_db=LEVEL_DB, seconds=0.5)
    later = await player.seek(LENGTH_S / 2)
    await player.call("seek", LENGTH_S - 0.5)
    end = await player.ended(timeout_s=10)

    assert playing.keySystem == (None if drm is DrmProfile.CLEAR else "org.w3.clearkey")
    assert playing.rung in {"aac-96k", "aac-160k", "opus-64k"}
    assert later.buffered[0][0] == 0
    assert end.duration == pytest.approx(LENGTH_S, abs=MILLISECOND)
    assert end.time == pytest.approx(LENGTH_S, abs=MILLISECOND)
    assert not end.errors


@pytest.mark.parametrize(("name", "ending"), COMBINATIONS)
async def test_without_the_token_there_is_no_music(player, server, name, ending):
    url = server.url("cbcs", f"low.{ending}")
    words = {"token": "forged", "license_url": server.license_url}

    assert await player.refused("/license/", name, url, **words) == 403
