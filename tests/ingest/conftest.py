"""Masters in every format, made by the real ffmpeg, and the collaborators of a run."""

import subprocess
import sys
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


@pytest.fixture
def ingest(parts):
    """A run in this process: awaited with paths and options, it gives the outcomes."""

    async def run(paths, *, parts=parts, listener=lambda *_: None, **options):
        wanted = Options(**{"ladder": MUSIC, **options})
        return await ingest_masters(
            list(paths), wanted, parts, tell=listener, finished=lambda _: None
        )

    return run


@pytest.fixture
def tonearm(tmp_path):
    """`tonearm(*arguments)`: the command line in a process of its own, with a home of its own."""

    def start(*arguments, popen=False):
        command = [sys.executable, "-m", "cli", "--home", str(tmp_path / "home"), *arguments]
        command = list(map(str, command))
        if popen:
            return subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    return start
