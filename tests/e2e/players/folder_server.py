"""What `tonearm package` makes, behind a static server that also answers keys and licences."""

import base64
import contextlib
import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from tests.e2e.players.track_server import license_cors


@dataclass
class FolderServer:
    """*folder* at `/`, the key of each KID at `/key/{kid}`, and W3C licences at `/license`."""

    folder: Path
    keys: dict[uuid.UUID, bytes]
    requests: list[str] = field(default_factory=list)
    url: str = ""

    @contextlib.asynccontextmanager
    async def running(self):
        app = web.Application(middlewares=[self._answer])
        app.add_routes(
            [
                web.get("/key/{kid}", self._key),
                web.post("/license", self._license),
                web.static("/", self.folder),
            ]
        )
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    @web.middleware
    async def _answer(self, request, handler):
        if request.method == "OPTIONS":
            allow = {"Access-Control-Allow-Headers": "Content-Type, Range"}
            return web.Response(status=204, headers=license_cors(request) | allow)
        self.requests.append(request.path)
        response = await handler(request)
        response.headers.update(license_cors(request))
        return response

    async def _key(self, request):
        return web.Response(body=self.keys[uuid.UUID(request.match_info["kid"])])

    async def _license(self, request):
        kids = [
            base64.urlsafe_b64decode(k + "==") for k in json.loads(await request.read())["kids"]
        ]
        keys = [
            {"kty": "oct", "kid": _b64url(kid), "k": _b64url(self.keys[uuid.UUID(bytes=kid)])}
            for kid in kids
        ]
        return web.json_response({"keys": keys, "type": "temporary"})


def _b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
