"""Moving objects between a hot and a cold store while they are read, and through crashes."""

import asyncio
import contextlib
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import (
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    RestoringError,
    UnavailableError,
)
from core.storage import open_store
from core.storage.local import LocalStore
from core.storage.memory import MemoryStore
from core.storage.tiered import Placement, StoredFile, TieredStore

BODY = bytes(range(256)) * 40
INTRO = 1000
KEY = "tracks/a/0123456789abcdef/cbcs/aac-96k.mp4"


def described(key=KEY, body=BODY, intro=INTRO):
    return StoredFile(key, hashlib.sha256(body).hexdigest(), intro)


@pytest.fixture(params=["memory", "local", "s3"])
async def sides(request, tmp_path):
    if request.param == "s3":
        server = request.getfixturevalue("seaweedfs")
        bucket = server.bucket()
        urls = [f"s3://{bucket}/{side}?endpoint={server.endpoint}" for side in ("hot", "cold")]
        return [open_store(url, server.access) for url in urls]
    if request.param == "local":
        return [open_store(f"local:{tmp_path}/{side}") for side in ("hot", "cold")]
    return [MemoryStore(), MemoryStore()]


@pytest.fixture
async def store(sides, tmp_path):
    store = TieredStore(*sides, scratch=tmp_path / "scratch")
    yield store
    await store.aclose()
    assert not list((tmp_path / "scratch").glob("*"))


async def joined(chunks):
    return b"".join([chunk async for chunk in chunks])


async def listed(store, prefix=""):
    return [(info.key, info.size) async for info in store.list(prefix)]


async def check_reads(store, key=KEY, body=BODY):
    size = len(body)
    assert (await store.head(key)).size == size
    assert await store.get(key) == body
    for start, end in [
        (0, 1),
        (0, INTRO),
        (3, INTRO + 3),
        (INTRO, size),
        (0, size),
        (5000, size + 9),
    ]:
        assert await store.get_range(key, start, end) == body[start:end]
        assert await joined(store.stream(key, start, end)) == body[start:end]
    with pytest.raises(InvalidInputError):
        await store.get_range(key, size, size + 1)


async def test_a_track_goes_cold_and_comes_back_and_reads_the_same(store, sides):
    hot, cold = sides
    await store.put_if_absent(KEY, BODY)
    await store.put_if_absent("tracks/a/0123456789abcdef/presentation.json", b"{}")
    everything = await listed(store)

    await store.demote([described()])
    assert await store.placement(KEY) == Placement(INTRO, len(BODY), demoted=True)
    assert sum(size for _, size in await listed(hot)) == INTRO + 2
    assert await cold.get(KEY) == BODY
    await check_reads(store)
    assert await listed(store) == everything

    await store.promote([described()])
    assert await store.placement(KEY) == Placement(len(BODY), len(BODY), demoted=False)
    assert await hot.get(KEY) == BODY
    await check_reads(store)
    assert await listed(store) == everything


async def test_moves_done_twice_are_done_once(store):
    await store.put_if_absent(KEY, BODY)
    await store.promote([described()])
    assert await store.placement(KEY) == Placement(len(BODY), 0, demoted=False)
    for _ in range(2):
        await store.demote([described()])
        await store.demote([described()])
        assert (await store.placement(KEY)).demoted
        await store.promote([described()])
        await store.promote([described()])
        assert not (await store.placement(KEY)).demoted
    await check_reads(store)


async def test_the_intro_needs_no_cold_store():
    hot, cold = MemoryStore(), MemoryStore()
    store = TieredStore(hot, cold)
    await store.put_if_absent(KEY, BODY)
    await store.demote([described()])
    await cold.delete(KEY)

    assert await store.get_range(KEY, 0, INTRO) == BODY[:INTRO]
    with pytest.raises(NotFoundError):
        await store.get_range(KEY, 0, INTRO + 1)


