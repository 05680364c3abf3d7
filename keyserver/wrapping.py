"""Sealing one key with another: AES-256-GCM with everything it belongs to as context.

Pure: the nonce is an argument. A blob is nonce, ciphertext and tag, one after the other.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import IntegrityError

NONCE_SIZE = 12
"""Bytes; random nonces of this size are good for 2^32 wraps under one key (SP 800-38D, 8.3)."""
WRAPPING_KEY_SIZE = 32


class WrappingKey:
    """A key that seals keys; it does not print."""

    def __init__(self, key: bytes) -> None:
        assert len(key) == WRAPPING_KEY_SIZE
        # one object for many unwraps: building it costs more than a 16-byte unwrap
        self._aead = AESGCM(key)

    def __repr__(self) -> str:
        return "WrappingKey()"

    def wrap(self, secret: bytes, *, context: bytes, nonce: bytes) -> bytes:
        """*secret* sealed; it opens with the same *context* only."""
        assert len(nonce) == NONCE_SIZE
        return nonce + self._aead.encrypt(nonce, secret, context)

    def unwrap(self, blob: bytes, *, context: bytes) -> bytes:
        """What `wrap` sealed.

        Raises:
            IntegrityError: Another key or context sealed it, or a bit was changed.
        """
        try:
            return self._aead.decrypt(blob[:NONCE_SIZE], blob[NONCE_SIZE:], context)
        except (InvalidTag, ValueError):
            raise IntegrityError(
                "a sealed key does not open",
                hint="its row was changed, or the key ring is not the one that sealed it",
            ) from None


def derive_root(secret: bytes) -> WrappingKey:
    """The key that seals key-encryption keys, from the root secret (HKDF, RFC 5869)."""
    kdf = HKDF(SHA256(), length=WRAPPING_KEY_SIZE, salt=None, info=b"tonearm root/1")
    return WrappingKey(kdf.derive(secret))


def context(*fields: str | int | bytes) -> bytes:
    """The fields, each with its length in front: no two lists of fields look the same."""
    encoded = [f if isinstance(f, bytes) else str(f).encode() for f in fields]
    return b"".join(len(f).to_bytes(4, "big") + f for f in encoded)
