"""The contract of every object store; a new one adds one line to STORES."""

import asyncio
import os
import signal
import subprocess
import sys
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInputError, NotFoundError, UnavailableError
from core.storage import open_store
from core.storage.memory import MemoryStore
from core.storage.ordering import in_key_order
from core.storage.protocol import CHUNK_SIZE, ObjectInfo
from core.storage.tiered import TieredStore

STORES = ["memory", "local", "s3", "minio", "tiered"]


@pytest.fixture(scope="session")
def bucket(seaweedfs):
    return seaweedfs.bucket()


@pytest.fixture(params=STORES)
async def store(request, tmp_path):
    prefix = uuid.uuid4().hex  # each test has its own folder of the one bucket
    access = None
    if request.param == "tiered":
        cold = open_store("memory:")
        store = TieredStore(open_store(f"local:{tmp_path}/root"), cold, scratch=tmp_path)
        yield store
        await store.aclose()
        return
    if request.param in ("memory", "local"):
        url = {"memory": "memory:", "local": f"local:{tmp_path}/root"}[request.param]
    else:
        server, bucket = (request.getfixturevalue(name) for name in ("seaweedfs", "bucket"))
        access = server.access
        url = {
            "s3": f"s3://{bucket}/{prefix}?endpoint={server.endpoint}",
            "minio": f"minio://{server.host}/{bucket}/{prefix}/deep?secure=0",
        }[request.param]
    store = open_store(url, access)
    yield store
    await store.aclose()


async def joined(chunks):
    return b"".join([chunk async for chunk in chunks])


async def keys(store, prefix):
    return [info.key async for info in store.list(prefix)]


async def test_what_was_put_is_read_back(store):
    assert await store.put_if_absent("tracks/a/x.mp4", b"0123456789")

    assert await store.get("tracks/a/x.mp4") == b"0123456789"
    assert await store.head("tracks/a/x.mp4") == ObjectInfo("tracks/a/x.mp4", 10)


async def test_an_object_never_changes(store):
    assert await store.put_if_absent("a", b"first")
    assert not await store.put_if_absent("a", b"second, longer")

    assert await store.get("a") == b"first"


async def test_of_many_writers_exactly_one_wins(store):
    bodies = [bytes([n]) * 10_000 for n in range(12)]
    wins = await asyncio.gather(*(store.put_if_absent("a/b", body) for body in bodies))

    assert wins.count(True) == 1
    assert await store.get("a/b") == bodies[wins.index(True)]


async def test_a_file_is_stored_like_bytes(store, tmp_path):
    body = os.urandom(33 * CHUNK_SIZE + 17)  # three parts, where a store takes parts of 16 MiB
    (tmp_path / "body").write_bytes(body)

    assert await store.put_if_absent("a/file", tmp_path / "body")
    assert not await store.put_if_absent("a/file", tmp_path / "body")
    assert await store.get("a/file") == body
    assert (tmp_path / "body").read_bytes() == body


async def test_a_body_that_cannot_be_read_leaves_nothing_behind(store, tmp_path):
    with pytest.raises(InvalidInputError, match="cannot read"):
        await store.put_if_absent("a/file", tmp_path / "absent")

    assert await keys(store, "") == []
    assert await store.put_if_absent("a/file", b"x")


async def test_an_empty_object_is_an_object(store):
    assert await store.put_if_absent("empty", b"")

    assert await store.get("empty") == b""
    assert (await store.head("empty")).size == 0
    with pytest.raises(InvalidInputError):
        await store.get_range("empty", 0, 1)


async def test_a_range_is_half_open_and_clamped(store):
    await store.put_if_absent("a", b"0123456789")

    assert await store.get_range("a", 0, 1) == b"0"
    assert await store.get_range("a", 2, 5) == b"234"
    assert await store.get_range("a", 8, 99) == b"89"
    assert await joined(store.stream("a", 0, 10)) == b"0123456789"
    assert await joined(store.stream("a", 7, 99)) == b"789"


@pytest.mark.parametrize("start,end", [(10, 11), (3, 3), (5, 2), (-1, 4)])
async def test_a_range_outside_the_object_is_refused(store, start, end):
    await store.put_if_absent("a", b"0123456789")

    with pytest.raises(InvalidInputError):
        await store.get_range("a", start, end)
    with pytest.raises(InvalidInputError):
        await joined(store.stream("a", start, end))


async def test_a_stream_comes_in_bounded_chunks(store):
    body = os.urandom(2 * CHUNK_SIZE + 5)
    await store.put_if_absent("a", body)

    chunks = [bytes(chunk) async for chunk in store.stream("a", 3, len(body))]
    assert b"".join(chunks) == body[3:]
    assert 0 < max(map(len, chunks)) <= CHUNK_SIZE
    assert all(chunks)


