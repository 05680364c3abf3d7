"""A key source over a network that spoils answers: right keys or our error, and in time."""

import time
from collections import Counter
from urllib.parse import urlsplit

import pytest

from core import keysource_http
from core.errors import IntegrityError, UnavailableError
from core.keysource import KeyRequest
from core.keysource_http import ATTEMPTS, HttpKeySource
from core.model import Scheme, Tier
from tests.core.key_server import NOW, OPERATOR
from tests.faults.fault_proxy import KINDS, FaultProxy, Mix

ALL = KeyRequest("song", tuple(Tier), tuple(Scheme))
ASKED = 40
"""How often each kind of fault is tried."""
EVERY = Mix(**dict.fromkeys(KINDS, 0.1), late_s=0.01, stall_s=0.02)


def outcomes(target, mix, seed, right):
    """What came of `ASKED` requests: "keys", or the error's name; and the faults there were."""
    came = Counter()
    with FaultProxy(target, mix, seed) as proxy:
        source = HttpKeySource(proxy.url, OPERATOR, clock=lambda: NOW, sleep=lambda _: None)
        for _ in range(ASKED):
            try:
                keys = source.keys(ALL)
            except (IntegrityError, UnavailableError) as error:
                came[type(error).__name__] += 1
            else:
                assert keys == right
                came["keys"] += 1
        return came, Counter(fault.kind for fault in proxy.faults)


@pytest.fixture
def target(key_server_url):
    url = urlsplit(key_server_url)
    return url.hostname, url.port


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_is_spoilt_every_other_time_gives_the_right_keys_or_an_error(
    target, vault, kind
):
    mix = Mix(**{kind: 0.5}, burst=2, late_s=0.01, stall_s=0.02)

    came, faults = outcomes(target, mix, 1, vault.keys(ALL))

    assert min(faults[kind], came["keys"]) > ASKED / 4, (came, faults)
    assert came.total() == ASKED


@pytest.mark.parametrize("seed", [0, 2, 3])  # each draws every kind
def test_all_faults_together_give_the_right_keys_or_an_error(target, vault, seed):
    came, faults = outcomes(target, EVERY, seed, vault.keys(ALL))

    assert set(faults) == {"none", *KINDS}
    assert came["keys"] > ASKED / 2, (came, faults)


@pytest.mark.parametrize("kind", ["reset", "cut", "stall", "error"])
def test_a_network_that_never_lets_an_answer_pass_is_unavailable(target, kind):
    with FaultProxy(target, Mix(**{kind: 1.0}, stall_s=0.02), seed=1) as proxy:
        source = HttpKeySource(proxy.url, OPERATOR, clock=lambda: NOW, sleep=lambda _: None)
        with pytest.raises(UnavailableError):
            source.keys(ALL)
        assert [fault.kind for fault in proxy.faults] == [kind] * ATTEMPTS


def test_an_answer_with_a_flipped_bit_is_never_taken(target, vault):
    came, faults = outcomes(target, Mix(flip=1.0), 2, vault.keys(ALL))

    assert faults["flip"] >= ASKED
    assert came == {"IntegrityError": ASKED}


def test_an_answer_that_stops_half_way_is_not_waited_for(target, monkeypatch):
    monkeypatch.setattr(keysource_http, "DEADLINE_S", 0.2)
    with FaultProxy(target, Mix(stall=1.0, stall_s=60.0), seed=1) as proxy:
        source = HttpKeySource(proxy.url, OPERATOR, clock=lambda: NOW, sleep=lambda _: None)
        began_s = time.monotonic()
        with pytest.raises(UnavailableError):
            source.keys(ALL)

        assert time.monotonic() - began_s < ATTEMPTS * 1.0
        assert len(proxy.faults) == ATTEMPTS
