"""The smallest server that a packaged track plays from: manifests, slices, keys and steering.

It is no stand-in for the origin or the key server; it shows that manifests and media alone are
right in players, whatever those servers add.
"""

import base64
import contextlib
import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from core.model import ContentKey, DrmProfile, Presentation, Tier
from packager.manifest import dash, hls
from packager.manifest.options import ManifestOptions
from packager.manifest.places import STEERING_DASH, STEERING_HLS

CORS = {"Access-Control-Allow-Origin": "*"}


def license_cors(request):
    """dash.js sends licence requests with credentials, and then `*` is not good enough."""
    return {
        "Access-Control-Allow-Origin": request.headers.get("Origin", "*"),
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Headers": "Authorization, Content-Type",
        "Vary": "Origin",
    }


def _b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


MEDIA_TOKEN = "t0"
LICENCE_TOKEN = "licence-token"


@dataclass
class TrackServer:
    """A track at `/{token}/m/...` on one or two loopback addresses.

    Attributes:
        folder: Holds `{drm}/{rendition}.mp4`.
        priority: The pathways of steering answers; None writes manifests without steering.
        requests: (host without port, path with query), in order.
    """

    presentation: Presentation
    keys: tuple[ContentKey, ...]
    folder: Path
    priority: list[str] | None = None
    requests: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0

    @contextlib.asynccontextmanager
    async def running(self, *hosts):
        app = web.Application(middlewares=[self._answer])
        app.add_routes(
            [
                web.get("/{token}/m/{track}/{generation}/{region}/{drm}/{file:.+}", self._media),
                web.get("/{token}/steering/{kind}", self._steer),
                web.post("/v1/license/clearkey", self._license),
                web.get("/v1/license/raw/{kid}", self._raw),
            ]
        )
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            for host in hosts or ("127.0.0.1",):
                await web.TCPSite(runner, host, self.port).start()
                self.port = runner.addresses[0][1]
            yield self
        finally:
            await runner.cleanup()

    def url(self, drm, file, host="127.0.0.1"):
        p = self.presentation
        path = f"{MEDIA_TOKEN}/m/{p.track_id}/{p.generation}/ww/{drm}/{file}"
        return f"http://{host}:{self.port}/{path}"

    @property
    def license_base(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def license_url(self):
        return f"{self.license_base}/v1/license/clearkey"

    def hosts_of_segments(self):
        return [host for host, path in self.requests if path.endswith(".m4s")]

    @web.middleware
    async def _answer(self, request, handler):
        cors = license_cors(request) if "/license/" in request.path else CORS
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=cors)
        self.requests.append((request.url.host, request.path_qs))
        try:
            response = await handler(request)
        except web.HTTPException as error:
            error.headers.update(cors)
            raise
        response.headers.update(cors)
        return response

    async def _media(self, request):
        if request.match_info["token"] != MEDIA_TOKEN:
            raise web.HTTPForbidden
        drm, file = DrmProfile(request.match_info["drm"]), request.match_info["file"]
        name, _, part = file.partition("/")
        if not part:
            return self._manifest(drm, *name.split("."))
        stored = self.presentation.rendition(name).file(drm)
        if part == "init.mp4":
            start, size = 0, stored.init_size
        else:
            index = int(part.removesuffix(".m4s")) - 1
            start = stored.init_size + stored.index_size + sum(stored.segment_sizes[:index])
            size = stored.segment_sizes[index]
        data = (self.folder / drm / f"{name}.mp4").read_bytes()[start : start + size]
        return web.Response(body=data, content_type="audio/mp4")

    def _manifest(self, drm, name, ending):
        steered = self.priority is not None
        if ending == "mpd":
            options = ManifestOptions(
                license_base=self.license_base, steering_uri=STEERING_DASH if steered else None
            )
            text = dash.mpd(self.presentation, drm, Tier(name), options)
            return web.Response(text=text, content_type="application/dash+xml")
        options = ManifestOptions(
            license_base=self.license_base, steering_uri=STEERING_HLS if steered else None
        )
        if name in list(Tier):
            text = hls.multivariant(self.presentation, drm, Tier(name), options)
        else:
            text = hls.media(self.presentation, drm, name, options)
        return web.Response(text=text, content_type="application/vnd.apple.mpegurl")

    async def _steer(self, request):
        host = "127.0.0.2"
        if request.match_info["kind"] == "dash":
            host = f"{host}:{self.port}"  # dash.js drops the port of the base, hls.js keeps it
        clone = {"BASE-ID": "base", "ID": "other", "URI-REPLACEMENT": {"HOST": host}}
        answer = {
            "VERSION": 1,
            "TTL": 1,
            "RELOAD-URI": str(request.url.with_query(None)),
            "PATHWAY-PRIORITY": self.priority,
            "PATHWAY-CLONES": [clone],
        }
        return web.json_response(answer)

    def _check(self, request):
        if request.headers.get("Authorization") != f"Bearer {LICENCE_TOKEN}":
            raise web.HTTPForbidden

    async def _license(self, request):
        self._check(request)
        asked = json.loads(await request.read())["kids"]
        wanted = [self._key(uuid.UUID(bytes=base64.urlsafe_b64decode(k + "=="))) for k in asked]
        uses = {(w.description.tier, w.description.scheme) for w in wanted}
        keys = [
            {"kty": "oct", "kid": _b64url(key.description.kid.bytes), "k": _b64url(key.key)}
            for key in self.keys
            if (key.description.tier, key.description.scheme) in uses  # of all periods
        ]
        return web.json_response({"keys": keys, "type": "temporary"})

    async def _raw(self, request):
        self._check(request)
        key = self._key(uuid.UUID(request.match_info["kid"]))
        return web.Response(body=key.key, content_type="application/octet-stream")

    def _key(self, kid):
        return next(key for key in self.keys if key.description.kid == kid)