async def test_a_stream_may_be_left_early(store):
    await store.put_if_absent("a", bytes(3 * CHUNK_SIZE))
    for _ in range(20):
        stream = store.stream("a", 0, 3 * CHUNK_SIZE)
        await anext(stream)
        await stream.aclose()

    assert await store.get_range("a", 0, 1) == b"\0"


async def test_what_is_absent_is_not_found(store):
    await store.put_if_absent("a/b", b"x")
    for key in ("z", "a", "a/b/c", "a/bc"):
        with pytest.raises(NotFoundError):
            await store.head(key)
        with pytest.raises(NotFoundError):
            await store.get(key)
        with pytest.raises(NotFoundError):
            await store.get_range(key, 0, 1)
        with pytest.raises(NotFoundError):
            await joined(store.stream(key, 0, 1))


async def test_delete_removes_one_object_and_does_not_mind_absence(store):
    await store.put_if_absent("a/b", b"x")
    await store.put_if_absent("a/c", b"y")
    await store.delete("a/b")
    await store.delete("a/b")
    await store.delete("a")
    await store.delete("never/was")

    assert await keys(store, "") == ["a/c"]
    assert await store.put_if_absent("a/b", b"new")
    assert await store.get("a/b") == b"new"


async def test_a_list_is_in_the_order_of_keys_whatever_the_folders(store):
    names = ["a.b/x", "a/x", "a/y/z", "a0", "b/x", "a/x.mp4", "ü/é", "a/y.x"]
    for name in names:
        await store.put_if_absent(name, name.encode())

    assert await keys(store, "") == sorted(names)
    assert await keys(store, "a/") == ["a/x", "a/x.mp4", "a/y.x", "a/y/z"]
    assert await keys(store, "a/y") == ["a/y.x", "a/y/z"]
    assert await keys(store, "a") == sorted(n for n in names if n.startswith("a"))
    assert await keys(store, "none/") == []
    assert [i.size async for i in store.list("ü")] == [len("ü/é".encode())]


async def test_a_long_list_is_complete(store):
    names = [f"p/{n:04}" for n in range(1200)]
    for at in range(0, len(names), 100):
        await asyncio.gather(*(store.put_if_absent(n, b"") for n in names[at : at + 100]))

    assert await keys(store, "p/") == names


BAD_KEYS = [
    "",
    "/a",
    "a/",
    "a//b",
    "../a",
    "a/../b",
    "a/./b",
    "a\0b",
    "a\nb",
    "a\\b",
    "a/.tonearm-x",
    "x" * 201,
    "a/" * 460 + "a",
    "\ud800",
]


@pytest.mark.parametrize("key", BAD_KEYS)
async def test_an_unsafe_key_is_refused_by_every_method(store, key):
    calls = [
        store.put_if_absent(key, b""),
        store.head(key),
        store.get(key),
        store.get_range(key, 0, 1),
        store.delete(key),
        joined(store.stream(key, 0, 1)),
    ]
    for call in calls:
        with pytest.raises(InvalidInputError):
            await call


@pytest.mark.parametrize("prefix", ["/a", "a//b", "../", "a/../b", "a\0"])
async def test_an_unsafe_prefix_is_refused(store, prefix):
    with pytest.raises(InvalidInputError):
        await keys(store, prefix)


