"""A key source across the network: asks a key server's `POST /v1/keys`.

Plain blocking sockets, so that it works in any thread, beside a running event loop or without one.
Redirects and proxies are not followed: the request is a credential and the answer is keys.
"""

import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from core import ids
from core.errors import (
    IntegrityError,
    InvalidInputError,
    ToolkitError,
    UnauthorizedError,
    UnavailableError,
)
from core.grants import sign_operator
from core.keysource import KeyRequest
from core.model import ContentKey, DrmSignal, HlsKeyTag, KeyDescription, Scheme, Tier

PATH = "/v1/keys"
TIMEOUT_S = 5.0
"""For connecting, and for each wait for bytes."""
DEADLINE_S = 20.0
"""For one try, however slowly bytes drip in."""
ATTEMPTS = 4
"""Tries in all; asking again gives the same keys."""
BACKOFF_S = 0.25
"""Before the second try; doubles."""
MAX_BACKOFF_S = 5.0
"""Longest wait between two tries, also if the server asks for more."""
MAX_ANSWER_SIZE = 1024 * 1024
"""Bytes; eight keys with the signals of every DRM system need about 30 kB."""

T = TypeVar("T")
_TRY_AGAIN = (429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class HttpKeySource:
    """The key server at `base_url`; a `core.keysource.KeySource`.

    Attributes:
        base_url: Scheme, host, port and perhaps a path; https, or http on this machine.
        operator_secret: Signs the short-lived tokens that open the key server.
        clock: Unix time in seconds.
        sleep: Waits between tries.
    """

    base_url: str
    operator_secret: bytes = field(repr=False)
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        _parse(self.base_url)

    def keys(self, request: KeyRequest) -> tuple[ContentKey, ...]:
        """The keys of *request*; asked again, the same KIDs, keys and IVs.

        Raises:
            UnavailableError: The key server did not answer in `ATTEMPTS` tries.
            UnauthorizedError: It does not take our operator secret.
            InvalidInputError: It refused the request.
            IntegrityError: It answered something else than these keys.
        """
        question = {
            "trackId": request.track_id,
            "tiers": list(request.tiers),
            "schemes": list(request.schemes),
            "period": request.period,
        }
        return _read_keys(self._ask(json.dumps(question).encode()), request)

    def _ask(self, body: bytes) -> bytes:
        backoff_s, why = BACKOFF_S, "no answer"
        for attempt in range(ATTEMPTS):
            if attempt:
                self.sleep(min(backoff_s, MAX_BACKOFF_S))
                backoff_s *= 2
            try:
                status, headers, answer = self._post(body)
            except (OSError, HTTPException) as error:
                why = type(error).__name__  # its text may quote the answer
                continue
            if status == 200:
                return answer
            if status not in _TRY_AGAIN:
                raise _refusal(status, answer)
            why = f"status {status}"
            backoff_s = max(backoff_s, _retry_after_s(headers))
        raise UnavailableError(
            f"the key server at {self.base_url} does not answer ({why})",
            hint="is it running, and is --key-source its address? "
            "What was published keeps playing; run the command again later",
        )

    def _post(self, body: bytes) -> tuple[int, Message, bytes]:
        url = _parse(self.base_url)
        # signed for each try: a token must not age while we wait
        token = sign_operator(self.operator_secret, now_s=int(self.clock()))
        connection = _connection(url)
        try:
            connection.request(
                "POST",
                url.path.rstrip("/") + PATH,
                body,
                {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            )
            response = connection.getresponse()
            answer = bytearray()
            ends_s = time.monotonic() + DEADLINE_S
            while chunk := response.read1(64 * 1024):
                answer += chunk
                if len(answer) > MAX_ANSWER_SIZE or time.monotonic() > ends_s:
                    raise HTTPException("the answer is too long or too slow")
            if response.length:
                raise HTTPException("the answer is cut off")
            return response.status, response.headers, bytes(answer)
        finally:
            connection.close()


def _parse(base_url: str) -> SplitResult:
    try:
        url = urlsplit(base_url)
        _ = url.port  # parsed on access; a bad one raises here
    except ValueError:
        raise _bad_url("is not a URL") from None
    if not url.hostname or url.username or url.password or url.query or url.fragment:
        raise _bad_url("has no host, or more than scheme, host, port and path")
    if url.scheme != "https" and not (url.scheme == "http" and _is_loopback(url.hostname)):
        raise _bad_url("is not https, and keys must not cross a network in clear")
    return url


def _bad_url(why: str) -> InvalidInputError:
    return InvalidInputError(
        f"the key server's address {why}",
        hint="such as https://keys.example.com, or http://127.0.0.1:8080 on this machine",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _connection(url: SplitResult) -> HTTPConnection:
    assert url.hostname
    if url.scheme == "http":
        return HTTPConnection(url.hostname, url.port, timeout=TIMEOUT_S)
    context = ssl.create_default_context()
    return HTTPSConnection(url.hostname, url.port, timeout=TIMEOUT_S, context=context)


def _retry_after_s(headers: Message) -> float:
    text = headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0


def _refusal(status: int, answer: bytes) -> ToolkitError:
    if status in (401, 403):
        return UnauthorizedError(
            "the key server does not know us",
            hint="its 'operator' secret must be this machine's, and both clocks right",
        )
    if status in (400, 413, 422):
        return InvalidInputError(f"the key server refused the request{_detail(answer)}")
    return UnavailableError(
        f"the key server answered with status {status}", hint="is --key-source its address?"
    )


def _detail(answer: bytes) -> str:
    """The sentence in problem details, if that is what they are."""
    try:
        told = json.loads(answer)
    except (ValueError, RecursionError):
        return ""
    detail = told.get("detail") if isinstance(told, dict) else None
    return f": {detail[:200]}" if isinstance(detail, str) and detail.isprintable() else ""


def _read_keys(answer: bytes, request: KeyRequest) -> tuple[ContentKey, ...]:
    try:
        tree = json.loads(answer.decode("utf-8"))
        keys = tuple(_key(member) for member in tree["keys"])
    except (
        ValueError, TypeError, KeyError, AttributeError, RecursionError, InvalidInputError
    ):  # fmt: skip
        # not chained: the error may quote a key
        raise _not_keys() from None
    wanted = [(t, s, request.period) for t in request.tiers for s in request.schemes]
    given = [(d.tier, d.scheme, d.period) for d in (key.description for key in keys)]
    distinct = {key.key for key in keys}, {key.description.kid for key in keys}
    if given != wanted or any(len(values) < len(keys) for values in distinct):
        raise _not_keys()
    return keys


def _not_keys() -> IntegrityError:
    return IntegrityError(
        "the key server's answer is not the keys that were asked for",
        hint="is --key-source the address of a key server of this version?",
    )


def _key(tree: dict[str, Any]) -> ContentKey:
    scheme = Scheme(tree["scheme"])
    key, iv = _bytes(tree["key"]), _bytes(tree["iv"])
    ids.check_content_key(key, iv, scheme)
    if key.startswith(iv):
        raise ValueError("a key and its IV are one")
    period = ids.check_period(tree["period"])
    signals = tuple(_signal(member) for member in tree["signals"])
    description = KeyDescription(
        ids.read_uuid(tree["kid"]), Tier(tree["tier"]), scheme, signals, period
    )
    return ContentKey(description, key, iv)


def _signal(tree: dict[str, Any]) -> DrmSignal:
    return DrmSignal(
        system_id=ids.read_uuid(tree["systemId"]),
        pssh=_bytes(tree["pssh"]),
        hls=tuple(_tag(member) for member in tree["hls"]),
        dash_value=_optional(_text, tree["dashValue"]),
        license_path=_optional(_text, tree["licensePath"]),
    )


def _tag(tree: dict[str, Any]) -> HlsKeyTag:
    return HlsKeyTag(
        method=_text(tree["method"]),
        uri=_text(tree["uri"]),
        keyformat=_text(tree["keyformat"]),
        keyformatversions=_text(tree["keyformatversions"]),
        iv=_optional(_bytes, tree["iv"]),
        keyid=_optional(ids.read_uuid, tree["keyid"]),
    )


def _optional(read: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else read(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("not text")
    return value


def _bytes(value: Any) -> bytes:
    return ids.read_base64url(value)
