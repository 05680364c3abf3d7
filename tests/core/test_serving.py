"""`tonearm serve` as an operator runs it: options, sockets, workers, and a clean end."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from core.grants import User, sign_user
from core.home import Home
from core.model import Tier
from core.serving import serve as serve_command

ROOT = Path(__file__).parents[2]
END_S = 20
"""How long a server may take to end before the test calls it hung."""


class Serving:
    """A `tonearm serve` that runs, and its log so far."""

    def __init__(self, home, *words, first=""):
        program = f"import cli, core.serving as serving\n{first}\ncli.main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, "--home", str(home), "serve", *words],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.log = []

    def wait_until_serving(self, count=1):
        """The ports of *count* sockets, each worker's told apart by its pid."""
        found = []
        while len(found) < count:
            line = self.process.stderr.readline()
            assert line, f"it ended: {self.log}"
            self.log.append(line)
            if line.startswith("{") and json.loads(line)["event"] == "serving":
                found.append(json.loads(line))
        return found

    def end(self, number=signal.SIGTERM):
        """Its exit code after a signal."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=END_S)
        self.log += [out, err]
        return self.process.returncode


@pytest.fixture
def serve(tmp_path):
    running = []

    def start(*words, **options):
        running.append(Serving(tmp_path / "home", *words, **options))
        return running[-1]

    yield start
    for each in running:
        each.process.kill()
        with contextlib.suppress(ValueError):  # its output was read to the end
            each.process.communicate()


def get(port, path, host="127.0.0.1"):
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=END_S)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def refused(serve, *words):
    """What is printed about options that cannot be."""
    each = serve(*words)
    out, err = each.process.communicate(timeout=END_S)
    assert each.process.returncode != 0
    assert out == ""
    assert "Traceback" not in err
    assert "hint: " in err
    return err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(serve, number):
    server = serve("--port", "0")
    [told] = server.wait_until_serving()
    assert get(told["port"], "/healthz")[0] == 200

    assert server.end(number) == 0
    with pytest.raises(ConnectionRefusedError):
        get(told["port"], "/healthz")


def test_nothing_but_its_log_is_printed(serve):
    server = serve("--port", "0")
    server.wait_until_serving()
    server.end()

    out, err = server.log[-2:]
    assert out == ""
    assert all(json.loads(line)["event"] for line in err.splitlines())


def test_an_idle_connection_does_not_keep_it_from_ending(serve):
    server = serve("--port", "0")
    [told] = server.wait_until_serving()
    with socket.create_connection(("127.0.0.1", told["port"]), timeout=END_S) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")

        assert server.end() == 0
        assert connection.recv(65536) == b""


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\nX: "])
def test_a_connection_that_asks_nothing_is_closed(serve, said):
    server = serve("--port", "0", first="serving.KEEPALIVE_TIMEOUT_S = 0.2")
    [told] = server.wait_until_serving()

    with socket.create_connection(("127.0.0.1", told["port"]), timeout=END_S) as connection:
        connection.sendall(said)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(65536) == b""
    assert get(told["port"], "/healthz")[0] == 200


def test_each_address_is_listened_on_and_a_port_of_0_is_told(serve):
    server = serve("--port", "0", "--host", "127.0.0.1", "--host", "127.0.0.2")
    told = server.wait_until_serving(2)

    assert [each["host"] for each in told] == ["127.0.0.1", "127.0.0.2"]
    for each in told:
        assert get(each["port"], "/healthz", each["host"])[0] == 200


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_an_ipv6_address_is_an_address(serve):
    server = serve("--port", "0", "--host", "::1")
    [told] = server.wait_until_serving()

    assert told["host"] == "::1"
    assert get(told["port"], "/healthz", "::1")[0] == 200


def test_workers_share_a_port_and_end_together(serve):
    server = serve("--port", "0", "--workers", "3")
    told = server.wait_until_serving(3)

    assert len({each["port"] for each in told}) == 1
    pids = {each["pid"] for each in told}
    assert len(pids) == 3
    for _ in range(12):
        assert get(told[0]["port"], "/healthz")[0] == 200
    assert server.end() == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def state_of(pid):
    """One letter of proc(5): Z for a process that has ended; None for one that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def begun(port, home):
    """A connection with a request that never comes to its end."""
    secret = Home(home).keyring.secret("user")
    token = sign_user(User("u", Tier.LOW, "ww"), secret, now_s=int(time.time()), ttl_s=60)
    connection = socket.create_connection(("127.0.0.1", port), timeout=END_S)
    connection.sendall(
        b"POST /v1/play/start HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nContent-Length: 9\r\n"
        b"Expect: 100-continue\r\nAuthorization: Bearer " + token.encode() + b"\r\n\r\n"
    )
    assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")  # it is being worked on
    return connection


