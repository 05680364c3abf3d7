"""Tokens: what opens, what does not, and that nothing tells why."""

import dataclasses
import json
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey

from core import grants
from core.errors import SignatureError, UnauthorizedError
from core.model import Tier

SIGNER = grants.UrlSigner({"k1": b"1" * 32, "k2": b"2" * 32}, active="k2")
GRANT = grants.UrlGrant("track-1", Tier.HIGH, "ww", "session_1", 1_000)
PLAYBACK = grants.PlaybackGrant("u", "d", "s", "t", Tier.NORMAL, 1_000, 1_120)
SECRET = b"s" * 32


def test_a_url_token_opens_to_what_was_signed():
    assert SIGNER.open(SIGNER.sign(GRANT), now_s=999) == GRANT


def test_a_url_token_is_one_path_segment():
    assert "/" not in SIGNER.sign(GRANT)


def test_a_retired_signing_key_still_opens_until_it_is_removed():
    old = grants.UrlSigner({"k1": b"1" * 32}, active="k1").sign(GRANT)

    assert SIGNER.open(old, now_s=0) == GRANT


def test_expiry_is_told_apart_from_forgery():
    with pytest.raises(grants.TokenExpiredError):
        SIGNER.open(SIGNER.sign(GRANT), now_s=1_000)


def test_a_forged_expired_token_is_not_called_expired():
    token = grants.UrlSigner({"k2": b"x" * 32}, active="k2").sign(GRANT)

    with pytest.raises(SignatureError) as caught:
        SIGNER.open(token, now_s=5_000)
    assert not isinstance(caught.value, grants.TokenExpiredError)


@given(st.text(max_size=200))
def test_any_text_is_refused_with_our_error(text):
    with pytest.raises(SignatureError):
        SIGNER.open(text, now_s=0)


@given(st.integers(0, 200), st.sampled_from("ABCabc012_-."))
def test_no_changed_character_survives(position, character):
    token = SIGNER.sign(GRANT)
    position %= len(token)
    changed = token[:position] + character + token[position + 1 :]

    if changed != token:
        with pytest.raises(SignatureError):
            SIGNER.open(changed, now_s=0)


def test_secrets_stay_out_of_repr():
    assert "1111" not in repr(SIGNER)


def test_a_playback_token_opens_to_what_was_signed():
    token = grants.sign_playback(PLAYBACK, SECRET)

    assert grants.open_playback(token, SECRET, now_s=1_100) == PLAYBACK


@pytest.mark.parametrize("now_s", [1_120, 9_999, 900])
def test_a_playback_token_lives_only_in_its_time(now_s):
    token = grants.sign_playback(PLAYBACK, SECRET)

    with pytest.raises(UnauthorizedError):
        grants.open_playback(token, SECRET, now_s=now_s)


def test_a_user_token_is_no_playback_token():
    token = grants.sign_user(grants.User("u", Tier.HIGH, "ww"), SECRET, now_s=1_000, ttl_s=60)

    assert grants.open_user(token, SECRET, now_s=1_001).tier is Tier.HIGH
    with pytest.raises(UnauthorizedError):
        grants.open_playback(token, SECRET, now_s=1_001)


def _raw(header, claims, signature=""):
    def part(value):
        return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part(header)}.{part(claims)}.{signature}"


def _signed(claims):
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET))


CLAIMS = {"aud": "playback", "sub": "u", "did": "d", "sid": "s", "trk": "t", "tier": "high"}


@pytest.mark.parametrize("algorithm", ["none", "NoNe", "HS512", "ES256"])
def test_another_algorithm_is_refused(algorithm):
    token = _raw({"alg": algorithm}, {**CLAIMS, "iat": 1_000, "exp": 1_060}, "AA")

    with pytest.raises(UnauthorizedError):
        grants.open_playback(token, SECRET, now_s=1_010)


@pytest.mark.parametrize(
    "times",
    [
        {"iat": 1_000, "exp": "1060"},
        {"iat": 1_000, "exp": 1e300},
        {"iat": 1_000, "exp": 1_060.5},
        {"iat": True, "exp": 1_060},
        {"iat": 1_000},
        {"exp": 1_060},
        {"iat": 1_000, "exp": 1_000 + grants.PLAYBACK_TTL_S + 1},
        {"iat": 5_000, "exp": 5_060},
        {"iat": 1_000, "exp": 1_060, "nbf": 1_050},
        {"iat": 1_000, "exp": 1_060, "nbf": None},
        {"iat": 1_000, "exp": 1_060, "nbf": "0"},
    ],
)
def test_a_signed_token_with_improper_times_is_refused(times):
    token = _signed({**CLAIMS, **times})

    with pytest.raises(UnauthorizedError):
        grants.open_playback(token, SECRET, now_s=1_010)


def test_a_padded_signature_is_refused():
    token = grants.sign_playback(PLAYBACK, SECRET)

    with pytest.raises(UnauthorizedError):
        grants.open_playback(token + "=", SECRET, now_s=1_010)


def test_an_unknown_tier_is_refused():
    token = _signed({**CLAIMS, "tier": "gold", "iat": 1_000, "exp": 1_060})

    with pytest.raises(UnauthorizedError):
        grants.open_playback(token, SECRET, now_s=1_010)


def test_an_operator_token_is_short_lived():
    token = grants.sign_operator(SECRET, now_s=1_000)

    grants.open_operator(token, SECRET, now_s=1_001)
    with pytest.raises(UnauthorizedError):
        grants.open_operator(token, SECRET, now_s=1_000 + grants.OPERATOR_TTL_S)


def test_the_token_carries_its_tier():
    for tier in Tier:
        grant = dataclasses.replace(GRANT, tier=tier)
        assert SIGNER.open(SIGNER.sign(grant), now_s=0).tier is tier


def test_an_expired_playback_token_opens_within_a_grace_that_is_asked_for():
    token = grants.sign_playback(PLAYBACK, SECRET)

    assert grants.open_playback(token, SECRET, now_s=1_129, grace_s=10) == PLAYBACK
    for now_s, grace_s in ((1_130, 10), (1_120, 0)):
        with pytest.raises(UnauthorizedError, match="expired"):
            grants.open_playback(token, SECRET, now_s=now_s, grace_s=grace_s)
