"""HLS `AES-128`: every media segment is one cipher text, for players without EME.

AES-128-CBC over the segment, padded as in PKCS #7 (RFC 8216, 4.3.2.4 and 5.2; RFC 5652, 6.3). The
init segment stays in the clear. Each segment has an IV of its own, written into its tag: the media
sequence number, which stands in for one that is not written, is the same in all renditions, and
they may share a key. IVs count up from behind the key's own, which `cbcs` uses. Players fetch a key
once all the same. No EXT-X-SESSION-KEY names it: hls.js hands every session key to EME, and stops.
"""

from collections.abc import Sequence
from dataclasses import replace

from Crypto.Cipher import AES
from Crypto.Util.Padding import pad, unpad

from core.errors import IntegrityError, InvalidInputError
from core.model import ContentKey, HlsKeyTag, MediaFile, Timing
from packager.cmaf.grid import bitrates
from packager.folder.cut import Sealing
from packager.manifest.hls import IDENTITY

METHOD = "AES-128"
BLOCK = 16
_IV_END = 1 << 128

SegmentKeys = Sequence[ContentKey | None]
"""Of each segment; None for one in the clear."""


def tags(keys: SegmentKeys, used: int) -> list[HlsKeyTag | None]:
    """The tag of each segment, the IVs being those after the first *used* of their keys.

    Raises:
        InvalidInputError: A key has no URI where players get its 16 octets.
    """
    return [
        None
        if key is None
        else HlsKeyTag(METHOD, key_uri(key), IDENTITY, iv=_iv(key, used + number))
        for number, key in enumerate(keys, 1)
    ]


def key_uri(key: ContentKey) -> str:
    """Where players get the 16 octets of *key*.

    Raises:
        InvalidInputError: Nowhere: nothing signals it.
    """
    uris = (t.uri for s in key.description.signals for t in s.hls if t.keyformat == IDENTITY)
    uri = next(uris, "data:")
    if uri.startswith("data:"):
        raise InvalidInputError(
            "players need a URI that answers the 16 octets of the key",
            hint="give --hls-key-uri, or have clearkey among the `tonearm keys systems`",
        )
    return uri


def _iv(key: ContentKey, number: int) -> bytes:
    assert len(key.iv) == BLOCK
    return ((int.from_bytes(key.iv, "big") + number) % _IV_END).to_bytes(BLOCK, "big")


def sealing(keys: SegmentKeys, key_tags: Sequence[HlsKeyTag | None]) -> Sealing:
    """What encrypts each segment with its key, and proves that it decrypts to itself."""

    def seal(number: int, clear: bytes) -> bytes:
        key, tag = keys[number], key_tags[number]
        sealed = _encrypted(clear, key, tag)
        if _decrypted(sealed, key, tag) != clear:
            raise IntegrityError(f"segment {number + 1} does not decrypt to itself")
        return sealed

    return seal


def _encrypted(clear: bytes, key: ContentKey | None, tag: HlsKeyTag | None) -> bytes:
    if key is None or tag is None:
        return clear
    return AES.new(key.key, AES.MODE_CBC, iv=tag.iv).encrypt(pad(clear, BLOCK, style="pkcs7"))


def _decrypted(data: bytes, key: ContentKey | None, tag: HlsKeyTag | None) -> bytes | None:
    if key is None or tag is None:
        return data
    try:
        return unpad(AES.new(key.key, AES.MODE_CBC, iv=tag.iv).decrypt(data), BLOCK, style="pkcs7")
    except ValueError:
        return None


def resized(
    file: MediaFile, sizes: Sequence[int], ticks: tuple[int, ...], timing: Timing
) -> MediaFile:
    """*file* as players see it, with padded segments and no index."""
    average, peak = bitrates(tuple(sizes), ticks, timing)
    return replace(
        file,
        size=file.init_size + sum(sizes),
        index_size=0,
        segment_sizes=tuple(sizes),
        average_bps=average,
        peak_bps=peak,
    )
