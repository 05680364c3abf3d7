"""A real key server on a free port, in a thread with a loop of its own."""

import asyncio
import contextlib
import io
import threading

from aiohttp import web

from core.telemetry import Metrics, open_log
from core.web import create_app
from keyserver.app import KeyServer, setup

NOW = 1_800_000_000
OPERATOR = b"o" * 32


@contextlib.contextmanager
def serving_keys(vault):
    """Its address, while it hands out what *vault* has."""
    app = create_app(Metrics.create(), open_log("test", io.StringIO()))
    server = KeyServer(
        vault=vault, playback_secret=b"p" * 32, operator_secret=OPERATOR, clock=lambda: NOW
    )
    setup(app, server)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(10)

    runner = web.AppRunner(app)
    try:
        run(runner.setup())
        run(web.TCPSite(runner, "127.0.0.1", 0).start())
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        run(runner.cleanup())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
