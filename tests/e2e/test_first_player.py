"""The player of docs/first-player.md in Chromium, against the service that the page starts."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import urllib.request
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from aiohttp import web

from tests.docs.pages import blocks
from tests.docs.workspace import copied_workspace, environment, tonearm
from tests.ports import free_port

READY_S = 20
STOP_S = 25
SOUND_S = 20
TRACK = "night-drive"

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return copied_workspace(tmp_path_factory, tmp_path_factory.mktemp("first-player"))


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def api(home):
    port = free_port()
    server = _serve(home, port)
    try:
        async with asyncio.timeout(READY_S):
            while not await asyncio.to_thread(_ready, port):
                assert server.poll() is None, (home / "server.log").read_text()
                await asyncio.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(STOP_S)


def _serve(home, port):
    with (home / "server.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "cli", "serve", "--port", str(port)],
            cwd=home, env=environment(), stderr=log,
        )  # fmt: skip


def _ready(port):
    with contextlib.suppress(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
        return True
    return False


@pytest_asyncio.fixture(loop_scope="session")
async def address(node_modules):
    """Where the page is: at the side of `node_modules`, as its text says."""
    [block] = blocks("docs/first-player.md", "html")

    async def page(_):
        return web.Response(text=block.text, content_type="text/html")

    app = web.Application()
    app.router.add_get("/player.html", page)
    app.router.add_static("/node_modules", node_modules)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/player.html"
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser):
    page = await browser.new_page()
    yield page
    await page.close()


async def test_the_player_of_the_page_plays_an_encrypted_track(page, address, api, home):
    query = {"api": api, "track": TRACK, "user": tonearm(home, "token", "issue").strip()}
    asked = []
    page.on("request", lambda request: asked.append(request.url))

    await page.goto(f"{address}?{urlencode(query)}")
    await page.click("button")
    await page.wait_for_function(
        "document.querySelector('audio').currentTime > 0.5"
        " || document.querySelector('pre').innerText",
        timeout=SOUND_S * 1000,
    )

    assert await page.inner_text("pre") == ""
    assert [url for url in asked if url.endswith("/v1/license/clearkey")]


async def test_the_player_of_the_page_says_why_it_does_not_play(page, address, api):
    query = {"api": api, "track": TRACK, "user": "nobody"}

    await page.goto(f"{address}?{urlencode(query)}")
    await page.click("button")
    await page.wait_for_function("document.querySelector('pre').innerText", timeout=SOUND_S * 1000)

    said = await page.inner_text("pre")
    assert said == "urn:tonearm:problem:unauthorized: the token is missing or not valid"
