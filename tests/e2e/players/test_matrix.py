"""Every codec of `tonearm package` under both schemes and layouts, in every player, with ClearKey.

The second table of `docs/decrypters.md` says what is played here: CI plays each codec in each
player, in one scheme at least.
"""

import itertools
import math
import subprocess
import uuid
from pathlib import Path

import imageio_ffmpeg
import pytest
import pytest_asyncio
from click.testing import CliRunner

from cli import cli
from tests.e2e.players.folder_server import FolderServer
from tests.levels import crossed

PAGE = Path(__file__).parents[3] / "docs" / "decrypters.md"
GOLDEN = Path(__file__).parents[2] / "golden" / "heaac"
AMPLITUDE = 0.25
RMS_DBFS = 20 * math.log10(AMPLITUDE / math.sqrt(2))
LEVEL_DB = 1.0
"""Right after a switch, a busy machine's sound may still stutter."""
LENGTH_S = 12
KEYS = {"lossless": uuid.UUID(int=2), "": uuid.UUID(int=1)}
ENCODERS = {
    "AAC-LC": (48_000, "-c:a aac -b:a 96k"),
    "Opus": (48_000, "-c:a libopus -b:a 96k"),
    "FLAC 16 bit, 44.1 kHz": (44_100, "-c:a flac -sample_fmt s16 -strict -2"),
    "FLAC 24 bit, 96 kHz": (96_000, "-c:a flac -sample_fmt s32 -strict -2"),
}
FOLDERS = {
    "ladder": ("AAC-LC", "Opus", "FLAC 16 bit, 44.1 kHz"),
    "hires": ("FLAC 24 bit, 96 kHz",),
    "he-aac": ("HE-AAC", "HE-AAC v2"),
}
PLAYERS = {
    "shaka-player, DASH": ("shaka", "manifest.mpd"),
    "dash.js": ("dash", "manifest.mpd"),
    "shaka-player, HLS": ("shaka", "master.m3u8"),
    "hls.js": ("hls", "master.m3u8"),
}
LAYOUTS = {"cbcs": "single", "cenc": "segments"}

pytestmark = pytest.mark.asyncio(loop_scope="session")


def secret(kid):
    return bytes([kid.int, *b"a content key.."])


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A file of two tones for each codec."""
    folder = tmp_path_factory.mktemp("inputs")
    tones = "|".join(f"{AMPLITUDE}*sin(2*PI*{hz}*t)" for hz in (440, 660))
    found = {"HE-AAC": GOLDEN / "he-aac-v1.mp4", "HE-AAC v2": GOLDEN / "he-aac-v2.mp4"}
    for number, (name, (rate, words)) in enumerate(ENCODERS.items()):
        found[name] = folder / f"{number}.mp4"
        source = ["-f", "lavfi", "-i", f"aevalsrc={tones}:s={rate}:d={LENGTH_S}"]
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source, *words.split()]
        subprocess.run([*command, str(found[name])], check=True, timeout=60)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(inputs, tmp_path_factory):
    root = tmp_path_factory.mktemp("folders")
    async with FolderServer(root, {kid: secret(kid) for kid in KEYS.values()}).running() as running:
        for scheme, (name, codecs) in itertools.product(LAYOUTS, FOLDERS.items()):
            words = ["package", *(str(inputs[codec]) for codec in codecs), "--scheme", scheme]
            words += ["--layout", LAYOUTS[scheme], "--output", str(root / scheme / name)]
            words += ["--license-url", f"{running.url}/license"]
            words += ["--hls-key-uri", f"{running.url}/key/{{kid}}"]
            for tier, kid in KEYS.items():
                words += ["--key", f"{tier}={kid.hex}:{secret(kid).hex()}"]
            result = CliRunner().invoke(cli, words)
            assert result.exit_code == 0, result.output
        yield running


@pytest.mark.parametrize(("who", "folder", "scheme"), crossed(PLAYERS, FOLDERS, LAYOUTS))
async def test_every_codec_sounds(player, server, who, folder, scheme):
    name, manifest = PLAYERS[who]
    url = f"{server.url}/{scheme}/{folder}/{manifest}"
    await player.load(name, url, license_url=f"{server.url}/license")
    await player.meter()
    playing = await player.play()
    assert playing.keySystem == "org.w3.clearkey"
    assert len(playing.rungs) == len(FOLDERS[folder])
    # each once, first the one that plays: hls.js cannot return to FLAC from another codec
    for rung in sorted(playing.rungs, key=lambda rung: rung != playing.rung):
        if rung != playing.rung:
            await player.select(rung)
            there = await player.until(lambda s, rung=rung: s.rung == rung, f"plays {rung}")
            await player.until(lambda s, there=there: s.time > there.time + 0.4, "plays on")
        await player.level(0.1)  # what a switch did is not what is measured
        await player.sounds(RMS_DBFS, within_db=LEVEL_DB, seconds=0.3)
    assert not (await player.state()).errors


async def test_the_page_lists_what_is_played():
    heads = ("Codec", *PLAYERS)
    table = [heads, ["---"] * len(heads)]
    codecs = sorted(itertools.chain(*FOLDERS.values()))
    table += [[codec, *["plays"] * len(PLAYERS)] for codec in codecs]
    text = "\n".join(f"| {' | '.join(row)} |" for row in table)

    assert f"\n\n{text}\n\n" in PAGE.read_text(), text
