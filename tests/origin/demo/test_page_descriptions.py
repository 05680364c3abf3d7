"""What the demo's page is told of tracks."""

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


@pytest.mark.parametrize("change", [{"track_id": "other"}, {"title": "Other"}])
async def test_a_description_of_something_else_is_not_shown(tmp_path, change):
    described, _ = make_presentation()
    wiring = wire(Home(tmp_path))
    catalogue, store = wiring.catalogue(), wiring.store()
    catalogue.publish(entry_of(described), published_at_s=0)
    other = presentation.encode(dataclasses.replace(described, **change))
    await store.put_if_absent(presentation_key("song", described.generation), other)
    page = DemoPage(
        port=free_port("127.0.0.1", "127.0.0.2", following=2),
        players=tmp_path,
        catalogue=catalogue,
        store=store,
        user_secret=b"u" * 32,
    )

    with listen_on(page) as listeners:
        app = create_page_app(page, listeners, Preparation())
        async with TestClient(TestServer(app)) as client:
            answer = await client.get("/demo/tracks")

            assert answer.status == 500
            assert (await answer.json())["type"].endswith("integrity")
    catalogue.close()
