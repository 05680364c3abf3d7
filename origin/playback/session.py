"""A playback session as a value: what it knows, and what a heartbeat changes; pure."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from core.grants import URL_TTL_S, PlaybackGrant, UrlGrant
from core.model import DrmProfile, Pathway, Tier

HEARTBEAT_S = 30
"""How often players report."""
COUNTED_AFTER_MS = 30_000
"""Heard for so long, or for half of a shorter track, a play counts."""
JITTER_MS = 5_000
"""How much more than the time between two reports may have been heard between them."""
URL_EPOCH_S = URL_TTL_S // 3
"""A heartbeat hands out a new URL token so often; so each has 10 to 15 minutes left."""


@dataclass(frozen=True, slots=True)
class Beat:
    """A report of the player: its number, from 0, and where it plays."""

    seq: int
    position_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One listener plays one track on one device.

    Attributes:
        tier: The highest tier that plan, wish and track allow.
        pathways: As decided at the start, best first.
        restoring_s: When the track's tail will be back from cold storage; None if it is there.
        seq: Of the newest report; -1 before the first.
        listened_ms: Time heard: seeks forward do not add to it.
        counted: Whether the play has been counted.
    """

    session_id: str
    subject: str
    device_id: str
    track_id: str
    generation: str
    tier: Tier
    region: str
    drm: DrmProfile
    duration_ms: int
    pathways: tuple[Pathway, ...]
    started_s: int
    restoring_s: int | None = None
    seq: int = -1
    position_ms: int = 0
    listened_ms: int = 0
    heard_s: float = 0.0
    counted: bool = False
    ended: bool = False

    def accepts(self, grant: PlaybackGrant) -> bool:
        """Whether *grant* is this session's."""
        mine = (self.session_id, self.subject, self.device_id, self.track_id)
        return mine == (grant.session_id, grant.subject, grant.device_id, grant.track_id)

    def advance(self, beats: Sequence[Beat], *, now_s: float, end: bool = False) -> "Session":
        """The session after *beats*; itself if none of them is newer than what is known.

        Between two reports no more can have been heard than time has passed. An *end* is heeded
        whatever its number: players send it once, and in a hurry.
        """
        news = [beat for beat in beats if beat.seq > self.seq or end]
        if self.ended or not news:
            return self
        positions = [self.position_ms, *(beat.position_ms for beat in news)]
        forward_ms = sum(max(0, after - before) for before, after in pairwise(positions))
        elapsed_ms = int((now_s - (self.heard_s or self.started_s)) * 1000) + JITTER_MS
        listened_ms = self.listened_ms + max(0, min(forward_ms, elapsed_ms))
        enough_ms = min(COUNTED_AFTER_MS, self.duration_ms // 2)
        return replace(
            self,
            seq=max(self.seq, news[-1].seq),
            position_ms=news[-1].position_ms,
            listened_ms=listened_ms,
            heard_s=now_s,
            counted=self.counted or listened_ms >= enough_ms,
            ended=end,
        )

    def url_epoch(self, now_s: float) -> int:
        """0 at the start; a URL token of this epoch is the same whoever asks, and how often."""
        return max(0, int(now_s - self.started_s)) // URL_EPOCH_S

    def url_grant(self, epoch: int) -> UrlGrant:
        """What the URL token of *epoch* says."""
        expires_s = self.started_s + URL_TTL_S + epoch * URL_EPOCH_S
        return UrlGrant(self.track_id, self.tier, self.region, self.session_id, expires_s)

    def playback_grant(self, issued_s: int, ttl_s: int) -> PlaybackGrant:
        """What a playback token of this session says."""
        return PlaybackGrant(
            self.subject,
            self.device_id,
            self.session_id,
            self.track_id,
            self.tier,
            issued_s,
            issued_s + ttl_s,
        )

    def encode(self) -> bytes:
        """For a state store; no token and no secret is in it."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Session":
        """The inverse of `encode`."""
        fields: dict[str, Any] = json.loads(data)
        fields["tier"] = Tier(fields["tier"])
        fields["drm"] = DrmProfile(fields["drm"])
        fields["pathways"] = tuple(Pathway(**p) for p in fields["pathways"])
        return cls(**fields)
