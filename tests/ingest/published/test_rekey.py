"""`tonearm keys rotate`: new keys for what is published, and nothing else new."""

import asyncio
import contextlib
import dataclasses
import hashlib
import io
import json
import subprocess
import sys
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor

import av
import pytest

from core.catalogue import Catalogue
from core.errors import ConflictError, IntegrityError
from core.grants import PlaybackGrant, sign_playback
from core.home import Home
from core.keysource import KeyRequest
from core.model import DrmProfile, Tier
from core.storage.local import LocalStore
from core.telemetry import Metrics, open_log
from core.web import create_app
from ingest.published.rekey import Rekeying, rotate
from keyserver.app import KeyServer, setup
from keyserver.vault import Vault
from packager.cmaf.reopen import reopen
from packager.cmaf.verify import verify_file
from packager.manifest.presentation import decode
from tests.ingest.conftest import ROOT
from tests.packager.conftest import decrypt_by_shaka

TRACK = "gbaye0000001"
NOW = 1_800_000_000
PLAYBACK = b"p" * 32


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def opened_vault(home):
    ring = home.keyring
    vault = Vault.open(home.keys_path, ring.secret("root"), ring.secret("kid"))
    return contextlib.closing(vault)


def current(home):
    with contextlib.closing(Catalogue.open(home.catalogue_url)) as catalogue:
        generation = catalogue.get(TRACK).entry.generation
    return described(home, generation)


def described(home, generation):
    return decode((hot(home) / f"tracks/{TRACK}/{generation}/presentation.json").read_bytes())


def hot(home):
    return home.path / "hot"


def keys_of(home, presentation):
    tiers = tuple({k.tier for k in presentation.keys})
    schemes = tuple({k.scheme for k in presentation.keys})
    with opened_vault(home) as vault:
        found = vault.keys(KeyRequest(TRACK, tiers, schemes, presentation.keys[0].period))
    return {key.description.kid: key for key in found}


def shaka_packets(path, key, clear):
    """Hashes of the packets that Shaka Packager finds in a file, given its key."""
    decrypt_by_shaka(path, key, clear)
    with av.open(str(clear)) as container:
        return [hashlib.md5(bytes(p)).hexdigest() for p in container.demux(audio=0) if p.size]


def test_a_rotation_gives_new_files_of_the_same_packets(tonearm, masters, home, tmp_path):
    assert tonearm("ingest", masters("s16.wav"), "--scheme", "both").returncode == 0
    old = current(home)

    done = tonearm("keys", "rotate", "--track", TRACK, "--json")

    assert done.returncode == 0, done.stderr
    said, new = json.loads(done.stdout), current(home)
    assert (said["generation"], said["previous"]) == (new.generation, old.generation)
    assert (said["period"], {k.period for k in new.keys}) == (1, {1})
    old_keys, new_keys = keys_of(home, old), keys_of(home, new)
    assert not old_keys.keys() & new_keys.keys()
    for was, now in zip(old.renditions, new.renditions, strict=True):
        assert dataclasses.replace(was, files=()) == dataclasses.replace(now, files=())
        for file, renewed in zip(was.files, now.files, strict=True):
            verify_file(hot(home) / renewed.key, now, renewed, new_keys[renewed.kid])
            assert renewed.sha256 != file.sha256
            # under its new KID, the old key opens nothing
            named = new_keys[renewed.kid].description
            wrong = dataclasses.replace(old_keys[file.kid], description=named)
            with pytest.raises(IntegrityError, match="does not decrypt"):
                reopen(hot(home) / renewed.key, now, renewed, [wrong], tmp_path / "packets")
    first, renewed = old.renditions[0], new.renditions[0]
    for drm in (DrmProfile.CBCS, DrmProfile.CENC):
        before, after = first.file(drm), renewed.file(drm)
        clear = tmp_path / "clear.mp4"
        assert shaka_packets(hot(home) / before.key, old_keys[before.kid], clear) == shaka_packets(
            hot(home) / after.key, new_keys[after.kid], clear
        )


def test_an_unchanged_master_stays_unchanged_after_a_rotation(tonearm, masters, home):
    tonearm("ingest", masters("s16.wav"))
    tonearm("keys", "rotate", "--track", TRACK)
    rotated = current(home)

    again = tonearm("ingest", masters("s16.wav"), "--json")
    renamed = tonearm("ingest", masters("s16.wav"), "--title", "Another", "--json")

    assert json.loads(again.stdout)["status"] == "unchanged"
    assert json.loads(again.stdout)["generation"] == rotated.generation
    # what is made anew is made with the keys of now, not with those that were replaced
    assert json.loads(renamed.stdout)["status"] == "published"
    assert current(home).keys == rotated.keys


async def licensed_kids(client, kids):
    """The KIDs of the keys that the licence server answers to a listener of the track."""
    grant = PlaybackGrant("user", "device", "session", TRACK, Tier.LOSSLESS, NOW - 10, NOW + 100)
    asked = [urlsafe_b64encode(kid.bytes).rstrip(b"=").decode() for kid in kids]
    answer = await client.post(
        "/v1/license/clearkey",
        json={"kids": asked, "type": "temporary"},
        headers={"Authorization": f"Bearer {sign_playback(grant, PLAYBACK)}"},
    )
    assert answer.status == 200
    found = [key["kid"] for key in (await answer.json(content_type=None))["keys"]]
    return {uuid.UUID(bytes=urlsafe_b64decode(kid + "==")) for kid in found}


