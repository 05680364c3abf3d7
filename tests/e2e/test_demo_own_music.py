"""`tonearm demo MASTER...`: a person's own music, what is wrong with it, and how it ends."""

import asyncio
import re
import signal
import socket
import sqlite3
import subprocess

import imageio_ffmpeg
import pytest

from tests.e2e.demo_process import START_S, opened, running, start
from tests.e2e.gapless.seam import continuous, write_wav
from tests.ports import free_port

RATE = 44_100
LONG_TITLE = "The Long and Winding Title of a Symphony in E flat major, Second Movement, Andante"

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """A folder as people have them."""
    folder = tmp_path_factory.mktemp("music") / "Ein Ordner"
    music = continuous(RATE, 3 * RATE)
    for name in (f"{LONG_TITLE}.wav", "<b>Bold.wav", "音楽/夜の道.wav", "B side/<b>Bold.wav"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_wav(path, RATE, music[: -len(name)] * (1 - len(name) / 200))
    (folder / "broken.flac").write_bytes(b"fLaC" + bytes(2000))
    (folder / "cover.jpg").write_bytes(b"no music, and not looked at")
    return folder


@pytest.fixture(scope="module")
def own(tmp_path_factory, music, node_modules, browser):  # noqa: ARG001  fixtures choose a worker
    """A demo of that folder, and of a file that is not there; *browser* as in `test_demo`."""
    folder = tmp_path_factory.mktemp("own")
    with running(folder, music, folder / "gone.wav", "--players", node_modules) as demo:
        yield demo


async def test_own_masters_are_listed_by_their_names_and_what_fails_with_its_reason(own, browser):
    state = own.state()

    titles = [track["title"] for track in state["tracks"]]
    assert titles == ["<b>Bold", "<b>Bold", LONG_TITLE, "夜の道"]
    refused = {refusal["name"]: refusal for refusal in state["refused"]}
    assert set(refused) == {"broken.flac", "gone.wav"}
    for refusal in refused.values():
        assert refusal["reason"]
        assert refusal["reason"] in own.said
    plays = set(re.findall(r"^plays +(.+) \([a-z0-9-]+\)$", own.said, re.MULTILINE))
    assert plays == {"<b>Bold.wav", f"{LONG_TITLE}.wav", "夜の道.wav"}

    page = await browser.new_page(viewport={"width": 390, "height": 844})
    try:
        await page.goto(own.url)
        await page.wait_for_selector("#refused li")
        assert await page.locator("#tracks .title span").all_inner_texts() == titles
        assert await page.locator("#tracks b").count() == 0
        assert refused["broken.flac"]["reason"] in await page.inner_text("#refused")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
        await page.click("#tracks li:has-text('夜の道') .play")
        await page.wait_for_function("() => audio.currentTime > 0.3", timeout=20_000)
    finally:
        await page.close()


async def test_without_masters_what_the_home_has_plays(own, tmp_path, node_modules):
    with running(tmp_path, "--players", node_modules, home=own.home) as demo:
        titles = {track["title"] for track in demo.state()["tracks"]}

    assert titles == {"<b>Bold", LONG_TITLE, "夜の道"}


async def test_if_nothing_plays_the_command_fails_and_nothing_is_left_running(tmp_path):
    broken = tmp_path / "broken.flac"
    broken.write_bytes(b"fLaC" + bytes(2000))

    demo = start(tmp_path, broken)

    assert demo.process.wait(START_S) == 1
    assert f"error: {broken}: " in demo.said
    assert "error: there is nothing to play" in demo.said
    assert "Traceback" not in demo.said
    assert not demo.left_running()


async def test_what_a_weak_master_is_answered_names_no_option_that_a_demo_lacks(tmp_path):
    master = tmp_path / "telephone.mp3"
    tone = ["-f", "lavfi", "-i", "sine=d=3:r=44100", "-b:a", "32k"]
    encode = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *tone, master]
    await asyncio.to_thread(subprocess.run, encode, check=True)

    demo = start(tmp_path, master)

    assert demo.process.wait(START_S) == 1
    assert "no rung of the ladder" in demo.said
    assert re.findall(r"(\w+) --ladder", demo.said) == ["ingest"]


async def test_a_folder_without_music_is_refused_at_once(tmp_path):
    (tmp_path / "empty").mkdir()

    demo = start(tmp_path, tmp_path / "empty")

    assert demo.process.wait(START_S) == 1
    assert "there is no audio file in it" in demo.said
    assert "page " not in demo.said


@pytest.mark.parametrize(
    "host, beyond", [("127.0.0.1", 0), ("127.0.0.2", 0), ("127.0.0.1", 1), ("127.0.0.1", 2)]
)
async def test_a_taken_port_is_noticed_before_there_is_work(tmp_path, host, beyond):
    port = free_port("127.0.0.1", "127.0.0.2", following=2)
    with socket.create_server((host, port + beyond)):
        demo = start(tmp_path, port=port)
        code = demo.process.wait(START_S)

    assert code == 1
    assert f"error: cannot listen on {host}:{port + beyond}: Address already in use" in demo.said
    assert "hint: choose another --port" in demo.said
    assert not (demo.home / "masters").exists()


@pytest.mark.parametrize("sigint", [signal.SIG_DFL, signal.SIG_IGN])
async def test_an_interrupt_ends_all_processes_in_the_midst_of_work(tmp_path, sigint):
    demo = start(tmp_path, sigint=sigint)  # a shell starts what is in the background with SIG_IGN
    demo.wait_until(opened)

    code = demo.interrupt()

    assert code == 130, demo.said
    assert "Traceback" not in demo.said
    assert not demo.left_running()
    with sqlite3.connect(demo.home / "catalogue.sqlite") as catalogue:
        assert catalogue.execute("SELECT count(*) FROM tracks").fetchone() == (0,)
