"""Either way of encrypting equals one cipher object per sample, as the standard describes it."""

import itertools
import subprocess
import sys
from array import array

import pytest
from Crypto.Cipher import AES
from hypothesis import given
from hypothesis import strategies as st

from packager.protect import cenc, cenc_across
from packager.protect.ciphers import WORTH_LOADING

KEY = bytes(range(16))
batches = st.lists(
    st.one_of(st.integers(1, 70), st.integers(1, 700), st.just(6000)), min_size=1, max_size=20
)
first_ivs = st.integers(0, (1 << 64) - 1)
constant_ivs = st.binary(min_size=16, max_size=16)
both_ways = pytest.mark.parametrize("ciphers", [cenc, cenc_across], ids=["along", "across"])


def batch(sizes):
    data = bytes(range(251)) * (sum(sizes) // 251 + 1)
    return data[: sum(sizes)], array("I", sizes)


def naive(data, sizes, encrypt):
    ends = [0, *itertools.accumulate(sizes)]
    samples = [data[a:b] for a, b in itertools.pairwise(ends)]
    return b"".join(encrypt(i, sample) for i, sample in enumerate(samples))


@both_ways
@given(sizes=batches, first_iv=first_ivs)
def test_cenc_equals_a_cipher_object_per_sample(ciphers, sizes, first_iv):
    data, counted = batch(sizes)

    def encrypt(i, sample):
        iv = ((first_iv + i) % (1 << 64)).to_bytes(8, "big")
        return AES.new(KEY, AES.MODE_CTR, nonce=iv, initial_value=0).encrypt(sample)

    encrypted = ciphers.cenc_crypt(KEY, first_iv, data, counted)

    assert encrypted == naive(data, sizes, encrypt)
    assert ciphers.cenc_crypt(KEY, first_iv, encrypted, counted) == data


@both_ways
@given(sizes=batches, iv=constant_ivs)
def test_cbcs_equals_a_cipher_object_per_sample(ciphers, sizes, iv):
    data, counted = batch(sizes)

    def encrypt(_, sample):
        whole = len(sample) // 16 * 16
        return AES.new(KEY, AES.MODE_CBC, iv=iv).encrypt(sample[:whole]) + sample[whole:]

    encrypted = ciphers.cbcs_encrypt(KEY, iv, data, counted)

    assert encrypted == naive(data, sizes, encrypt)
    assert cenc.cbcs_decrypt(KEY, iv, encrypted, counted) == data


@given(first_iv=first_ivs, count=st.integers(1, 50))
def test_ivs_count_up_and_wrap(first_iv, count):
    expected = [((first_iv + i) % (1 << 64)).to_bytes(8, "big") for i in range(count)]

    assert cenc.sample_ivs(first_iv, count) == b"".join(expected)


@both_ways
def test_samples_shorter_than_a_block_stay_clear_in_cbcs(ciphers):
    data, sizes = batch([15, 3, 1])

    assert ciphers.cbcs_encrypt(KEY, bytes(16), data, sizes) == data


@pytest.mark.parametrize(
    "before, size, chosen",
    [
        ("", 10_000_000, "packager.protect.cenc"),
        ("", WORTH_LOADING, "packager.protect.cenc_across"),
        ("import numpy; ", 10_000_000, "packager.protect.cenc_across"),
    ],
    ids=["a song", "hours", "loaded already"],
)
def test_numpy_is_loaded_only_where_that_pays(before, size, chosen):
    code = (
        f"{before}from packager.protect.ciphers import ciphers_for\n"
        f"print(ciphers_for({size}).__name__)"
    )

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == chosen
