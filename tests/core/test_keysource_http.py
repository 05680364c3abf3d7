"""The contract of key sources, over the vault in this process and over HTTP; and the client."""

import asyncio
import base64
import contextlib
import gzip
import http.server
import json
import socket
import threading
import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import ids, key_exchange, keysource_http
from core.errors import IntegrityError, InvalidInputError, UnauthorizedError, UnavailableError
from core.grants import open_operator
from core.key_exchange import DIGEST, MAX_ANSWER_SIZE, content_digest
from core.keysource import KeyRequest
from core.keysource_http import ATTEMPTS, MAX_BACKOFF_S, HttpKeySource
from core.model import Scheme, Tier
from tests.core.key_server import NOW, OPERATOR

ALL = KeyRequest("song", tuple(Tier), tuple(Scheme))


@pytest.fixture(params=["vault", "http"])
def source(request):
    if request.param == "vault":
        return request.getfixturevalue("vault")
    return HttpKeySource(request.getfixturevalue("key_server_url"), OPERATOR, clock=lambda: NOW)


def test_there_is_one_key_for_each_tier_and_scheme_in_order(source):
    keys = source.keys(replace(ALL, period=2))

    assert [(k.description.tier, k.description.scheme, k.description.period) for k in keys] == [
        (tier, scheme, 2) for tier in Tier for scheme in Scheme
    ]
    assert len({k.key for k in keys}) == len({k.description.kid for k in keys}) == len(keys)


def test_asked_again_the_same_kids_keys_and_ivs_are_given(source):
    assert source.keys(ALL) == source.keys(ALL)


def test_sizes_are_those_of_the_scheme_and_no_iv_is_a_key(source):
    keys = source.keys(ALL)
    assert {key.description.scheme for key in keys} == set(Scheme)
    for key in keys:
        assert len(key.key) == 16
        assert len(key.iv) == (16 if key.description.scheme is Scheme.CBCS else 8)
        assert not key.key.startswith(key.iv)


def test_every_key_says_how_players_find_it(source):
    keys = source.keys(ALL)
    assert keys
    for key in keys:
        signals = key.description.signals
        assert any(key.description.kid.bytes in s.pssh for s in signals)
        assert any(s.dash_value and s.license_path for s in signals)
        assert any(tag.keyid == key.description.kid for s in signals for tag in s.hls)


def test_part_of_a_request_gives_the_same_keys(source):
    some = source.keys(KeyRequest("song", (Tier.HIGH,), (Scheme.CBCS,)))

    assert set(some) <= set(source.keys(ALL))


def test_another_track_and_another_period_have_other_keys(source):
    requests = [ALL, replace(ALL, track_id="another"), replace(ALL, period=1)]
    keys = [k for request in requests for k in source.keys(request)]

    assert len({k.key for k in keys}) == len({k.iv for k in keys}) == 3 * 8


@pytest.mark.parametrize(
    "request_",
    [replace(ALL, track_id="../x"), replace(ALL, tiers=()), replace(ALL, period=-1)],
)
def test_a_senseless_request_is_refused(source, request_):
    with pytest.raises(InvalidInputError):
        source.keys(request_)


def test_both_give_the_same(vault, key_server_url):
    assert HttpKeySource(key_server_url, OPERATOR, clock=lambda: NOW).keys(ALL) == vault.keys(ALL)


async def test_it_works_in_a_thread_beside_a_running_loop(vault, key_server_url):
    source = HttpKeySource(key_server_url + "/", OPERATOR, clock=lambda: NOW)

    given = await asyncio.gather(*(asyncio.to_thread(source.keys, ALL) for _ in range(4)))

    assert all(keys == vault.keys(ALL) for keys in given)


def test_a_wrong_operator_secret_is_told_apart_and_not_tried_again(key_server_url):
    source = HttpKeySource(key_server_url, b"x" * 32, clock=lambda: NOW, sleep=None)

    with pytest.raises(UnauthorizedError, match="does not know us"):
        source.keys(ALL)


def test_the_secret_does_not_print():
    assert "ooo" not in repr(HttpKeySource("http://localhost:1", OPERATOR))


