"""`/v1/play/*`: what to play and until when, and that it was heard.

Theory of operation. A session is a value in the state store. No process owns it and no token is
stored with it: tokens follow from it, so each replica gives the same answer to the same request.

    start ─► session of seq -1 ─► heartbeats ─► end, or silence for SESSION_IDLE_S

`start` checks the user first, then reads key and wish, and does the rest once for each user and
Idempotency-Key: standing of the track, region, description, scheme and tier, the router's order of
pathways (waiting `CHOOSER_TIMEOUT_S` at most), and whether the tail is in an archive. Then the
session is stored, and after it the result of the key. A process that dies in between leaves a
session that nobody has heard of, which expires, and a key that is blocked for a while and then
free. A replay loads the session and says its tokens of the start again, so it is of use only while
those live.

A heartbeat or an end shows a playback token, which may have expired up to `GRACE_S` ago, and
reports how far the player is. The session is read, advanced by a pure function
(`session.Session.advance`) and put back if it still is what was read; if not, another report of the
same session came in between, and this one is tried again on top of it, `UPDATE_ATTEMPTS` times. So
of reports at the same time none is lost and none counts twice: what is not newer than the session
changes nothing, and is acknowledged as a duplicate. A play counts in the one report whose write
turned `counted` on; a process that dies right after that write has not told anybody.

After a track's withdrawal no session of it starts; a heartbeat is refused at most `TRACK_TTL_S`
later, though what it reported is kept; an `end` is taken all the same. Heartbeats renew the URL
token by epochs of the session, and the playback token once half of its life is over, so a player
that reports in time runs out of neither before `SESSION_MAX_S`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from core.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RestoringError,
    UnauthorizedError,
    UnavailableError,
)
from core.grants import (
    PLAYBACK_TTL_S,
    URL_TTL_S,
    PlaybackGrant,
    User,
    open_playback,
    open_user,
    sign_playback,
)
from core.ids import EVERYWHERE
from core.model import (
    DrmProfile,
    Loudness,
    PathwayDecision,
    Presentation,
    SessionContext,
    Tier,
)
from core.web import NO_STORE, bearer, read_body
from origin.dependencies import Origin
from origin.media.library import Library
from origin.playback import requests as playback_requests
from origin.playback.idempotency import once, parse_key
from origin.playback.requests import Report, StartRequest
from origin.playback.session import HEARTBEAT_S, Session
from packager.manifest.options import listed
from packager.manifest.places import MediaPath, dash_name, hls_name

GRACE_S = URL_TTL_S
"""How long an expired playback token may still be renewed: browsers throttle paused pages."""
SESSION_IDLE_S = PLAYBACK_TTL_S + GRACE_S
"""A session that says nothing for so long is over; what was heard has been counted."""
SESSION_MAX_S = 12 * 3600
"""A session is not renewed for longer: the plan may have changed."""
CHOOSER_TIMEOUT_S = 2.0
"""How long the router may take to decide."""
UPDATE_ATTEMPTS = 8
"""How often a heartbeat is tried again when another of its session comes in between."""
LICENSE_PATH = "/v1/license/clearkey"

_PREFERENCE = (DrmProfile.CBCS, DrmProfile.CENC, DrmProfile.CLEAR)


class RegionError(ForbiddenError):
    """The rights to the track do not reach where the listener is."""

    slug = "not-in-region"


class PlanError(ForbiddenError):
    """The listener's plan has no rendition of the track."""

    slug = "plan-too-low"


