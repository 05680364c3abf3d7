"""Every byte is kept, and a secret is found however it was written."""

import base64
import gzip
import socket
import threading
from urllib.parse import quote

import pytest

from tests.faults.conftest import body_of
from tests.faults.http import read_messages
from tests.faults.recorder import Place, Recorder

SECRET = b"s3cr\xffet/of+tonearm?"


def post(client, port, body, **headers):
    connection = client(port)
    connection.request("POST", "/a", body=body, headers=headers)
    return connection.getresponse().read()


def test_bytes_pass_as_they_are_and_are_kept(server, get):
    with Recorder(server) as recorder:
        assert get(recorder.port, "/a") == (200, body_of("/a")[:1000])
        [kept] = recorder.conversations

    assert bytes(kept.sent).startswith(b"GET /a HTTP/1.1\r\n")
    assert bytes(kept.answered).endswith(body_of("/a")[:1000])


def test_requests_and_answers_can_be_read(server, client):
    with Recorder(server) as recorder:
        connection = client(recorder.port)
        for method, path in (("GET", "/a"), ("HEAD", "/b"), ("GET", "/c?x=1")):
            connection.request(method, path, headers={"X-Name": "value"})
            connection.getresponse().read()
        requests, answers = recorder.requests(), recorder.answers()

    assert [(r.method, r.target) for r in requests] == [
        ("GET", "/a"),
        ("HEAD", "/b"),
        ("GET", "/c?x=1"),
    ]
    assert {r.headers["x-name"] for r in requests} == {"value"}
    assert [(a.status, len(a.body)) for a in answers] == [(200, 1000), (200, 0), (200, 1000)]


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("raw", b"<" + SECRET + b">"),
        ("hex", SECRET.hex().encode()),
        ("hex", SECRET.hex().upper().encode()),
        ("percent", quote(SECRET, safe="").encode()),
        *(("base64", base64.b64encode(b"user:"[:n] + SECRET + b"more")) for n in range(6)),
        *(("base64url", base64.urlsafe_b64encode(b"xyz"[:n] + SECRET)) for n in range(3)),
    ],
)
def test_a_secret_is_found_in_each_form(server, client, form, written):
    with Recorder(server) as recorder:
        post(client, recorder.port, b"before " + written + b" behind")

        assert Place(0, sent=True, form=form, unpacked=False) in recorder.places_of(SECRET)


def test_a_secret_is_found_in_a_header_and_in_a_url(server, client):
    with Recorder(server) as recorder:
        connection = client(recorder.port)
        connection.request("GET", f"/a?token={quote(SECRET, safe='')}")
        connection.getresponse().read()
        post(client, recorder.port, b"", **{"X-Key": SECRET.hex()})
        places = recorder.places_of(SECRET)

    assert Place(0, sent=True, form="percent", unpacked=False) in places
    assert Place(1, sent=True, form="hex", unpacked=False) in places


def test_a_secret_is_found_in_a_compressed_body(server, client):
    with Recorder(server) as recorder:
        post(client, recorder.port, gzip.compress(SECRET * 5), **{"Content-Encoding": "gzip"})

        assert recorder.places_of(SECRET) == [Place(0, sent=True, form="raw", unpacked=True)]


def test_a_secret_is_found_across_chunks(server):
    chunked = (
        b"5\r\n" + SECRET[:5] + b"\r\n%x\r\n" % len(SECRET[5:]) + SECRET[5:] + b"\r\n0\r\n\r\n"
    )
    with Recorder(server) as recorder:
        with socket.create_connection(("127.0.0.1", recorder.port)) as connection:
            connection.sendall(b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass

        assert recorder.places_of(SECRET) == [Place(0, sent=True, form="raw", unpacked=True)]


def test_a_secret_in_an_answer_is_told_apart(server, get):
    with Recorder(server) as recorder:
        get(recorder.port, "/the-answer-has-it")

        assert Place(0, sent=False, form="raw", unpacked=False) in recorder.places_of(
            "/the-answer-has-it-/the-answer"
        )


def test_what_was_not_sent_is_not_found(server, client):
    with Recorder(server) as recorder:
        post(client, recorder.port, SECRET[:-1] + b"x" + bytes(range(256)))

        assert recorder.places_of(SECRET) == []
        assert len(recorder.requests()) == 1


def test_concurrent_connections_are_kept_apart(server, client):
    with Recorder(server) as recorder:
        threads = [
            threading.Thread(target=post, args=(client, recorder.port, b"%d" % n * 1000))
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        bodies = {request.body for request in recorder.requests()}

    assert bodies == {b"%d" % n * 1000 for n in range(8)}


@pytest.mark.parametrize(
    "odd",
    [
        b"\x16\x03\x01\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: \u00b25\r\n\r\nhello".encode("latin-1"),
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
    ],
)
def test_what_cannot_be_read_ends_the_messages(odd):
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    assert [message.body for message in read_messages(good + odd + good, ["GET"] * 3)] == [b"ok"]


def test_a_body_that_cannot_be_looked_into_is_not_passed_over(server, client):
    with Recorder(server) as recorder:
        post(client, recorder.port, b"packed", **{"Content-Encoding": "br"})
        with pytest.raises(AssertionError, match="br cannot be looked into"):
            recorder.places_of(SECRET)
