"""`tonearm serve --role router` and `tonearm router show`, as an operator runs them."""

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from cdn_router.router import Limits
from tests.ports import free_port


def _tonearm(*arguments):
    return [sys.executable, "-m", "cli", *arguments]


@pytest.fixture
def router_url(tmp_path):
    """A router in a process of its own."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    pathways = ["--pathway", f"one={url}", "--pathway", f"two=http://127.0.0.1:{port}"]
    command = _tonearm("--home", str(tmp_path), "serve", "--role", "router", "--port", str(port))
    command += ["--probe-interval", "0.1", "--routing-epoch", "0.25"]
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

    assert told["epochSeconds"] == 0.25
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


@pytest.mark.parametrize(
    "option", ["--probe-interval=0.05", "--probe-interval=61", "--routing-epoch=0.2"]
)
def test_a_clock_out_of_bounds_is_refused_before_anything_is_served(tmp_path, option):
    command = _tonearm("--home", str(tmp_path / "home"), "serve", "--role", "router", option)
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert result.returncode == 2
    assert "is not in the range" in result.stderr
    assert not (tmp_path / "home").exists()


def test_the_page_tells_the_clock_that_is_kept_without_options():
    page = (Path(__file__).parents[2] / "docs" / "routing.md").read_text()
    limits = Limits()

    assert f"Every {limits.probe_interval_s:g} s (`--probe-interval`)" in page
    assert f"at most every {limits.epoch_s:g} s (`--routing-epoch`" in page


def test_where_no_router_answers_that_is_said_in_words():
    done = _show("--url", f"http://127.0.0.1:{free_port()}")

    assert done.returncode == 1
    assert done.stderr.splitlines()[0].endswith(": Connection refused")
    assert "urlopen" not in done.stderr


def test_a_region_that_the_router_does_not_know_is_an_error(router_url):
    done = _show("--url", router_url, "--region", "nowhere")

    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no region nowhere\n")
