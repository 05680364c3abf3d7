"""CPU per segment request: tonearm's origin against aiohttp's FileResponse and nginx, in one run.

    python -m bench.origin [--requests 3000] [--json FILE]

Each server is a process of its own; the figure is its user and system time over the requests,
as the kernel counts it, median of the rounds. The origin is asked as players ask: with a token,
through all of its middleware. The file server and nginx check nothing.
"""

import argparse
import asyncio
import hashlib
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop
from aiohttp import web

from core.catalogue import Catalogue, TrackEntry
from core.grants import UrlGrant, UrlSigner
from core.model import (
    Codec,
    DrmProfile,
    Loudness,
    MediaFile,
    Presentation,
    Rendition,
    Tier,
    Timing,
)
from core.state import open_state
from core.storage import open_store
from core.storage.protocol import ObjectStore
from core.telemetry import Metrics, open_log
from core.web import create_app
from origin.app import Limits, Origin, setup
from packager.manifest import presentation as presentation_json
from packager.manifest.places import presentation_key

ROOT = Path(__file__).resolve().parent.parent
SEGMENT_SIZE = 160_000
SEGMENTS = 16
ROUNDS = 5
WARM_UP = 200
STOP_TIMEOUT_S = 10.0
READY_TIMEOUT_S = 20.0
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
SECRET = b"benchmark secret, worth nothing!"


