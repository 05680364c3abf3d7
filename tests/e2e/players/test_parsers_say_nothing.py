"""What the three players' own parsers log about our manifests: nothing that is not explained.

Keys are signalled for every DRM system, of which Chromium has ClearKey alone; nothing is rewritten
on its way to Shaka Player.
"""

import dataclasses

import pytest
import pytest_asyncio

from core.model import DrmProfile
from keyserver.signals import SYSTEMS, make_signals
from tests.e2e.players.packaged import content_keys, package_track
from tests.e2e.players.track_server import LICENCE_TOKEN, TrackServer
from tests.levels import crossed

FAVICON = "Failed to load resource"  # the page has none
EXPECTED = {
    # each tier has a key of its own and so a set, and Shaka knows no adaptation-set-switching
    ("shaka", "mpd"): ("Rejecting variant - not compatible with root.",),
    ("shaka", "m3u8"): ("Unsupported HLS KEYFORMAT org.w3.clearkey",),
    ("hls", "m3u8"): ('hls.js [Keys] Ignoring unsupported EXT-X-KEY tag: "METHOD=SAMPLE-AES-CTR',),
    # licences come from the server, not from the page
    ("dash", "mpd"): ("[ProtectionKeyController] Failed to retrieve clearkeys",),
}

pytestmark = pytest.mark.asyncio(loop_scope="session")


def every_system():
    """The test keys, signalled as a key server does that was told of all systems."""
    for key in content_keys():
        d = key.description
        signals = make_signals(d.kid, d.scheme, key.key, systems=list(SYSTEMS))
        yield dataclasses.replace(key, description=dataclasses.replace(d, signals=signals))


@pytest.fixture(scope="module")
def track(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quiet")
    keys = tuple(every_system())
    return package_track(folder, keys=keys), keys, folder


@pytest_asyncio.fixture(loop_scope="session")
async def server(track):
    async with TrackServer(*track, priority=["base"]).running() as running:
        yield running


@pytest.mark.parametrize(("name", "ending", "drm"), crossed(EXPECTED, DrmProfile))
async def test_no_parser_warns(player, server, name, ending, drm):
    await player.load(
        name,
        server.url(drm, f"lossless.{ending}"),
        token=LICENCE_TOKEN,
        license_url=server.license_url if drm is not DrmProfile.CLEAR else None,
        # dash.js alone cannot resolve the steering URL; Shaka shall see what was written
        pathways={"other": f"http://127.0.0.1:{server.port}"} if name == "dash" else None,
        warns=True,
    )
    await player.play()
    unexplained = [
        line
        for line in player.warnings
        if not any(known in line for known in (*EXPECTED[name, ending], FAVICON))
    ]

    assert unexplained == []
    assert not [line for line in player.log if "/m/" in line and line.startswith(("4", "5"))]
