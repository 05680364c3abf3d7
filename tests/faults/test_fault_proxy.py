"""Each fault is what its name says, and a seed is a promise."""

import contextlib
import http.client
import threading
from collections import Counter

import pytest

from tests.faults.conftest import body_of
from tests.faults.fault_proxy import ERRORS, KINDS, FaultProxy, Mix, draw, flipped

MIX = Mix(
    late=0.1,
    reset=0.1,
    cut=0.1,
    stall=0.1,
    error=0.1,
    length=0.1,
    flip=0.1,
    late_s=0.01,
    stall_s=0.02,
)
WHOLE = body_of("/a")[:1000]


def bits_apart(one, other):
    assert len(one) == len(other)
    return sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True))


def test_without_faults_answers_pass_as_they_are(server, get):
    with FaultProxy(server, Mix(), seed=1) as proxy:
        assert get(proxy.port, "/a") == (200, WHOLE)
        assert get(proxy.port, "/a", "HEAD") == (200, b"")
        assert [fault.kind for fault in proxy.faults] == ["none", "none"]


def test_a_late_answer_is_whole(server, get):
    with FaultProxy(server, Mix(late=1, late_s=0.05), seed=1) as proxy:
        assert get(proxy.port, "/a") == (200, WHOLE)
        [fault] = proxy.faults

    assert fault.kind == "late"
    assert 0 < fault.seconds < 0.05


def test_a_reset_is_a_reset(server, get):
    with FaultProxy(server, Mix(reset=1), seed=1) as proxy, pytest.raises(ConnectionResetError):
        get(proxy.port, "/a")


def test_a_cut_body_ends_before_its_length(server, client):
    with FaultProxy(server, Mix(cut=1), seed=1) as proxy:
        connection = client(proxy.port)
        connection.request("GET", "/a")
        answer = connection.getresponse()
        with pytest.raises(http.client.IncompleteRead) as raised:
            answer.read()
        [fault] = proxy.faults

    assert answer.headers["Content-Length"] == "1000"
    assert raised.value.partial == WHOLE[: int(fault.share * 1000)]


def test_a_stalled_body_ends_with_a_reset(server, client):
    with FaultProxy(server, Mix(stall=1, stall_s=0.1), seed=1) as proxy:
        connection = client(proxy.port)
        connection.request("GET", "/a")
        answer = connection.getresponse()
        with pytest.raises(ConnectionResetError):
            answer.read()


def test_an_error_is_one_of_the_servers_and_comes_in_bursts(server, get):
    mix = Mix(error=0.2, burst=4)
    with FaultProxy(server, mix, seed=3) as proxy:
        statuses = [get(proxy.port, "/a")[0] for _ in range(60)]
        faults = proxy.faults

    assert statuses == [fault.status or 200 for fault in faults]
    assert {status for status in statuses if status != 200} <= set(ERRORS)
    runs = "".join("x" if status in ERRORS else " " for status in statuses).split()
    assert runs
    assert all(len(run) >= mix.burst for run in runs[:-1])


def test_a_wrong_length_is_wrong_and_the_body_whole(server, client):
    offs = set()
    with FaultProxy(server, Mix(length=1), seed=1) as proxy:
        for number in range(8):
            connection = client(proxy.port)
            connection.request("GET", f"/{number}")
            answer = connection.getresponse()
            said = int(answer.headers["Content-Length"])
            try:
                body = answer.read()
            except http.client.IncompleteRead as error:
                body = error.partial
            assert body == body_of(f"/{number}")[: min(said, 1000)]
            offs.add(said - 1000)
        assert offs == {max(fault.off, -1000) for fault in proxy.faults}

    assert min(offs) < 0 < max(offs)


def test_a_flipped_bit_is_one_flipped_bit_and_the_length_is_right(server, get):
    with FaultProxy(server, Mix(flip=1), seed=1) as proxy:
        bodies = [get(proxy.port, "/a")[1] for _ in range(8)]

    assert [bits_apart(body, WHOLE) for body in bodies] == [1] * 8
    assert len(set(bodies)) > 1


def test_every_bit_can_be_the_flipped_one():
    assert {flipped(b"\0\0", share / 16) for share in range(16)} == {
        (1 << bit).to_bytes(2, "big") for bit in range(16)
    }


def test_what_has_no_body_is_not_said_to_be_spoilt(server, get):
    with FaultProxy(server, Mix(flip=1), seed=1) as proxy:
        assert get(proxy.port, "/empty") == (200, b"")
        assert get(proxy.port, "/a", "HEAD") == (200, b"")
        assert [fault.kind for fault in proxy.faults] == ["none", "none"]


def test_a_request_arrives_whole(server, client):
    with FaultProxy(server, Mix(), seed=1) as proxy:
        connection = client(proxy.port)
        connection.request("POST", "/a", body=bytes(300_000))

        assert connection.getresponse().read() == WHOLE


def test_the_same_seed_gives_the_same_faults_in_whatever_order_requests_come(server, get):
    def faults(seed, *, at_once):
        def ask(path):
            for _ in range(5):
                with contextlib.suppress(OSError, http.client.HTTPException):
                    get(proxy.port, path)

        with FaultProxy(server, MIX, seed) as proxy:
            threads = [threading.Thread(target=ask, args=(f"/{n}",)) for n in range(6)]
            for thread in threads:
                thread.start()
                if not at_once:
                    thread.join()
            for thread in threads:
                thread.join()
            return set(proxy.faults)

    assert faults(7, at_once=False) == faults(7, at_once=True) != faults(8, at_once=True)


def test_a_mix_is_what_is_drawn():
    drawn = Counter(draw(MIX, 1, "GET", f"/{n}", 0).kind for n in range(5000))

    assert set(drawn) == {"none", *KINDS}
    assert all(400 < drawn[kind] < 600 for kind in KINDS)