class Playback:
    """The handlers of the playback API.

    Args:
        origin: Collaborators.
        library: What may be served.
        on_counted: Told each play that counts, once.
    """

    def __init__(
        self, origin: Origin, library: Library, on_counted: Callable[[Session], None]
    ) -> None:
        self._origin = origin
        self._library = library
        self._on_counted = on_counted

    async def start(self, request: web.Request) -> web.Response:
        """`POST /v1/play/start`."""
        origin = self._origin
        user = open_user(bearer(request), origin.user_secret, now_s=origin.clock())
        key = parse_key(request.headers.get("Idempotency-Key", ""))
        wish = playback_requests.parse_start(await read_body(request))

        async def act() -> str:
            session = await self._begin(user, wish)
            await self._put_new(session)
            return session.session_id

        session_id = await once(
            origin.state,
            scope=user.subject,
            key=key,
            request=wish.canonical(),
            # as long as its answer's licence token lives: a later replay would be of no use
            ttl_s=PLAYBACK_TTL_S,
            clock=origin.clock,
            act=act,
        )
        # tokens are not stored: the session says the same ones again
        session, _ = await self._load(session_id)
        described = await self._library.describe(session.track_id, session.generation)
        return _json(self._start_answer(session, described.presentation))

    async def heartbeat(self, request: web.Request) -> web.Response:
        """`POST /v1/play/heartbeat`."""
        grant, report = await self._report(request)
        session, fresh = await self._advance(grant, report, end=False)
        await self._library.check_standing(session.track_id)
        now_s = self._origin.clock()
        answer: dict[str, Any] = {
            "sessionId": session.session_id,
            "acknowledged": session.seq,
            "duplicate": not fresh,
            "counted": session.counted,
            "heartbeatS": HEARTBEAT_S,
        }
        if session.url_epoch(now_s):
            answer |= self._urls(session, session.url_epoch(now_s))
        if grant.expires_s - now_s < PLAYBACK_TTL_S / 2:
            answer["license"] = self._license(session, int(now_s))
        return _json(answer)

    async def end(self, request: web.Request) -> web.Response:
        """`POST /v1/play/end`."""
        grant, report = await self._report(request)
        session, fresh = await self._advance(grant, report, end=True)
        return _json(
            {
                "sessionId": session.session_id,
                "acknowledged": session.seq,
                "duplicate": not fresh,
                "positionMs": session.position_ms,
                "listenedMs": session.listened_ms,
                "counted": session.counted,
            }
        )

    async def _begin(self, user: User, wish: StartRequest) -> Session:
        origin = self._origin
        track = await self._library.published(wish.track_id)
        region = _region(track.entry.regions, user.region)
        presentation = (await self._library.described_as_current(track)).presentation
        drm = _profile(presentation, wish.scheme)
        tier = _tier(presentation, drm, user.tier, wish.hint)
        session_id = origin.new_id()
        # the listener's region, not that of the rights: most tracks may be heard everywhere
        decision = await self._choose(SessionContext(session_id, user.region, wish.track_id))
        return Session(
            session_id=session_id,
            subject=user.subject,
            device_id=wish.device_id,
            track_id=wish.track_id,
            generation=presentation.generation,
            tier=tier,
            region=region,
            drm=drm,
            duration_ms=presentation.timing.samples * 1000 // presentation.timing.timescale,
            pathways=decision.order,
            started_s=int(origin.clock()),
            restoring_s=await self._restoring(presentation, drm, tier),
        )

    async def _choose(self, context: SessionContext) -> PathwayDecision:
        try:
            async with asyncio.timeout(CHOOSER_TIMEOUT_S):
                return await self._origin.chooser.choose(context)
        except TimeoutError:
            raise UnavailableError("no pathway could be chosen in time", retry_after_s=1) from None

    async def _restoring(self, p: Presentation, drm: DrmProfile, tier: Tier) -> int | None:
        """Seconds until what will be played is back from cold storage; None if it is here."""
        files = [f for r in p.renditions if r.tier is tier and (f := r.file(drm))]
        try:
            async with self._library.promised(p, files[0]):
                await self._origin.store.head(files[0].key)
        except RestoringError as error:
            return error.retry_after_s
        except UnavailableError:
            pass  # edges may hold it all the same: an outage of the store must not stop starts
        return None

    async def _report(self, request: web.Request) -> tuple[PlaybackGrant, Report]:
        grant = open_playback(
            bearer(request),
            self._origin.playback_secret,
            now_s=self._origin.clock(),
            grace_s=GRACE_S,
        )
        report = playback_requests.parse_report(await read_body(request), request.content_type)
        if report.session_id != grant.session_id:
            raise _foreign()
        return grant, report

    async def _advance(
        self, grant: PlaybackGrant, report: Report, *, end: bool
    ) -> tuple[Session, bool]:
        """The session after the report, and whether the report was news."""
        for _ in range(UPDATE_ATTEMPTS):
            session, stored = await self._load(grant.session_id)
            now_s = self._origin.clock()
            if not session.accepts(grant):
                raise _foreign()
            if session.ended and not end:
                raise ConflictError("this session has ended", hint="start again at /v1/play/start")
            if now_s - session.started_s >= SESSION_MAX_S:
                raise _over()
            after = session.advance(report.beats, now_s=now_s, end=end)
            if after == session:
                return session, False
            if await self._origin.state.compare_and_put(
                _key(session.session_id), stored, after.encode(), ttl_s=SESSION_IDLE_S, now_s=now_s
            ):
                if after.counted and not session.counted:
                    self._on_counted(after)
                return after, True
        raise UnavailableError("too many reports of one session at a time", retry_after_s=1)

    async def _put_new(self, session: Session) -> None:
        await self._origin.state.put(
            _key(session.session_id),
            session.encode(),
            ttl_s=SESSION_IDLE_S,
            now_s=self._origin.clock(),
        )

    async def _load(self, session_id: str) -> tuple[Session, bytes]:
        stored = await self._origin.state.get(_key(session_id), now_s=self._origin.clock())
        if stored is None:
            raise _over()
        return Session.decode(stored), stored

    def _start_answer(self, session: Session, p: Presentation) -> dict[str, Any]:
        eta_s = session.restoring_s
        restoring = {"state": "restoring", "etaSeconds": eta_s}
        return {
            "sessionId": session.session_id,
            **self._urls(session, epoch=0),
            "license": self._license(session, session.started_s),
            "heartbeatS": HEARTBEAT_S,
            "availability": {"state": "ready"} if eta_s is None else restoring,
            "pathways": [{"id": w.id, "baseUrl": w.base_url} for w in session.pathways],
            "gapless": {r.name: asdict(r.timing) for r, _ in listed(p, session.drm, session.tier)},
            "loudness": {"track": _loudness(p.loudness), "album": _loudness(p.album_loudness)},
        }

    def _urls(self, session: Session, epoch: int) -> dict[str, Any]:
        grant = session.url_grant(epoch)
        token = self._origin.url_signer.sign(grant)
        hls, dash = (
            session.pathways[0].base_url
            + MediaPath(
                token, session.track_id, session.generation, session.region, session.drm, file
            ).url
            for file in (hls_name(session.tier), dash_name(session.tier))
        )
        return {
            "manifests": {"hls": hls, "dash": dash},
            "manifestUrl": hls,
            "token": token,
            "expiresAt": _time(grant.expires_s),
        }

    def _license(self, session: Session, issued_s: int) -> dict[str, Any]:
        grant = session.playback_grant(issued_s, PLAYBACK_TTL_S)
        # manifests mean the same: without a base of its own, the key server is on every pathway
        base = self._origin.license_base or session.pathways[0].base_url
        return {
            "clearkey": {"url": base + LICENSE_PATH},
            "token": sign_playback(grant, self._origin.playback_secret),
            "expiresAt": _time(grant.expires_s),
        }