def test_all_workers_end_at_once_while_one_still_has_a_request(serve, tmp_path):
    server = serve("--port", "0", "--workers", "2")
    told = server.wait_until_serving(2)
    [other] = {each["pid"] for each in told} - {server.process.pid}
    os.kill(other, signal.SIGSTOP)  # so that the first worker takes it
    with begun(told[0]["port"], tmp_path / "home"):
        os.kill(other, signal.SIGCONT)
        server.process.send_signal(signal.SIGTERM)

        while state_of(other) not in ("Z", None):
            assert server.process.poll() is None
            time.sleep(0.01)
        assert server.process.poll() is None

    assert server.process.wait(END_S) == 0


def test_a_port_that_is_taken_is_one_error(serve):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        err = refused(serve, "--port", str(port))

    assert f"cannot listen on 127.0.0.1:{port}" in err


@pytest.mark.parametrize(
    "words, complaint",
    [
        (("--host", "no.such.host.invalid"), "cannot listen on"),
        (("--host", "192.0.2.1"), "cannot listen on 192.0.2.1"),
        (("--pathway", "a=https://a.example", "--pathway", "b=http://b.example"), "one scheme"),
        (("--pathway", "base=https://a.example"), "is taken"),
        (("--role", "origin", "--pathway", "a=http://a", "--pathway", "b=http://b"), "no router"),
    ],
)
def test_what_cannot_be_served_is_one_error(serve, words, complaint):
    assert complaint in refused(serve, "--port", "0", *words)


@pytest.mark.parametrize(
    "words, complaint",
    [
        (("--workers", "0"), "--workers"),
        (("--workers", "65"), "--workers"),
        (("--port", "65536"), "--port"),
        (("--role", "shield"), "--role"),
        (("--region", "EU West"), "no region group"),
        (("--region", ""), "no region group"),
        (("--pathway", "https://a.example"), "is not ID=URL"),
        (("--pathway", "=https://a.example"), "is not ID=URL"),
        (("--pathway", "a/b=https://a.example"), "is not ID=URL"),
        (("--pathway", "é=https://a.example"), "is not ID=URL"),
        (("--pathway", f"{'x' * 65}=https://a.example"), "is not ID=URL"),
        (("--pathway", "a=ftp://a.example"), "is not ID=URL"),
        (("--pathway", "a=https://a.example:port"), "is not ID=URL"),
        (("--pathway", "a=https://a.example:70000"), "is not ID=URL"),
        (("--pathway", "a=https://[::1"), "is not ID=URL"),
        (("--pathway", "a=https://"), "is not ID=URL"),
        (("--pathway", "a=https://a.example", "--pathway", "a=https://b.example"), "the same id"),
    ],
)
def test_an_option_that_cannot_be_is_refused_before_anything_is_made(words, complaint):
    refused = CliRunner().invoke(serve_command, words)  # with no wiring to make anything of

    assert refused.exit_code != 0
    assert complaint in f"{refused.output} {refused.exception}"


@pytest.mark.parametrize("option", ["--public-url", "--license-base", "--router-url"])
@pytest.mark.parametrize("url", ["keys", "ftp://a.example", "https://a.example/?b", 'https://a"b'])
def test_a_base_of_urls_that_is_none_is_refused_before_anything_is_served(option, url, serve):
    server = serve("--port", "0", option, url)

    _, said = server.process.communicate(timeout=END_S)

    assert server.process.returncode == 1
    assert said.startswith(f"error: {option} ")
    assert "hint: such as https://" in said
    assert "serving" not in said.partition("\n")[0]
