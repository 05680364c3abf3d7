"""A router over real sockets, and two addresses of this machine that play CDNs."""

import asyncio
import io
import socket
import time
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import ClientSession, web

from cdn_router.app import setup
from cdn_router.router import Limits, Router
from core.grants import PlaybackGrant, UrlGrant, UrlSigner, sign_playback
from core.model import Pathway, Tier
from core.state.memory import MemoryState
from core.telemetry import Metrics, open_log
from core.web import create_app

HOSTS = ("127.0.0.1", "127.0.0.2")
PLAYBACK, OPERATOR = b"p" * 32, b"o" * 32
SIGNER = UrlSigner({"k1": b"u" * 32}, "k1")
QUICK = Limits(probe_interval_s=0.1, epoch_s=0.1)
IDLE = Limits(probe_interval_s=3600, epoch_s=0.05)
# nothing listens there: a probe of each fails, and such a round says nothing
PATHWAYS = tuple(Pathway(f"cdn-{x}", f"http://127.1.0.{n}:1") for n, x in enumerate("abc", 1))


class Service:
    """A running router, and what a player of it holds."""

    def __init__(self, router, base, client):
        self.router, self.base, self.client = router, base, client

    def token(self, session_id="s1", *, region="ww", ttl_s=600):
        expires_s = int(self.router.clock()) + ttl_s
        return SIGNER.sign(UrlGrant("track", Tier.NORMAL, region, session_id, expires_s))

    def playback(self, session_id="s1"):
        now_s = int(self.router.clock())
        grant = PlaybackGrant("u", "d", session_id, "track", Tier.NORMAL, now_s, now_s + 120)
        return {"Authorization": f"Bearer {sign_playback(grant, PLAYBACK)}"}

    async def get(self, path, **given):
        async with self.client.get(self.base + path, **given) as answer:
            await answer.read()
            return answer

    async def post(self, path, **given):
        async with self.client.post(self.base + path, **given) as answer:
            await answer.read()
            return answer

    async def steer(self, token, kind="hls", **given):
        answer = await self.get(f"/{token}/steering/{kind}", **given)
        assert answer.status == 200
        return await answer.json(content_type=None)


@pytest.fixture
async def run_router():
    """A function that starts a router and returns its `Service`."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(ClientSession())

        async def run(*, pathways=PATHWAYS, limits=IDLE, state=None, clock=time.time, region="ww"):
            router = Router(
                pathways=pathways,
                region=region,
                state=MemoryState() if state is None else state,
                url_signer=SIGNER,
                playback_secret=PLAYBACK,
                operator_secret=OPERATOR,
                public_url="http://router.example",
                clock=clock,
                limits=limits,
            )
            app = create_app(Metrics.create(), open_log("test", io.StringIO()))
            setup(app, router)
            base = await stack.enter_async_context(serving(app))
            return Service(router, base, client)

        yield run


@asynccontextmanager
async def serving(app):
    """The base URL of *app* on a free port."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def until():
    """Wait for a condition; a test that waits in vain fails."""

    async def wait(condition, seconds=10.0):
        deadline_s = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline_s, "it did not happen in time"
            await asyncio.sleep(0.02)

    return wait


@pytest.fixture
def shared_port():
    """A port that is free on both loopback addresses."""
    for _ in range(50):
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind((HOSTS[0], 0))
                other.bind((HOSTS[1], one.getsockname()[1]))
            except OSError:
                continue
            return one.getsockname()[1]
    pytest.skip("127.0.0.2 is not an address of this machine")