@pytest.mark.parametrize(
    "url",
    [
        "http://keys.example.com",
        "http://10.0.0.1:8080",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1@example.com/",
        "https://user:pass@example.com",
        "https://example.com?x=1",
        "https://example.com:port",
        "https://[::1",
        "file:///etc/passwd",
        "keys.example.com",
        "",
    ],
)
def test_keys_do_not_cross_a_network_in_clear(url):
    with pytest.raises(InvalidInputError, match="address"):
        HttpKeySource(url, OPERATOR)


@pytest.mark.parametrize("url", ["https://keys.example.com/base", "http://[::1]:80"])
def test_https_and_this_machine_are_taken(url):
    assert HttpKeySource(url, OPERATOR).base_url == url


class Scripted(http.server.BaseHTTPRequestHandler):
    """Answers with the next line of the script: a status, headers and a body."""

    def do_POST(self):
        self.server.asked.append((self.path, self.headers, self.rfile.read(
            int(self.headers["Content-Length"]))))  # fmt: skip
        status, headers, body = self.server.script.pop(0)
        self.send_response(status)
        usual = {"Content-Length": str(len(body)), DIGEST: content_digest(body)}
        for name, value in {**usual, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def scripted():
    """A server that answers as told, and remembers what it was asked."""
    server = http.server.HTTPServer(("127.0.0.1", 0), Scripted)
    server.script, server.asked = [], []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def client_of(server, slept=None):
    url = f"http://127.0.0.1:{server.server_port}/base"
    sleep = (lambda _: None) if slept is None else slept.append
    return HttpKeySource(url, OPERATOR, clock=lambda: NOW, sleep=sleep)


ONE = KeyRequest("song", (Tier.LOW,), (Scheme.CBCS,))


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def good(**changes):
    kid = "01020304-0506-8708-8900-aabbccddeeff"
    tag = {
        "method": "SAMPLE-AES", "uri": "/k", "keyformat": "identity", "keyformatversions": "1",
        "iv": None, "keyid": kid,
    }  # fmt: skip
    signal = {
        "systemId": kid, "pssh": "", "dashValue": None, "licensePath": None, "hls": [tag],
    }  # fmt: skip
    key = {
        "kid": kid, "tier": "low", "scheme": "cbcs", "period": 0, "key": b64url(b"k" * 16),
        "iv": b64url(b"i" * 16), "signals": [signal],
    }  # fmt: skip
    return {"keys": [key | changes]}


def test_it_asks_as_an_operator_and_again_after_a_passing_failure(scripted):
    slept = []
    unwell = (503, {"Retry-After": "2"}, b"")
    cut = (200, {"Content-Length": "9999"}, b'{"keys"')
    scripted.script += [unwell, cut, (200, {}, json.dumps(good()).encode())]

    [key] = client_of(scripted, slept).keys(ONE)

    assert (key.key, key.iv) == (b"k" * 16, b"i" * 16)
    assert slept == [2.0, 0.5]
    for path, headers, body in scripted.asked:
        assert path == "/base/v1/keys"
        open_operator(headers["Authorization"].removeprefix("Bearer "), OPERATOR, now_s=NOW)
        assert json.loads(body)["trackId"] == "song"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_asked_again(scripted, status):
    scripted.script += [(status, {}, b""), (200, {}, json.dumps(good()).encode())]

    assert client_of(scripted).keys(ONE)


def test_it_gives_up_after_a_bounded_number_of_tries(scripted):
    slept = []
    scripted.script += [(503, {"Retry-After": "86400"}, b"")] * ATTEMPTS

    with pytest.raises(UnavailableError, match="status 503") as raised:
        client_of(scripted, slept).keys(ONE)

    assert raised.value.hint
    assert slept == [MAX_BACKOFF_S] * (ATTEMPTS - 1)


def test_nobody_there_is_unavailable():
    source = HttpKeySource("http://127.0.0.1:1", OPERATOR, sleep=lambda _: None)

    with pytest.raises(UnavailableError, match="ConnectionRefusedError"):
        source.keys(ONE)


@pytest.mark.parametrize("status", [301, 307, 404, 418])
def test_a_redirect_is_not_followed_and_a_stranger_not_asked_twice(scripted, status):
    scripted.script += [(status, {"Location": "http://127.0.0.1:1/"}, b"")]

    with pytest.raises(UnavailableError, match=str(status)):
        client_of(scripted).keys(ONE)


def test_a_refusal_is_passed_on_in_the_servers_words(scripted):
    scripted.script += [(400, {}, b'{"detail": "not a track id"}'), (400, {}, b"<html>")]

    for words in ("request: not a track id$", "request$"):
        with pytest.raises(InvalidInputError, match=words):
            client_of(scripted).keys(ONE)


SECRET = b64url(b"s3cr3t-s3cr3t-16")


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"[]",
        b"{}",
        b"\xff",
        b'{"keys": 1}',
        b'{"keys": []}',
        b'{"keys": [1]}',
        b"[" * 100_000,
        {"keys": good()["keys"] * 2},
        good(tier="high"),
        good(scheme="cenc"),
        good(period=1),
        good(period=False),
        good(kid="0102030405068708890 0aabbccddeeff"),
        good(kid="01020304050687088900aabbccddeeff"),
        good(key=SECRET, iv=SECRET),
        good(key=SECRET + "=="),
        good(key=SECRET[:-3]),
        good(iv=b64url(b"i" * 8)),
        good(signals=[1]),
        good(signals=None),
        good(signals=[{"systemId": 1}]),
        good(signals=[good()["keys"][0]["signals"][0] | {"dashValue": 'a"\n#EXT'}]),
    ],
)
def test_an_answer_that_is_not_these_keys_is_refused_without_quoting_it(scripted, answer):
    data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    scripted.script += [(200, {}, data)]

    with pytest.raises(IntegrityError, match="not the keys") as raised:
        client_of(scripted).keys(ONE)

    assert SECRET not in f"{raised.value!r} {raised.value.hint} {raised.value.__cause__!r}"


