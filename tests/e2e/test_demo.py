"""`tonearm demo`, as a newcomer meets it: one command, one page, music."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

START_S = 240
STOP_S = 20
STEADY_S = 15

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def demo(tmp_path, node_modules, unused_tcp_port_factory):
    """The page's URL; the command runs until the test is over, and then ends cleanly."""
    out = tmp_path / "out.txt"
    port = unused_tcp_port_factory()
    with out.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "--home", str(tmp_path / "home"), "demo",
             "--no-open", "--seconds", "8", "--port", str(port), "--players", str(node_modules)],
            stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        deadline_s = time.monotonic() + START_S
        while not (found := re.search(r"^page +(\S+)$", out.read_text(), re.MULTILINE)):
            assert process.poll() is None, out.read_text()
            assert time.monotonic() < deadline_s, out.read_text()
            time.sleep(0.2)
        yield found[1]
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(STOP_S)
    assert code == 0, out.read_text()
    assert "Traceback" not in out.read_text()
    assert not _running_in(tmp_path / "home")


def _running_in(home):
    """Processes with *home* among their arguments: the demo's children, if any is left."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if str(home).encode() in command:
            found.append(command)
    return found


async def _text(page, selector):
    return await page.inner_text(selector)


async def test_the_page_lists_the_tracks_and_plays_them(demo, browser):
    page = await browser.new_page()
    try:
        await page.goto(demo)
        await page.wait_for_selector("#tracks li")
        assert await page.locator("#tracks li").count() == 5
        assert re.search(r"-\d+\.\d LUFS", await _text(page, "#tracks li:first-child"))
        await page.wait_for_function(
            "() => [...document.querySelectorAll('#pathways tr')]"
            ".every((row) => row.cells[2].textContent.endsWith(' ms'))",
            timeout=STEADY_S * 1000,
        )

        await page.click("#tracks li:nth-child(5) .play")
        await page.wait_for_function(
            "() => document.querySelector('audio').currentTime > 1", timeout=STEADY_S * 1000
        )

        assert "org.w3.clearkey" in await _text(page, "#s-drm")
        assert await _text(page, "#s-track") == "night-drive"
        assert re.search(r"\d+ kb/s", await _text(page, "#s-rung"))
        assert re.search(r"(near|far) \(http", await _text(page, "#s-pathway"))
        assert re.search(r"\d+ ms from press to sound", await _text(page, "#s-start"))
        assert await _text(page, "#error") == ""
        assert not await page.is_visible("#missing")
    finally:
        await page.close()
