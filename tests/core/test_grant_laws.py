"""What tokens promise, for all tokens: laws that no sample shows."""

import dataclasses
import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core import grants, ids
from core.errors import InvalidInputError, SignatureError, ToolkitError, UnauthorizedError
from core.model import Tier

NOW_S = 1_800_000_000
tiers = st.sampled_from(Tier)
secrets = st.binary(min_size=16, max_size=48)


def form(form):
    return st.from_regex(form.pattern, fullmatch=True)


url_grants = st.builds(
    grants.UrlGrant,
    form(ids.TRACK_ID), tiers, form(ids.REGION), form(ids.SESSION_ID),
    st.integers(NOW_S + 1, NOW_S + 10**9),
)  # fmt: skip
playback_grants = st.builds(
    grants.PlaybackGrant,
    form(ids.SUBJECT), form(ids.DEVICE_ID), form(ids.SESSION_ID), form(ids.TRACK_ID), tiers,
    st.just(NOW_S), st.integers(NOW_S + 1, NOW_S + grants.PLAYBACK_TTL_S),
)  # fmt: skip
users = st.builds(
    grants.User,
    form(ids.SUBJECT), tiers, form(ids.REGION), st.integers(1, grants.MAX_DEVICES),
)  # fmt: skip
LONGEST = grants.UrlGrant("t" * 64, Tier.LOSSLESS, "r" * 16, "s" * 64, 10**12)


def signer(secret, kid="k1"):
    return grants.UrlSigner({kid: secret}, active=kid)


@given(url_grants, secrets)
@example(LONGEST, b"s" * 32)
def test_a_url_token_says_what_was_signed_and_fits_into_a_url(grant, secret):
    token = signer(secret).sign(grant)

    assert signer(secret).open(token, now_s=NOW_S) == grant
    assert signer(secret).sign(grant) == token
    assert len(token) <= grants.MAX_TOKEN_LENGTH
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


@given(url_grants, secrets, secrets)
def test_another_secret_opens_nothing(grant, secret, other):
    token = signer(secret).sign(grant)
    if secret == other:
        return
    for stranger in (signer(other), signer(secret, kid="k2")):
        with pytest.raises(SignatureError) as caught:
            stranger.open(token, now_s=NOW_S)
        assert str(caught.value) == str(grants.signature_error())


@given(url_grants, st.integers(0, 10**6), st.integers(0, 7))
def test_a_flipped_bit_opens_nothing(grant, at, bit):
    token = signer(b"s" * 32).sign(grant)
    at %= len(token)
    flipped = token[:at] + chr(ord(token[at]) ^ 1 << bit) + token[at + 1 :]

    with pytest.raises(SignatureError):
        signer(b"s" * 32).open(flipped, now_s=NOW_S)


@given(url_grants, url_grants)
def test_two_grants_never_have_one_token(one, other):
    tokens = {signer(b"s" * 32).sign(grant) for grant in (one, other)}

    assert len(tokens) == len({one, other})


@given(url_grants, st.integers(-(10**6), 10**6))
def test_a_url_token_opens_until_its_second_and_not_in_it(grant, offset_s):
    token, now_s = signer(b"s" * 32).sign(grant), grant.expires_s + offset_s
    if offset_s < 0:
        assert signer(b"s" * 32).open(token, now_s=now_s) == grant
    else:
        with pytest.raises(grants.TokenExpiredError):
            signer(b"s" * 32).open(token, now_s=now_s)


@pytest.mark.parametrize(
    "field, value",
    [
        ("track_id", "a~b"), ("track_id", ""), ("region", "ww~x"), ("session_id", "s/../t"),
        ("session_id", "s" * 65), ("track_id", "é"), ("region", "a\n"),
    ],
)  # fmt: skip
def test_a_field_that_would_read_as_two_is_not_signed(field, value):
    with pytest.raises(InvalidInputError) as caught:
        signer(b"s" * 32).sign(dataclasses.replace(LONGEST, **{field: value}))

    assert caught.value.hint


@given(playback_grants, secrets)
def test_a_playback_token_says_what_was_signed(grant, secret):
    token = grants.sign_playback(grant, secret)

    assert grants.open_playback(token, secret, now_s=NOW_S) == grant
    assert len(token) <= grants.MAX_TOKEN_LENGTH


@given(users, secrets, st.integers(1, grants.USER_TTL_S))
def test_a_user_token_says_what_was_signed(user, secret, ttl_s):
    token = grants.sign_user(user, secret, now_s=NOW_S, ttl_s=ttl_s)

    assert grants.open_user(token, secret, now_s=NOW_S + ttl_s - 1) == user
    with pytest.raises(UnauthorizedError, match="expired"):
        grants.open_user(token, secret, now_s=NOW_S + ttl_s)


SECRET = b"s" * 32
TOKENS = {
    "playback": grants.sign_playback(
        grants.PlaybackGrant("u", "d", "s", "t", Tier.LOW, NOW_S, NOW_S + 60), SECRET
    ),
    "user": grants.sign_user(grants.User("u", Tier.LOW, "ww"), SECRET, now_s=NOW_S, ttl_s=60),
    "operator": grants.sign_operator(SECRET, now_s=NOW_S),
    "choice": grants.sign_choice(SECRET, now_s=NOW_S),
    "url": grants.UrlSigner({"k1": SECRET}, "k1").sign(
        grants.UrlGrant("t", Tier.LOW, "ww", "s", NOW_S + 60)
    ),
}
DOORS = {
    "playback": lambda token: grants.open_playback(token, SECRET, now_s=NOW_S),
    "user": lambda token: grants.open_user(token, SECRET, now_s=NOW_S),
    "operator": lambda token: grants.open_operator(token, SECRET, now_s=NOW_S),
    "choice": lambda token: grants.open_choice(token, SECRET, now_s=NOW_S),
    "url": lambda token: grants.UrlSigner({"k1": SECRET}, "k1").open(token, now_s=NOW_S),
}


@pytest.mark.parametrize("kind, door", list(itertools.product(TOKENS, DOORS)))
def test_a_token_opens_its_own_door_alone_even_under_one_secret(kind, door):
    if kind == door:
        DOORS[door](TOKENS[kind])
        return
    with pytest.raises((UnauthorizedError, SignatureError)):
        DOORS[door](TOKENS[kind])


@given(st.text(max_size=60), st.sampled_from(list(DOORS)))
@example("a" * 100_000, "playback")
@example("." * 100_000, "url")
@example("e30.e30.e30", "user")
@example("e30.e30.", "operator")
def test_what_is_no_token_is_refused_in_the_same_words_by_every_door(text, door):
    refusals = set()
    for token in (text, "", TOKENS[door][:-1]):
        with pytest.raises(ToolkitError) as caught:
            DOORS[door](token)
        refusals.add((type(caught.value), caught.value.message, caught.value.hint))

    assert len(refusals) == 1


@given(st.integers(-10_000, 10_000), st.integers(0, 2000))
def test_grace_prolongs_the_end_and_nothing_else(offset_s, grace_s):
    expires_s = NOW_S + 60
    grant = grants.PlaybackGrant("u", "d", "s", "t", Tier.LOW, NOW_S, expires_s)
    token = grants.sign_playback(grant, SECRET)
    opens = NOW_S - grants.CLOCK_SKEW_S <= NOW_S + offset_s < expires_s + grace_s
    try:
        found = grants.open_playback(token, SECRET, now_s=NOW_S + offset_s, grace_s=grace_s)
    except UnauthorizedError:
        found = None

    assert found == (grant if opens else None)
