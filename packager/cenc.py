"""Common Encryption of whole audio samples, in batches. ISO/IEC 23001-7:2023, 9.4, 9.7, 10.1, 10.4.

A cipher object per sample costs 10 microseconds, more than the encryption of the sample. So no
function here makes one: each call hands a batch of samples to one ECB context and does the chaining
around it in numpy. In CTR mode the counter blocks of all samples are one array. In CBC mode the
serial dependency runs along a sample, not across samples: block *j* of every sample in the
batch is encrypted in one call, and the CPU's pipeline stays full (`bench/packaging.py` compares).

Samples lie one after the other: `data` is the batch, `sizes` its samples' bytes.
"""

import numpy as np
from Crypto.Cipher import AES
from Crypto.Cipher._mode_ecb import EcbMode
from numpy.typing import NDArray

from core.errors import InvalidInputError

Bytes = bytes | memoryview
Sizes = NDArray[np.integer]

BLOCK = 16
BATCH_SIZE = 1 << 20
"""Bytes that callers should hand over at once: enough to amortise, few enough for the caches."""
_KEYSTREAM_SIZE = 1 << 17
"""Bytes of keystream made at once: all that this takes stays in the cache, and in the allocator's
hands. In one piece, a third of the time would go into fresh pages of memory."""
_LONG_SAMPLES = 4096
"""Mean bytes from which chaining along each sample beats chaining across samples."""


def sample_ivs(first: int, count: int) -> bytes:
    """*count* IVs of eight bytes that count up from *first*, modulo 2^64."""
    return _counts(first, count).astype(">u8").tobytes()