def main() -> None:
    """Run every server in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=3000, help="per round")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--serve", nargs=3, metavar=("SERVER", "FOLDER", "PORT"), help="internal")
    options = parser.parse_args()
    if options.serve:
        name, folder, port = options.serve
        serve(name, Path(folder), int(port))
        return
    with tempfile.TemporaryDirectory(prefix="tonearm-bench-") as name:
        folder = Path(name)
        (folder / "segment.m4s").write_bytes(content(1))
        figures = {
            server: measure(server, folder, options.requests)
            for server in ("origin", "origin cold", "FileResponse", "nginx")
        }
    report(figures, options.json)


def content(seed: int) -> bytes:
    """A segment's worth of bytes that do not compress."""
    return b"".join(
        hashlib.sha256(f"{seed} {n}".encode()).digest() for n in range(SEGMENT_SIZE // 32)
    )


# --- the servers


def serve(name: str, folder: Path, port: int) -> None:
    """Be a server until SIGTERM."""

    async def run() -> None:
        runner = web.AppRunner(
            await (file_app if name == "FileResponse" else origin_app)(folder, name),
            access_log=None,
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()

    uvloop.run(run())


async def file_app(folder: Path, _: str) -> web.Application:
    """What most aiohttp services do."""

    async def get(_: web.Request) -> web.FileResponse:
        return web.FileResponse(folder / "segment.m4s")

    app = web.Application()
    app.add_routes([web.get("/{path:.+}", get)])
    return app


async def origin_app(folder: Path, name: str) -> web.Application:
    """The origin on a local store; cold: with a cache that holds nothing."""
    store = open_store(f"local:{folder / 'store'}")
    catalogue = Catalogue.open(f"sqlite:///{folder / 'catalogue.sqlite'}")
    path = await publish(store, catalogue)
    (folder / "path").write_text(path)
    app = create_app(Metrics.create(), open_log("bench"))
    origin = Origin(
        store=store,
        catalogue=catalogue,
        state=open_state("memory:"),
        url_signer=UrlSigner({"k1": SECRET}, active="k1"),
        playback_secret=SECRET,
        user_secret=SECRET,
        chooser=None,  # type: ignore[arg-type]  # no session is started here
        clock=time.time,
        new_id=str,
        limits=Limits(segment_cache_size=0 if "cold" in name else 1 << 28),
    )
    setup(app, origin)
    return app


async def publish(store: ObjectStore, catalogue: Catalogue) -> str:
    """Store one clear track of equal segments; the path of a segment, `{n}` for its number."""
    body = bytes(900) + b"".join(content(n) for n in range(1, SEGMENTS + 1))
    ticks = (184_320,) * SEGMENTS
    sizes = (SEGMENT_SIZE,) * SEGMENTS
    digest = hashlib.sha256(body).hexdigest()
    file = MediaFile(DrmProfile.CLEAR, "", len(body), digest, 700, 200, sizes, 1, 1)
    timing = Timing(48_000, 0, sum(ticks), 0)
    loudness = Loudness(None, None, None, None, None)
    rendition = Rendition(
        "aac-320k", Codec.AAC, Tier.HIGH, "mp4a.40.2", 320_000, 48_000, 2, None, timing, ticks,
        "0" * 64, (file,),
    )  # fmt: skip
    p = presentation_json.seal(
        Presentation(
            "bench", "0" * 16, "t", "a", timing, loudness, None, None, "0" * 64, "0" * 64, (),
            (rendition,),
        )
    )  # fmt: skip
    await store.put_if_absent(p.renditions[0].files[0].key, body)
    await store.put_if_absent(presentation_key("bench", p.generation), presentation_json.encode(p))
    entry = TrackEntry(
        track_id="bench", generation=p.generation, title="t", artist="a", regions=("ww",),
        master_sha256="0" * 64, recipe_sha256="0" * 64, tiers=(Tier.HIGH,), schemes=(),
        duration_ticks=timing.samples, timescale=48_000, loudness=loudness,
    )  # fmt: skip
    catalogue.publish(entry, published_at_s=0)
    grant = UrlGrant("bench", Tier.HIGH, "ww", "s", int(time.time()) + 3600)
    token = UrlSigner({"k1": SECRET}, active="k1").sign(grant)
    return f"/{token}/m/bench/{p.generation}/ww/clear/aac-320k/{{n}}.m4s"


@contextmanager
def running(name: str, folder: Path) -> Iterator[tuple[int, int, str]]:
    """A server: its pid that works, its port, and the path to ask for."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    own = folder / name.replace(" ", "-")
    own.mkdir()
    shutil.copy(folder / "segment.m4s", own)
    if name == "nginx":
        config = own / "nginx.conf"
        config.write_text(
            f"daemon off; master_process off; pid {own}/pid; error_log stderr crit;\n"
            "events {}\n"
            f"http {{ access_log off; sendfile on; keepalive_requests 1000000; server {{ "
            f"listen 127.0.0.1:{port}; root {own}; }} "
            f"client_body_temp_path {own}/b; proxy_temp_path {own}/p; fastcgi_temp_path {own}/f; "
            f"uwsgi_temp_path {own}/u; scgi_temp_path {own}/s; }}\n"
        )
        command = [NGINX, "-p", str(own), "-c", str(config)]
    else:
        command = [sys.executable, "-m", "bench.origin", "--serve", name, str(own), str(port)]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        wait_for(port)
        path = "/segment.m4s"
        if (own / "path").exists():
            path = (own / "path").read_text()
        yield process.pid, port, path
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)


def wait_for(port: int) -> None:
    """Until somebody listens."""
    end_s = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < end_s:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nobody listens on {port}")


# --- the load


def measure(name: str, folder: Path, requests: int) -> dict[str, float]:
    """CPU microseconds a request, and requests a second of one connection."""
    with running(name, folder) as (pid, port, path):
        get(port, path, WARM_UP)
        costs, rates = [], []
        for _ in range(ROUNDS):
            before_s, started_s = cpu_s(pid), time.perf_counter()
            get(port, path, requests)
            costs.append((cpu_s(pid) - before_s) / requests * 1e6)
            rates.append(requests / (time.perf_counter() - started_s))
    return {"cpu_us": statistics.median(costs), "requests_per_s": statistics.median(rates)}


def get(port: int, path: str, requests: int) -> None:
    """So many requests on one connection; every body is checked for its length."""
    buffer = bytearray(1 << 18)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for number in range(requests):
            target = path.replace("{n}", str(number % SEGMENTS + 1))
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
            received = connection.recv_into(buffer)
            while (at := buffer.find(b"\r\n\r\n", 0, received)) < 0:
                received += connection.recv_into(memoryview(buffer)[received:])
            assert buffer.startswith(b"HTTP/1.1 200"), bytes(buffer[:at])
            left = at + 4 + SEGMENT_SIZE - received
            while left:
                count = connection.recv_into(buffer, min(left, len(buffer)))
                assert count, "closed too early"
                left -= count


def cpu_s(pid: int) -> float:
    """CPU time of a process in seconds, all its threads', to the nanosecond.

    The clock id is what `clock_getcpuclockid(3)` makes of a pid; Python has no name for it.
    """
    return time.clock_gettime((~pid << 3) | 2)


def report(figures: dict[str, dict[str, float]], target: Path | None) -> None:
    """Print the table; write it as JSON if asked to."""
    print(f"{SEGMENT_SIZE} bytes a request, one connection, {platform.machine()},")
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}\n")
    print(f"{'server':<14}{'CPU us/request':>16}{'requests/s':>14}{'Gbit/s a core':>15}")
    for name, figure in figures.items():
        gbit_s = SEGMENT_SIZE * 8 / figure["cpu_us"] / 1000
        print(
            f"{name:<14}{figure['cpu_us']:>16.0f}{figure['requests_per_s']:>14.0f}{gbit_s:>15.1f}"
        )
    if target:
        target.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
