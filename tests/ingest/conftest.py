"""Masters in every format, made by the real ffmpeg, and the collaborators of a run."""

import asyncio
import subprocess
import sys
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from core.catalogue import Catalogue
from core.storage.memory import MemoryStore
from ingest.encode.ladder import MUSIC
from ingest.encode.toolchain import find_toolchain
from ingest.run.plan import Options
from ingest.run.schedule import ingest_masters
from ingest.run.track import Collaborators
from keyserver.vault import Vault

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def toolchain():
    return find_toolchain()


def music(seconds, rate=44_100, channels=2, seed=7):
    """Tones over noise, different in each channel; ``(frames, channels)`` floats below 0.5."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    signal = 0.02 * rng.standard_normal((len(time), channels))
    for channel in range(channels):
        for harmonic in (1, 2, 3):
            signal[:, channel] += 0.1 * np.sin(2 * np.pi * 220 * (channel + 1) * harmonic * time)
    return signal


def write_wav(path, signal, rate=44_100, width=2):
    integers = np.rint(signal * ((1 << (8 * width - 1)) - 1)).astype("<i4")
    raw = integers.reshape(-1, 1).view(np.uint8)[:, :width].tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(signal.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(raw)
    return path


def run_ffmpeg(toolchain, *arguments):
    command = [str(toolchain.ffmpeg), "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True).stdout


FORMATS = {
    "s16.wav": ("-c:a", "pcm_s16le"),
    "s24.wav": ("-c:a", "pcm_s24le"),
    "s32.wav": ("-c:a", "pcm_s32le"),
    "float.wav": ("-c:a", "pcm_f32le"),
    "rf64.wav": ("-c:a", "pcm_s16le", "-rf64", "always"),
    "aiff.aiff": ("-c:a", "pcm_s24be"),
    "flac.flac": ("-c:a", "flac", "-sample_fmt", "s32"),
    "alac.m4a": ("-c:a", "alac", "-sample_fmt", "s32p"),
    "mp3.mp3": ("-c:a", "libmp3lame", "-b:a", "192k"),
    "vorbis.ogg": ("-c:a", "libvorbis", "-q:a", "6"),
    "aac.m4a": ("-c:a", "aac", "-b:a", "128k"),
}
TAGS = (
    *("-metadata", "title=Sunday"),
    *("-metadata", "artist=The Testers"),
    *("-metadata", "ISRC=GB-AYE-00-00001"),
)


@pytest.fixture(scope="session")
def masters(toolchain, tmp_path_factory):
    """`masters(name, rate)`: a tagged master of 2.3 s in one of `FORMATS`, made once."""
    folder = tmp_path_factory.mktemp("masters")

    def make(name, rate=44_100):
        path = folder / f"{rate}-{name}"
        if not path.exists():
            source = write_wav(folder / f"{rate}-source.wav", music(2.3, rate), rate, width=3)
            run_ffmpeg(toolchain, "-i", source, *TAGS, *FORMATS[name], path)
        return path

    return make


@pytest.fixture
def parts(toolchain, tmp_path):
    """What ingest works with: a store in memory, a real catalogue and a real vault."""
    catalogue = Catalogue.open(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    vault = Vault.open(tmp_path / "keys.sqlite", b"r" * 32, b"k" * 32)
    work_dir = tmp_path / "work"
    work_dir.mkdir()
    yield Collaborators(
        store=MemoryStore(),
        catalogue=catalogue,
        key_source=vault,
        toolchain=toolchain,
        work_dir=work_dir,
        clock=lambda: 1_700_000_000.0,
        jobs=2,
    )
    vault.close()
    catalogue.close()


RUN_LIMIT_S = 120
"""Of a run in this process; the guard of the suite only judges tests that end."""


@pytest.fixture
def ingest(parts):
    """A run in this process: awaited with paths and options, it gives the outcomes."""

    async def run(paths, *, parts=parts, listener=lambda *_: None, **options):
        wanted = Options(**{"ladder": MUSIC, **options})
        async with asyncio.timeout(RUN_LIMIT_S):  # who waits for ever fails, and says so
            return await ingest_masters(
                list(paths), wanted, parts, tell=listener, finished=lambda _: None
            )

    return run


LAUNCHER = """
import os, signal, sys
signal.signal(signal.SIGINT, getattr(signal, sys.argv[1]))
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-m", "cli", *sys.argv[2:]])
"""
"""Starts the command line as a terminal does, whatever these tests have inherited (below `nohup`
SIGHUP is ignored), but for Ctrl-C: with SIG_IGN it is as in a shell's jobs in the background."""


@pytest.fixture
def tonearm(tmp_path):
    """`tonearm(*arguments)`: the command line in a process of its own, with a home of its own."""

    def start(*arguments, popen=False, ctrl_c="SIG_DFL"):
        command = [sys.executable, "-c", LAUNCHER, ctrl_c, "--home", tmp_path / "home", *arguments]
        command = list(map(str, command))
        if popen:
            return subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    return start


HELD_FFMPEG = """#!/bin/sh
case "$*" in *-version*) exec "{ffmpeg}" "$@";; esac
for master in {folder}/*.wav; do
    case "$*" in *"$master"*) name=$(basename "$master" .wav);; esac
done
touch "{folder}/$name.runs"
until [ -e "{folder}/$name.may-end" ]; do sleep 0.05; done
exec "{ffmpeg}" "$@"
"""


class HeldEncoders:
    """An ffmpeg that does nothing until it is told to, for masters in one folder."""

    def __init__(self, folder, ffmpeg):
        self._folder = folder
        self.ffmpeg = folder / "ffmpeg"
        self.ffmpeg.write_text(HELD_FFMPEG.format(ffmpeg=ffmpeg, folder=folder))
        self.ffmpeg.chmod(0o755)

    def masters(self, count):
        """So many short ones: `track-1.wav`, ..."""
        return [
            write_wav(self._folder / f"track-{n}.wav", music(0.6, seed=n))
            for n in range(1, count + 1)
        ]

    def running(self):
        """Names of the masters whose encoders have been started."""
        return sorted(path.stem for path in self._folder.glob("*.runs"))

    def release(self, *names):
        """Let encoders go on."""
        for name in names:
            (self._folder / f"{name}.may-end").touch()


@pytest.fixture
def held(tmp_path, toolchain):
    """Encoders that wait until a test lets them go."""
    folder = tmp_path / "held"
    folder.mkdir()
    return HeldEncoders(folder, toolchain.ffmpeg)


WAIT_LIMIT_S = 30


def wait_for(condition):
    """What *condition* returns once it is true."""
    end = time.monotonic() + WAIT_LIMIT_S
    while time.monotonic() < end:
        if answer := condition():
            return answer
        time.sleep(0.02)
    pytest.fail(f"did not happen within {WAIT_LIMIT_S} s")


def children_of(pid):
    """Pids of the processes that *pid* has started and that still run."""
    children = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            children.append(int(status.parent.name))
    return children


def alive(pid):
    """Whether the process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
