"""What stores do when disks, files and other stores fail: the right error, and no half object."""

import asyncio
import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import (
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    ToolkitError,
    UnavailableError,
)
from core.storage import open_store
from core.storage.local import LocalStore
from core.storage.memory import MemoryStore
from core.storage.ordering import in_key_order
from core.storage.protocol import CHUNK_SIZE, ObjectInfo
from core.storage.tiered import READ_SIZE, StoredFile, TieredStore

ROOT = Path(__file__).parents[2]
BODY = os.urandom(3 * CHUNK_SIZE + 17)
KEY = "tracks/a/0123456789abcdef/cbcs/aac-96k.mp4"
FILE = StoredFile(KEY, hashlib.sha256(BODY).hexdigest(), 1000)


async def joined(chunks):
    return b"".join([chunk async for chunk in chunks])


async def listed(store, prefix=""):
    return [info.key async for info in store.list(prefix)]


class Outage(MemoryStore):
    """A store of which some calls do not answer while `down` names them."""

    down = frozenset()

    def _ask(self, name):
        if name in self.down:
            raise UnavailableError(f"{name} does not answer", retry_after_s=7)

    async def put_if_absent(self, key, body):
        self._ask("put")
        return await super().put_if_absent(key, body)

    async def head(self, key):
        self._ask("head")
        return await super().head(key)

    async def get(self, key):
        self._ask("get")
        return await super().get(key)

    async def get_range(self, key, start, end):
        self._ask("get")
        return await super().get_range(key, start, end)

    async def stream(self, key, start, end):
        self._ask("get")
        async for chunk in super().stream(key, start, end):
            yield chunk

    async def list(self, prefix):
        self._ask("list")
        async for info in super().list(prefix):
            yield info

    async def delete(self, key):
        self._ask("delete")
        await super().delete(key)


ALL = frozenset({"put", "head", "get", "list", "delete"})


@pytest.fixture
async def tiers(tmp_path):
    hot, cold = Outage(), Outage()
    store = TieredStore(hot, cold, scratch=tmp_path / "scratch")
    yield store, hot, cold
    await store.aclose()
    assert not list((tmp_path / "scratch").glob("*"))


async def test_masters_come_in_and_hot_tracks_play_while_the_cold_store_is_down(tiers):
    store, _, cold = tiers
    cold.down = ALL

    assert await store.put_if_absent(KEY, BODY)
    assert not await store.put_if_absent(KEY, b"other")
    assert (await store.head(KEY)).size == len(BODY)
    assert await store.get(KEY) == BODY
    assert await store.get_range(KEY, 5, 2000) == BODY[5:2000]
    assert await joined(store.stream(KEY, 0, len(BODY))) == BODY


async def test_a_demoted_track_starts_while_the_cold_store_is_down_and_its_tail_says_when(tiers):
    store, _, cold = tiers
    await store.put_if_absent(KEY, BODY)
    await store.demote([FILE])
    cold.down = ALL

    assert await store.get_range(KEY, 0, FILE.intro_size) == BODY[: FILE.intro_size]
    for read in (
        store.get_range(KEY, 0, FILE.intro_size + 1), store.get(KEY), store.head(KEY),
        joined(store.stream(KEY, 0, len(BODY))), store.get_range(KEY, len(BODY) - 1, len(BODY)),
    ):  # fmt: skip
        with pytest.raises(UnavailableError) as caught:
            await read
        assert caught.value.retry_after_s == 7


async def test_an_outage_of_the_hot_store_is_never_taken_for_absence(tiers):
    store, hot, _ = tiers
    await store.put_if_absent(KEY, BODY)
    await store.demote([FILE])
    hot.down = ALL

    for call in (
        store.get(KEY), store.head(KEY), store.get_range(KEY, 0, 5), store.put_if_absent(KEY, b""),
        store.placement(KEY), store.delete(KEY), store.demote([FILE]), store.promote([FILE]),
        listed(store),
    ):  # fmt: skip
        with pytest.raises(UnavailableError):
            await call
    hot.down = frozenset()
    assert await store.get(KEY) == BODY