async def test_a_demoted_object_still_cannot_be_replaced(store):
    await store.put_if_absent(KEY, BODY)
    await store.demote([described()])

    assert not await store.put_if_absent(KEY, b"another")
    await check_reads(store)


async def test_delete_removes_all_places(store, sides):
    await store.put_if_absent(KEY, BODY)
    await store.demote([described()])
    await store.delete(KEY)

    assert [await listed(side) for side in (store, *sides)] == [[], [], []]
    with pytest.raises(NotFoundError):
        await store.placement(KEY)
    assert await store.put_if_absent(KEY, b"new")


async def test_the_next_intro_may_have_another_size(store, sides):
    await store.put_if_absent(KEY, BODY)
    await sides[0].put_if_absent(f"{KEY}.intro", BODY[:77])  # as a crash may leave it
    await store.demote([described()])

    assert (await store.placement(KEY)).hot_size == INTRO
    await check_reads(store)


async def test_hot_bytes_that_are_not_what_was_published_stay_where_they_are(store, sides):
    await store.put_if_absent(KEY, BODY)
    with pytest.raises(IntegrityError, match="hash"):
        await store.demote([described(body=b"something else")])

    assert await sides[0].get(KEY) == BODY
    assert await listed(sides[1]) == []


async def test_a_rotten_cold_copy_is_never_promoted_and_is_replaced_by_the_next_demotion(
    store, sides
):
    _, cold = sides
    await store.put_if_absent(KEY, BODY)
    await cold.put_if_absent(KEY, b"rot" + BODY[3:])
    await store.demote([described()])
    assert await cold.get(KEY) == BODY

    await cold.delete(KEY)
    await cold.put_if_absent(KEY, b"rot" + BODY[3:])
    with pytest.raises(IntegrityError):
        await store.promote([described()])
    assert (await store.placement(KEY)).demoted


@pytest.mark.parametrize("intro", [0, -1, len(BODY), len(BODY) + 1])
async def test_an_intro_of_nothing_or_all_is_refused(intro):
    store = TieredStore(MemoryStore(), MemoryStore())
    await store.put_if_absent(KEY, BODY)
    with pytest.raises(InvalidInputError, match="intro"):
        await store.demote([described(intro=intro)])
    assert (await store.placement(KEY)) == Placement(len(BODY), 0, demoted=False)


async def test_what_is_nowhere_cannot_be_moved(store):
    for move in (store.demote, store.promote):
        with pytest.raises(NotFoundError):
            await move([described()])
    with pytest.raises(InvalidInputError):
        await store.get(f"{KEY}.intro")


class Flaky:
    """A store whose process dies at one call: before it takes effect, or just after."""

    def __init__(self, inner, countdown):
        self._inner = inner
        self._countdown = countdown  # shared by both sides: [calls left, dies after the call]

    def __getattr__(self, name):
        call = getattr(self._inner, name)
        if name not in ("put_if_absent", "delete", "get_range", "get", "head"):
            return call

        async def counted(*args):
            self._countdown[0] -= 1
            if self._countdown[0] == 0 and not self._countdown[1]:
                raise KeyboardInterrupt
            answer = await call(*args)
            if self._countdown[0] == 0:
                raise KeyboardInterrupt
            return answer

        return counted


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("move", ["demote", "promote"])
async def test_a_crash_at_any_call_loses_nothing_and_the_next_run_finishes(move, after):
    for call in range(1, 100):
        hot, cold = MemoryStore(), MemoryStore()
        store = TieredStore(hot, cold)
        await store.put_if_absent(KEY, BODY)
        if move == "promote":
            await store.demote([described()])
        countdown = [call, after]
        dying = TieredStore(Flaky(hot, countdown), Flaky(cold, countdown))
        try:
            await getattr(dying, move)([described()])
        except KeyboardInterrupt:
            await check_reads(store)
            assert not await store.put_if_absent(KEY, b"another")
            assert await listed(store) == [(KEY, len(BODY))]
            await getattr(store, move)([described()])
        assert (await store.placement(KEY)).demoted is (move == "demote")
        intros = [key for key, _ in await listed(hot) if key.endswith(".intro")]
        assert len(intros) == (move == "demote")
        await check_reads(store)
        if countdown[0] > 0:
            break  # the move ended before the crash: every call has been tried
    assert 4 < call < 99


