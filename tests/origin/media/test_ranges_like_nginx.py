"""An independent implementation, nginx, answers range requests for the same bytes alike.

Left out is what the two may do differently: HEAD with Range (nginx sends 206, against RFC 9110,
14.2), malformed fields (nginx 416, ours ignored; both allowed) and merging of ranges.
"""

import asyncio
import shutil
import socket
import subprocess
import time

import pytest

from core.model import DrmProfile
from tests.origin.raw_http import raw_request

NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
READY_TIMEOUT_S = 10.0


class _Peer:
    """Where nginx listens, in the form that `raw_request` takes."""

    def __init__(self, port):
        self.host, self.port = "127.0.0.1", port


@pytest.fixture
def nginx(tmp_path):
    if NGINX is None:
        pytest.skip("nginx is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log stderr crit; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p;"
        f" fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u;"
        f" scgi_temp_path {tmp_path}/s;"
        f" server {{ listen 127.0.0.1:{port}; root {tmp_path}/www; }} }}\n"
    )
    (tmp_path / "www").mkdir()
    process = subprocess.Popen(
        [NGINX, "-e", "stderr", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    )
    end_s = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < end_s:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.02)
    yield _Peer(port), tmp_path / "www"
    process.terminate()
    process.wait(10)


def fields_of(head):
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}


async def test_nginx_and_the_origin_agree_on_ranges(house, nginx):
    peer, folder = nginx
    file = house.presentation.rendition("aac-160k").file(DrmProfile.CBCS)
    body = house.bodies[file.key]
    (folder / "whole").write_bytes(body)
    size = len(body)
    ours, theirs = house.path("aac-160k.mp4"), "/whole"
    etags = [fields_of((await raw_request(who, path, method="HEAD"))[0])["etag"]
             for who, path in ((house.client, ours), (peer, theirs))]  # fmt: skip
    ranges = [
        "bytes=0-0", "bytes=0-99", "bytes=100-", f"bytes={size - 1}-", f"bytes={size}-", "bytes=-1",
        "bytes=-0", f"bytes=-{size}", f"bytes=-{size + 9}", f"bytes=5-{size * 2}", "items=0-5",
        f"bytes={size}-,0-4", "bytes=0-1,10-19", f"bytes={size}-,{size + 5}-",
    ]  # fmt: skip
    conditions = [
        "X: y", "If-Range: TAG", 'If-Range: "other"', "If-Range: Tue, 24 Nov 2020 00:00:00 GMT",
        "If-None-Match: TAG", "If-None-Match: W/TAG", "If-None-Match: *", 'If-None-Match: "other"',
        "If-Match: TAG", "If-Match: *", 'If-Match: "other"', 'If-Match: "other", TAG',
    ]  # fmt: skip
    for field in ranges:
        for condition in conditions:
            lines = [[f"Range: {field}", condition.replace("TAG", etag)] for etag in etags]
            mine, other = await asyncio.gather(
                raw_request(house.client, ours, lines[0]), raw_request(peer, theirs, lines[1])
            )
            case = (field, condition)
            assert mine[0].split()[1] == other[0].split()[1], case
            status, fields = int(mine[0].split()[1]), fields_of(mine[0])
            assert fields.get("content-range") == fields_of(other[0]).get("content-range"), case
            if status in (200, 206) and "multipart" not in fields["content-type"]:
                assert mine[1] == other[1], case
