"""The local key ring: made once, private, and never half-written."""

import multiprocessing
import stat

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
