"""A folder in which the pages' examples run: masters, encoded files, a home with tracks."""

import os
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg

from ingest.master.synthesis import make_masters
from tests.docs.pages import ROOT
from tests.once import made_once

MASTER_SECONDS = 5
LADDER = """\
[[rung]]
codec = "aac"
bitrate_kbps = 96
tier = "low"

[[rung]]
codec = "aac"
bitrate_kbps = 160
tier = "normal"

[[rung]]
codec = "opus"
bitrate_kbps = 160
tier = "high"
"""
"""Every tier and codec of the real one, in half of its rungs: encoding is what costs."""
COMMAND_TIMEOUT_S = 120


def environment():
    """For commands that are run as a reader would, wherever the tests themselves run."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TONEARM_")}
    programs = {"PYTHON": sys.executable, "FFMPEG": imageio_ffmpeg.get_ffmpeg_exe()}
    return ours | programs | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


def tonearm(folder, *arguments):
    """Run a command in *folder*; its stdout."""
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=folder, env=environment(), capture_output=True, text=True, check=True,
        timeout=COMMAND_TIMEOUT_S,
    ).stdout  # fmt: skip


def make_workspace(folder):
    """Fill *folder* with what the pages speak of.

    ``album/`` has two masters, ``night-drive.wav`` and ``talk.wav`` are alone; ``aac.mp4`` and
    ``opus.webm`` are encoded; ``Music/`` is the folder itself, which is a reader's home;
    ``tonearm-data`` holds ``night-drive`` and, as an album, ``long-way-1`` and ``long-way-2``.
    """
    masters = {path.stem: path for path in make_masters(folder / "made", MASTER_SECONDS)}
    (folder / "album").mkdir()
    (folder / "Music").symlink_to(".")
    album = [f"album/{name}.wav" for name in ("long-way-1", "long-way-2")]
    for name in album:
        masters[Path(name).stem].rename(folder / name)
    masters["night-drive"].rename(folder / "night-drive.wav")
    masters["field-notes"].rename(folder / "talk.wav")
    _encode(folder, "aac.mp4", "-c:a", "aac", "-b:a", "128k")
    _encode(folder, "opus.webm", "-c:a", "libopus", "-b:a", "96k")
    (folder / "samples").symlink_to(ROOT / "samples")
    (folder / "ladder.toml").write_text(LADDER)
    tonearm(folder, "ingest", "--ladder", "ladder.toml", "night-drive.wav")
    tonearm(folder, "ingest", "--ladder", "ladder.toml", "--album", "Long Way", *album)


def _encode(folder, name, *options):
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-i",
        "night-drive.wav",
        "-ar",
        "48000",
        *options,
        name,
    ]
    subprocess.run(command, cwd=folder, check=True, timeout=COMMAND_TIMEOUT_S)


def copied_workspace(temporary, folder):
    """What `make_workspace` makes, once for a run, copied to *folder*: there it may be changed."""
    made = made_once(temporary, "pages", make_workspace)
    subprocess.run(["cp", "-a", f"{made}/.", str(folder)], check=True)
    return folder
