"""The demo's page, its small API, and the shaped pathways in front of the server."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from core.catalogue import Catalogue, TrackEntry
from core.errors import ForbiddenError, InvalidInputError, NotFoundError, ToolkitError
from core.grants import User, sign_user
from core.ids import EVERYWHERE
from core.model import Loudness, Tier
from core.serving import listen
from core.storage import ObjectStore
from core.strict_json import read_object
from core.telemetry import Metrics, open_log
from core.web import Handler, create_app, read_body
from origin.demo.masters import Refusal
from origin.demo.pathway_shaper import PathwayShaper, Shape
from origin.demo.preparation import Preparation
from packager.manifest.places import WAVEFORM, generation_prefix
from packager.manifest.published import fetch_presentation

USER_TTL_S = 3600
"""Life of the demo listener's user token."""
MAX_TRACKS = 100
"""Tracks on the page."""
PEAK_COLUMNS = 800
"""Columns of a waveform on the page."""

HEALTHY = {"near": Shape(latency_ms=12), "far": Shape(latency_ms=45)}
"""Each way. Nearer still, and what a busy machine adds would look like a change to the router."""
DEGRADED = Shape(latency_ms=250, jitter_ms=50)
"""A first byte after 0.5 to 0.6 s. A probe takes as long, and four of them are needed before the
router takes a change for one, so what is slower still would be left later."""

