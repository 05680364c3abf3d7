"""What a caller may fetch, until when: URL tokens, playback tokens and user tokens.

Pure: time is an argument and secrets are too. A *URL token* is the first path segment of a
player's media URLs; it opens one track and is short, because it stands in every URL. A
*playback token* is a JWT for the key server and for heartbeats, bound to device, session and
track. A *user token* is the operator's own JWT.

Every failure is a `SignatureError` (media) or `UnauthorizedError` (API) in the same words,
whatever was wrong, but for expiry, which clients must be able to tell apart.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core import ids
from core.errors import InvalidInputError, SignatureError, UnauthorizedError
from core.model import Tier
from core.strict_json import read_object

URL_TTL_S = 15 * 60
"""Life of a URL token: a long track plus a pause; heartbeats renew it."""
PLAYBACK_TTL_S = 180
"""Longest life of a playback token."""
CLOCK_SKEW_S = 30
"""How far ahead another server's clock may be; it never extends a life."""
MAX_TOKEN_LENGTH = 2048
"""Characters of a token before it is not even looked at."""
DEVICES = 5
"""How many devices a listener may have whose token says nothing about it."""
MAX_DEVICES = 100
"""More than that is no listener."""

_MAC_SIZE = 16  # 128 bits: forging takes 2^127 tries at a server that counts them
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class TokenExpiredError(SignatureError):
    """The token was ours and is too old."""

    slug = "token-expired"


@dataclass(frozen=True, slots=True)
class UrlGrant:
    """One track, up to one tier, for one session."""

    track_id: str
    tier: Tier
    region: str
    session_id: str
    expires_s: int


@dataclass(frozen=True, slots=True)
class UrlSigner:
    """Signs and opens URL tokens; two secrets may be active while one is rotated out.

    Attributes:
        secrets: By key id; kept out of `repr`.
        active: The key id that signs.
    """

    secrets: Mapping[str, bytes] = field(repr=False)
    active: str

    def __post_init__(self) -> None:
        assert self.active in self.secrets

    def sign(self, grant: UrlGrant) -> str:
        """A token of URL-safe characters; the same grant gives the same token.

        Raises:
            InvalidInputError: A field of *grant* would not survive the token.
        """
        fields = (
            ids.SIGNING_KEY_ID.check(self.active),
            str(grant.expires_s),
            ids.TRACK_ID.check(grant.track_id),
            grant.tier.value,
            ids.REGION.check(grant.region),
            ids.SESSION_ID.check(grant.session_id),
        )
        payload = "~".join(fields).encode()
        mac = self._mac(self.secrets[self.active], payload)
        return f"{ids.write_base64url(payload)}.{ids.write_base64url(mac)}"

    def open(self, token: str, *, now_s: float) -> UrlGrant:
        """The grant in *token*.

        Raises:
            TokenExpiredError: It was ours, but its time is over.
            SignatureError: Anything else.
        """
        try:
            encoded, mac = token[:MAX_TOKEN_LENGTH].split(".")
            payload = ids.read_base64url(encoded)
            kid, expires, track_id, tier, region, session_id = payload.decode("ascii").split("~")
            given = ids.read_base64url(mac)
        except (ValueError, InvalidInputError):
            raise signature_error() from None
        # an unknown key id costs the same as a wrong signature
        expected = self._mac(self.secrets.get(kid, b"\0" * 32), payload)
        if not hmac.compare_digest(given, expected) or kid not in self.secrets:
            raise signature_error()
        grant = UrlGrant(track_id, Tier(tier), region, session_id, int(expires))
        if now_s >= grant.expires_s:
            raise TokenExpiredError(
                "this URL has expired", hint="ask for a new one: heartbeats renew it"
            )
        return grant

    @staticmethod
    def _mac(secret: bytes, payload: bytes) -> bytes:
        return hmac.digest(secret, b"tonearm-url/1\0" + payload, hashlib.sha256)[:_MAC_SIZE]


@dataclass(frozen=True, slots=True)
class PlaybackGrant:
    """Who plays what, where: what the key server decides by."""

    subject: str
    device_id: str
    session_id: str
    track_id: str
    tier: Tier
    issued_s: int
    expires_s: int


def sign_playback(grant: PlaybackGrant, secret: bytes) -> str:
    """A JWT (HS256) that says *grant*.

    Raises:
        InvalidInputError: A field of it is none that `open_playback` takes.
    """
    assert 0 < grant.expires_s - grant.issued_s <= PLAYBACK_TTL_S
    return _encode(
        {
            "aud": "playback", "sub": ids.SUBJECT.check(grant.subject),
            "did": ids.DEVICE_ID.check(grant.device_id),
            "sid": ids.SESSION_ID.check(grant.session_id),
            "trk": ids.TRACK_ID.check(grant.track_id), "tier": grant.tier.value,
            "iat": grant.issued_s, "exp": grant.expires_s,
        },
        secret,
    )  # fmt: skip


def open_playback(token: str, secret: bytes, *, now_s: float, grace_s: float = 0) -> PlaybackGrant:
    """The grant in *token*.

    Args:
        token: As received.
        secret: Shared by the origin and the key server.
        now_s: Seconds since the epoch.
        grace_s: How long ago it may have expired; only for what renews it.

    Raises:
        UnauthorizedError: It is not a playback token of ours, or its time is over.
    """
    claims = _decode(token, secret, audience="playback")
    issued_s, expires_s = _lifetime(claims, now_s=now_s, longest_s=PLAYBACK_TTL_S, grace_s=grace_s)
    try:
        return PlaybackGrant(
            ids.SUBJECT.check(claims.get("sub")),
            ids.DEVICE_ID.check(claims.get("did")),
            ids.SESSION_ID.check(claims.get("sid")),
            ids.TRACK_ID.check(claims.get("trk")),
            ids.check_member(Tier, claims.get("tier"), "tier"),
            issued_s,
            expires_s,
        )
    except InvalidInputError:
        raise _unauthorized() from None


