"""`tonearm demo` as a process: started, waited for, interrupted, and looked for afterwards."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port

START_S = 240
"""For the page to answer and for all masters to be ready, on a busy machine."""
STOP_S = 30
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo that runs, or ran."""

    process: subprocess.Popen[bytes]
    home: Path
    port: int
    out: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port + 1}/"

    @property
    def said(self) -> str:
        return self.out.read_text()

    def state(self):
        """What the page is told of tracks."""
        with urllib.request.urlopen(f"{self.url}demo/tracks", timeout=10) as answer:
            return json.load(answer)

    def wait_until(self, done):
        deadline_s = time.monotonic() + START_S
        while not done(self):
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline_s, self.said
            time.sleep(POLL_S)

    def interrupt(self) -> int:
        """As Ctrl-C does, but for this process alone; its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_S)

    def left_running(self):
        """Processes with the home among their arguments."""
        running = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_bytes()
                if str(self.home).encode() in command:
                    running.append(command)
        return running


def opened(demo):
    """Whether the page is announced."""
    return re.search(r"^page +\S+$", demo.said, re.MULTILINE)


def prepared(demo):
    """Whether all is made that is to be made."""
    return opened(demo) and not demo.state()["stage"]


def start(folder, *arguments, home=None, port=None, sigint=signal.SIG_DFL):
    """The process; *sigint* is what whoever starts it does with that signal."""
    folder.mkdir(parents=True, exist_ok=True)
    home = home or folder / "home"
    port = port or free_port("127.0.0.1", "127.0.0.2", following=2)
    out = folder / "out.txt"
    command = [sys.executable, "-m", "cli", "--home", str(home), "demo", "--no-open"]
    before = signal.signal(signal.SIGINT, sigint)  # handed down to the process
    with out.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--port", str(port), *map(str, arguments)],
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    signal.signal(signal.SIGINT, before)
    return Demo(process, home, port, out)


@contextlib.contextmanager
def running(folder, *arguments, **options):
    """A demo that is prepared; it must end cleanly."""
    demo = start(folder, *arguments, **options)
    try:
        demo.wait_until(prepared)
        yield demo
    finally:
        code = demo.interrupt()
    assert code == 130, demo.said
    assert "Traceback" not in demo.said
