"""The demo's page, its small API, and the shaped pathways in front of the server."""

import asyncio
import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from core.catalogue import Catalogue, TrackEntry
from core.errors import InvalidInputError, NotFoundError, UnavailableError
from core.grants import User, sign_user
from core.model import Tier
from core.storage import ObjectStore
from core.telemetry import Metrics, open_log
from core.web import create_app
from origin.demo.pathway_shaper import PathwayShaper, Shape
from packager.manifest.places import WAVEFORM, generation_prefix
from packager.manifest.published import fetch_presentation

USER_TTL_S = 3600
"""Life of the demo listener's user token."""
READY_TIMEOUT_S = 30.0
"""How long the server may take to start."""
MAX_TRACKS = 100
"""Tracks on the page."""
PEAK_COLUMNS = 800
"""Columns of a waveform on the page."""

HEALTHY = {"near": Shape(latency_ms=4), "far": Shape(latency_ms=45)}
DEGRADED = Shape(latency_ms=600, jitter_ms=200)


@dataclass(frozen=True, slots=True)
class ShapedPathway:
    """A loopback address that plays a CDN."""

    id: str
    host: str
    base_url: str
    latency_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoPage:
    """What the page needs; `user_secret` stays out of `repr`."""

    port: int
    players: Path
    catalogue: Catalogue
    store: ObjectStore
    user_secret: bytes = field(repr=False)

    @property
    def page_port(self) -> int:
        """Where the page is served."""
        return self.port + 1

    @property
    def server_port(self) -> int:
        """Where the real server listens, behind the shaped pathways."""
        return self.port + 2

    @property
    def server_url(self) -> str:
        """The server without a shaper in between."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def pathways(self) -> tuple[ShapedPathway, ...]:
        """Two addresses of this machine with the same port: players ignore ports in clones."""
        hosts = zip(HEALTHY, ("127.0.0.1", "127.0.0.2"), strict=True)
        return tuple(
            ShapedPathway(name, host, f"http://{host}:{self.port}", HEALTHY[name].latency_ms)
            for name, host in hosts
        )


@dataclass(slots=True)
class _Demo:
    page: DemoPage
    shapers: dict[str, PathwayShaper] = field(default_factory=dict)
    degraded: dict[str, bool] = field(default_factory=dict)


DEMO = web.AppKey("demo", _Demo)


def run_page(page: DemoPage, *, when_ready: Callable[[], object]) -> None:
    """Serve the page until SIGINT or SIGTERM; *when_ready* is called once everything answers."""
    try:
        asyncio.run(_serve(page, when_ready))
    except OSError as error:
        raise UnavailableError(
            f"the demo cannot listen: {error.strerror}", hint="choose another --port"
        ) from None


async def _serve(page: DemoPage, when_ready: Callable[[], object]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await _until_ready(f"{page.server_url}/readyz")
    runner = web.AppRunner(create_page_app(page), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", page.page_port).start()
        when_ready()
        await stop.wait()
    finally:
        await runner.cleanup()


async def _until_ready(url: str) -> None:
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    async with ClientSession(timeout=ClientTimeout(total=2)) as session:
        while time.monotonic() < deadline_s:
            try:
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            except (ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.1)
    raise UnavailableError("the server did not become ready", hint="see its lines above")


def create_page_app(page: DemoPage) -> web.Application:
    """The page, its API and the shapers, which live as long as the application."""
    app = create_app(Metrics.create(), open_log("tonearm.demo"))
    app[DEMO] = _Demo(page)
    app.cleanup_ctx.append(_shapers)
    app.add_routes(
        [
            web.get("/", _file),
            web.get("/{name:(?:demo|gapless|steering)\\.(?:js|css)}", _file),
            web.get("/demo/config", _config),
            web.get("/demo/tracks", _tracks),
            web.get("/demo/user-token", _user_token),
            web.get("/demo/pathways", _pathways),
            web.post("/demo/shape", _shape),
        ]
    )
    if page.players.is_dir():
        app.add_routes([web.static("/players", page.players)])
    return app


async def _shapers(app: web.Application):  # type: ignore[no-untyped-def]  # noqa: ANN202  aiohttp's async generator
    demo = app[DEMO]
    for pathway in demo.page.pathways:
        shaper = PathwayShaper(
            (pathway.host, demo.page.port), ("127.0.0.1", demo.page.server_port),
            HEALTHY[pathway.id],
        )  # fmt: skip
        await shaper.start()
        demo.shapers[pathway.id] = shaper
    yield
    for shaper in demo.shapers.values():
        await shaper.stop()


async def _file(request: web.Request) -> web.Response:
    name = request.match_info.get("name", "index.html")
    kind = {"html": "text/html", "js": "text/javascript", "css": "text/css"}[name.split(".")[-1]]
    body = (files("origin.demo") / "page" / name).read_bytes()
    return web.Response(body=body, content_type=kind, charset="utf-8")


async def _config(request: web.Request) -> web.Response:
    page = request.app[DEMO].page
    return web.json_response(
        {
            "origin": page.server_url,
            "pathways": [{"id": p.id, "baseUrl": p.base_url} for p in page.pathways],
        }
    )


async def _tracks(request: web.Request) -> web.Response:
    page = request.app[DEMO].page
    tracks = await asyncio.to_thread(page.catalogue.list, limit=MAX_TRACKS)
    rows = await asyncio.gather(*(_track(page.store, track.entry) for track in tracks))
    return web.json_response({"tracks": rows})


async def _track(store: ObjectStore, entry: TrackEntry) -> dict[str, object]:
    track_id, generation = entry.track_id, entry.generation
    described = await fetch_presentation(store, track_id=track_id, generation=generation)
    prefix = generation_prefix(track_id, generation)
    waveform = json.loads(await store.get(f"{prefix}{WAVEFORM}"))
    return {
        "trackId": entry.track_id,
        "title": described.title,
        "durationS": described.timing.duration_s,
        "renditions": len(described.renditions),
        "integratedLufs": described.loudness.integrated_lufs,
        "truePeakDbtp": described.loudness.true_peak_dbtp,
        "peaks": _thin(waveform["data"], 2 ** (waveform["bits"] - 1)),
    }


def _thin(data: list[int], full_scale: int) -> list[float]:
    """Minima and maxima, in turn, of at most `PEAK_COLUMNS` columns; full scale is 1."""
    columns = len(data) // 2
    step = max(1, -(-columns // PEAK_COLUMNS))
    peaks = []
    for start in range(0, columns, step):
        part = data[2 * start : 2 * (start + step)]
        peaks += [round(min(part[::2]) / full_scale, 4), round(max(part[1::2]) / full_scale, 4)]
    return peaks


async def _user_token(request: web.Request) -> web.Response:
    tier = request.query.get("tier", "")
    if tier not in list(Tier):
        raise InvalidInputError("there is no such tier", hint="low, normal, high or lossless")
    user = User("demo-listener", Tier(tier), "ww")
    secret = request.app[DEMO].page.user_secret
    token = sign_user(user, secret, now_s=int(time.time()), ttl_s=USER_TTL_S)
    return web.json_response({"token": token}, headers={"Cache-Control": "no-store"})


async def _pathways(request: web.Request) -> web.Response:
    demo = request.app[DEMO]
    measured = await _measured(demo.page)
    rows = [
        {
            "id": pathway.id,
            "latencyMs": pathway.latency_ms,
            "degraded": demo.degraded.get(pathway.id, False),
            "measuredMs": measured.get(pathway.id),
        }
        for pathway in demo.page.pathways
    ]
    return web.json_response({"pathways": rows})


async def _measured(page: DemoPage) -> dict[str, float]:
    """What the router believes a start costs on each pathway, in milliseconds."""
    url = f"{page.server_url}/v1/router/explain"
    async with ClientSession(timeout=ClientTimeout(total=2)) as session:
        try:
            async with session.get(url) as response:
                told = await response.json()
        except (ClientError, TimeoutError):
            return {}
    return {
        pathway["pathway"]: pathway["typicalStartMs"]
        for region in told["regions"]
        for pathway in region["pathways"]
    }


async def _shape(request: web.Request) -> web.Response:
    demo = request.app[DEMO]
    try:
        wish = await request.json()
        name, degraded = wish["pathway"], wish["degraded"] is True
    except (ValueError, KeyError, TypeError):
        raise InvalidInputError("say which pathway, and degraded true or false") from None
    if name not in demo.shapers:
        raise NotFoundError("there is no such pathway")
    demo.shapers[name].shape = DEGRADED if degraded else HEALTHY[name]
    demo.degraded[name] = degraded
    return web.json_response({"pathway": name, "degraded": degraded})
