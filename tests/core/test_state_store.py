"""The contract of every state store; a new one adds one line to STATES."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInputError, UnavailableError
from core.state import open_state
from core.state.memory import MemoryState

STATES = {"memory": lambda _: "memory:", "sqlite": lambda path: f"sqlite:{path}/deep/state.sqlite"}


@pytest.fixture(params=list(STATES))
async def state(request, tmp_path):
    state = open_state(STATES[request.param](tmp_path))
    yield state
    await state.aclose()


async def test_what_was_put_is_there_until_its_life_ends(state):
    await state.put("k", b"v", ttl_s=10, now_s=100)

    assert await state.get("k", now_s=109.9) == b"v"
    assert await state.get("k", now_s=110) is None
    assert await state.get("other", now_s=100) is None


async def test_put_replaces_value_and_life(state):
    await state.put("k", b"old", ttl_s=100, now_s=0)
    await state.put("k", b"", ttl_s=1, now_s=0)

    assert await state.get("k", now_s=0.5) == b""
    assert await state.get("k", now_s=2) is None


async def test_only_the_first_of_many_puts_if_absent_wins(state):
    answers = await asyncio.gather(
        *(state.put_if_absent("k", b"%d" % n, ttl_s=9, now_s=0) for n in range(50))
    )

    assert answers.count(None) == 1
    winner = b"%d" % answers.index(None)
    assert set(answers) - {None} == {winner}
    assert await state.get("k", now_s=0) == winner


async def test_an_expired_value_is_absent_for_put_if_absent_and_compare(state):
    await state.put("k", b"old", ttl_s=1, now_s=0)

    assert not await state.compare_and_put("k", b"old", b"new", ttl_s=9, now_s=1)
    assert await state.put_if_absent("k", b"new", ttl_s=9, now_s=1) is None
    assert await state.get("k", now_s=1) == b"new"


async def test_compare_and_put_changes_only_what_it_expects(state):
    assert not await state.compare_and_put("k", b"", b"x", ttl_s=9, now_s=0)
    await state.put("k", b"a", ttl_s=9, now_s=0)

    assert await state.compare_and_put("k", b"a", b"b", ttl_s=20, now_s=0)
    assert not await state.compare_and_put("k", b"a", b"c", ttl_s=9, now_s=0)
    assert await state.get("k", now_s=19) == b"b"


async def test_many_counters_racing_lose_no_step(state):
    await state.put("n", b"0", ttl_s=9, now_s=0)

    async def step():
        while True:
            old = await state.get("n", now_s=0)
            if await state.compare_and_put("n", old, b"%d" % (int(old) + 1), ttl_s=9, now_s=0):
                return

    await asyncio.gather(*(step() for _ in range(30)))
    assert await state.get("n", now_s=0) == b"30"


async def test_delete_removes_and_does_not_mind_absence(state):
    await state.put("k", b"v", ttl_s=9, now_s=0)
    await state.delete("k")
    await state.delete("k")

    assert await state.get("k", now_s=0) is None


@pytest.mark.parametrize(
    "key,value,ttl_s",
    [
        ("k", bytes((64 << 10) + 1), 1),
        ("", b"v", 1),
        ("k" * 513, b"v", 1),
        ("\ud800", b"v", 1),
        ("k", b"v", 0),
        ("k", b"v", float("nan")),
        ("k", b"v", float("inf")),
    ],
)
async def test_what_is_out_of_bounds_is_refused(state, key, value, ttl_s):
    for put in (state.put, state.put_if_absent):
        with pytest.raises(InvalidInputError):
            await put(key, value, ttl_s=ttl_s, now_s=0)
    with pytest.raises(InvalidInputError):
        await state.compare_and_put(key, b"", value, ttl_s=ttl_s, now_s=0)


async def test_a_value_may_have_64_kib(state):
    await state.put("k", bytes(64 << 10), ttl_s=1, now_s=0)

    assert await state.get("k", now_s=0) == bytes(64 << 10)


operations = st.lists(
    st.tuples(
        st.sampled_from(["put", "absent", "compare", "delete"]),
        st.sampled_from("ab"),
        st.sampled_from([b"x", b"y"]),
        st.sampled_from([1.0, 5.0]),
        st.sampled_from([0.0, 1.0, 3.0]),
    ),
    max_size=25,
)


@given(operations)
@settings(max_examples=40, deadline=None)
def test_both_stores_give_the_same_answers(tmp_path_factory, operations):
    folder = tmp_path_factory.mktemp("state")

    async def play(url):
        state, now_s, answers = open_state(url), 0.0, []
        for name, key, value, ttl_s, pause_s in operations:
            now_s += pause_s
            life = {"ttl_s": ttl_s, "now_s": now_s}
            if name == "put":
                answers.append(await state.put(key, value, **life))
            elif name == "absent":
                answers.append(await state.put_if_absent(key, value, **life))
            elif name == "compare":
                answers.append(await state.compare_and_put(key, b"x", value, **life))
            else:
                answers.append(await state.delete(key))
            answers += [await state.get(k, now_s=now_s) for k in "ab"]
        await state.aclose()
        return answers

    assert asyncio.run(play("memory:")) == asyncio.run(play(f"sqlite:{folder}/s"))


async def test_memory_is_bounded_and_expired_values_make_room():
    state = MemoryState(max_entries=3)
    for n in range(3):
        await state.put(f"{n}", b"v", ttl_s=10, now_s=0)

    with pytest.raises(UnavailableError):
        await state.put("3", b"v", ttl_s=10, now_s=9)
    await state.put("0", b"again", ttl_s=10, now_s=9)
    await state.put("3", b"v", ttl_s=10, now_s=10)
    assert len(state) == 2


async def test_memory_does_not_grow_while_one_value_is_renewed():
    state = MemoryState()
    for n in range(1000):
        await state.put("k", b"v", ttl_s=1000, now_s=n)

    assert len(state._expiries) < 100  # noqa: SLF001 - memory is what no public call shows


async def test_sqlite_sweeps_what_has_expired(tmp_path):
    state = open_state(f"sqlite:{tmp_path}/s")
    for n in range(200):
        await state.put(f"{n}", b"v", ttl_s=1, now_s=n)
    await state.aclose()

    with contextlib.closing(sqlite3.connect(tmp_path / "s")) as db:
        assert db.execute("SELECT count(*) FROM state").fetchone()[0] < 20


async def test_sqlite_remembers_after_a_restart_and_across_processes(tmp_path):
    url = f"sqlite:{tmp_path}/s"
    state = open_state(url)
    program = (
        "import asyncio, sys; from core.state import open_state\n"
        "async def main():\n"
        "    state = open_state(sys.argv[1])\n"
        "    wins = [await state.put_if_absent(f'k{n}', b'child', ttl_s=9, now_s=0)"
        " for n in range(100)]\n"
        "    await state.aclose(); print(wins.count(None))\n"
        "asyncio.run(main())"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, url, stdout=subprocess.PIPE
    )
    mine = [await state.put_if_absent(f"k{n}", b"parent", ttl_s=9, now_s=0) for n in range(100)]
    out, _ = await child.communicate()
    await state.aclose()

    assert int(out) + mine.count(None) == 100
    again = open_state(url)
    assert await again.get("k0", now_s=0) in (b"child", b"parent")
    await again.aclose()


async def test_a_file_that_is_no_database_is_one_clear_error(tmp_path):
    (tmp_path / "s").write_bytes(b"not a database" * 100)
    state = open_state(f"sqlite:{tmp_path}/s")

    with pytest.raises(UnavailableError, match="does not work"):
        await state.get("k", now_s=0)
    await state.aclose()


@pytest.mark.parametrize("url", ["", "sqlite:", "memory:x", "redis://localhost"])
def test_an_unknown_url_is_refused_with_a_hint(url):
    with pytest.raises(InvalidInputError) as caught:
        open_state(url)
    assert "sqlite:" in caught.value.hint


async def test_a_file_that_cannot_be_there_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("a file")
    (tmp_path / "folder").mkdir()
    for place in ("file/state", "folder"):
        state = open_state(f"sqlite:{tmp_path}/{place}")
        for call in (state.get("k", now_s=0), state.put("k", b"v", ttl_s=1, now_s=0)):
            with pytest.raises(UnavailableError, match="does not work") as caught:
                await call
            assert caught.value.hint
        await state.aclose()


async def test_a_state_that_did_not_open_opens_once_it_can(tmp_path):
    (tmp_path / "file").write_text("in the way")
    state = open_state(f"sqlite:{tmp_path}/file/state")
    with pytest.raises(UnavailableError):
        await state.get("k", now_s=0)
    (tmp_path / "file").unlink()

    await state.put("k", b"v", ttl_s=1, now_s=0)
    assert await state.get("k", now_s=0) == b"v"
    await state.aclose()


async def test_a_write_of_another_process_is_waited_for_and_not_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("core.state.sqlite.BUSY_TIMEOUT_S", 0.2)
    state = open_state(f"sqlite:{tmp_path}/s")
    await state.put("k", b"old", ttl_s=9, now_s=0)
    with contextlib.closing(sqlite3.connect(tmp_path / "s", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert await state.get("k", now_s=0) == b"old"  # readers do not wait
        with pytest.raises(UnavailableError, match="locked"):
            await state.put("k", b"new", ttl_s=9, now_s=0)
        other.execute("ROLLBACK")

    await state.put("k", b"new", ttl_s=9, now_s=0)
    assert await state.get("k", now_s=0) == b"new"
    await state.aclose()


async def test_a_call_that_fails_half_way_leaves_nothing_of_itself(tmp_path):
    state = open_state(f"sqlite:{tmp_path}/s")
    await state.put("k", b"old", ttl_s=9, now_s=0)
    with contextlib.closing(sqlite3.connect(tmp_path / "s", isolation_level=None)) as other:
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON state WHEN NEW.value = x'6e6577'"
            " BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    for call in (
        state.put("k", b"new", ttl_s=9, now_s=0),
        state.put_if_absent("other", b"new", ttl_s=9, now_s=0),
        state.compare_and_put("k", b"old", b"new", ttl_s=9, now_s=0),
    ):
        with pytest.raises(UnavailableError, match="disk full"):
            await call

    assert await state.get("k", now_s=0) == b"old"
    assert await state.get("other", now_s=0) is None
    assert await state.compare_and_put("k", b"old", b"newer", ttl_s=9, now_s=0)
    await state.aclose()


@pytest.mark.parametrize("kind", ["memory:", "sqlite:{}/s"])
async def test_a_value_is_bytes_of_any_kind_and_a_key_any_text(kind, tmp_path):
    state = open_state(kind.format(tmp_path))
    for key, value in (("\0", b"\0"), ("é\U0001f600", bytes(range(256))), ("a" * 512, b"")):
        await state.put(key, value, ttl_s=0.001, now_s=1e12)
        assert await state.get(key, now_s=1e12) == value
        assert await state.get(key, now_s=1e12 + 1) is None
    await state.aclose()
