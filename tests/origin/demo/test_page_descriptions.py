"""What the demo's page is told of tracks, and who else is told nothing."""

import contextlib
import dataclasses

import pytest
from aiohttp.test_utils import TestClient, TestServer

from cli import wire
from core.home import Home
from origin.demo.page_server import DemoPage, create_page_app, listen_on
from origin.demo.preparation import Preparation
from packager.manifest import presentation
from packager.manifest.places import presentation_key
from tests.origin.conftest import entry_of, make_presentation
from tests.ports import free_port


@contextlib.asynccontextmanager
async def opened(home):
    """The page's server, its catalogue and its store."""
    wiring = wire(Home(home))
    page = DemoPage(
        port=free_port("127.0.0.1", "127.0.0.2", following=2),
        players=home,
        catalogue=wiring.catalogue(),
        store=wiring.store(),
        user_secret=b"u" * 32,
    )
    with listen_on(page) as listeners:
        app = create_page_app(page, listeners, Preparation())
        async with TestClient(TestServer(app)) as client:
            yield client, page.catalogue, page.store
    page.catalogue.close()


@pytest.mark.parametrize("change", [{"track_id": "other"}, {"title": "Other"}])
async def test_a_description_of_something_else_is_not_shown_and_hides_no_other_track(
    tmp_path, change
):
    described, _ = make_presentation()
    good, _ = make_presentation("good")
    async with opened(tmp_path) as (client, catalogue, store):
        for track in (described, good):
            catalogue.publish(entry_of(track), published_at_s=0)
        other = presentation.encode(dataclasses.replace(described, **change))
        await store.put_if_absent(presentation_key("song", described.generation), other)
        key = presentation_key("good", good.generation)
        await store.put_if_absent(key, presentation.encode(good))
        waveform = b'{"bits": 8, "data": [-1, 1]}'
        await store.put_if_absent(key.replace("presentation", "waveform"), waveform)

        told = await (await client.get("/demo/tracks")).json()

    assert [track["trackId"] for track in told["tracks"]] == ["good"]
    [refused] = told["refused"]
    assert refused["name"] == "song"
    assert refused["hint"] == "tonearm track verify song says why"


async def test_a_name_of_another_site_that_points_here_is_answered_nothing(tmp_path):
    async with opened(tmp_path) as (client, *_):
        for path in ("/", "/demo/user-token?tier=high", "/demo/config", "/players/x", "/metrics"):
            for host in ("evil.example", f"evil.example:{client.port}", "127.0.0.1.evil.example"):
                answer = await client.get(path, headers={"Host": host})
                assert answer.status == 403
                assert "token" not in await answer.text()
        local = await client.get("/demo/config", headers={"Host": f"localhost:{client.port}"})
        assert local.status == 200


@pytest.mark.parametrize("page", ["http://evil.example", "null", "http://127.0.0.1:1"])
async def test_a_page_of_another_site_changes_nothing(tmp_path, page):
    wish = {"pathway": "near", "degraded": True}
    async with opened(tmp_path) as (client, *_):
        own = {"Origin": f"http://127.0.0.1:{client.port}"}
        assert (await client.post("/demo/shape", json=wish, headers=own)).status == 200
        own_answer = await client.post("/demo/shape", json=wish | {"degraded": False})
        assert own_answer.status == 200

        answer = await client.post("/demo/shape", json=wish, headers={"Origin": page})
        told = await (await client.get("/demo/pathways")).json()

    assert answer.status == 403
    assert [pathway["degraded"] for pathway in told["pathways"]] == [False, False]