HOSTS = ("127.0.0.1", "localhost")
"""Names of this machine that a browser may ask by."""
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


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
    def url(self) -> str:
        """The page."""
        return f"http://127.0.0.1:{self.page_port}/"

    @property
    def has_player(self) -> bool:
        """Whether the page can play."""
        return (self.players / "shaka-player").is_dir()

    @property
    def serve_options(self) -> tuple[str, ...]:
        """How the server is told to be quick: this is one listener, and somebody is watching.

        Four probes show the router that a pathway has changed. What is left of the time in which
        a listener moves is the wait for an epoch and for the next question of the player.
        """
        return ("--probe-interval", "0.3", "--routing-epoch", "0.5", "--steering-ttl", "1")

    @property
    def content_security_policy(self) -> str:
        """Scripts and styles from here alone, none in the text; blobs hold joined manifests."""
        hosts = " ".join((self.server_url, *(p.base_url for p in self.pathways)))
        return (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            f"media-src blob:; connect-src 'self' blob: data: {hosts}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

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


@dataclass(frozen=True, slots=True)
class Listeners:
    """Sockets that listen before there is anything to answer."""

    page: socket.socket
    pathways: dict[str, socket.socket]


@contextlib.contextmanager
def listen_on(page: DemoPage) -> Iterator[Listeners]:
    """Take every port of the demo; the server's own is free at least.

    Raises:
        InvalidInputError: One of them is taken.
    """
    with contextlib.ExitStack() as stack:

        def taken(host: str, port: int) -> socket.socket:
            return stack.enter_context(contextlib.closing(listen(host, port)))

        pathways = {p.id: taken(p.host, page.port) for p in page.pathways}
        of_page = taken("127.0.0.1", page.page_port)
        listen("127.0.0.1", page.server_port).close()
        yield Listeners(of_page, pathways)


@dataclass(slots=True)
class _Demo:
    page: DemoPage
    listeners: Listeners
    preparation: Preparation
    shapers: dict[str, PathwayShaper] = field(default_factory=dict)
    degraded: dict[str, bool] = field(default_factory=dict)
    rows: dict[tuple[str, str], dict[str, object]] = field(default_factory=dict)


DEMO = web.AppKey("demo", _Demo)


def create_page_app(
    page: DemoPage, listeners: Listeners, preparation: Preparation
) -> web.Application:
    """The page, its API and the shapers, which live as long as the application."""
    app = create_app(Metrics.create(), open_log("tonearm.demo"))
    app[DEMO] = _Demo(page, listeners, preparation)
    app.cleanup_ctx.append(_shapers)
    app.on_response_prepare.append(_secure)
    app.middlewares.append(_for_this_page)
    app.add_routes(
        [
            web.get("/", _file),
            web.get("/{name:[a-z]+\\.(?:js|css)}", _file),
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


async def _shapers(app: web.Application) -> AsyncIterator[None]:
    demo = app[DEMO]
    for pathway in demo.page.pathways:
        shaper = PathwayShaper(
            demo.listeners.pathways[pathway.id],
            ("127.0.0.1", demo.page.server_port),
            HEALTHY[pathway.id],
        )
        await shaper.start()
        demo.shapers[pathway.id] = shaper
    yield
    for shaper in demo.shapers.values():
        await shaper.stop()


async def _secure(request: web.Request, response: web.StreamResponse) -> None:
    policy = request.app[DEMO].page.content_security_policy
    response.headers.update(SECURITY | {"Content-Security-Policy": policy})
    # user tokens are handed out here: to this page, and to no other
    response.headers.pop("Access-Control-Allow-Origin", None)


@web.middleware
async def _for_this_page(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer nobody but the page: another site may send forms, or point its name at this address.

    Raises:
        ForbiddenError: The request is for another host, or comes from a page of another one.
    """
    page = request.headers.get("Origin")
    if request.url.host not in HOSTS or (page and urlsplit(page).netloc != request.host):
        raise ForbiddenError("this is for the demo's own page", hint=request.app[DEMO].page.url)
    return await handler(request)


async def _file(request: web.Request) -> web.Response:
    name = request.match_info.get("name", "index.html")
    kind = {"html": "text/html", "js": "text/javascript", "css": "text/css"}[name.split(".")[-1]]
    file = files("origin.demo") / "page" / name
    if not file.is_file():
        raise NotFoundError("there is no such file")
    headers = {"Cache-Control": "no-cache"}
    return web.Response(body=file.read_bytes(), content_type=kind, charset="utf-8", headers=headers)


async def _config(request: web.Request) -> web.Response:
    page = request.app[DEMO].page
    return web.json_response(
        {
            "origin": page.server_url,
            "pathways": [{"id": p.id, "baseUrl": p.base_url} for p in page.pathways],
        }
    )


async def _tracks(request: web.Request) -> web.Response:
    demo = request.app[DEMO]
    preparation = demo.preparation
    published = await asyncio.to_thread(demo.page.catalogue.list, limit=MAX_TRACKS)
    ordered = preparation.first_named_first(published)
    rows, refused = [], list(preparation.refused)
    for track in ordered:
        try:
            rows.append(await _row(demo, track.entry))
        except ToolkitError:  # one that is broken does not hide the others
            reason = "it cannot be read from the store"
            hint = f"tonearm track verify {track.entry.track_id} says why"
            refused.append(Refusal(track.entry.track_id, reason, hint))
    return web.json_response(
        {
            "tracks": rows,
            "refused": [{"name": r.name, "reason": r.reason, "hint": r.hint} for r in refused],
            "stage": preparation.stage,
            "waiting": preparation.waiting,
        }
    )


async def _row(demo: _Demo, entry: TrackEntry) -> dict[str, object]:
    """What the page shows of a track; read once, as a generation never changes."""
    key = (entry.track_id, entry.generation)
    if key not in demo.rows:
        demo.rows[key] = await _track(demo.page.store, entry)
    return demo.rows[key]


async def _track(store: ObjectStore, entry: TrackEntry) -> dict[str, object]:
    track_id, generation = entry.track_id, entry.generation
    described = await fetch_presentation(store, track_id=track_id, generation=generation)
    prefix = generation_prefix(track_id, generation)
    waveform = json.loads(await store.get(f"{prefix}{WAVEFORM}"))
    return {
        "trackId": entry.track_id,
        "title": described.title,
        "artist": described.artist,
        "albumId": entry.album_id,
        "durationS": described.timing.duration_s,
        "renditions": len(described.renditions),
        "loudness": _loudness(described.loudness),
        "albumLoudness": _loudness(described.album_loudness),
        "peaks": _thin(waveform["data"], 2 ** (waveform["bits"] - 1)),
    }


def _loudness(measured: Loudness | None) -> dict[str, float | None] | None:
    if measured is None:
        return None
    return {"lufs": measured.integrated_lufs, "truePeakDbtp": measured.true_peak_dbtp}


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
    user = User("demo-listener", Tier(tier), EVERYWHERE)
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
        wish = read_object(await read_body(request))
        name, degraded = wish["pathway"], wish["degraded"] is True
    except KeyError:
        raise InvalidInputError("say which pathway, and degraded true or false") from None
    if not isinstance(name, str) or name not in demo.shapers:
        raise NotFoundError("there is no such pathway")
    demo.shapers[name].shape = DEGRADED if degraded else HEALTHY[name]
    demo.degraded[name] = degraded
    return web.json_response({"pathway": name, "degraded": degraded})
