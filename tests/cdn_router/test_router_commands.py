"""`tonearm serve --role router` and `tonearm router show`, as an operator runs them."""

import json
import socket
import subprocess
import sys
import time
import urllib.request

import pytest


def _tonearm(*arguments):
    return [sys.executable, "-m", "cli", *arguments]


@pytest.fixture
def router_url(tmp_path):
    """A router in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    pathways = ["--pathway", f"one={url}", "--pathway", f"two=http://127.0.0.1:{port}"]
    command = _tonearm("--home", str(tmp_path), "serve", "--role", "router", "--port", str(port))
    process = subprocess.Popen([*command, *pathways], stderr=subprocess.PIPE)
    try:
        for _ in range(200):
            assert process.poll() is None, process.stderr.read().decode()
            try:
                urllib.request.urlopen(f"{url}/healthz", timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(15)
        process.stderr.close()
    assert process.returncode == 0


def _show(*arguments):
    return subprocess.run(
        _tonearm("router", "show", *arguments),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_running_router_explains_itself(router_url):
    deadline_s = time.monotonic() + 15
    while True:
        told = json.loads(_show("--url", router_url, "--json").stdout)
        if told["regions"][0]["order"]:
            break
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
    table = _show("--url", router_url, "--region", "ww")

    assert {p["pathway"] for p in told["regions"][0]["pathways"]} == {"one", "two"}
    assert table.returncode == 0
    assert "ww: " in table.stdout
    assert "breaker" in table.stdout


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://x", "nonsense"])
def test_no_router_is_one_line_and_a_hint(url):
    result = _show("--url", url)

    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "hint: " in result.stderr
    assert "Traceback" not in result.stderr