moves = st.lists(
    st.tuples(
        st.sampled_from(["put", "demote", "promote", "delete", "crash-demote", "crash-promote"]),
        st.sampled_from(["t/a", "t/b"]),
        st.integers(1, 14),
        st.booleans(),
    ),
    max_size=12,
)


@given(moves, st.integers(1, 60), st.data())
@settings(max_examples=80, deadline=None)
def test_any_history_of_moves_and_crashes_reads_like_a_plain_store(moves, intro, data):
    asyncio.run(play(moves, intro, data))


async def play(moves, intro, data):
    hot, cold, plain = MemoryStore(), MemoryStore(), {}
    store = TieredStore(hot, cold)
    for action, key, call, after in moves:
        body = key.encode() * 25
        file = described(key, body, intro)
        match action:
            case "put":
                assert await store.put_if_absent(key, body) is (key not in plain)
                plain[key] = body
            case "delete":
                await store.delete(key)
                plain.pop(key, None)
            case _:
                countdown = [call if action.startswith("crash") else 0, after]
                mover = TieredStore(Flaky(hot, countdown), Flaky(cold, countdown))
                expected = (
                    [KeyboardInterrupt] if key in plain else [KeyboardInterrupt, NotFoundError]
                )
                with contextlib.suppress(*expected):
                    await getattr(mover, action.removeprefix("crash-"))([file])
        start = data.draw(st.integers(0, 74))
        end = data.draw(st.integers(start + 1, 90))
        assert await listed(store) == [(key, 75) for key in sorted(plain)]
        for name, content in plain.items():
            assert await store.get_range(name, start, end) == content[start:end]
            assert await store.get(name) == content


@pytest.mark.parametrize("sides", ["memory", "local"], indirect=True)
async def test_no_read_fails_while_objects_move(sides, tmp_path):
    """Readers have their own TieredStore, as the processes of a server have."""
    mover, server = TieredStore(*sides, scratch=tmp_path), TieredStore(*sides)
    bodies = {f"t/{n}": random.Random(n).randbytes(300_000) for n in range(3)}
    for key, body in bodies.items():
        await mover.put_if_absent(key, body)
    files = [described(key, body, 20_000) for key, body in bodies.items()]
    done = asyncio.Event()
    reads = [0]

    async def listen(seed):
        dice = random.Random(seed)
        while not done.is_set():
            key, body = dice.choice(list(bodies.items()))
            start = dice.randrange(len(body))
            end = dice.randrange(start + 1, len(body) + 1)
            assert await server.get_range(key, start, end) == body[start:end]
            assert await joined(server.stream(key, start, end)) == body[start:end]
            assert (await server.head(key)).size == len(body)
            if dice.random() < 0.1:
                assert await server.get(key) == body
            assert not await server.put_if_absent(key, b"x")
            reads[0] += 1
            await asyncio.sleep(0)

    async def move():
        for _ in range(5):
            await mover.demote(files)
            await mover.promote(files)
        done.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(move())
        for seed in range(6):
            group.create_task(listen(seed))
    assert reads[0] > 20
    await mover.aclose()


async def test_two_movers_that_disagree_lose_nothing(tmp_path):
    def opened():
        return TieredStore(
            LocalStore(tmp_path / "hot"), LocalStore(tmp_path / "cold"), scratch=tmp_path / "s"
        )

    one, other = opened(), opened()
    await one.put_if_absent(KEY, BODY)

    async def move(call):
        for _ in range(15):
            await call([described()])
            assert await one.get(KEY) == BODY

    await asyncio.gather(move(one.demote), move(other.promote))
    await one.demote([described()])
    await check_reads(other)
    await one.aclose()
    await other.aclose()


