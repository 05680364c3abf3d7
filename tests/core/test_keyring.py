"""The local key ring: made once, private, and never half-written."""

import fcntl
import json
import multiprocessing
import stat
import threading

import pytest

from core.errors import InvalidInputError
from core.keyring import SECRET_SIZE, KeyRing


def test_a_secret_is_made_once_and_stays(tmp_path):
    first = KeyRing(tmp_path / "keyring.json").secret("root")

    assert len(first) == SECRET_SIZE
    assert KeyRing(tmp_path / "keyring.json").secret("root") == first


def test_two_names_give_two_secrets(tmp_path):
    ring = KeyRing(tmp_path / "keyring.json")

    assert ring.secret("root") != ring.secret("user")


def test_only_its_owner_can_read_the_ring(tmp_path):
    ring = tmp_path / "home" / "keyring.json"
    KeyRing(ring).secret("root")

    assert stat.S_IMODE(ring.stat().st_mode) == 0o600


def test_a_ring_that_others_can_read_is_refused_with_the_remedy(tmp_path):
    ring = tmp_path / "keyring.json"
    KeyRing(ring).secret("root")
    ring.chmod(0o644)

    with pytest.raises(InvalidInputError) as caught:
        KeyRing(ring).secret("root")
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"root": 5}', '{"root": "%%%"}'])
def test_a_damaged_ring_is_an_error_and_is_not_replaced(tmp_path, text):
    ring = tmp_path / "keyring.json"
    ring.write_text(text)
    ring.chmod(0o600)

    with pytest.raises(InvalidInputError):
        KeyRing(ring).secret("root")
    assert ring.read_text() == text


def test_no_secret_stands_in_repr(tmp_path):
    ring = KeyRing(tmp_path / "keyring.json")

    assert ring.secret("root").hex() not in repr(ring)


def _ask(path, answers):
    answers.put(KeyRing(path).secret("root"))


def test_processes_that_race_for_a_new_secret_get_the_same_one(tmp_path):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    racers = [
        context.Process(target=_ask, args=(tmp_path / "keyring.json", answers)) for _ in range(4)
    ]
    for racer in racers:
        racer.start()
    secrets = {answers.get(timeout=60) for _ in racers}
    for racer in racers:
        racer.join()

    assert len(secrets) == 1


@pytest.mark.parametrize("secret", ["", "YQ==", "c2hvcnQtc2VjcmV0LTE1"])
def test_a_secret_that_can_be_guessed_is_none(tmp_path, secret):
    ring = tmp_path / "keyring.json"
    ring.write_text(f'{{"root": "{secret}"}}')
    ring.chmod(0o600)

    with pytest.raises(InvalidInputError, match="not a key ring") as caught:
        KeyRing(ring).secret("root")
    assert not secret or secret not in caught.value.message + caught.value.hint


def test_a_secret_that_somebody_put_there_is_taken(tmp_path):
    ring = tmp_path / "keyring.json"
    ring.write_text('{"root": "c2l4dGVlbi1ieXRlcy0xNg=="}')
    ring.chmod(0o600)

    assert KeyRing(ring).secret("root") == b"sixteen-bytes-16"


def test_new_secrets_leave_the_old_ones_as_they_were(tmp_path):
    ring = tmp_path / "keyring.json"
    before = {name: KeyRing(ring).secret(name) for name in ("a", "b", "c")}
    KeyRing(ring).secret("d")

    assert {name: KeyRing(ring).secret(name) for name in before} == before
    assert json.loads(ring.read_text()).keys() == {"a", "b", "c", "d"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["keyring.json", "keyring.lock"]


def test_what_a_writer_that_died_left_behind_is_no_ring(tmp_path):
    ring = tmp_path / "keyring.json"
    kept = KeyRing(ring).secret("a")
    (tmp_path / "keyring.new").write_text('{"a": "half a sec')

    assert KeyRing(ring).secret("a") == kept
    assert KeyRing(ring).secret("b") != kept
    assert KeyRing(ring).secret("a") == kept


@pytest.mark.parametrize("place", ["file/keyring.json", "folder"])
def test_a_ring_that_cannot_be_there_is_an_error_with_a_hint(tmp_path, place):
    (tmp_path / "file").write_text("a file")
    (tmp_path / "folder").mkdir(mode=0o700)

    with pytest.raises(InvalidInputError, match="cannot be used") as caught:
        KeyRing(tmp_path / place).secret("root")
    assert "--home" in caught.value.hint


def test_a_writer_that_holds_the_lock_is_waited_for(tmp_path):
    ring, order = tmp_path / "keyring.json", []
    with (tmp_path / "keyring.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        other = threading.Thread(target=lambda: order.append(KeyRing(ring).secret("root")))
        other.start()
        other.join(0.2)
        assert order == []
        ring.write_text('{"root": "c2l4dGVlbi1ieXRlcy0xNg=="}')
        ring.chmod(0o600)
    other.join(10)

    assert order == [b"sixteen-bytes-16"]  # what the first made, not one of its own
