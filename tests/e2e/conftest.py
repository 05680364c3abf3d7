"""Browser fixtures: Chromium, and a page with players; skipped where these are not installed."""

import os
import shutil
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import async_playwright

from tests.e2e.players.harness import CHROMIUM_ARGS, PACKAGES, Player, player_routes

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def node_modules():
    """Where the players are: `TONEARM_PLAYERS`, or what `make players` installed."""
    folder = Path(os.environ.get("TONEARM_PLAYERS", REPOSITORY / "node_modules"))
    missing = [name for name in PACKAGES if not (folder / name).is_dir()]
    if missing:
        pytest.skip(f"{', '.join(missing)} not in {folder}: run make players")
    return folder


@pytest.fixture(scope="session")
def chromium():
    """The browser's path: `TONEARM_CHROMIUM`, or the system's."""
    names = (os.environ.get("TONEARM_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium is installed: apt install chromium")
    return found


@pytest.fixture
async def browser(chromium):
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=list(CHROMIUM_ARGS)
        )
        yield browser
        await browser.close()


@pytest.fixture
async def player(browser, node_modules, aiohttp_server):
    """A `Player` on a page of its own origin, so that CORS is put to the test as well."""
    app = web.Application()
    app.add_routes(player_routes(node_modules))
    server = await aiohttp_server(app)
    page = await browser.new_page()
    yield Player(page, str(server.make_url("")).rstrip("/"))
    await page.close()
