"""Batched encryption equals one cipher object per sample, as the standard describes it."""

import numpy as np
import pytest
from Crypto.Cipher import AES
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInputError
from packager import cenc

KEY = bytes(range(16))
batches = st.lists(
    st.one_of(st.integers(1, 70), st.integers(1, 700), st.just(6000)), min_size=1, max_size=20
)
first_ivs = st.integers(0, (1 << 64) - 1)
constant_ivs = st.binary(min_size=16, max_size=16)


def batch(sizes):
    data = np.resize(np.arange(251, dtype=np.uint8), sum(sizes)).tobytes()
    return data, np.array(sizes, np.uint32)


def naive(data, sizes, encrypt):
    ends = np.cumsum(sizes).tolist()
    starts = [0, *ends[:-1]]
    samples = [data[a:b] for a, b in zip(starts, ends, strict=True)]
    return b"".join(encrypt(i, sample) for i, sample in enumerate(samples))


@given(sizes=batches, first_iv=first_ivs)
def test_cenc_equals_a_cipher_object_per_sample(sizes, first_iv):
    data, array = batch(sizes)

    def encrypt(i, sample):
        iv = ((first_iv + i) % (1 << 64)).to_bytes(8, "big")
        return AES.new(KEY, AES.MODE_CTR, nonce=iv, initial_value=0).encrypt(sample)

    encrypted = cenc.cenc_crypt(KEY, first_iv, data, array)

    assert encrypted == naive(data, sizes, encrypt)
    assert cenc.cenc_crypt(KEY, first_iv, encrypted, array) == data


@pytest.mark.parametrize("long_samples", [1, 1 << 30], ids=["along", "across"])
@given(sizes=batches, iv=constant_ivs)
def test_cbcs_equals_a_cipher_object_per_sample(long_samples, sizes, iv):
    data, array = batch(sizes)

    def encrypt(_, sample):
        whole = len(sample) // 16 * 16
        return AES.new(KEY, AES.MODE_CBC, iv=iv).encrypt(sample[:whole]) + sample[whole:]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cenc, "_LONG_SAMPLES", long_samples)  # both ways must agree for all sizes
        encrypted = cenc.cbcs_encrypt(KEY, iv, data, array)

    assert encrypted == naive(data, sizes, encrypt)
    assert cenc.cbcs_decrypt(KEY, iv, encrypted, array) == data


@given(first_iv=first_ivs, count=st.integers(1, 50))
def test_ivs_count_up_and_wrap(first_iv, count):
    expected = [((first_iv + i) % (1 << 64)).to_bytes(8, "big") for i in range(count)]

    assert cenc.sample_ivs(first_iv, count) == b"".join(expected)


def test_samples_shorter_than_a_block_stay_clear_in_cbcs():
    data, sizes = batch([15, 3, 1])

    assert cenc.cbcs_encrypt(KEY, bytes(16), data, sizes) == data


def test_a_key_of_the_wrong_size_is_refused_without_being_shown():
    with pytest.raises(InvalidInputError) as caught:
        cenc.check_key(b"0123456789abcde", bytes(8), 8)

    assert "0123456789" not in str(caught.value) + str(caught.value.hint)
