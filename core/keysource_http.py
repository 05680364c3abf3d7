"""A key source across the network: asks a key server's `POST /v1/keys`.

Plain blocking sockets, so that it works in any thread, beside a running event loop or without one.
Redirects and proxies are not followed: the request is a credential and the answer is keys. Asking
again is safe, for the same question has the same keys; urllib3's `Retry` says whether and when.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from threading import Timer
from typing import Any
from urllib.parse import SplitResult, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, InvalidHeader, MaxRetryError, ProtocolError
from urllib3.util import Retry, Timeout

from core.errors import InvalidInputError, ToolkitError, UnauthorizedError, UnavailableError
from core.grants import sign_operator
from core.key_exchange import (
    DIGEST,
    MAX_ANSWER_SIZE,
    PATH,
    check_digest,
    read_keys,
    write_request,
)
from core.keysource import KeyRequest
from core.model import ContentKey
from core.strict_json import read_object

TIMEOUT_S = 5.0
"""For connecting, and for each wait for bytes."""
DEADLINE_S = 20.0
"""For one try, however slowly bytes of the answer drip in, those of its head among them."""
ATTEMPTS = 4
"""Tries in all."""
BACKOFF_S = 0.25
"""The second try follows at once unless the server says when; then twice this, and doubling."""
MAX_BACKOFF_S = 5.0
"""Longest wait between two tries, also if the server asks for more."""

_TRIES = Retry(
    total=ATTEMPTS - 1,
    allowed_methods=frozenset({"POST"}),
    status_forcelist=(429, 500, 502, 503, 504),
    backoff_factor=BACKOFF_S,
    backoff_max=MAX_BACKOFF_S,
)


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
            InvalidInputError: It refused the request, or no server would take it.
            IntegrityError: It answered something else than these keys.
        """
        request.uses()
        return read_keys(self._ask(write_request(request)), request)

    def _ask(self, body: bytes) -> bytes:
        tries = _TRIES
        while True:
            answer, failure = None, None
            try:
                answer, data = self._post(body)
                if answer.status == 200:
                    check_digest(data, answer.headers.get(DIGEST, ""))
                    return data
                if not tries.is_retry("POST", answer.status):
                    raise _refusal(answer.status, data)
                why = f"status {answer.status}"
            except HTTPError as error:
                failure = error
                why = type(error.__cause__ or error).__name__  # its text may quote the answer
            try:
                tries = tries.increment("POST", PATH, response=answer, error=failure)
            except MaxRetryError:
                raise self._no_answer(why) from None
            self.sleep(_wait_s(tries, answer))

    def _post(self, body: bytes) -> tuple[urllib3.BaseHTTPResponse, bytes]:
        url = _parse(self.base_url)
        # signed for each try: a token must not age while we wait
        token = sign_operator(self.operator_secret, now_s=int(self.clock()))
        ends_s = time.monotonic() + DEADLINE_S
        with contextlib.ExitStack() as ends, _pool(url, ends) as pool:
            answer = pool.urlopen(
                "POST",
                url.path.rstrip("/") + PATH,
                body,
                {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            return answer, _body(answer, ends_s)

    def _no_answer(self, why: str) -> UnavailableError:
        return UnavailableError(
            f"the key server at {self.base_url} does not answer ({why})",
            hint="is it running, and is --key-source its address? "
            "What was published keeps playing; run the command again later",
        )


def _body(answer: urllib3.BaseHTTPResponse, ends_s: float) -> bytes:
    data = bytearray()
    try:
        while part := answer.read1(64 * 1024):
            data += part
            if len(data) > MAX_ANSWER_SIZE:
                raise ProtocolError("the answer is too long")
    finally:
        answer.close()  # what follows is not read
    if time.monotonic() >= ends_s:  # it was cut off, which may look like an end
        raise ProtocolError("the answer is too slow")
    return bytes(data)


class _Hurried(HTTPConnection):
    """Is cut off after `DEADLINE_S`: urllib3's timeouts begin anew with each byte.

    Not `close` calls that off but the end of the try: of an answer with ``Connection: close`` the
    connection counts as closed before its body is read.
    """

    def __init__(self, *arguments: Any, ends: contextlib.ExitStack, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._ends = ends

    def connect(self) -> None:
        super().connect()
        end = Timer(DEADLINE_S, _cut_off, [self.sock])
        end.daemon = True
        end.start()
        self._ends.callback(end.cancel)


class _HurriedTls(_Hurried, HTTPSConnection):
    """The same over TLS."""


def _cut_off(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        connection.shutdown(socket.SHUT_RDWR)


def _wait_s(tries: Retry, answer: urllib3.BaseHTTPResponse | None) -> float:
    """Until the next try: what the server asks for, within our bounds, or the backoff."""
    try:
        asked_s = (answer and tries.get_retry_after(answer)) or 0.0
    except (InvalidHeader, ValueError):  # ValueError: thousands of digits
        asked_s = 0.0
    return min(max(asked_s, tries.get_backoff_time()), MAX_BACKOFF_S)


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


def _pool(url: SplitResult, ends: contextlib.ExitStack) -> urllib3.HTTPConnectionPool:
    """Connections to that server alone, whatever the environment says of proxies."""
    assert url.hostname
    timeout = Timeout(connect=TIMEOUT_S, read=TIMEOUT_S)
    pool: urllib3.HTTPConnectionPool
    if url.scheme == "http":
        pool = urllib3.HTTPConnectionPool(url.hostname, url.port, timeout=timeout, ends=ends)
        pool.ConnectionCls = _Hurried
    else:
        tls = ssl.create_default_context()
        pool = urllib3.HTTPSConnectionPool(
            url.hostname, url.port, timeout=timeout, ssl_context=tls, ends=ends
        )
        pool.ConnectionCls = _HurriedTls
    return pool


def _refusal(status: int, answer: bytes) -> ToolkitError:
    if status in (401, 403):
        return UnauthorizedError(
            "the key server does not know us",
            hint="its 'operator' secret must be this machine's, and both clocks right",
        )
    if status in (400, 413, 422):
        return InvalidInputError(
            f"the key server refused the request{_detail(answer)}",
            hint="is --key-source the address of a key server of this version?",
        )
    return UnavailableError(
        f"the key server answered with status {status}", hint="is --key-source its address?"
    )


def _detail(answer: bytes) -> str:
    """The sentence in problem details, if that is what they are."""
    try:
        detail = read_object(answer).get("detail")
    except InvalidInputError:
        return ""
    return f": {detail[:200]}" if isinstance(detail, str) and detail.isprintable() else ""