def cenc_crypt(key: bytes, first_iv: int, data: Bytes, sizes: Sizes) -> Bytes:
    """Encrypt or decrypt full samples with AES-CTR; sample *i* has the IV *first_iv* + *i*.

    The block counter in the low eight bytes starts at 0 for each sample (10.1).
    """
    assert int(sizes.sum()) == len(data)
    if not len(data):
        return b""
    ecb = AES.new(key, AES.MODE_ECB)
    clear, out = np.frombuffer(data, np.uint8), np.empty(len(data), np.uint8)
    ends = np.cumsum(sizes, dtype=np.int64)
    step, at = max(1, len(sizes) * _KEYSTREAM_SIZE // len(data)), 0
    for first in range(0, len(sizes), step):
        own = sizes[first : first + step]
        end = int(ends[first + len(own) - 1])
        pad = np.frombuffer(_keystream(ecb, first_iv + first, own), np.uint8)
        np.bitwise_xor(clear[at:end], pad, out=out[at:end])
        at = end
    return out.data


def _keystream(ecb: EcbMode, first_iv: int, sizes: Sizes) -> bytes:
    """What CTR mode adds to samples of these sizes, one after the other."""
    wide = sizes.astype(np.int64)
    blocks = (wide + BLOCK - 1) // BLOCK
    starts = np.cumsum(blocks) - blocks
    total = int(blocks.sum())
    counters = np.empty((total, 2), ">u8")
    counters[:, 0] = np.repeat(_counts(first_iv, len(sizes)), blocks)
    counters[:, 1] = np.arange(total) - np.repeat(starts, blocks)
    stream = counters.data.cast("B")
    ecb.encrypt(stream, output=stream)
    spans = zip((starts * BLOCK).tolist(), (starts * BLOCK + wide).tolist(), strict=True)
    return b"".join([stream[start:end] for start, end in spans])


def cbcs_encrypt(key: bytes, constant_iv: bytes, data: Bytes, sizes: Sizes) -> Bytes:
    """Encrypt the whole blocks of each sample with AES-CBC, from the same IV; the rest stays."""
    assert int(sizes.sum()) == len(data)
    assert len(constant_iv) == BLOCK
    out = np.frombuffer(bytearray(data), np.uint8)
    long_samples = len(data) > _LONG_SAMPLES * len(sizes)
    chain = _chain_along if long_samples else _chain_across
    if (sizes >= BLOCK).any():
        chain(key, constant_iv, out, sizes.astype(np.int64))
    return out.data


def cbcs_decrypt(key: bytes, constant_iv: bytes, data: Bytes, sizes: Sizes) -> Bytes:
    """Undo `cbcs_encrypt`; decryption does not chain, so one call does all blocks."""
    assert int(sizes.sum()) == len(data)
    wide = sizes.astype(np.int64)
    ends = np.cumsum(wide)
    starts, tails = ends - wide, ends - wide % BLOCK
    view = memoryview(data)
    bounds = list(zip(starts.tolist(), tails.tolist(), ends.tolist(), strict=True))
    whole = b"".join([view[start:tail] for start, tail, _ in bounds])
    if not whole:
        return data
    previous = np.empty(len(whole) // BLOCK, "V16")
    previous[1:] = np.frombuffer(whole, "V16")[:-1]
    blocks = wide // BLOCK
    firsts = (np.cumsum(blocks) - blocks)[blocks > 0]
    previous[firsts] = np.frombuffer(constant_iv, "V16")
    plain = _xor(AES.new(key, AES.MODE_ECB).decrypt(whole), previous.data)
    parts: list[Bytes] = []
    at = 0
    for start, tail, end in bounds:
        parts += (plain[at : at + tail - start], view[tail:end])
        at += tail - start
    return b"".join(parts)


def check_key(key: bytes, iv: bytes, iv_size: int) -> None:
    """Refuse a content key whose sizes do not fit the scheme, without showing it.

    Raises:
        InvalidInputError: *key* has not 16 bytes, or *iv* not *iv_size*.
    """
    if len(key) != BLOCK or len(iv) != iv_size:
        raise InvalidInputError(
            f"a content key has {len(key)} bytes and an IV of {len(iv)}",
            hint=f"this scheme needs 16 and {iv_size} bytes",
        )


def _chain_across(key: bytes, iv: bytes, out: NDArray[np.uint8], sizes: NDArray[np.int64]) -> None:
    """CBC over *out* in place, block *j* of all samples in one ECB call.

    Samples are ordered by length, so that those with a block *j* are a prefix.
    """
    ecb = AES.new(key, AES.MODE_ECB)
    # every byte offset as the start of a block: samples are not aligned
    anywhere = np.ndarray((len(out) - BLOCK + 1,), "V16", out.data, 0, (1,))
    blocks = sizes // BLOCK
    order = np.argsort(-blocks, kind="stable")
    starts = (np.cumsum(sizes) - sizes)[order]
    longest = int(blocks.max())
    active = np.searchsorted(-blocks[order], -np.arange(1, longest + 1), side="right")
    chain = np.tile(np.frombuffer(iv, np.uint64), (len(sizes), 1))
    for j, count in enumerate(active.tolist()):
        where = starts[:count] + BLOCK * j
        state = chain[:count]
        np.bitwise_xor(state, anywhere[where].view(np.uint64).reshape(count, 2), out=state)
        flat = state.data.cast("B")
        ecb.encrypt(flat, output=flat)
        anywhere[where] = state.view("V16")[:, 0]


def _chain_along(key: bytes, iv: bytes, out: NDArray[np.uint8], sizes: NDArray[np.int64]) -> None:
    """CBC over *out* in place with one context for all samples.

    The context goes on chaining from the last sample's end; XOR of the next first block with
    that ciphertext and the IV has the same effect as a restart.
    """
    cbc = AES.new(key, AES.MODE_CBC, iv=iv)
    start_iv = int.from_bytes(iv, "big")
    view, at, mask = out.data, 0, 0
    for size in sizes.tolist():
        end = at + size // BLOCK * BLOCK
        if end > at:
            first = int.from_bytes(view[at : at + BLOCK], "big") ^ mask
            view[at : at + BLOCK] = first.to_bytes(BLOCK, "big")
            cbc.encrypt(view[at:end], output=view[at:end])
            mask = start_iv ^ int.from_bytes(view[end - BLOCK : end], "big")
        at += size


def _counts(first: int, count: int) -> NDArray[np.uint64]:
    return np.arange(count, dtype=np.uint64) + np.uint64(first % (1 << 64))


def _xor(a: Bytes, b: Bytes) -> memoryview:
    return (np.frombuffer(a, np.uint8) ^ np.frombuffer(b, np.uint8)).data
