"""Ingest against the sum of its encoders, and its memory with an hour of music.

Each round encodes every rung of the default ladder alone and takes the CPU seconds of that process
less those of a run that only decodes and resamples: the encoder's own. Then the whole of
`tonearm ingest` runs, process start to exit, and its wall time is put against half of their sum,
which two cores could reach if everything else were free. The kernel's counters say how much of the
machine others took meanwhile: a wall time next to a busy neighbour says little.

    python -m bench.ingest [--seconds 240] [--rounds 3] [--long-seconds 3600] [--json FILE]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from core.model import Rung
from ingest.encode.ladder import MUSIC
from ingest.encode.toolchain import Toolchain, find_toolchain
from ingest.encode.transcode import Job, Output, command
from ingest.master.probe import probe
from ingest.master.synthesis import NIGHT_DRIVE, compose

WALL_LIMIT = 1.15
"""Times half of the encoders' own CPU seconds."""
MEMORY_LIMIT_MB = 400
SAMPLE_INTERVAL_S = 0.25
PATTERN_SECONDS = 60
"""A longer master repeats this much music."""
ROOT = Path(__file__).parents[1]


def main() -> None:
    """Print the tables; write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--long-seconds", type=int, default=3600, help="0 leaves memory out")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results: dict[str, object] = {"machine": _machine()}
    print(results["machine"])
    with tempfile.TemporaryDirectory() as folder:
        results["speed"] = _speed(Path(folder), options.seconds, options.rounds)
        if options.long_seconds:
            results["memory"] = _memory(Path(folder), options.long_seconds)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


def _speed(folder: Path, seconds: int, rounds: int) -> dict[str, object]:
    toolchain = find_toolchain()
    master = _write_master(folder / "master.wav", seconds)
    rows = [_round(folder, master, toolchain) for _ in range(rounds)]
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    print(f"\none {seconds} s track, {len(MUSIC.rungs)} rungs, medians of {rounds} rounds")
    for name, value in medians.items():
        print(f"  {name:<44} {value:8.2f}")
    print(f"  limit for 'wall / half of encoders' {WALL_LIMIT:>16.2f}")
    return {"seconds": seconds, "rounds": rows, "medians": medians, "limit": WALL_LIMIT}


def _round(folder: Path, master: Path, toolchain: Toolchain) -> dict[str, float]:
    decode_s = _cpu_s(_alone(master, None, folder, toolchain))
    own = {
        f"CPU s of encoder {rung.name}": _cpu_s(_alone(master, rung, folder, toolchain)) - decode_s
        for rung in MUSIC.rungs
    }
    encoders_s = sum(own.values())
    busy_before, began = _machine_busy_s(), time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder) as home:
        ingest_cpu_s = _cpu_s(_ingest_command(home, master))
        wall_s = time.monotonic() - began
        others_s = _machine_busy_s() - busy_before - ingest_cpu_s
    return {
        **own,
        "CPU s of decoding and resampling": decode_s,
        "CPU s of all encoders": encoders_s,
        "CPU s of ingest": ingest_cpu_s,
        "CPU s that others took meanwhile": others_s,
        "wall s of ingest": wall_s,
        "ingest CPU / encoders": ingest_cpu_s / encoders_s,
        "wall / half of encoders": wall_s / (encoders_s / 2),
    }


def _alone(master: Path, rung: Rung | None, folder: Path, toolchain: Toolchain) -> list[str]:
    """One rung by itself, as ingest encodes it; without a rung, all but the encoder."""
    job = Job(probe(master), (Output(rung or MUSIC.rungs[0], folder / "alone.mp4"),), toolchain)
    argv = command(job)
    if rung is None:
        target = argv.index(f"file:{folder / 'alone.mp4'}")
        start = max(n for n, arg in enumerate(argv[:target]) if arg == "-map") + 2
        argv = [*argv[:start], "-f", "null", "-", *argv[target + 1 :]]
    return argv


def _ingest_command(home: str, master: Path) -> list[str]:
    return [sys.executable, "-m", "cli", "--home", home, "ingest", str(master)]


def _cpu_s(argv: list[str]) -> float:
    """User and system seconds of a process and of the children it waited for."""
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{argv[0]} failed with status {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def _memory(folder: Path, seconds: int) -> dict[str, float]:
    master = _write_master(folder / "long.wav", seconds)
    with tempfile.TemporaryDirectory(dir=folder) as home, _started(home, master) as process:
        began, rss_kb, pss_kb = time.monotonic(), 0, 0
        while process.poll() is None:
            tree = _tree(process.pid)
            rss_kb = max(rss_kb, sum(_kb(pid, "smaps_rollup", "Rss:") for pid in tree))
            pss_kb = max(pss_kb, sum(_kb(pid, "smaps_rollup", "Pss:") for pid in tree))
            time.sleep(SAMPLE_INTERVAL_S)
    results = {
        "seconds of music": seconds,
        "wall s": time.monotonic() - began,
        "peak resident MB, all processes": rss_kb / 1024,
        "peak proportional MB, all processes": pss_kb / 1024,
        "limit MB": MEMORY_LIMIT_MB,
    }
    print("\nmemory")
    for name, value in results.items():
        print(f"  {name:<44} {value:8.1f}")
    return results


@contextmanager
def _started(home: str, master: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(_ingest_command(home, master), cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        yield process
        if process.returncode:
            raise SystemExit(f"ingest failed with status {process.returncode}")
    finally:
        process.kill()
        process.wait()


def _tree(pid: int) -> list[int]:
    """*pid* and its children; ingest's children have none."""
    found = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except OSError:
        pass
    return found


def _kb(pid: int, file: str, field: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(field))


def _write_master(path: Path, seconds: int) -> Path:
    """16-bit stereo at 44.1 kHz, written piece by piece."""
    pattern = compose(NIGHT_DRIVE, min(seconds, PATTERN_SECONDS))
    integers = np.rint(pattern * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(NIGHT_DRIVE.sample_rate)
        missing = seconds * NIGHT_DRIVE.sample_rate
        while missing > 0:
            piece = integers[:missing]
            file.writeframes(piece.tobytes())
            missing -= len(piece)
    return path


def _machine_busy_s() -> float:
    """CPU seconds that all processes of the machine have used since it started."""
    ticks = [int(part) for part in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK")


def _machine() -> str:
    cores = len(os.sched_getaffinity(0))
    return f"{platform.machine()}, {cores} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
