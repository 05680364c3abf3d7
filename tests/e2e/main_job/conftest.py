"""One service for all end-to-end tests: masters that were ingested, and every role, by commands."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from core.grants import User, sign_user
from core.home import Home
from core.model import Presentation, Tier
from packager.manifest import presentation
from tests.faults.link_relay import Link, LinkRelay
from tests.once import made_once
from tests.ports import free_port

MASTER_SECONDS = 24
COMMAND_TIMEOUT_S = 300
READY_TIMEOUT_S = 30
STOP_TIMEOUT_S = 15
FAST_CLOCK = ("--probe-interval", "0.25", "--routing-epoch", "0.25")
"""A pathway that degrades is left within seconds, and nobody waits for more than players take."""
NEAR = Link(rtt_s=0.006)
FAR = Link(rtt_s=0.08)


def _tonearm(home, *arguments, check=True):
    """Run the command line as a user does; its stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", "--home", str(home), *map(str, arguments)],
        capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False,
    )  # fmt: skip
    if check:
        assert done.returncode == 0, done.stderr
    return done


class Links:
    """Two pathways to one server, which tests make longer."""

    def __init__(self, port, server):
        self.near = LinkRelay(server, NEAR, host="127.0.0.1", port=port)
        self.far = LinkRelay(server, FAR, host="127.0.0.2", port=port)

    def reset(self):
        self.near.link, self.far.link = NEAR, FAR


@dataclass
class Answer:
    """An HTTP answer, whatever its status."""

    status: int
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)


def _http(url, *, method="GET", headers=None, body=None):
    """A request with a real client; error statuses are answers, too."""
    request = urllib.request.Request(url, method=method, headers=headers or {}, data=body)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return Answer(response.status, dict(response.headers), response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read())


@dataclass
class Service:
    """A running tonearm and what a client needs to know of it."""

    home: Home
    port: int
    url: str
    masters: dict[str, Path]
    links: Links
    log: Path
    tracks: dict[str, Presentation] = field(default_factory=dict)

    def user(self, tier="high"):
        user = User("listener-1", Tier(tier), "ww")
        secret = self.home.keyring.secret("user")
        return sign_user(user, secret, now_s=int(time.time()), ttl_s=600)

    def start(self, track_id, *, tier="high", scheme="cbcs", hint="auto", url=None):
        """POST /v1/play/start; the answer's JSON."""
        body = {"trackId": track_id, "deviceId": "device-1", "qualityHint": hint, "scheme": scheme}
        answer = _http(
            f"{url or self.url}/v1/play/start",
            method="POST",
            headers={
                "Authorization": f"Bearer {self.user(tier)}",
                "Content-Type": "application/json",
                "Idempotency-Key": f'"{uuid.uuid4()}"',
            },
            body=json.dumps(body).encode(),
        )
        assert answer.status == 200, answer.body
        return answer.json()


@pytest.fixture(name="http")
def http_client():
    """``http(url, method=, headers=, body=)`` gives an `Answer`."""
    return _http


@pytest.fixture(name="tonearm")
def command_line():
    """``tonearm(home, *arguments, check=True)`` runs a command."""
    return _tonearm


def _ingest(folder):
    """Masters, a home and what `ingest` told of it, below *folder*, by the commands of users."""
    subprocess.run(
        [sys.executable, "-m", "ingest.master.synthesis", folder / "masters",
         "--seconds", str(MASTER_SECONDS)],
        check=True, timeout=COMMAND_TIMEOUT_S, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    masters = sorted((folder / "masters").iterdir())
    done = _tonearm(folder / "home", "ingest", "--scheme", "both", "--lossless", "--json", *masters)
    assert len(done.stdout.splitlines()) == len(masters)
    (folder / "ingested.jsonl").write_text(done.stdout)


def _linked(home, copy):
    """A home with the same tracks: objects never change and are linked, the rest is copied."""
    objects = home / "hot"
    shutil.copytree(home, copy, ignore=lambda folder, _: ["hot"] if Path(folder) == home else [])
    shutil.copytree(objects, copy / "hot", copy_function=os.link)


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    """A server of this worker's own, on a home of its own; the tracks in it are ingested once."""
    made = made_once(tmp_path_factory, "service", _ingest)
    folder = tmp_path_factory.mktemp("service")
    _linked(made / "home", folder / "home")
    home = Home(folder / "home")
    masters = {p.stem: p for p in sorted((made / "masters").iterdir())}
    ingested = [json.loads(line) for line in (made / "ingested.jsonl").read_text().splitlines()]
    port, server_port = free_port("127.0.0.1", "127.0.0.2"), free_port()
    log = folder / "server.log"
    with log.open("wb") as stderr:
        server = subprocess.Popen(
            [sys.executable, "-m", "cli", "--home", str(home.path), "serve",
             "--port", str(server_port), "--steering-ttl", "5", *FAST_CLOCK,
             "--pathway", f"near=http://127.0.0.1:{port}",
             "--pathway", f"far=http://127.0.0.2:{port}"],
            stderr=stderr,
        )  # fmt: skip
    url = f"http://127.0.0.1:{server_port}"
    links = Links(port, ("127.0.0.1", server_port))
    try:
        _until_ready(server, url, log)
        with links.near, links.far:
            service = Service(home, port, url, masters, links, log)
            for line in ingested:
                track_id, generation = line["trackId"], line["generation"]
                path = home.path / "hot/tracks" / track_id / generation / "presentation.json"
                service.tracks[track_id] = presentation.decode(path.read_bytes())
            yield service
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            assert server.wait(STOP_TIMEOUT_S) == 0
        finally:
            server.kill()
        shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _even_pathways(request):
    """Every test begins with healthy pathways."""
    if "service" in request.fixturenames:
        request.getfixturevalue("service").links.reset()


def _until_ready(server, url, log):
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline_s:
        assert server.poll() is None, log.read_text()
        try:
            if _http(f"{url}/readyz").status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    pytest.fail(f"not ready after {READY_TIMEOUT_S} s: {log.read_text()}")


def pytest_configure():
    # the commands under test run in the checkout, whatever folder pytest was started in
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[3])