@dataclass(frozen=True, slots=True)
class User:
    """What the operator's identity system says of a listener."""

    subject: str
    tier: Tier
    region: str
    device_limit: int = DEVICES


USER_TTL_S = 24 * 3600
"""Longest life of a user token that we accept."""


def sign_user(user: User, secret: bytes, *, now_s: int, ttl_s: int) -> str:
    """A user JWT for development; a real service has its own issuer.

    Raises:
        InvalidInputError: No server would take the subject or the region.
    """
    return _encode(
        {
            "aud": "tonearm", "sub": ids.SUBJECT.check(user.subject), "tier": user.tier.value,
            "region": ids.REGION.check(user.region), "devices": user.device_limit,
            "iat": now_s, "exp": now_s + ttl_s,
        },
        secret,
    )  # fmt: skip


def open_user(token: str, secret: bytes, *, now_s: float) -> User:
    """The user in *token*.

    Raises:
        UnauthorizedError: It is not a user token of the operator, or its time is over.
    """
    claims = _decode(token, secret, audience="tonearm")
    _lifetime(claims, now_s=now_s, longest_s=USER_TTL_S)
    devices = claims.get("devices", DEVICES)
    if type(devices) is not int or not 0 < devices <= MAX_DEVICES:
        raise _unauthorized()
    try:
        return User(
            ids.SUBJECT.check(claims.get("sub")),
            ids.check_member(Tier, claims.get("tier"), "tier"),
            ids.REGION.check(claims.get("region", ids.EVERYWHERE)),
            devices,
        )
    except InvalidInputError:
        raise _unauthorized() from None


OPERATOR_TTL_S = 300
"""Longest life of a token between our own: a packager's for keys, an origin's for a choice."""


def sign_operator(secret: bytes, *, now_s: int) -> str:
    """A short-lived JWT for a machine of the operator that may read content keys."""
    return _encode({"aud": "keys", "iat": now_s, "exp": now_s + OPERATOR_TTL_S}, secret)


def open_operator(token: str, secret: bytes, *, now_s: float) -> None:
    """Raise `UnauthorizedError` unless *token* is an operator's."""
    _lifetime(_decode(token, secret, audience="keys"), now_s=now_s, longest_s=OPERATOR_TTL_S)


def sign_choice(secret: bytes, *, now_s: int) -> str:
    """A short-lived JWT for an origin that asks the router; it opens no keys."""
    return _encode({"aud": "router", "iat": now_s, "exp": now_s + OPERATOR_TTL_S}, secret)


def open_choice(token: str, secret: bytes, *, now_s: float) -> None:
    """Raise `UnauthorizedError` unless *token* is an origin's."""
    _lifetime(_decode(token, secret, audience="router"), now_s=now_s, longest_s=OPERATOR_TTL_S)


def _encode(claims: dict[str, Any], secret: bytes) -> str:
    from joserfc import jwt  # noqa: PLC0415  not needed to print help
    from joserfc.jwk import OctKey  # noqa: PLC0415  likewise

    return jwt.encode({"alg": "HS256", "typ": "JWT"}, claims, OctKey.import_key(secret))


def _decode(token: str, secret: bytes, *, audience: str) -> dict[str, Any]:
    from joserfc import jwt  # noqa: PLC0415  not needed to print help
    from joserfc.errors import JoseError  # noqa: PLC0415  likewise
    from joserfc.jwk import OctKey  # noqa: PLC0415  likewise

    # the shape is checked here because libraries accept padded and oversized tokens
    if len(token) > MAX_TOKEN_LENGTH or not _JWT.fullmatch(token):
        raise _unauthorized()
    try:
        # strictly, and first: of a claim that is there twice, its issuer may have meant the other,
        # and the library stumbles over a header that is no object, or over a `crit` that is no list
        header, claims = (read_object(ids.read_base64url(part)) for part in token.split(".")[:2])
        if header.get("alg") != "HS256" or "crit" in header:  # what is critical, we do not know
            raise _unauthorized()
        jwt.decode(token, OctKey.import_key(secret), algorithms=["HS256"])
    except (JoseError, ValueError, InvalidInputError):
        raise _unauthorized() from None
    if claims.get("aud") != audience:
        raise _unauthorized()
    return claims


def _lifetime(
    claims: dict[str, Any], *, now_s: float, longest_s: int, grace_s: float = 0
) -> tuple[int, int]:
    issued_s, expires_s = claims.get("iat"), claims.get("exp")
    # type(...) is int: True is an int to isinstance, and "9e99" must not be a time
    if type(issued_s) is not int or type(expires_s) is not int:
        raise _unauthorized()
    begins_s = claims.get("nbf", issued_s)
    if type(begins_s) is not int or max(issued_s, begins_s) > now_s + CLOCK_SKEW_S:
        raise _unauthorized()
    if not 0 < expires_s - issued_s <= longest_s:
        raise _unauthorized()
    if now_s >= expires_s + grace_s:
        raise UnauthorizedError("the token has expired", hint="ask for a new one")
    return issued_s, expires_s


def signature_error() -> SignatureError:
    """The one answer for every URL that its token does not open, whatever the reason."""
    return SignatureError("this URL is not signed for this path", hint="start at /v1/play/start")


def _unauthorized() -> UnauthorizedError:
    return UnauthorizedError(
        "the token is missing or not valid", hint="send 'Authorization: Bearer'"
    )