MOVER = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from test_tiered_store import *
async def main():
    store = TieredStore(*(open_store(f"{sys.argv[1]}/{side}") for side in ("hot", "cold")))
    print("ready", flush=True)
    while True:
        await store.demote([described()])
        await store.promote([described()])
asyncio.run(main())
"""


async def test_a_mover_killed_at_any_moment_loses_nothing(tmp_path, request):
    store = TieredStore(LocalStore(tmp_path / "hot"), LocalStore(tmp_path / "cold"))
    await store.put_if_absent(KEY, BODY)
    command = [sys.executable, "-c", MOVER, str(tmp_path), str(request.path.parent)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    for n in range(5):
        mover = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, env=environment
        )
        assert await mover.stdout.readline() == b"ready\n"
        await asyncio.sleep(0.01 + 0.017 * n)
        mover.send_signal(signal.SIGKILL)
        await mover.communicate()
        await check_reads(store)
        assert await listed(store) == [(KEY, len(BODY))]
    await store.demote([described()])
    assert (await store.placement(KEY)).demoted
    await store.promote([described()])
    await check_reads(store)
    await store.aclose()


@pytest.fixture(scope="session")
def glacier():
    """A server that enforces archive classes, which SeaweedFS does not."""
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in server.stderr:
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            break
    yield found[0]
    server.kill()
    server.communicate()


async def test_an_archived_tail_is_asked_for_and_comes_back(glacier, tmp_path):
    import boto3  # noqa: PLC0415 - only this test pays for it

    access = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
    client = boto3.client(
        "s3", endpoint_url=glacier, region_name="us-east-1",
        aws_access_key_id="x", aws_secret_access_key="y",
    )  # fmt: skip
    cold = open_store(f"s3://archive/cold?endpoint={glacier}", access)
    store = TieredStore(MemoryStore(), cold, scratch=tmp_path)
    with closing(client):
        client.create_bucket(Bucket="archive")
        await store.put_if_absent(KEY, BODY)
        await store.demote([described()])
        name = {"Bucket": "archive", "Key": f"cold/{KEY}"}
        client.copy_object(**name, CopySource=name, StorageClass="GLACIER")  # as a lifecycle does

        assert await store.get_range(KEY, 0, INTRO) == BODY[:INTRO]
        assert (await store.head(KEY)).size == len(BODY)
        for read in (store.get(KEY), store.get_range(KEY, 0, INTRO + 1),
                     joined(store.stream(KEY, 0, INTRO + 1))):  # fmt: skip
            with pytest.raises(RestoringError) as caught:
                await read
            assert caught.value.retry_after_s == 300
        assert "Restore" not in client.head_object(**name)
        with pytest.raises(RestoringError, match="1 archived"):
            await store.promote([described()])
        assert "Restore" in client.head_object(**name)
        await store.promote([described()])  # moto restores at once
        await check_reads(store)
    await store.aclose()


@pytest.mark.parametrize("kind", ["s3", "minio"])
async def test_a_store_that_does_not_answer_or_refuses_is_unavailable(kind, seaweedfs):
    wrong = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "hush-hush"}
    for host, access in (("127.0.0.1:9", seaweedfs.access), (seaweedfs.host, wrong)):
        url = {
            "s3": f"s3://bucket/x?endpoint=http://{host}",
            "minio": f"minio://{host}/bucket/x?secure=0",
        }[kind]
        store = open_store(url, access)
        for call in (store.get("a"), store.put_if_absent("a", b"x"), store.delete("a")):
            with pytest.raises(UnavailableError) as caught:
                await call
            assert "hush-hush" not in f"{caught.value} {store!r}"
        with pytest.raises(UnavailableError):
            await listed(store)
        await store.aclose()
