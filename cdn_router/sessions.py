"""Where each session started and what it was told since: in the state store, for some hours."""

import json
from dataclasses import dataclass, replace
from typing import Self

from core.state.protocol import StateStore

SESSION_TTL_S = 6 * 3600
"""Longer than a session: an order is worth nothing once its track has ended."""


@dataclass(frozen=True, slots=True)
class RoutedSession:
    """What the router remembers of a session; no user data.

    Attributes:
        start: Id of the pathway its manifest came from.
        region: Of the listener, as decided by the origin.
        steered: Whether a steering answer gave it the other pathways, too.
    """

    start: str
    region: str
    steered: bool = False

    def encode(self) -> bytes:
        """For the state store; the same session gives the same bytes."""
        return json.dumps([self.start, self.region, self.steered]).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """What `encode` wrote."""
        start, region, steered = json.loads(data)
        return cls(start, region, steered)


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions of a router."""

    state: StateStore

    async def begin(
        self, session_id: str, session: RoutedSession, *, now_s: float
    ) -> RoutedSession:
        """Remember *session*, or return what was remembered first."""
        present = await self.state.put_if_absent(
            _key(session_id), session.encode(), ttl_s=SESSION_TTL_S, now_s=now_s
        )
        return session if present is None else RoutedSession.decode(present)

    async def find(self, session_id: str, *, now_s: float) -> RoutedSession | None:
        """The session, or None if it is not known or long over."""
        data = await self.state.get(_key(session_id), now_s=now_s)
        return None if data is None else RoutedSession.decode(data)

    async def mark_steered(self, session_id: str, session: RoutedSession, *, now_s: float) -> None:
        """Remember that the session now knows every pathway; once is enough."""
        if not session.steered:
            await self.state.compare_and_put(
                _key(session_id), session.encode(), replace(session, steered=True).encode(),
                ttl_s=SESSION_TTL_S, now_s=now_s,
            )  # fmt: skip


def _key(session_id: str) -> str:
    return f"route/{session_id}"
