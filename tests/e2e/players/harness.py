"""Drive shaka-player, hls.js and dash.js in Chromium, with bounded waits and readable failures.

A page is served by `player_routes`, which any aiohttp application may mount; it loads players
from a `node_modules` folder. `Player` is the Python side: load, play, wait, read, seek, meter.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from playwright.async_api import ConsoleMessage, Error, Page, Response

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "origin" / "demo" / "page"
PACKAGES = ("shaka-player", "hls.js", "dashjs")

CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    # several pages in a row in one browser: none of them is a background tab
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
)

START_S = 20.0
"""How long a first sound may take on a busy machine."""

POLL_S = 0.1
ATTEMPTS = 4
"""To hear what is heard on a machine that keeps up."""
LISTEN_S = 1.0
"""How long after a refusal nothing may play."""
NOTHING_S = 0.2
"""Shaka steps over the first 0.1 s when it waits for a key: no sound comes out."""


class PlayerError(AssertionError):
    """The player did not do what was waited for; the message holds its state and log."""


@dataclass(frozen=True, slots=True)
class State:
    """What a player shows: times in seconds, `buffered` as (start, end) pairs."""

    time: float
    duration: float | None
    buffered: list[tuple[float, float]]
    paused: bool
    ended: bool
    ready: int
    rung: str | None
    rungs: list[str]
    keySystem: str | None  # noqa: N815 - the spelling of the page
    errors: list[str]


@dataclass(frozen=True, slots=True)
class Level:
    """Sound that came out since the last reading; full scale is 1.

    Attributes:
        rms: Of the samples that sounded, of all channels together.
        frames: Samples that sounded.
        silent: Samples in blocks of digital silence: the player waited.
    """

    rms: float
    peak: float
    frames: int
    silent: int

    @property
    def rms_dbfs(self) -> float:
        return 20 * math.log10(self.rms) if self.rms else -math.inf


def player_routes(node_modules: Path) -> list[web.AbstractRouteDef]:
    """Routes of the page: `/harness/index.html` and the players beside it."""
    return [
        web.static("/harness/players", node_modules),
        web.static("/harness/page", PAGE),
        web.static("/harness", HERE),
    ]


class Player:
    """A page with one audio element."""

    def __init__(self, page: Page, url: str) -> None:
        """*url* is where `player_routes` are mounted, with the scheme and port."""
        self.page = page
        self.url = f"{url}/harness/index.html"
        self.log: list[str] = []
        self.warnings: list[str] = []
        self.requests: list[str] = []
        self.answers: list[tuple[int, str]] = []
        page.on("console", self._said)
        page.on("crash", lambda _: self.log.append("the page crashed"))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("response", self._answered)

    async def load(
        self,
        player: str,
        manifest: str,
        *,
        token: str | None = None,
        license_url: str | None = None,
        pathways: dict[str, str] | None = None,
        warns: bool = False,
    ) -> None:
        """Open a manifest and wait until the player has read it.

        Args:
            player: ``shaka``, ``hls`` or ``dash``.
            manifest: Its URL.
            token: Sent as `Authorization: Bearer` with licence and key requests.
            license_url: Only hls.js needs it; the others read it in the manifest.
            pathways: Id to base URL; applies the fixes in steering.js, and keeps the buffer short
                so that a change of pathway shows soon.
            warns: Let the player say what it thinks of the manifest; read it in `warnings`.
        """
        await self.page.goto(self.url)
        await self.page.wait_for_selector("body[data-ready]", state="attached")
        spec = {
            "player": player,
            "url": manifest,
            "token": token,
            "license": license_url,
            "warns": warns,
            "pathways": pathways and [{"id": i, "baseUrl": u} for i, u in pathways.items()],
        }
        try:
            await asyncio.wait_for(self.call("load", spec), START_S)
        except (Error, TimeoutError) as error:
            raise PlayerError(
                f"{player} cannot load {manifest}: {error}\n{self._tail()}"
            ) from error

    async def play(self, *, rate: float = 1.0, timeout_s: float = START_S) -> State:
        """Start, and wait until the clock runs."""
        await self.call("rate", rate)
        before = (await self.state()).time
        await self.call("play")
        return await self.until(lambda s: s.time > before + 0.3, "plays", timeout_s)

    async def seek(self, seconds: float) -> State:
        """Jump, and wait until the clock runs on from there."""
        await self.call("seek", seconds)
        return await self.until(lambda s: s.time > seconds + 0.3, f"plays from {seconds} s")

    async def until(
        self, done: Callable[[State], bool], what: str, timeout_s: float = START_S
    ) -> State:
        """The first state that is *done*.

        Raises:
            PlayerError: It took longer, or the player reported an error before.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            state = await self.state()
            if done(state):
                return state
            if state.errors or time.monotonic() > deadline:
                raise PlayerError(f"not seen in {timeout_s} s: {what}\n{state}\n{self._tail()}")
            await asyncio.sleep(POLL_S)

    async def ended(self, timeout_s: float) -> State:
        """Wait for the end of the track."""
        return await self.until(lambda s: s.ended, "reaches the end", timeout_s)

    async def state(self) -> State:
        return State(**await self.call("state"))

    async def select(self, rung: str) -> None:
        """Play *rung* from now on, and adapt no more."""
        await self.call("select", rung)

    async def meter(self) -> None:
        """Measure what is heard from now on; once per `load`."""
        await self.call("meter")

    async def level(self, seconds: float) -> Level:
        """What is heard in the next *seconds*."""
        await self.call("level")
        await asyncio.sleep(seconds)
        return Level(**await self.call("level"))

    async def sounds(self, level_dbfs: float, *, within_db: float, seconds: float) -> None:
        """Hear that level.

        A player that a busy machine starves stutters, so what is wrong is heard again; a wrong
        key or a wrong codec stays wrong.

        Raises:
            PlayerError: It was never heard; the message holds what was.
        """
        heard = []
        for _ in range(ATTEMPTS):
            heard.append(await self.level(seconds))
            if abs(heard[-1].rms_dbfs - level_dbfs) <= within_db:
                return
        raise PlayerError(f"not {level_dbfs:.2f} dBFS: {heard}\n{await self.state()}")

    async def call(self, name: str, *arguments: Any) -> Any:
        """Call `harness.<name>` in the page."""
        return await self.page.evaluate(
            "([name, args]) => harness[name](...args)", [name, list(arguments)]
        )

    async def refused(self, part: str, player: str, manifest: str, **words: Any) -> int:
        """Load, press play, and wait for a 4xx from a URL with *part* in it; its status.

        Args:
            part: Of the URL.
            player: As for `load`, which may fail: Shaka wants the keys of HLS by then.
            manifest: As for `load`.
            words: As for `load`.

        Raises:
            PlayerError: It did not come, or something played all the same.
        """
        with contextlib.suppress(PlayerError):
            await self.load(player, manifest, **words)
        await self.call("play")
        deadline = time.monotonic() + START_S
        while not (seen := [s for s, url in self.answers if 400 <= s < 500 and part in url]):
            if time.monotonic() > deadline:
                raise PlayerError(f"no refusal from {part}\n{await self.state()}\n{self._tail()}")
            await asyncio.sleep(POLL_S)
        await asyncio.sleep(LISTEN_S)
        state = await self.state()
        if state.time >= NOTHING_S:
            raise PlayerError(f"{state.time} s were played after a refusal\n{self._tail()}")
        return seen[0]

    def _answered(self, response: Response) -> None:
        if response.request.method == "OPTIONS":
            return
        self.answers.append((response.status, response.url))
        if response.status >= 400:
            self.log.append(f"{response.status} {response.url}")

    def _said(self, message: ConsoleMessage) -> None:
        self.log.append(message.text[:300])
        if message.type in {"warning", "error", "assert"}:
            self.warnings.append(message.text[:300])

    def _tail(self) -> str:
        return "\n".join(
            ["last log lines:", *self.log[-15:], "last requests:", *self.requests[-8:]]
        )
