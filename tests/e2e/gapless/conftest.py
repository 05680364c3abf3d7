"""Two masters cut from one signal, published by the command line, and a page that joins them."""

import base64
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from aiohttp import web

from core.home import Home
from core.keysource import KeyRequest
from core.model import DrmProfile, Presentation, Scheme, Tier
from keyserver.vault import Vault
from packager.manifest import presentation
from tests.e2e.gapless.seam import continuous, write_wav

HERE = Path(__file__).parent
RATE = 48_000
CUT = 5 * RATE + 331  # 331 divides neither 1024 nor 960 nor 4096
CD_RATE = 44_100
COMMAND_TIMEOUT_S = 300
TIERS = (Tier.LOW, Tier.NORMAL, Tier.HIGH, Tier.LOSSLESS)


@dataclass(frozen=True, slots=True)
class Album:
    """Published tracks of one continuous master."""

    home: Home
    master: np.ndarray
    tracks: tuple[Presentation, ...]
    keys: dict[str, str]

    @property
    def hot(self) -> Path:
        return self.home.path / "hot"


def tonearm(home, *arguments):
    """Run the command line as a user does; its stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", "--home", str(home), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
        env=os.environ | {"PYTHONPATH": str(HERE.parents[2])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def cut_in_two(folder, rate, cut):
    """A continuous signal, and the two files it is cut into."""
    master = continuous(rate, 2 * cut)
    paths = [
        write_wav(folder / "side-a.wav", rate, master[:cut]),
        write_wav(folder / "side-b.wav", rate, master[cut:]),
    ]
    return master, paths


def ingested(home, master, paths):
    """Both parts as an album, with the keys that open them."""
    out = tonearm(home.path, "ingest", "--album", "One Piece", "--lossless", "--json", *paths)
    tracks, keys = [], {}
    ring = home.keyring
    vault = Vault.open(home.keys_path, ring.secret("root"), ring.secret("kid"))
    for line in sorted(out.splitlines(), key=lambda text: json.loads(text)["trackId"]):
        made = json.loads(line)
        folder = home.path / "hot/tracks" / made["trackId"] / made["generation"]
        tracks.append(presentation.decode((folder / "presentation.json").read_bytes()))
        found = vault.keys(KeyRequest(made["trackId"], TIERS, (Scheme.CBCS,)))
        keys |= {key.description.kid.hex: key.key.hex() for key in found}
    vault.close()
    return Album(home, master, tuple(tracks), keys)


@pytest.fixture(scope="session")
def masters(tmp_path_factory):
    return cut_in_two(tmp_path_factory.mktemp("masters"), RATE, CUT)


@pytest.fixture(scope="session")
def album(masters, tmp_path_factory):
    return ingested(Home(tmp_path_factory.mktemp("gapless") / "home"), *masters)


@pytest.fixture
def cd_album(tmp_path):
    """The same at the rate of compact discs."""
    return ingested(Home(tmp_path / "home"), *cut_in_two(tmp_path, CD_RATE, CUT))


async def recorded(browser, folder, spec):
    """What is heard when `join.js` plays *spec*, files below *folder*: samples, and its answer."""
    app = web.Application()
    app.add_routes([web.static("/page", HERE), web.static("/media", folder)])
    runner = web.AppRunner(app)
    await runner.setup()
    page = await browser.new_page()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await page.goto(f"http://127.0.0.1:{runner.addresses[0][1]}/page/join.html")
        await page.wait_for_selector("body[data-ready]", state="attached")
        answer = await page.evaluate("(spec) => record(spec)", spec)
    finally:
        await page.close()
        await runner.cleanup()
    return np.frombuffer(base64.b64decode(answer["pcm"]), "<f4").reshape(-1, 2), answer


@pytest_asyncio.fixture(loop_scope="session")
async def record(browser):
    """Called with a folder and a spec: `recorded`."""

    async def run(folder, spec):
        return await recorded(browser, folder, spec)

    return run


def joined(album, name, rate=RATE):
    """The spec for `join.js` from nothing but the published numbers."""
    start, tracks = 0.0, []
    for track in album.tracks:
        rendition = track.rendition(name)
        end = start + rendition.timing.duration_s
        tracks.append(
            {
                "url": f"/media/{rendition.file(DrmProfile.CBCS).key}",
                "start": start,
                "end": end,
                "trimmed": True,
            }
        )
        start = end
    return {
        "tracks": tracks,
        "type": f'audio/mp4; codecs="{album.tracks[0].rendition(name).codecs}"',
        "keys": album.keys,
        "rate": rate,
        "from": tracks[0]["end"] - 1.2,
        "to": tracks[0]["end"] + 1.0,
    }