@pytest.mark.parametrize("side", ["hot", "cold"])
@pytest.mark.parametrize("call", sorted(ALL))
@pytest.mark.parametrize("move", ["demote", "promote"])
async def test_a_move_that_an_outage_ends_loses_nothing_and_can_be_done_again(
    tiers, side, call, move
):
    store, hot, cold = tiers
    await store.put_if_absent(KEY, BODY)
    if move == "promote":
        await store.demote([FILE])
    broken = {"hot": hot, "cold": cold}[side]
    broken.down = frozenset({call})
    try:
        await getattr(store, move)([FILE])
    except UnavailableError as error:
        assert error.retry_after_s == 7  # noqa: PT017  not every call of every side is needed
    broken.down = frozenset()

    assert await store.get(KEY) == BODY
    await getattr(store, move)([FILE])
    assert await store.get(KEY) == BODY
    assert (await store.placement(KEY)).demoted == (move == "demote")


async def test_a_cold_object_that_was_cut_short_is_not_brought_back(tiers):
    store, _, cold = tiers
    await store.put_if_absent(KEY, BODY)
    await store.demote([FILE])
    await cold.delete(KEY)
    await cold.put_if_absent(KEY, BODY[:-1])

    with pytest.raises(IntegrityError, match="hash"):
        await store.promote([FILE])

    assert (await store.placement(KEY)).demoted
    assert await store.get_range(KEY, 0, 10) == BODY[:10]


async def test_a_cold_object_that_is_gone_is_not_found_and_the_intro_says_nothing_else(tiers):
    store, _, cold = tiers
    await store.put_if_absent(KEY, BODY)
    await store.demote([FILE])
    await cold.delete(KEY)

    for call in (store.get(KEY), store.head(KEY), store.placement(KEY), store.promote([FILE])):
        with pytest.raises(NotFoundError):
            await call


async def test_one_file_that_cannot_move_stops_the_run_and_the_others_stay_whole(tiers):
    store, hot, _ = tiers
    others = [StoredFile(f"{KEY}.{n}", FILE.sha256, 1000) for n in range(3)]
    for file in others:
        await store.put_if_absent(file.key, BODY)
    await hot.delete(others[1].key)
    await hot.put_if_absent(others[1].key, b"x" + BODY[1:])

    with pytest.raises(IntegrityError):
        await store.demote(others)

    places = [(await store.placement(file.key)).demoted for file in others]
    assert places == [True, False, False]
    assert await store.get(others[2].key) == BODY


async def test_a_stream_goes_on_through_moves_in_both_directions(tiers):
    store, _, _ = tiers
    body = os.urandom(3 * READ_SIZE + 5)
    file = StoredFile(KEY, hashlib.sha256(body).hexdigest(), READ_SIZE + 3)
    await store.put_if_absent(KEY, body)
    moves, got = [store.demote, store.promote] * 20, []
    async for chunk in store.stream(KEY, 0, len(body)):
        got.append(chunk)
        if len(got) % 2 and moves:
            await moves.pop(0)([file])

    assert b"".join(got) == body


async def test_reserved_names_are_refused_by_every_call(tiers):
    store, _, _ = tiers
    name = f"{KEY}.intro"
    calls = (
        store.put_if_absent(name, b"x"), store.get(name), store.head(name), store.delete(name),
        store.get_range(name, 0, 1), store.placement(name),
    )  # fmt: skip
    for call in calls:
        with pytest.raises(InvalidInputError, match="intros"):
            await call


# the local store


async def test_a_full_disk_is_unavailable_and_leaves_nothing(tmp_path):
    """A limit on the size of files is a disk of that size to whoever writes one."""
    program = f"""
import asyncio, json, resource, signal
from core.errors import UnavailableError
from core.storage.local import LocalStore

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    store = LocalStore(__import__("pathlib").Path({str(tmp_path / "root")!r}))
    answers = [await store.put_if_absent("a/small", b"x" * 4096)]
    try:
        await store.put_if_absent("a/large", b"x" * 4097)
    except UnavailableError as error:
        answers += [error.message, error.hint]
    answers += [[info.key async for info in store.list("")]]
    print(json.dumps(answers))
    await store.aclose()

asyncio.run(main())
"""
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip

    small, message, hint, keys = json.loads(done.stdout)
    assert small is True
    assert message == f"the local store does not work: {os.strerror(errno.EFBIG)}"
    assert "free space" in hint
    assert keys == ["a/small"]
    assert [p.name for p in (tmp_path / "root").rglob("*") if p.is_file()] == ["small"]