def _region(regions: tuple[str, ...], listener: str) -> str:
    """The region of the URLs: one for all if the track may be heard everywhere."""
    if EVERYWHERE in regions:
        return EVERYWHERE
    if listener not in regions:
        raise RegionError("this track is not licensed where you are")
    return listener


def _profile(p: Presentation, wish: DrmProfile | None) -> DrmProfile:
    profiles = {f.drm for r in p.renditions for f in r.files}
    if wish is not None and wish not in profiles:
        raise NotFoundError(
            f"this track is not published as {wish}", hint=f"it is as {', '.join(sorted(profiles))}"
        )
    return wish or next(drm for drm in _PREFERENCE if drm in profiles)


def _tier(p: Presentation, drm: DrmProfile, plan: Tier, hint: Tier | None) -> Tier:
    """The best tier that exists within plan and wish."""
    ceiling = plan if hint is None else min(plan, hint, key=lambda tier: tier.rank)
    tiers = [r.tier for r in p.renditions if r.file(drm) and ceiling.includes(r.tier)]
    if not tiers:
        raise PlanError(f"this track has no rendition of tier {ceiling} or below")
    return max(tiers, key=lambda tier: tier.rank)


def _loudness(measured: Loudness | None) -> dict[str, float | None] | None:
    """What players need to make tracks, or albums, equally loud."""
    if measured is None:
        return None
    return {
        "integratedLufs": measured.integrated_lufs,
        "truePeakDbtp": measured.true_peak_dbtp,
        "rangeLu": measured.range_lu,
    }


def _key(session_id: str) -> str:
    return f"play/{session_id}"


def _over() -> NotFoundError:
    return NotFoundError("this session is over", hint="start again at /v1/play/start")


def _foreign() -> UnauthorizedError:
    return UnauthorizedError("the token is not of this session", hint="send the session's token")


def _time(at_s: int) -> str:
    """RFC 3339, whole seconds, UTC."""
    return datetime.fromtimestamp(at_s, UTC).isoformat().replace("+00:00", "Z")


def _json(answer: dict[str, Any]) -> web.Response:
    return web.json_response(answer, headers={"Cache-Control": NO_STORE})