@pytest.mark.parametrize("key", ["a b/c+d", "a%2Fb", "a?b#c&d=e", "日本/語", "~a'(b)!"])
async def test_odd_but_safe_keys_stay_themselves(store, key):
    assert await store.put_if_absent(key, b"odd")

    assert await store.get(key) == b"odd"
    assert await store.get_range(key, 1, 2) == b"d"
    assert await keys(store, "") == [key]
    await store.delete(key)
    assert await keys(store, "") == []


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_local_and_memory_agree_on_everything(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("agree")
    names = st.sampled_from(["a/b", "a/c", "a.d", "e/f/g", "e/f/h"])
    actions = data.draw(
        st.lists(st.tuples(st.sampled_from(["put", "delete", "get", "range", "list"]), names))
    )

    async def play(store):
        answers = []
        for step, (action, key) in enumerate(actions):
            match action:
                case "put":
                    answers.append(await store.put_if_absent(key, b"%d" % step * 5))
                case "delete":
                    answers.append(await store.delete(key))
                case "list":
                    answers.append([info async for info in store.list(key[:3])])
                case _:
                    read = store.get(key) if action == "get" else store.get_range(key, 2, 4)
                    try:
                        answers.append(await read)
                    except NotFoundError:
                        answers.append(None)
        await store.aclose()
        return answers

    assert asyncio.run(play(MemoryStore())) == asyncio.run(play(open_store(f"{folder}/s")))


async def test_a_memory_store_is_bounded():
    store = MemoryStore(max_size=10)
    await store.put_if_absent("a", bytes(6))
    with pytest.raises(UnavailableError, match="full"):
        await store.put_if_absent("b", bytes(5))
    await store.delete("a")

    assert await store.put_if_absent("b", bytes(10))


async def test_a_local_key_cannot_be_a_folder_and_a_file(tmp_path):
    store = open_store(f"local:{tmp_path}")
    await store.put_if_absent("a/b", b"x")

    for key in ("a", "a/b/c"):
        with pytest.raises(InvalidInputError, match="folder"):
            await store.put_if_absent(key, b"y")
    await store.aclose()


def _start(program, *arguments):
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


async def test_what_a_killed_writer_left_is_invisible_and_goes_with_the_next_put(tmp_path):
    program = (
        "import fcntl, os, sys, time\n"
        "file = open(sys.argv[1], 'xb'); file.write(b'half'); file.flush()\n"
        "fcntl.flock(file, fcntl.LOCK_EX); print('ready', flush=True); time.sleep(60)"
    )
    (tmp_path / "t").mkdir()
    left = tmp_path / "t" / ".tonearm-0123456789abcdef"
    with _start(program, left) as writer:
        assert writer.stdout.readline() == b"ready\n"
        store = open_store(f"local:{tmp_path}")
        await store.put_if_absent("t/a", b"x")
        assert left.exists()  # its writer is alive
        assert await keys(store, "") == ["t/a"]

        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
    await store.put_if_absent("t/b", b"x")
    assert not left.exists()
    await store.aclose()


async def test_a_writer_killed_at_any_moment_leaves_a_whole_object_or_none(tmp_path):
    program = (
        "import asyncio, sys; from core.storage import open_store\n"
        "async def main():\n"
        "    store = open_store(sys.argv[1])\n"
        "    for n in range(10**6):\n"
        "        await store.put_if_absent(f'k/{n}', b'%d' % n * 20000)\n"
        "        print(n, flush=True)\n"
        "asyncio.run(main())"
    )
    store = open_store(f"local:{tmp_path}/s")
    for kill_after in (1, 5, 9):
        with _start(program, f"{tmp_path}/s") as writer:
            for _ in range(kill_after):
                writer.stdout.readline()
            os.kill(writer.pid, signal.SIGKILL)
        async for info in store.list(""):
            n = info.key.removeprefix("k/").encode()
            assert await store.get(info.key) == n * 20000
    await store.put_if_absent("k/last", b"x")
    assert not list((tmp_path / "s" / "k").glob(".tonearm-*"))
    await store.aclose()


async def test_delete_leaves_no_empty_folders(tmp_path):
    store = open_store(f"local:{tmp_path}/root")
    await store.put_if_absent("a/b/c", b"x")
    (tmp_path / "root/a/b/.tonearm-dead").write_bytes(b"half")
    await store.delete("a/b/c")

    assert list((tmp_path / "root").iterdir()) == []
    await store.aclose()


async def test_puts_and_deletes_in_one_folder_do_not_disturb_each_other(tmp_path):
    store = open_store(f"local:{tmp_path}")

    async def churn(name):
        for _ in range(40):
            assert await store.put_if_absent(f"a/b/{name}", b"x")
            assert await store.get(f"a/b/{name}") == b"x"
            await store.delete(f"a/b/{name}")

    await asyncio.gather(*(churn(n) for n in range(6)))
    await store.aclose()


@pytest.mark.parametrize("url", ["", "local:", "ftp://host/x", "s3:", "s3://", "minio://host"])
def test_an_unknown_url_is_refused_with_a_hint(url):
    with pytest.raises(InvalidInputError) as caught:
        open_store(url)
    assert caught.value.hint


async def test_a_plain_path_is_a_local_store(tmp_path):
    store = open_store(str(tmp_path / "x"))
    await store.put_if_absent("a", b"1")
    await store.aclose()

    assert (tmp_path / "x" / "a").read_bytes() == b"1"


names = st.lists(st.text("ab-/.0", min_size=1, max_size=8), max_size=30).map(
    lambda names: sorted({f"p/{n}" for n in names if "//" not in f"/{n}/"})
)


@given(names, st.booleans())
def test_a_list_by_folders_is_put_into_the_order_of_keys(names, by_key):
    async def run():
        async def found():
            for name in names if by_key else sorted(names, key=lambda name: name.split("/")):
                yield ObjectInfo(name, 0)

        return [info.key async for info in in_key_order(found(), "p/")]

    assert asyncio.run(run()) == names