async def test_each_run_is_one_rotation_and_all_generations_stay_licensed(
    tonearm, masters, home, aiohttp_client
):
    tonearm("ingest", masters("s16.wav"))
    generations = [current(home)]
    for _ in range(2):
        assert tonearm("keys", "rotate", "--track", TRACK).returncode == 0
        generations.append(current(home))

    assert [{k.period for k in p.keys} for p in generations] == [{0}, {1}, {2}]
    with contextlib.closing(Catalogue.open(home.catalogue_url)) as catalogue:
        kept = catalogue.generations_kept(TRACK)
    assert set(kept) == {p.generation for p in generations}
    with opened_vault(home) as vault:
        app = create_app(Metrics.create(), open_log("test", io.StringIO()))
        secrets = {"playback_secret": PLAYBACK, "operator_secret": b"o" * 32}
        setup(app, KeyServer(vault=vault, clock=lambda: NOW, **secrets))
        client = await aiohttp_client(app)
        for presentation in generations:
            assert described(home, presentation.generation) == presentation
            kids = {key.kid for key in presentation.keys}
            assert await licensed_kids(client, kids) >= kids
        await client.close()


def test_a_track_that_is_not_there_or_withdrawn_is_one_error_with_a_hint(tonearm, masters):
    missing = tonearm("keys", "rotate", "--track", "nobody")
    tonearm("ingest", masters("s16.wav"))
    tonearm("track", "withdraw", TRACK)
    withdrawn = tonearm("keys", "rotate", "--track", TRACK)

    for failed in (missing, withdrawn):
        assert failed.returncode == 1
        assert "hint:" in failed.stderr
        assert failed.stdout == ""


@pytest.fixture
def rekeying(parts):
    return Rekeying(
        store=parts.store,
        catalogue=parts.catalogue,
        key_source=parts.key_source,
        work_dir=parts.work_dir,
        clock=parts.clock,
    )


DIE = """
import os, sys
import cli
from core.catalogue import Catalogue
from core.storage.local import LocalStore
from core.telemetry import Metrics, open_log
from core.web import create_app

owner, method, left = {place}
inner = getattr(owner, method)

def dying(*arguments, **options):
    global left
    left -= 1
    if left < 0:
        os._exit(9)  # as SIGKILL would: nothing is tidied up
    return inner(*arguments, **options)

setattr(owner, method, dying)
sys.argv = ["tonearm", "--home", {home!r}, "keys", "rotate", "--track", {track!r}]
cli.main()
"""


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("LocalStore, 'put_if_absent', 1", id="first object"),
        pytest.param("LocalStore, 'put_if_absent', 20", id="manifests"),
        pytest.param("Catalogue, 'publish', 0", id="flip"),
    ],
)
def test_a_rotation_that_was_killed_is_finished_by_the_next(tonearm, masters, home, place):
    tonearm("ingest", masters("s16.wav"), "--scheme", "both")
    old = current(home)

    code = DIE.format(place=place, home=str(home.path), track=TRACK)
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    playing = current(home)
    done = json.loads(tonearm("keys", "rotate", "--track", TRACK, "--json").stdout)

    assert killed.returncode == 9
    assert playing == old
    assert (done["previous"], done["period"]) == (old.generation, 1)
    assert current(home).generation == done["generation"]
    stored = {path.name for path in (hot(home) / "tracks" / TRACK).iterdir()}
    assert stored == {old.generation, done["generation"]}
    assert list(home.work_dir.iterdir()) == []


async def test_a_file_that_is_not_what_was_published_is_not_encrypted_again(
    ingest, parts, masters, rekeying, tmp_path
):
    [outcome] = await ingest([masters("s16.wav")])
    spoiled = LocalStore(tmp_path / "spoiled")
    async for info in parts.store.list(""):
        body = bytearray(await parts.store.get(info.key))
        if info.key.endswith("aac-96k.mp4"):
            body[-1] ^= 1
        await spoiled.put_if_absent(info.key, bytes(body))

    with pytest.raises(IntegrityError, match="not what was published"):
        await rotate(outcome.track_id, dataclasses.replace(rekeying, store=spoiled))
    assert parts.catalogue.get(outcome.track_id).entry.generation == outcome.generation


async def test_a_vault_of_other_keys_is_refused(ingest, masters, rekeying, tmp_path):
    [outcome] = await ingest([masters("s16.wav")])

    with (
        contextlib.closing(Vault.open(tmp_path / "other", b"x" * 32, b"y" * 32)) as other,
        pytest.raises(IntegrityError, match="other keys"),
    ):
        await rotate(outcome.track_id, dataclasses.replace(rekeying, key_source=other))


async def test_a_run_that_began_before_a_rotation_does_not_bring_back_its_keys(
    ingest, parts, masters, rekeying
):
    [outcome] = await ingest([masters("s16.wav")])
    rotations = []

    def rotate_meanwhile(_, stage, __):
        if stage == "store":  # in the loop, before the run goes on: a thread with a loop of its own
            with ThreadPoolExecutor(1) as thread:
                work = thread.submit(asyncio.run, rotate(outcome.track_id, rekeying))
                rotations.append(work.result())

    [overtaken] = await ingest([masters("s16.wav")], title="Another", listener=rotate_meanwhile)
    [done] = rotations

    assert overtaken.status == "failed"
    assert "meanwhile" in overtaken.error
    assert parts.catalogue.get(outcome.track_id).entry.generation == done.generation


async def test_two_rotations_at_a_time_are_refused(ingest, masters, rekeying):
    [outcome] = await ingest([masters("s16.wav")])

    results = await asyncio.gather(
        rotate(outcome.track_id, rekeying),
        rotate(outcome.track_id, rekeying),
        return_exceptions=True,
    )

    assert sum(isinstance(r, ConflictError) for r in results) == 1
