"""Two proofs that a file holds what an encoder made: by hashes, or by comparison of all packets.

`verify` hands a proof every byte of a file in order: the init segment, the index, and of each
segment first the decrypted packets, then the bytes as they are stored. A proof by comparison
answers at once; one by hashes has nothing to say before the end, so until then it agrees to
everything, and `ends` has the verdict.
"""

from collections.abc import Iterator
from typing import Protocol

from core.model import MediaFile, Rendition
from packager.cmaf.init_segment import init_segment
from packager.encoded.mapped_file import release
from packager.encoded.track import EncodedTrack
from packager.mp4.grammar import Bytes
from packager.protect.protection import FileProtection


class Proof(Protocol):
    """What decides whether the bytes of a file are the right ones."""

    def is_init(self, data: Bytes, protection: FileProtection) -> bool:
        """Whether *data* may be the init segment of a file that is encrypted so."""

    def take_stored(self, data: Bytes) -> None:
        """Take the next bytes of the file, as they are stored, behind the init segment."""

    def are_next(self, packets: Bytes) -> bool:
        """Whether *packets*, decrypted, may be those that follow the ones before."""

    def ends(self) -> Iterator[tuple[str, object, object]]:
        """What must be equal when all was taken: its name, what is, and what should be."""


class HashProof:
    """By the hashes of all packets and of the whole file that a description promises."""

    def __init__(self, rendition: Rendition, file: MediaFile) -> None:
        from hashlib import sha256  # noqa: PLC0415  # loads OpenSSL, for this alone

        self._promised = rendition.packets_sha256, file.sha256
        self._packets, self._file = sha256(), sha256()

    def is_init(self, data: Bytes, protection: FileProtection) -> bool:
        """Hashed with the rest of the file; decided in `ends`."""
        self._file.update(data)
        return True

    def take_stored(self, data: Bytes) -> None:
        """Hash the bytes of the file."""
        self._file.update(data)

    def are_next(self, packets: Bytes) -> bool:
        """Hashed with the other packets; decided in `ends`."""
        self._packets.update(packets)
        return True

    def ends(self) -> Iterator[tuple[str, object, object]]:
        """Both hashes."""
        packets, file = self._promised
        yield "the packets' SHA-256", self._packets.hexdigest(), packets
        yield "the file's SHA-256", self._file.hexdigest(), file


class TrackProof:
    """By the track that was packaged: a file that nobody knows the hash of has no other.

    What follows the init segment is packets, compared here, and boxes, which `verify` checks field
    by field.
    """

    def __init__(self, track: EncodedTrack) -> None:
        self._track, self._at = track, 0

    def is_init(self, data: Bytes, protection: FileProtection) -> bool:
        """Whether it is the track's init segment, which without hashes holds no loudness either."""
        return bytes(data) == init_segment(self._track, protection, None)

    def take_stored(self, data: Bytes) -> None:
        """Nothing to compare them with."""

    def are_next(self, packets: Bytes) -> bool:
        """Whether they are the track's next packets."""
        payload, start = self._track.payload, self._at
        self._at += len(packets)
        # as bytes: a view is compared item by item
        are_equal = bytes(payload[start : self._at]) == bytes(packets)
        release(payload, start, self._at)
        return are_equal

    def ends(self) -> Iterator[tuple[str, object, object]]:
        """No packet of the track may be left."""
        yield "bytes of all packets", self._at, len(self._track.payload)
