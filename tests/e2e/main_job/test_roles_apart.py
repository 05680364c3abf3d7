"""Each role as a process of its own: the same service, over the network."""

import json
import signal
import subprocess
import sys
import time
from base64 import b64decode, urlsafe_b64encode
from contextlib import ExitStack, contextmanager

import imageio_ffmpeg
import pytest

from core.ids import read_base64url
from core.key_exchange import DIGEST
from tests.faults.recorder import Recorder
from tests.ports import free_port

READY_S = 30


@contextmanager
def _role(home, log, *arguments):
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "--home", str(home), "serve", *arguments], stderr=stderr
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0


ROLES = ("origin", "keyserver", "router")


@pytest.fixture
def ports():
    """Of each role, before it runs."""
    return {name: free_port("127.0.0.1", "127.0.0.2") for name in ROLES}


@pytest.fixture
def recorders(ports):
    """In front of each role: what comes to it from whoever is told of the recorder."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(Recorder(("127.0.0.1", port))) for name, port in ports.items()
        }


@pytest.fixture
def apart(service, http, tmp_path, ports, recorders):
    """URLs of an origin, a key server and a router that share nothing but the home."""
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    pathways = [
        f"--pathway=left=http://127.0.0.1:{ports['origin']}",
        f"--pathway=right=http://127.0.0.2:{ports['origin']}",
    ]
    more = {
        "keyserver": [],
        "router": pathways,
        "origin": [
            *pathways, "--host=127.0.0.1", "--host=127.0.0.2", "--workers=2",
            f"--router-url={recorders['router'].url}",
            f"--license-base={recorders['keyserver'].url}",
        ],
    }  # fmt: skip
    with ExitStack() as stack:
        for name, arguments in more.items():
            log = tmp_path / f"{name}.log"
            process = stack.enter_context(
                _role(service.home.path, log, f"--role={name}", f"--port={ports[name]}", *arguments)
            )
            deadline_s = time.monotonic() + READY_S
            while True:
                assert process.poll() is None, log.read_text()
                try:
                    if http(f"{urls[name]}/readyz").status == 200:
                        break
                except OSError:
                    pass
                assert time.monotonic() < deadline_s, log.read_text()
                time.sleep(0.1)
        yield urls


def _ask_licence(session, key, http):
    kid = urlsafe_b64encode(key.kid.bytes).rstrip(b"=").decode()
    return http(
        session["license"]["clearkey"]["url"],
        method="POST",
        headers={"Authorization": f"Bearer {session['license']['token']}"},
        body=json.dumps({"kids": [kid], "type": "temporary"}).encode(),
    )


def test_a_track_plays_with_every_role_in_its_own_process(service, apart, recorders, http):
    session = service.start("night-drive", url=apart["origin"])

    manifest = http(session["manifests"]["hls"])
    folder = session["manifests"]["hls"].rsplit("/", 1)[0]
    segment = http(f"{folder}/aac-96k/1.m4s")
    key = service.tracks["night-drive"].keys[0]
    licence = _ask_licence(session, key, http)

    assert {p["id"] for p in session["pathways"]} == {"left", "right"}
    assert (manifest.status, segment.status) == (200, 200)
    assert session["license"]["clearkey"]["url"].startswith(recorders["keyserver"].url)
    assert [read_base64url(k["kid"]) for k in licence.json()["keys"]] == [key.kid.bytes]


def test_every_role_tells_its_health_and_its_numbers(apart, http):
    for url in apart.values():
        assert http(f"{url}/healthz").status == 200
        assert b"http_requests_total" in http(f"{url}/metrics").body


def test_a_role_answers_for_nothing_but_itself(apart, http):
    assert http(f"{apart['keyserver']}/v1/play/start", method="POST").status == 404
    assert http(f"{apart['origin']}/v1/license/clearkey", method="POST").status == 404


def test_a_packager_elsewhere_gets_the_same_keys_over_the_network(service, apart, tonearm):
    master = service.masters["long-way-1"]

    done = tonearm(
        service.home.path, "--key-source", apart["keyserver"], "ingest", "--scheme", "both",
        "--lossless", "--json", master,
    )  # fmt: skip

    line = json.loads(done.stdout)
    assert line["generation"] == service.tracks["long-way-1"].generation


def test_encoded_files_are_packaged_with_keys_from_the_network(service, apart, tonearm, tmp_path):
    tone = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", "sine=d=2:r=48000"]
    subprocess.run([*tone, "-c:a", "aac", str(tmp_path / "tone.mp4")], check=True, timeout=60)

    done = tonearm(
        service.home.path, "package", tmp_path / "tone.mp4", "--output", tmp_path / "out",
        "--key-source", apart["keyserver"], "--track-id", "long-way-1", "--json",
    )  # fmt: skip

    [row] = json.loads(done.stdout)["renditions"]
    keys = service.tracks["long-way-1"].keys
    assert row["kid"]["cbcs"] in {str(k.kid) for k in keys if k.tier == row["tier"]}


def _bearers(recorder, path):
    """What was sent as a bearer token to *path*; there is some."""
    sent = {r.headers.get("authorization", "") for r in recorder.requests() if r.target == path}
    assert sent, f"nobody asked {path}"
    return [value.removeprefix("Bearer ") for value in sorted(sent)]


@pytest.fixture
def recorded(service, apart, recorders, tonearm, http):  # noqa: ARG001  the roles must run
    """What passed while a master was ingested and its track was started, read and licensed.

    The tokens that were seen, by what they are; and the content keys that were handed out.
    """
    track_id = "long-way-1"
    tonearm(
        service.home.path, "--key-source", recorders["keyserver"].url, "ingest", "--scheme", "both",
        "--lossless", "--json", service.masters[track_id],
    )  # fmt: skip
    session = service.start(track_id, url=recorders["origin"].url)
    manifest = session["manifests"]["hls"].replace(
        session["pathways"][0]["baseUrl"], recorders["origin"].url
    )
    assert http(manifest).status == 200
    assert http(f"{manifest.rsplit('/', 1)[0]}/aac-96k/1.m4s").status == 200
    assert _ask_licence(session, service.tracks[track_id].keys[0], http).status == 200

    [operator] = _bearers(recorders["keyserver"], "/v1/keys")
    [choice] = _bearers(recorders["router"], "/v1/router/choose")
    [user] = _bearers(recorders["origin"], "/v1/play/start")
    [playback] = _bearers(recorders["keyserver"], "/v1/license/clearkey")
    tokens = {"operator": operator, "choice": choice, "user": user, "playback": playback}
    assert playback == session["license"]["token"]
    [answer] = [a for a in recorders["keyserver"].answers() if DIGEST.lower() in a.headers]
    keys = [read_base64url(key["key"]) for key in json.loads(answer.body)["keys"]]
    return session, tokens | {"url": session["token"]}, keys


DOORS = {
    "keys": ("keyserver", "/v1/keys", {"trackId": "t", "tiers": ["low"], "schemes": ["cbcs"]}),
    "licence": ("keyserver", "/v1/license/clearkey", {"kids": ["{kid}"], "type": "temporary"}),
    "choose": ("router", "/v1/router/choose", {"sessionId": "s", "region": "ww", "trackId": "t"}),
    "report": ("router", "/v1/rum", {"pathway": "left", "rttMs": 12, "firstByteMs": 40}),
    "start": ("origin", "/v1/play/start", {"trackId": "night-drive", "deviceId": "device-1"}),
    "heartbeat": (
        "origin", "/v1/play/heartbeat", {"sessionId": "{session}", "seq": 1, "positionMs": 0}
    ),
}  # fmt: skip
OPENED_BY = {
    "keys": "operator",
    "licence": "playback",
    "choose": "choice",
    "report": "playback",
    "start": "user",
    "heartbeat": "playback",
}


def test_what_a_role_is_shown_opens_no_door_but_its_own(service, apart, recorded, http):
    session, tokens, _ = recorded
    kid = urlsafe_b64encode(service.tracks["long-way-1"].keys[0].kid.bytes).rstrip(b"=").decode()
    wrong = {}

    for door, (role, path, body) in DOORS.items():
        text = json.dumps(body).replace("{kid}", kid).replace("{session}", session["sessionId"])
        for name, token in tokens.items():
            answer = http(
                f"{apart[role]}{path}",
                method="POST",
                headers={
                    "Authorization": f"Bearer {token}",
                    "Content-Type": "application/json",
                    "Idempotency-Key": f'"{name}-{door}-0123456789"',
                },
                body=text.encode(),
            )
            opened = answer.status in (200, 202)
            if opened != (OPENED_BY[door] == name) or not (opened or answer.status == 401):
                wrong[name, door] = answer.status, answer.body

    assert not wrong


def test_only_the_url_token_opens_urls(apart, recorded, http):
    session, tokens, _ = recorded
    manifest = session["manifests"]["hls"]
    assert session["token"] in manifest
    for name, token in tokens.items():
        status = 200 if name == "url" else 403

        assert http(manifest.replace(session["token"], token)).status == status, name
        assert http(f"{apart['router']}/v1/steering/hls?session={token}").status == status, name


def test_secrets_pass_where_they_must_and_nowhere_else(service, recorders, recorded):
    _, tokens, keys = recorded
    places = {  # the role in front of which, and whether the client sent it
        "operator": {("keyserver", True)},
        "choice": {("router", True)},
        "user": {("origin", True)},
        "playback": {("origin", False), ("keyserver", True)},
        "url": {("origin", True), ("origin", False)},
    }

    def seen(secret):
        return {
            (role, place.sent)
            for role, recorder in recorders.items()
            for place in recorder.places_of(secret)
        }

    assert {name: seen(token) for name, token in tokens.items()} == places
    assert len(keys) == 8
    assert all(seen(key) == {("keyserver", False)} for key in keys)
    ring = json.loads((service.home.path / "keyring.json").read_text())
    assert {"root", "kid", "operator", "playback", "user", "url-token"} <= set(ring)
    assert not any(seen(b64decode(secret)) for secret in ring.values())
