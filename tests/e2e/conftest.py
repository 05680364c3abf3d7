"""Browser fixtures: Chromium, and a page with players; skipped where these are not installed.

One browser serves all tests, on the session's event loop: a module that uses `player` says
``pytestmark = pytest.mark.asyncio(loop_scope="session")``, and so do its own async fixtures.
"""

import os
import shutil
from pathlib import Path

import pytest
import pytest_asyncio
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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium):
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=list(CHROMIUM_ARGS)
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def player_page(node_modules):
    """Where the players' page is served: an origin of its own, so that CORS is tested as well."""
    app = web.Application()
    app.add_routes(player_routes(node_modules))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def player(browser, player_page):
    """A fresh `Player`."""
    page = await browser.new_page()
    yield Player(page, player_page)
    await page.close()
