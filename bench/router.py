"""Steering answers, reports and decisions per CPU second of one router process.

The server runs alone in a process on 127.0.0.1; its CPU time is read from the kernel, so that the
load generator on the other core does not count. The floor is a handler of the same framework and
middleware that answers with a constant. Decisions are timed in this process.

    python -m bench.router [--requests 6000] [--json FILE]
"""

import argparse
import asyncio
import io
import json
import multiprocessing
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop
from aiohttp import web

from cdn_router import snapshot
from cdn_router.app import setup
from cdn_router.beacons import parse
from cdn_router.belief import Observation
from cdn_router.chooser import RouterChooser
from cdn_router.router import Limits, Router
from cdn_router.scoring import MAX_PATHWAYS, MAX_REGIONS, Table
from core.grants import UrlGrant, UrlSigner
from core.model import Pathway, SessionContext, Tier
from core.state.memory import MemoryState
from core.state.protocol import StateStore
from core.state.sqlite import SqliteState
from core.telemetry import Metrics, open_log
from core.web import create_app

CONNECTIONS = 16
SESSIONS = 2000
ROUNDS = 3
SIGNER = UrlSigner({"k1": b"u" * 32}, "k1")
CMCD = (
    'bl=21300,cdn="p0",cid="trk123",e=rr,rc=200,sid="6e2f",sn=42,su,ts=1766875158000,ttfb=82,'
    'url="http://127.1.0.1:1/m/s1.m4s",v=2\n'
)


def _router(state: StateStore) -> Router:
    return Router(
        pathways=tuple(Pathway(f"p{n}", f"http://127.1.0.{n + 1}:1") for n in range(3)),
        region="ww",
        state=state,
        url_signer=SIGNER,
        playback_secret=b"p" * 32,
        operator_secret=b"o" * 32,
        public_url="http://router.example",
        clock=time.time,
        limits=Limits(probe_interval_s=3600),
    )


async def _serve(kind: str, folder: str, pipe: Connection) -> None:
    state = SqliteState(Path(folder) / "state.sqlite") if kind == "sqlite" else MemoryState()
    router = _router(state)
    chooser = RouterChooser(router)
    for n in range(SESSIONS):
        await chooser.choose(SessionContext(f"s{n}", "ww", "t"))
    app = create_app(Metrics.create(), open_log("bench", io.StringIO()))
    setup(app, router)

    async def constant(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 400, content_type="application/json")

    app.add_routes([web.get("/floor", constant)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    pipe.send(runner.addresses[0][1])
    await asyncio.to_thread(pipe.recv)
    await runner.cleanup()
    await state.aclose()


def _server(kind: str, folder: str, pipe: Connection) -> None:
    uvloop.run(_serve(kind, folder, pipe))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _load(port: int, requests: list[bytes]) -> None:
    """Send *requests* over `CONNECTIONS` kept connections; every answer must be a 2xx."""
    todo = iter(requests)

    async def worker() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in todo:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 2"), head
            size = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            )
            await reader.readexactly(size)
        writer.close()

    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


def _post(path: str, body: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def _requests(count: int, seed: int) -> dict[str, list[bytes]]:
    expires_s = int(time.time()) + 3600
    tokens = [
        SIGNER.sign(UrlGrant("t", Tier.NORMAL, "ww", f"s{n}", expires_s)) for n in range(SESSIONS)
    ]
    draw = random.Random(seed)
    query = "?_HLS_pathway=base&_HLS_throughput=2150000"
    return {
        "floor": [_get("/floor")] * count,
        "steering": [_get(f"/{draw.choice(tokens)}/steering/hls{query}") for _ in range(count)],
        "reports": [
            _post(
                f"/v1/rum?session={draw.choice(tokens)}",
                CMCD.replace("ttfb=82", f"ttfb={draw.randrange(20, 900)}") * 4,
            )
            for _ in range(count)
        ],
    }


def _http(kind: str, count: int) -> dict[str, float]:
    """Median requests per CPU second of the server, by route."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    with tempfile.TemporaryDirectory() as folder:
        process = multiprocessing.get_context("spawn").Process(
            target=_server, args=(kind, folder, theirs)
        )
        process.start()
        try:
            port = ours.recv()
            assert process.pid is not None
            rates: dict[str, list[float]] = {}
            for seed in range(ROUNDS):
                for name, requests in _requests(count, seed).items():
                    before_s = _cpu_s(process.pid)
                    uvloop.run(_load(port, requests))
                    spent_s = _cpu_s(process.pid) - before_s
                    rates.setdefault(name, []).append(count / spent_s)
        finally:
            ours.send("stop")
            process.join(10)
            process.kill()
    return {name: statistics.median(values) for name, values in rates.items()}


def _rate(work: Callable[[int], object], count: int) -> float:
    """Median calls of *work* per CPU second."""
    rates = []
    for _ in range(ROUNDS):
        before_s = time.process_time()
        for n in range(count):
            work(n)
        rates.append(count / (time.process_time() - before_s))
    return statistics.median(rates)


def _large_table() -> Table:
    """As many regions and pathways as a table can hold, all of them measured."""
    table = Table(tuple(f"p{n}" for n in range(MAX_PATHWAYS)), "r0")
    draw = random.Random(1)
    for n in range(20_000):
        rtt = draw.uniform(10, 300)
        region, pathway = f"r{draw.randrange(MAX_REGIONS)}", f"p{draw.randrange(MAX_PATHWAYS)}"
        session = draw.choice([None, f"s{n}"])
        table.observe(Observation(region, pathway, n / 50, session, rtt, rtt + 20))
    table.decide(400)
    return table


def _pure() -> dict[str, float]:
    table = _large_table()
    data = snapshot.dump(table)

    def observe(n: int) -> None:
        at_s = 400 + n / 1e3
        table.observe(Observation("r1", "p1", at_s, f"s{n}", 40.0, 60.0))

    return {
        "decisions (session order)": _rate(lambda n: table.order_for(f"s{n}", "r3"), 100_000),
        "measurements": _rate(observe, 20_000),
        "cmcd lines parsed": 4 * _rate(lambda _: parse(CMCD.encode() * 4), 5_000),
        "epochs of the largest table": _rate(lambda n: table.decide(1000 + 5 * n), 20),
        "table loads": _rate(lambda _: snapshot.load(data, table), 20),
        "table size (bytes)": float(len(data)),
    }


def main() -> None:
    """Print the table; write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=6000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}",
        "requests per CPU second": {k: _http(k, options.requests) for k in ("memory", "sqlite")},
        "per CPU second, in process": _pure(),
    }
    print(results["machine"])
    for title in ("requests per CPU second", "per CPU second, in process"):
        print(f"\n{title}")
        rows = results[title]
        assert isinstance(rows, dict)
        for name, value in rows.items():
            if isinstance(value, dict):
                text = "  ".join(f"{k} {v:,.0f}" for k, v in value.items())
            else:
                text = f"{value:,.0f}"
            print(f"  {name:<30} {text}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
