"""A packaged file back to what its encoder made: for new keys without a new encode.

Goes through the file once, fragment by fragment, and writes the packets to a file: memory holds one
fragment and the packets' sizes.
"""

import hashlib
from array import array
from collections.abc import Sequence
from pathlib import Path

from core.errors import IntegrityError, MalformedBoxError
from core.model import ContentKey, DrmProfile, MediaFile, Rendition
from packager.encoded.mapped_file import map_file, release
from packager.encoded.track import EncodedTrack
from packager.mp4.grammar import Bytes, only, read_boxes
from packager.mp4.moof import MovieFragment
from packager.mp4.moof_size import IV_SIZE
from packager.mp4.moov import Movie
from packager.protect import cenc
from packager.protect.protection import FileProtection


def reopen(
    path: Path, rendition: Rendition, file: MediaFile, keys: Sequence[ContentKey], packets: Path
) -> EncodedTrack:
    """Decrypt the file at *path*.

    Args:
        path: A copy of *file*; must not change meanwhile.
        rendition: What it is a file of.
        file: What is promised about it.
        keys: Its content keys, perhaps among others.
        packets: Where the packets go; the result is a view of it.

    Raises:
        IntegrityError: The file is not the one that was promised, or the key does not open it.
    """
    try:
        data, protection = map_file(path), FileProtection.promised(file, keys)
        movie = Movie.decode(only(read_boxes(data[: file.init_size]), b"moov"))
        sizes = _decrypt_all(data, file, protection, packets, rendition.packets_sha256)
        payload = map_file(packets)
    except MalformedBoxError as error:
        raise IntegrityError(f"{rendition.name}/{file.drm}: {error.message}") from error
    return EncodedTrack(
        movie.entry.config,
        rendition.codec,
        rendition.codecs,
        rendition.sample_rate,
        rendition.channels,
        rendition.bit_depth,
        movie.sample_duration,
        sizes,
        payload,
        rendition.timing,
    )


def _decrypt_all(
    data: memoryview, file: MediaFile, protection: FileProtection, packets: Path, promised: str
) -> "array[int]":
    """Write all packets to *packets*; their sizes."""
    sizes, digest = array("I"), hashlib.sha256()
    at = file.init_size + file.index_size
    iv_size = IV_SIZE if file.drm is DrmProfile.CENC else 0
    with packets.open("wb") as out:
        for number, size in enumerate(file.segment_sizes):
            boxes = read_boxes(data[at : at + size])
            fragment = MovieFragment.decode(only(boxes, b"moof"), iv_size)
            clear = _decrypt(fragment, only(boxes, b"mdat"), protection, number)
            digest.update(clear)
            out.write(clear)
            sizes.extend(fragment.sizes)
            release(data, at, at + size)
            at += size
    if digest.hexdigest() != promised:
        raise IntegrityError(
            f"{file.key} does not decrypt to what its encoder made",
            hint="`tonearm track verify` says where it is broken",
        )
    return sizes


def _decrypt(
    fragment: MovieFragment, mdat: memoryview, protection: FileProtection, segment: int
) -> Bytes:
    """The packets of one fragment, one after the other."""
    sizes, senc, key = fragment.sizes, fragment.encryption, protection.key_at(segment)
    if (senc is None) != (key is None) or sum(sizes) != len(mdat):
        raise MalformedBoxError("senc, mdat and key do not go together")
    if key is None or senc is None:
        return mdat
    if protection.drm is DrmProfile.CBCS:
        return cenc.cbcs_decrypt(key.key, key.iv, mdat, sizes)
    first_iv = int.from_bytes(senc.ivs[:IV_SIZE], "big")
    return cenc.cenc_crypt(key.key, first_iv, mdat, sizes)
