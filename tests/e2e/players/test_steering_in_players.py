"""Content steering with relative URLs: a running player moves to a clone of its pathway."""

import pytest

from tests.e2e.players.packaged import RUNGS, content_keys, package_track
from tests.e2e.players.track_server import LICENCE_TOKEN, MEDIA_TOKEN, TrackServer

LENGTH_S = 60  # longer than any player's first gulp

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def track(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steered")
    return package_track(folder, samples=48_000 * LENGTH_S, rungs=RUNGS[:1]), folder


@pytest.mark.parametrize(
    ("name", "ending"), [("shaka", "mpd"), ("dash", "mpd"), ("shaka", "m3u8"), ("hls", "m3u8")]
)
async def test_a_running_player_is_steered_to_another_host(player, track, name, ending):
    p, folder = track
    server = TrackServer(p, content_keys(), folder, priority=["base", "other"])
    async with server.running("127.0.0.1", "127.0.0.2"):
        await player.load(
            name,
            server.url("cbcs", f"low.{ending}"),
            token=LICENCE_TOKEN,
            license_url=server.license_url,
            pathways={"other": f"http://127.0.0.2:{server.port}"},
        )
        await player.play()
        before = set(server.hosts_of_segments())
        server.priority = ["other", "base"]
        moved = await player.until(
            lambda _: "127.0.0.2" in server.hosts_of_segments(), "fetches from the other host"
        )
        await player.until(lambda s: s.time > moved.time + 1, "plays on")

    asked = {path.partition("?")[0] for _, path in server.requests if "/steering/" in path}
    assert before == {"127.0.0.1"}
    assert asked == {f"/{MEDIA_TOKEN}/steering/{'dash' if ending == 'mpd' else 'hls'}"}
    assert not (await player.state()).errors
