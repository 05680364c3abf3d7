"""Each role as a process of its own: the same service, over the network."""

import json
import signal
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from contextlib import ExitStack, contextmanager

import imageio_ffmpeg
import pytest

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


@pytest.fixture
def apart(service, http, tmp_path):
    """URLs of an origin, a key server and a router that share nothing but the home."""
    ports = {
        name: free_port("127.0.0.1", "127.0.0.2") for name in ("origin", "keyserver", "router")
    }
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    pathways = [
        f"--pathway=left=http://127.0.0.1:{ports['origin']}",
        f"--pathway=right=http://127.0.0.2:{ports['origin']}",
    ]
    more = {
        "keyserver": [],
        "router": pathways,
        "origin": [
            *pathways, "--host=127.0.0.1", "--host=127.0.0.2", f"--router-url={urls['router']}",
            f"--license-base={urls['keyserver']}", "--workers=2",
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


def test_a_track_plays_with_every_role_in_its_own_process(service, apart, http):
    session = service.start("night-drive", url=apart["origin"])

    manifest = http(session["manifests"]["hls"])
    folder = session["manifests"]["hls"].rsplit("/", 1)[0]
    segment = http(f"{folder}/aac-96k/1.m4s")
    key = service.tracks["night-drive"].keys[0]
    kid = urlsafe_b64encode(key.kid.bytes).rstrip(b"=").decode()
    licence = http(
        session["license"]["clearkey"]["url"],
        method="POST",
        headers={"Authorization": f"Bearer {session['license']['token']}"},
        body=json.dumps({"kids": [kid], "type": "temporary"}).encode(),
    )

    assert {p["id"] for p in session["pathways"]} == {"left", "right"}
    assert (manifest.status, segment.status) == (200, 200)
    assert session["license"]["clearkey"]["url"].startswith(apart["keyserver"])
    assert [k["kid"] for k in licence.json()["keys"]] == [kid]


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