async def test_too_many_open_files_is_unavailable_and_passes(tmp_path):
    program = f"""
import asyncio, json, os, resource
from core.errors import UnavailableError
from core.storage.local import LocalStore

async def main():
    store = LocalStore(__import__("pathlib").Path({str(tmp_path)!r}))
    await store.put_if_absent("a", b"x")
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    answers = []
    for call in (store.get("a"), store.put_if_absent("b", b"y"), store.get_range("a", 0, 1)):
        try:
            answers.append(repr(await call))
        except UnavailableError as error:
            answers.append(error.message)
    for descriptor in held:
        os.close(descriptor)
    answers.append((await store.get("a")).decode())
    answers.append([info.key async for info in store.list("")])
    print(json.dumps(answers))
    await store.aclose()

asyncio.run(main())
"""
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip

    *failed, body, keys = json.loads(done.stdout)
    assert failed == [f"the local store does not work: {os.strerror(errno.EMFILE)}"] * 3
    assert (body, keys) == ("x", ["a"])


async def test_a_root_that_is_a_file_holds_nothing_and_takes_nothing(tmp_path):
    (tmp_path / "root").write_text("a file")
    store = LocalStore(tmp_path / "root")

    assert await listed(store) == []
    with pytest.raises(NotFoundError):
        await store.get("a")
    with pytest.raises(ToolkitError):
        await store.put_if_absent("a", b"x")
    await store.delete("a")
    assert (tmp_path / "root").read_text() == "a file"
    await store.aclose()


async def test_links_and_odd_files_in_the_folder_are_no_objects_to_read(tmp_path):
    store = LocalStore(tmp_path / "root")
    await store.put_if_absent("a/real", b"x")
    (tmp_path / "root/a/link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "root/a/pipe")

    for key in ("a/link", "a/pipe", "a"):
        with pytest.raises(NotFoundError):
            await store.head(key)
    assert await store.get("a/real") == b"x"
    await store.aclose()


async def test_a_stream_under_way_outlives_the_object(tmp_path):
    store = LocalStore(tmp_path)
    await store.put_if_absent("a/b", BODY)
    stream = store.stream("a/b", 0, len(BODY))
    first = await anext(stream)
    await store.delete("a/b")
    await store.put_if_absent("a/b", b"other")

    assert first + await joined(stream) == BODY
    assert await store.get("a/b") == b"other"
    await store.aclose()


async def test_a_list_is_taken_while_folders_come_and_go(tmp_path):
    store = LocalStore(tmp_path)
    for number in range(600):  # more than a page
        (tmp_path / f"k{number:03}").mkdir()
        (tmp_path / f"k{number:03}/x").touch()
    keys = []
    async for info in store.list(""):
        keys.append(info.key)
        if len(keys) == 1:
            for number in range(550, 600):
                await store.delete(f"k{number:03}/x")
            await store.put_if_absent("k5999/new", b"")

    assert keys[:512] == [f"k{n:03}/x" for n in range(512)]
    assert keys == sorted(keys)
    await store.aclose()


# opening stores, and lists out of order


@pytest.mark.parametrize(
    "url",
    [
        "", "local:", "ftp:x", "s3:", "s3://", "s3://bucket?endpoint=ftp://x", "s3://b?color=red",
        "s3:///prefix", "minio://", "minio://host", "minio://host/", "minio://u:p@host/bucket",
        "minio://host/bucket?secure=yes", "minio://host/bucket?x=1", "C:\\store",
    ],
)  # fmt: skip
def test_a_url_that_is_no_store_is_refused_with_a_form_to_follow(url):
    with pytest.raises(InvalidInputError) as caught:
        open_store(url)

    assert caught.value.hint.startswith("use ")


def test_a_stores_url_and_repr_hold_no_secret():
    access = {"AWS_ACCESS_KEY_ID": "AKIAnobody", "AWS_SECRET_ACCESS_KEY": "hush-hush"}
    for url in ("s3://bucket/x?endpoint=http://127.0.0.1:9", "minio://127.0.0.1:9/bucket/x"):
        store = open_store(url, access)
        assert "hush" not in repr(store)
        asyncio.run(store.aclose())


async def test_a_folder_of_too_many_objects_is_an_error_and_not_a_full_memory(monkeypatch):
    monkeypatch.setattr("core.storage.ordering.MAX_HELD", 10)

    async def found():
        for number in range(20):
            yield ObjectInfo(f"a/{number:02}", 1)

    with pytest.raises(UnavailableError, match="more than 10") as caught:
        await joined_keys(in_key_order(found(), ""))
    assert caught.value.hint


async def joined_keys(found):
    return [info.key async for info in found]
