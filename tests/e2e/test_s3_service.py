"""The whole service on a real S3 server: hot through `s3://`, cold through `minio://`."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from core.grants import User, sign_user
from core.home import Home
from core.model import Tier
from tests.core.conftest import seaweedfs  # noqa: F401  the server of the store tests
from tests.ports import free_port

LIMIT_S = 120
READY_S = 30


@pytest.fixture
def run(seaweedfs, tmp_path):  # noqa: F811  pytest's way to name a fixture
    """Start a command on stores in SeaweedFS; its home and the process."""
    hot, cold = seaweedfs.bucket(), seaweedfs.bucket()
    environment = os.environ | seaweedfs.access | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "TONEARM_HOME": str(tmp_path / "home"),
        "TONEARM_STORE": f"s3://{hot}/music?endpoint={seaweedfs.endpoint}",
        "TONEARM_COLD_STORE": f"minio://{seaweedfs.host}/{cold}/archive?secure=0",
    }  # fmt: skip

    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "cli", *map(str, arguments)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


def _finish(process):
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    return out


def _get(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
        return answer.read()


def _start(url, home, track_id):
    token = sign_user(
        User("u", Tier.HIGH, "ww"), home.keyring.secret("user"), now_s=int(time.time()), ttl_s=60
    )
    request = urllib.request.Request(
        f"{url}/v1/play/start",
        data=json.dumps({"trackId": track_id, "deviceId": "d", "qualityHint": "auto"}).encode(),
        headers={"Authorization": f"Bearer {token}", "Idempotency-Key": '"one"',
                 "Content-Type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


@pytest.fixture
def server(run):
    port = free_port()
    process = run("serve", "--port", port)
    url = f"http://127.0.0.1:{port}"
    deadline_s = time.monotonic() + READY_S
    while True:
        assert process.poll() is None, process.stderr.read()
        try:
            _get(f"{url}/readyz")
            break
        except OSError:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
    yield url
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)


def test_a_track_is_ingested_into_served_from_and_tiered_between_buckets(run, server, tmp_path):
    home = Home(tmp_path / "home")
    masters = tmp_path / "masters"
    subprocess.run(
        [sys.executable, "-m", "ingest.master.synthesis", masters, "--seconds", "16"],
        check=True, timeout=LIMIT_S, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    ingested = json.loads(_finish(run("ingest", "--json", masters / "night-drive.wav")))
    again = json.loads(_finish(run("ingest", "--json", masters / "night-drive.wav")))
    folder = _start(server, home, "night-drive")["manifests"]["hls"].rsplit("/", 1)[0]

    def heard():
        body = b"".join(_get(f"{folder}/aac-160k/{n}.m4s") for n in range(1, 5))
        return hashlib.sha256(_get(f"{folder}/aac-160k/init.mp4") + body).hexdigest()

    hot = heard()
    whole = _get(f"{folder}/aac-160k.mp4")
    _finish(run("tier", "demote", "night-drive"))
    status = json.loads(_finish(run("tier", "status", "night-drive", "--json")))
    from_cold = heard()
    _finish(run("tier", "promote", "night-drive"))

    assert (ingested["status"], again["status"]) == ("published", "unchanged")
    assert again["generation"] == ingested["generation"]
    assert status["tail"] == "cold"
    assert from_cold == hot == heard()
    assert _get(f"{folder}/aac-160k.mp4", Range="bytes=100-199") == whole[100:200]
    assert not (home.path / "hot").exists()
