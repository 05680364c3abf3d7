"""Licences per CPU second of one key server process, beside the framework's own floor.

The server runs alone in a process on 127.0.0.1; its CPU time is read from the kernel, so that the
load generator on the other core does not count.

    python -m bench.keyserver [--requests 4000] [--json bench-keyserver.json]
"""

import argparse
import asyncio
import json
import logging
import multiprocessing
import os
import platform
import sqlite3
import statistics
import tempfile
import time
import uuid
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop
from aiohttp import web

from core.grants import PlaybackGrant, sign_playback
from core.ids import write_base64url
from core.keysource import KeyRequest
from core.model import Scheme, Tier
from core.telemetry import Metrics
from core.web import create_app
from keyserver.app import KeyServer, setup
from keyserver.vault import Vault

PLAYBACK, OPERATOR, ROOT, KID = (bytes([n]) * 32 for n in range(4))
CONNECTIONS = 16
TRACKS = 20_000
"""In the vault: enough that its index has several levels."""
ROUNDS = 3
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


async def floor(request: web.Request) -> web.Response:
    """What any POST costs in aiohttp."""
    await request.read()
    return web.Response(body=b"{}", content_type="application/json")


def make_app(kind: str, path: Path) -> web.Application:
    """The bare framework, our shared behaviour, or the key server."""
    if kind == "aiohttp, empty POST":
        app = web.Application()
        app.add_routes([web.post("/v1/license/clearkey", floor)])
        return app
    app = create_app(Metrics.create(), logging.getLogger("bench"))
    if kind == "core.web, empty POST":
        app.add_routes([web.post("/v1/license/clearkey", floor)])
        return app
    server = KeyServer(
        vault=Vault.open(path, ROOT, KID),
        playback_secret=PLAYBACK,
        operator_secret=OPERATOR,
        clock=time.time,
    )
    setup(app, server)
    return app


def serve(kind: str, path: Path, control: Connection) -> None:
    """Run one server until *control* says stop."""

    async def main() -> None:
        runner = web.AppRunner(make_app(kind, path), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        control.send(runner.addresses[0][1])
        await asyncio.to_thread(control.recv)
        await runner.cleanup()

    uvloop.run(main())


def cpu_s(pid: int) -> float:
    """User and system time of *pid* so far (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def request_bytes(kids: list[uuid.UUID], track: str) -> bytes:
    """A whole licence request, as Chromium's ClearKey and a player send it."""
    now_s = int(time.time())
    grant = PlaybackGrant("user", "device", uuid.uuid4().hex, track, Tier.HIGH, now_s, now_s + 180)
    body = json.dumps({"kids": [write_base64url(kid.bytes) for kid in kids], "type": "temporary"})
    return (
        "POST /v1/license/clearkey HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {sign_playback(grant, PLAYBACK)}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def load(port: int, requests: list[bytes]) -> list[float]:
    """Send all, `CONNECTIONS` at a time; the latencies in seconds."""
    waiting = iter(requests)
    latencies: list[float] = []

    async def one_connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in waiting:
            started = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(size)
            latencies.append(time.perf_counter() - started)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(one_connection() for _ in range(CONNECTIONS)))
    return latencies


def measure(kind: str, path: Path, requests: list[bytes]) -> dict[str, float | str]:
    """Median CPU time and latencies of one kind of server."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(kind, path, theirs))
    process.start()
    port = ours.recv()
    assert process.pid
    asyncio.run(load(port, requests[:500]))  # warm up: keys, caches, branch predictors
    spent, latencies = [], []
    for _ in range(ROUNDS):
        before_s = cpu_s(process.pid)
        latencies += asyncio.run(load(port, requests))
        spent.append((cpu_s(process.pid) - before_s) / len(requests))
    ours.send("stop")
    process.join()
    each_s = statistics.median(spent)
    quantiles = statistics.quantiles(latencies, n=100)
    return {
        "server": kind,
        "cpu_us": round(each_s * 1e6),
        "per_cpu_s": round(1 / each_s),
        "p50_ms": round(quantiles[49] * 1e3, 2),
        "p99_ms": round(quantiles[98] * 1e3, 2),
    }


def fill(path: Path) -> dict[str, list[uuid.UUID]]:
    """A vault of `TRACKS` tracks with three tiers; some of their KIDs."""
    vault = Vault.open(path, ROOT, KID)
    # the vault syncs each track, as it must; a bench need not wait for that
    vault._database.execute("PRAGMA synchronous = OFF")  # noqa: SLF001  no option for it
    tiers = (Tier.LOW, Tier.NORMAL, Tier.HIGH)
    kids = {}
    for number in range(TRACKS):
        track = f"track-{number}"
        keys = vault.keys(KeyRequest(track, tiers, (Scheme.CBCS,), 0))
        if number % 20 == 0:
            kids[track] = [key.description.kid for key in keys]
    vault.close()
    return kids


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys.sqlite"
        started = time.perf_counter()
        kids = fill(path)
        made = 3 * TRACKS / (time.perf_counter() - started)
        tracks = list(kids)
        results = []
        for kind, count in (
            ("aiohttp, empty POST", 1),
            ("core.web, empty POST", 1),
            ("key server, 1 KID", 1),
            ("key server, 3 KIDs", 3),
        ):
            asked = (tracks[n % len(tracks)] for n in range(options.requests))
            requests = [request_bytes(kids[track][:count], track) for track in asked]
            results.append(measure(kind, path, requests))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(
        f"{machine}, SQLite {sqlite3.sqlite_version}; {TRACKS} tracks; {made:.0f} keys made per s"
    )
    print(f"{'server':<22}{'CPU us':>8}{'per CPU s':>11}{'p50 ms':>9}{'p99 ms':>9}")
    for row in results:
        print(
            f"{row['server']:<22}{row['cpu_us']:>8}{row['per_cpu_s']:>11}"
            f"{row['p50_ms']:>9}{row['p99_ms']:>9}"
        )
    if options.json:
        told = {"machine": machine, "keys_made_per_s": round(made), "results": results}
        options.json.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
