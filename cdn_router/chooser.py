"""Choosers: on which pathway a session starts, asked in process or over the network."""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from cdn_router.router import Router
from cdn_router.sessions import RoutedSession
from core import strict_json
from core.errors import InvalidInputError, ToolkitError
from core.grants import sign_choice
from core.model import Pathway, PathwayDecision, SessionContext

ASK_TIMEOUT_S = 0.3
"""How long a start may wait for another process; then the last good order is as good."""
MAX_ANSWER_SIZE = 16 * 1024
"""Bytes of a router's answer."""
MAX_REGIONS_KEPT = 64
"""Regions whose last good order is kept."""


class RouterChooser:
    """Asks the router of this process; implements `core.model.PathwayChooser`."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def choose(self, session: SessionContext) -> PathwayDecision:
        """Decide once per session where it starts, and remember it for the steering answers."""
        router = self._router
        order = router.order(session.session_id, session.region)
        with suppress(ToolkitError, OSError):  # without a store, steering knows no start: it copes
            routed = await router.sessions.begin(
                session.session_id,
                RoutedSession(order[0].id, session.region),
                now_s=router.clock(),
            )
            # sorted is stable: the start comes first, the others keep their order
            order = tuple(sorted(order, key=lambda p: p.id != routed.start))
        return PathwayDecision(_decision_id(session, router.knowledge.table.epoch), order)


class HttpChooser:
    """Asks a router over the network; a start never fails because the router does.

    Without an answer in time the region's last good order holds, and before the first answer the
    configured one. The answer may reorder the configured pathways, not add any.
    """

    def __init__(
        self,
        url: str,
        operator_secret: bytes,
        pathways: tuple[Pathway, ...],
        *,
        clock: Callable[[], float],
    ) -> None:
        assert pathways
        self._url, self._secret = f"{url.rstrip('/')}/v1/router/choose", operator_secret
        self._pathways, self._clock = pathways, clock
        self._last: OrderedDict[str, tuple[Pathway, ...]] = OrderedDict()
        self._client: ClientSession | None = None

    async def choose(self, session: SessionContext) -> PathwayDecision:
        """Every configured pathway, best first."""
        try:
            decision = self._read(await self._ask(session))
        except (ClientError, TimeoutError, OSError, ValueError, InvalidInputError):
            order = self._last.get(session.region, self._pathways)
            return PathwayDecision(_decision_id(session, -1), order)
        self._last[session.region] = decision.order
        self._last.move_to_end(session.region)
        if len(self._last) > MAX_REGIONS_KEPT:
            self._last.popitem(last=False)
        return decision

    async def aclose(self) -> None:
        """Give back connections."""
        if self._client is not None:
            await self._client.close()

    async def _ask(self, session: SessionContext) -> Any:
        if self._client is None:
            self._client = ClientSession(timeout=ClientTimeout(total=ASK_TIMEOUT_S))
        token = sign_choice(self._secret, now_s=int(self._clock()))
        body = {
            "sessionId": session.session_id,
            "region": session.region,
            "trackId": session.track_id,
        }
        headers = {"Authorization": f"Bearer {token}"}
        # no redirects: the token is for the router that was named, and for nobody else
        async with self._client.post(
            self._url, json=body, headers=headers, allow_redirects=False
        ) as answer:
            answer.raise_for_status()
            data = b""
            async for part in answer.content.iter_any():
                data += part
                if len(data) > MAX_ANSWER_SIZE:
                    break  # refused below
            return strict_json.read(data, max_size=MAX_ANSWER_SIZE, what="the router's answer")

    def _read(self, answer: Any) -> PathwayDecision:
        try:
            decision_id, names = str(answer["id"]), [str(p["id"]) for p in answer["pathways"]]
        except (TypeError, KeyError):
            raise ValueError("not a decision") from None
        by_id = {p.id: p for p in self._pathways}
        known = [by_id[name] for name in dict.fromkeys(names) if name in by_id]
        if not known:
            raise ValueError("not a decision about our pathways")
        rest = [p for p in self._pathways if p not in known]
        return PathwayDecision(decision_id, (*known, *rest))


class SinglePathway:
    """The choice of an operator with one pathway."""

    def __init__(self, pathway: Pathway) -> None:
        self._pathway = pathway

    async def choose(self, session: SessionContext) -> PathwayDecision:
        """The one pathway."""
        return PathwayDecision(_decision_id(session, -1), (self._pathway,))


def _decision_id(session: SessionContext, epoch: int) -> str:
    """Ties logs together; -1 is a decision without a router."""
    text = f"{epoch}~{session.session_id}~{session.region}".encode()
    return blake2b(text, digest_size=8, person=b"decision").hexdigest()
