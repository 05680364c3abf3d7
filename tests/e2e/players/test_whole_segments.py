"""HLS `AES-128`: players without EME hear what was packaged, and fetch each key once."""

import subprocess
import uuid

import imageio_ffmpeg
import numpy as np
import pytest
import pytest_asyncio
from click.testing import CliRunner

from cli import cli
from tests.e2e.players.folder_server import FolderServer

AMPLITUDE = 0.25
RMS_DBFS = 20 * np.log10(AMPLITUDE / np.sqrt(2))
LEVEL_DB = 0.5
LENGTH_S = 20.0
MILLISECOND = 0.001
KEYS = {"lossless": uuid.UUID(int=2), "": uuid.UUID(int=1)}
RUNGS = {"aac.mp4": ["aac"], "opus.mp4": ["libopus"], "flac.mp4": ["flac", "-strict", "-2"]}

pytestmark = pytest.mark.asyncio(loop_scope="session")


def secret(kid):
    return bytes([kid.int, *b"a content key.."])


@pytest.fixture(scope="module")
def rungs(tmp_path_factory):
    """Two tones in each codec."""
    folder = tmp_path_factory.mktemp("rungs")
    tones = "|".join(f"{AMPLITUDE}*sin(2*PI*{hz}*t)" for hz in (440, 660))
    source = ["-f", "lavfi", "-i", f"aevalsrc={tones}:s=48000:d={LENGTH_S}"]
    for name, codec in RUNGS.items():
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source, "-b:a", "96k"]
        subprocess.run([*command, "-c:a", *codec, str(folder / name)], check=True, timeout=60)
    return [str(folder / name) for name in RUNGS]


@pytest_asyncio.fixture(loop_scope="session")
async def server(rungs, tmp_path):
    async with FolderServer(tmp_path, {kid: secret(kid) for kid in KEYS.values()}).running() as s:
        words = ["package", *rungs, "--scheme", "aes-128", "--clear-lead", "5"]
        words += ["--hls-key-uri", f"{s.url}/key/{{kid}}", "--output", str(tmp_path / "out")]
        for tier, kid in KEYS.items():
            words += ["--key", f"{tier}={kid.hex}:{secret(kid).hex()}"]
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 0, result.output
        yield s


@pytest.mark.parametrize("name", ["shaka", "hls"])
async def test_it_sounds_in_every_rung_without_eme(player, server, name):
    """Behind a clear lead, too."""
    await player.load(name, f"{server.url}/out/master.m3u8")
    await player.meter()
    playing = await player.play()
    for rung in playing.rungs:
        await player.select(rung)
        there = await player.until(lambda s, rung=rung: s.rung == rung, f"plays {rung}")
        await player.until(lambda s, there=there: s.time > there.time + 0.3, "plays on")
        await player.sounds(RMS_DBFS, within_db=LEVEL_DB, seconds=0.4)
    await player.seek(LENGTH_S - 1)
    end = await player.ended(timeout_s=10)

    assert len(playing.rungs) == 3
    assert end.keySystem is None
    assert end.duration == pytest.approx(LENGTH_S, abs=MILLISECOND)
    assert not end.errors
    asked = [path for path in server.requests if path.startswith("/key/")]
    assert len(asked) == len(set(asked)) == len(KEYS)
