"""SIGKILL at random moments of an ingest: nothing half-published, nothing done twice.

Every other kill hits a run that would replace a generation, the rest runs of a new track. The
last kill of a seed is aimed: it comes when a rung is encoded, so that there is something to resume.
After each one we look at what a listener would see, then let the next run finish. Processes are
forked from a server that has imported everything: moments are spent on the work, not on imports.
"""

import contextlib
import io
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from core.catalogue import Catalogue
from core.home import Home
from core.keysource import KeyRequest
from core.model import Scheme, Tier
from core.storage.local import LocalStore
from keyserver.vault import Vault
from packager.cmaf.verify import verify_file
from packager.manifest.presentation import decode
from tests.ingest.conftest import music, write_wav

KILLS_A_SEED = 5
MAX_ATTEMPTS = 12
"""Runs; one that ends before its kill does not count."""
SEEDS = [
    *range(2),
    *(pytest.param(seed, marks=pytest.mark.ci) for seed in range(2, 10)),
    *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(10, 200)),
]
"""10 kills in `make test`, 50 in CI, 1,000 in all."""
SECONDS = 4
WAIT_LIMIT_S = 60
PRELOAD = [
    "cli",
    "ingest.run.schedule",
    "ingest.run.display",
    "keyserver.vault",
    "av",
    "ffmpeg",
    __name__,
]


def run_cli(arguments, results):
    """Run the command line in this forked process; its output goes to *results*."""
    import cli  # noqa: PLC0415 - loaded by the fork server

    os.setsid()
    sys.argv = ["tonearm", *arguments]
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            cli.main()
    finally:
        Path(results).write_text(output.getvalue())


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


class Site:
    """A home, the runs in it, and what can be seen of it from outside."""

    def __init__(self, processes, folder):
        self.processes = processes
        self.master = write_wav(folder / "master.wav", music(SECONDS))
        self.home = Home(folder / "home")
        self.results = folder / "results.jsonl"

    def start(self, track, title):
        arguments = ["--home", str(self.home.path), "ingest", str(self.master), "--json"]
        arguments += ["--track-id", track, "--title", title, "--scheme", "both"]
        process = self.processes.Process(target=run_cli, args=(arguments, str(self.results)))
        process.start()
        return process

    def finish(self, track, title):
        """Run to the end; the outcome."""
        process = self.start(track, title)
        process.join(WAIT_LIMIT_S)
        assert process.exitcode == 0
        return json.loads(self.results.read_text())

    def finished_rungs(self):
        """Rungs with a mark: encoded and checked by a run that is dead now."""
        return {path.stem for path in self.home.work_dir.glob("*/*.done")}

    def kill_at_first_rung(self, process):
        """SIGKILL *process* once a rung is encoded; False if it ended before that was seen."""
        while process.is_alive() and not self.finished_rungs():
            time.sleep(0.002)
        return kill_after(process, 0)

    async def look(self, track):
        """The generation a listener gets, after checking all that is visible of the track."""
        catalogue = Catalogue.open(self.home.catalogue_url)
        try:
            entry = catalogue.get(track)
            kept = set(catalogue.generations_kept(track))
        finally:
            catalogue.close()
        store = LocalStore(self.home.path / "hot")
        keys = [info.key async for info in store.list(f"tracks/{track}/")]
        for key in (key for key in keys if key.endswith("/presentation.json")):
            await self._plays(track, decode(await store.get(key)), store)
        if entry is not None:
            prefix = f"tracks/{track}/{entry.entry.generation}/"
            assert f"{prefix}presentation.json" in keys
        hidden = {key.split("/")[2] for key in keys} - kept
        return entry and entry.entry.generation, hidden

    async def _plays(self, track, presentation, store):
        """Every file is there and decrypts to what the encoder made."""
        vault = self._vault()
        try:
            request = KeyRequest(track, tuple(Tier), tuple(Scheme))
            keys = {key.description.kid: key for key in vault.keys(request)}
        finally:
            vault.close()
        for rendition in presentation.renditions:
            for file in rendition.files:
                verify_file(await store.get(file.key), rendition, file, keys[file.kid])

    def _vault(self):
        ring = self.home.keyring
        return Vault.open(self.home.keys_path, ring.secret("root"), ring.secret("kid"))


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_kill_at_any_moment_leaves_the_old_generation_and_the_next_run_completes(
    processes, tmp_path, seed
):
    site, rng = Site(processes, tmp_path), random.Random(seed)
    site.finish("warm", "up")
    began = time.monotonic()
    current = site.finish("song", "0")["generation"]
    usual_s = time.monotonic() - began
    kills = 0
    for attempt in range(1, MAX_ATTEMPTS + 1):
        replaces = attempt % 2 == 0
        track = "song" if replaces else f"song-{attempt}"
        before = current if replaces else None
        process = site.start(track, str(attempt))
        aimed = kills == KILLS_A_SEED - 1
        if aimed:
            killed = site.kill_at_first_rung(process)
        else:
            # The end of a run is short and delicate: half of the kills go there.
            share = rng.uniform(0, 1) if attempt % 4 < 2 else rng.uniform(0.6, 1)
            began = time.monotonic()
            killed = kill_after(process, share * usual_s)
            if not killed:  # it ended before: a run is quicker now than the first one was
                usual_s = time.monotonic() - began
        found, _ = await site.look(track)
        done = site.finished_rungs()
        kills += killed and (bool(done) or not aimed)

        outcome = site.finish(track, str(attempt))

        assert found in (before, outcome["generation"])
        assert done.isdisjoint(outcome.get("encoded", []))
        after, orphans = await site.look(track)
        assert after == outcome["generation"]
        assert orphans == set()
        assert list(site.home.work_dir.iterdir()) == []
        current = outcome["generation"] if replaces else current
        if kills == KILLS_A_SEED:
            break
    assert kills == KILLS_A_SEED
    assert ours_that_run(site.home.path) == []


def kill_after(process, seconds):
    """SIGKILL *process* then; False if it had ended."""
    process.join(seconds)
    process.kill()
    process.join(WAIT_LIMIT_S)
    return process.exitcode == -signal.SIGKILL


def ours_that_run(home):
    """Command lines of processes that still work below *home*; dying ones get a moment."""
    for _ in range(100):
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if f"{home}/work" in line:
                    found.append(line)
        if not found:
            return []
        time.sleep(0.1)
    return found
