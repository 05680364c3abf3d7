"""What a router is made of: handed in by whoever composes it, never looked up."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from aiohttp import web

from cdn_router.knowledge import Knowledge
from cdn_router.scoring import EPOCH_S, MAX_PATHWAYS, Table
from cdn_router.sessions import Sessions
from cdn_router.steering import ALARM_TTL_S, NORMAL_TTL_S, check_pathways
from core.errors import InvalidInputError
from core.grants import UrlSigner
from core.model import Pathway
from core.state.protocol import StateStore

PROBE_INTERVAL_S = 2.0
"""A pathway that fails is left after three probes and one epoch: within 15 s, at 3 s a timeout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How often things happen.

    Attributes:
        probe_interval_s: Between two probes of a pathway, by all processes of this region.
        epoch_s: Orders change at most so often.
        ttl_s: How long players keep a steering answer.
        alarm_ttl_s: The same while a pathway of their region is in trouble.
    """

    probe_interval_s: float = PROBE_INTERVAL_S
    epoch_s: float = EPOCH_S
    ttl_s: int = NORMAL_TTL_S
    alarm_ttl_s: int = ALARM_TTL_S


@dataclass(frozen=True, kw_only=True)
class Router:
    """The router's collaborators and choices; secrets stay out of `repr`.

    Attributes:
        pathways: In the operator's order of preference, which decides until something is measured.
        region: What this router's own probes stand for.
        public_url: Where players reach this router: the base of every RELOAD-URI.
        clock: Seconds since the epoch.

    Raises:
        InvalidInputError: Players could not be steered between these pathways.
    """

    pathways: tuple[Pathway, ...]
    region: str
    state: StateStore
    url_signer: UrlSigner
    playback_secret: bytes = field(repr=False)
    operator_secret: bytes = field(repr=False)
    public_url: str
    clock: Callable[[], float]
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if not 0 < len(self.pathways) <= MAX_PATHWAYS:
            raise InvalidInputError(f"{len(self.pathways)} pathways: 1 to {MAX_PATHWAYS} can be")
        check_pathways(self.pathways)

    @cached_property
    def knowledge(self) -> Knowledge:
        """What is believed and decided."""
        ids = tuple(p.id for p in self.pathways)
        return Knowledge(Table(ids, self.region, self.limits.epoch_s), self.state)

    @cached_property
    def sessions(self) -> Sessions:
        """What sessions were told."""
        return Sessions(self.state)

    def order(self, session_id: str, region: str) -> tuple[Pathway, ...]:
        """Every pathway, best first; the same for a session all through an epoch."""
        by_id = {p.id: p for p in self.pathways}
        return tuple(by_id[i] for i in self.knowledge.table.order_for(session_id, region))


ROUTER = web.AppKey("router", Router)