def test_an_endless_answer_is_cut(scripted):
    scripted.script += [(200, {}, b" " * (MAX_ANSWER_SIZE + 1))] * ATTEMPTS

    with pytest.raises(UnavailableError, match="ProtocolError"):
        client_of(scripted).keys(ONE)


@pytest.fixture
def dripping():
    """A server that begins an answer as told, and then sends a byte now and then."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked, start = [], []

    def drip(connection):
        with connection, contextlib.suppress(OSError):
            asked.append(connection.recv(65536))
            connection.sendall(start[0])
            while True:
                connection.sendall(b"0")
                time.sleep(0.02)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threads.append(threading.Thread(target=drip, args=listener.accept()[:1]))
                threads[-1].start()

    threads = [threading.Thread(target=accept)]
    threads[0].start()
    yield listener.getsockname()[1], start, asked
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    "start",
    [
        b"X: ",
        b"Content-Length: 1000\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"Connection: close\r\nContent-Length: 1000\r\n\r\n",
        b"\r\n",
    ],
    ids=["head", "body", "chunk", "closing body", "endless body"],
)
def test_an_answer_that_drips_is_cut_off_wherever_it_does(dripping, monkeypatch, start):
    monkeypatch.setattr(keysource_http, "DEADLINE_S", 0.3)
    port, said, asked = dripping
    said.append(b"HTTP/1.1 200 OK\r\n" + start)
    source = HttpKeySource(
        f"http://127.0.0.1:{port}", OPERATOR, clock=lambda: NOW, sleep=lambda _: None
    )

    with pytest.raises(UnavailableError):
        source.keys(ONE)

    assert len(asked) == ATTEMPTS


@pytest.mark.parametrize("asked", ["soon", "-1", "9" * 5000, "Thu, 01 Jan 1970 00:00:00 GMT", ""])
def test_a_senseless_retry_after_is_none(scripted, asked):
    slept = []
    scripted.script += [(503, {"Retry-After": asked}, b""), (200, {}, json.dumps(good()).encode())]

    assert client_of(scripted, slept).keys(ONE)
    assert slept in ([0.0], [MAX_BACKOFF_S])  # as if there were none, or as long as is ever waited


def test_a_redirect_takes_no_token_to_another_place(scripted):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as thief:
        thief.setblocking(False)
        place = f"http://127.0.0.1:{thief.getsockname()[1]}/v1/keys"
        scripted.script += [(307, {"Location": place}, b"")]

        with pytest.raises(UnavailableError, match="status 307"):
            client_of(scripted).keys(ONE)

        with pytest.raises(BlockingIOError):
            thief.accept()


def test_a_proxy_of_the_environment_sees_nothing(scripted, monkeypatch):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as proxy:
        proxy.setblocking(False)
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        scripted.script += [(200, {}, json.dumps(good()).encode())]

        assert client_of(scripted).keys(ONE)

        with pytest.raises(BlockingIOError):
            proxy.accept()


@pytest.mark.parametrize(
    "given, why",
    [
        ("", "not the keys"),
        (content_digest(b"other keys"), "changed on its way"),
        ("sha-256=::", "changed on its way"),
    ],
)
def test_an_answer_without_its_digest_is_refused(scripted, given, why):
    scripted.script += [(200, {DIGEST: given}, json.dumps(good()).encode())]

    with pytest.raises(IntegrityError, match=why):
        client_of(scripted).keys(ONE)


def test_a_digest_may_stand_among_others(scripted):
    body = json.dumps(good()).encode()
    scripted.script += [(200, {DIGEST: f"sha-512=:AAAA:, {content_digest(body)}"}, body)]

    assert client_of(scripted).keys(ONE)


def test_a_compressed_answer_is_not_unpacked(scripted):
    body = gzip.compress(json.dumps(good()).encode())
    scripted.script += [(200, {"Content-Encoding": "gzip"}, body)]

    with pytest.raises(IntegrityError, match="not the keys"):
        client_of(scripted).keys(ONE)


def test_a_request_that_no_server_takes_is_not_sent(scripted):
    with pytest.raises(InvalidInputError, match="track id"):
        client_of(scripted).keys(replace(ONE, track_id="../x"))

    assert scripted.asked == []


def test_an_answer_that_names_a_member_twice_is_refused(scripted):
    body = json.dumps(good()).replace('"tier": "low"', '"tier": "low", "tier": "low"')
    scripted.script += [(200, {}, body.encode())]

    with pytest.raises(IntegrityError, match="not the keys"):
        client_of(scripted).keys(ONE)


requests = st.builds(
    KeyRequest,
    st.from_regex(ids.TRACK_ID.pattern, fullmatch=True),
    st.lists(st.sampled_from(Tier), min_size=1, unique=True).map(tuple),
    st.lists(st.sampled_from(Scheme), min_size=1, unique=True).map(tuple),
    st.integers(0, ids.MAX_PERIOD),
)


@given(requests)
def test_a_request_is_read_as_it_was_written(request_):
    assert key_exchange.read_request(key_exchange.write_request(request_)) == request_


@given(requests)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_answer_is_read_as_it_was_written(vault, request_):
    keys = vault.keys(request_)
    answer = key_exchange.write_keys(keys)

    assert key_exchange.read_keys(answer, request_) == keys
    assert len(answer) < key_exchange.MAX_ANSWER_SIZE / 10
    with pytest.raises(IntegrityError):
        key_exchange.read_keys(answer, replace(request_, period=request_.period ^ 1))


def _with_the_first(field):
    """A change of answers: the second key takes *field* of the first."""

    def change(keys):
        first, second, *rest = keys
        if field == "kid":
            taken = replace(second.description, kid=first.description.kid)
            return [first, replace(second, description=taken), *rest]
        return [first, replace(second, key=first.key), *rest]

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda keys: keys[::-1],
        lambda keys: keys[1:],
        _with_the_first("key"),
        _with_the_first("kid"),
    ],
    ids=["in another order", "one too few", "one key twice", "one KID twice"],
)
def test_keys_that_are_not_one_for_each_use_in_order_are_refused(vault, change):
    answer = key_exchange.write_keys(change(list(vault.keys(ALL))))

    with pytest.raises(IntegrityError, match="not the keys"):
        key_exchange.read_keys(answer, ALL)


@given(st.binary(max_size=80) | st.text('{}[]",:kidetrschmpou', max_size=60).map(str.encode))
def test_other_bytes_are_no_request_and_no_answer(data):
    with pytest.raises(InvalidInputError):
        key_exchange.read_request(data)
    with pytest.raises(IntegrityError):
        key_exchange.read_keys(data, ONE)
