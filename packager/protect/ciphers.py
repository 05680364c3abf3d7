"""Which of two implementations encrypts: `cenc` goes along samples, `cenc_across` across them."""

import sys
from collections.abc import Sequence
from typing import Protocol

from packager.mp4.grammar import Bytes
from packager.protect import cenc

WORTH_LOADING = 1 << 27
"""Bytes to encrypt from which numpy has saved more CPU time than loading it takes."""


class Ciphers(Protocol):
    """The functions that encrypt, in one of two ways."""

    def cenc_crypt(self, key: bytes, first_iv: int, data: Bytes, sizes: Sequence[int], /) -> Bytes:
        """As `cenc.cenc_crypt`."""
        ...

    def cbcs_encrypt(
        self, key: bytes, constant_iv: bytes, data: Bytes, sizes: Sequence[int], /
    ) -> Bytes:
        """As `cenc.cbcs_encrypt`."""
        ...


def ciphers_for(size: int) -> Ciphers:
    """What takes less CPU time for *size* bytes, loading included."""
    if "numpy" not in sys.modules and size < WORTH_LOADING:
        return cenc
    from packager.protect import cenc_across  # noqa: PLC0415  # numpy loads slowly

    return cenc_across
