"""Common Encryption of whole audio samples. ISO/IEC 23001-7:2023, 9.4, 9.7, 10.1, 10.4.

A cipher object per sample costs ten times the encryption of the sample, so each call makes one and
takes it from sample to sample: by a new nonce in CTR mode, by a first block in CBC mode that
undoes what the sample before has left behind. `packager.protect.cenc_across` gives the same bytes
in half the time, but loading numpy takes as long as encrypting an hour of music: `ciphers`
weighs that. `bench/packaging.py` measures both, and other ways.

Samples lie one after the other: `data` is all of them, `sizes` the bytes of each.
"""

from array import array
from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, CTR

from packager.mp4.grammar import Bytes, big_endian

BLOCK = 16
BATCH_SIZE = 1 << 20
"""Bytes that callers should hand over at once: enough to amortise, few enough for the caches."""
_IV_END = 1 << 64


def sample_ivs(first: int, count: int) -> bytes:
    """*count* IVs of eight bytes that count up from *first*, modulo 2^64."""
    first %= _IV_END
    before_wrap = min(count, _IV_END - first)
    ivs = array("Q", range(first, first + before_wrap))
    ivs.extend(range(count - before_wrap))
    return big_endian(ivs)


def cenc_crypt(key: bytes, first_iv: int, data: Bytes, sizes: Sequence[int]) -> bytes:
    """Encrypt or decrypt full samples with AES-CTR; sample *i* has the IV *first_iv* + *i*.

    The block counter in the low eight bytes starts at 0 for each sample (10.1).
    """
    context = Cipher(AES(key), CTR(bytes(BLOCK))).encryptor()
    restart, crypt = context.reset_nonce, context.update
    ivs, counter = sample_ivs(first_iv, len(sizes)), bytes(BLOCK // 2)
    parts, at, iv = [], 0, 0
    for size in sizes:
        restart(ivs[iv : iv + 8] + counter)
        parts.append(crypt(data[at : at + size]))
        at, iv = at + size, iv + 8
    assert at == len(data)
    return b"".join(parts)


def cbcs_encrypt(key: bytes, constant_iv: bytes, data: Bytes, sizes: Sequence[int]) -> bytes:
    """Encrypt the whole blocks of each sample with AES-CBC, from the same IV; the rest stays.

    The cipher goes on chaining from the last sample's end: XOR of the next first block with that
    ciphertext and the IV has the same effect as a restart.
    """
    assert len(constant_iv) == BLOCK
    encrypt, number = Cipher(AES(key), CBC(constant_iv)).encryptor().update, int.from_bytes
    iv, undo = number(constant_iv), 0
    clear = bytes(data)  # slices of bytes cost half of a view's
    parts: list[bytes] = []
    at = 0
    for size in sizes:
        second, tail, end = at + 16, at + (size & ~15), at + size
        if tail > at:
            first = number(clear[at:second]) ^ undo
            encrypted = encrypt(first.to_bytes(16) + clear[second:tail])
            parts.append(encrypted)
            undo = number(encrypted[-16:]) ^ iv
        parts.append(clear[tail:end])
        at = end
    assert at == len(data)
    return b"".join(parts)


def cbcs_decrypt(key: bytes, constant_iv: bytes, data: Bytes, sizes: Sequence[int]) -> bytes:
    """Undo `cbcs_encrypt` in one call: a plain block needs the encrypted one before it, no more.

    So the IV stands before each sample, and what comes out in its place is dropped.
    """
    encrypted = bytes(data)
    whole: list[bytes] = []
    at = 0
    for size in sizes:
        whole += (constant_iv, encrypted[at : at + (size & ~15)])
        at += size
    assert at == len(data)
    plain = Cipher(AES(key), CBC(constant_iv)).decryptor().update(b"".join(whole))
    parts: list[bytes] = []
    at = start = 0
    for size in sizes:
        start, tail, end = start + 16, at + (size & ~15), at + size
        parts += (plain[start : start + tail - at], encrypted[tail:end])
        start, at = start + tail - at, end
    return b"".join(parts)
