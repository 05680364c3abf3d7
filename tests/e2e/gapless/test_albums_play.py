"""Album manifests from a bucket play across the seam in a player that was told nothing else."""

import base64
import json

import numpy as np
import pytest
import pytest_asyncio
from aiohttp import web

from tests.e2e.gapless.conftest import CUT, RATE, tonearm

pytestmark = pytest.mark.asyncio(loop_scope="session")

SEAM_S = CUT / RATE
LENGTH_S = 2 * CUT / RATE
ATTEMPTS = 3
"""A busy machine may miss a deadline of the sound system, anywhere."""


@pytest_asyncio.fixture(loop_scope="session")
async def bucket(album):
    """Files by range, and the two ways to a key; its URL."""

    @web.middleware
    async def open_to_all(request, handler):
        cors = {
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Allow-Headers": "Range, Content-Type",
        }
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=cors)
        response = await handler(request)
        response.headers.update(cors)
        return response

    async def license_(request):
        asked = json.loads(await request.read())["kids"]
        kids = [base64.urlsafe_b64decode(kid + "==").hex() for kid in asked]
        keys = [
            {"kty": "oct", "kid": name, "k": _base64url(album.keys[kid])}
            for name, kid in zip(asked, kids, strict=True)
        ]
        return web.json_response({"keys": keys, "type": "temporary"})

    async def raw(request):
        key = album.keys[request.match_info["kid"].replace("-", "")]
        return web.Response(body=bytes.fromhex(key), content_type="application/octet-stream")

    app = web.Application(middlewares=[open_to_all])
    app.add_routes(
        [
            web.static("/hot", album.hot),
            web.post("/v1/license/clearkey", license_),
            web.get("/v1/license/raw/{kid}", raw),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def _base64url(key):
    return base64.urlsafe_b64encode(bytes.fromhex(key)).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "name, manifest",
    [
        ("shaka", "high.mpd"),
        ("shaka", "high.m3u8"),
        pytest.param("shaka", "lossless.mpd", marks=pytest.mark.ci),
        ("dash", "high.mpd"),
        ("hls", "high.m3u8"),
    ],
)
async def test_players_go_from_track_to_track(album, bucket, player, name, manifest):
    made = tonearm(
        album.home.path, "album", "manifest", "one-piece", "--json", "--license-base", bucket
    )
    folder = json.loads(made)["folder"]

    await player.load(
        name,
        f"{bucket}/hot/{folder}/cbcs/{manifest}",
        license_url=f"{bucket}/v1/license/clearkey",
    )
    await player.play()
    await player.meter()
    for _ in range(ATTEMPTS):
        await player.seek(SEAM_S - 1.5)
        heard = await player.level(2.5)
        if not heard.silent:
            break
    state = await player.ended(30)

    assert heard.frames > RATE
    assert not heard.silent, heard
    # a track under the other one's key would be noise
    master_dbfs = 10 * np.log10(np.mean(album.master**2))
    assert heard.rms_dbfs == pytest.approx(master_dbfs, abs=0.3)
    assert state.duration == pytest.approx(LENGTH_S, abs=0.001)
    assert state.time == pytest.approx(LENGTH_S, abs=0.001)
