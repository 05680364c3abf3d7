"""Which key each segment of a file is encrypted with, and what its fragment says about that. Pure.

A file starts with an optional clear lead. Its keys follow each other at fixed distances; the first
one stands in `tenc`, the others in the fragments that need them, together with their `pssh`.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from core.errors import InvalidInputError
from core.ids import check_content_key
from core.model import ContentKey, DrmProfile, KeyChange, MediaFile, Scheme
from packager.mp4.grammar import Bytes
from packager.mp4.moof_size import IV_SIZE
from packager.mp4.seig import KeyGroup
from packager.mp4.tenc import TrackEncryption
from packager.protect.ciphers import Ciphers

FULL_PATTERN_BLOCKS = 10
"""Of a pattern of 10:0: all blocks, as with 0:0, but said in the way some devices need it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """Choices, the same for all renditions of a presentation.

    Attributes:
        clear_segments: Clear lead; the last segment of a track is encrypted all the same.
        period_segments: After so many segments another key begins; 0 for one key.
        full_pattern: Signal cbcs with the pattern 10:0.
    """

    clear_segments: int = 0
    period_segments: int = 0
    full_pattern: bool = False

    @classmethod
    def in_seconds(
        cls,
        segment_s: float,
        *,
        clear_lead_s: float = 0,
        crypto_period_s: float = 0,
        full_pattern: bool = False,
    ) -> "Encryption":
        """A lead of at least so many seconds, and the nearest number of segments for a key."""
        return cls(
            clear_segments=-int(-clear_lead_s // segment_s),
            period_segments=max(1, round(crypto_period_s / segment_s)) if crypto_period_s else 0,
            full_pattern=full_pattern,
        )

    def keys_needed(self, segments: int) -> int:
        """How many keys one after the other a track of so many segments needs."""
        return -(-segments // self.period_segments) if self.period_segments else 1


NO_CHOICES = Encryption()


@dataclass(frozen=True, slots=True)
class FileProtection:
    """How the segments of one file are encrypted; `keys` is empty in the clear.

    `changes` names the first segment of each key but the first; segments count from 0.
    """

    drm: DrmProfile
    keys: tuple[ContentKey, ...] = ()
    clear_segments: int = 0
    changes: tuple[int, ...] = ()
    crypt_blocks: int = 0

    def __post_init__(self) -> None:
        assert len(self.changes) == max(0, len(self.keys) - 1)

    @classmethod
    def chosen(
        cls, drm: DrmProfile, keys: tuple[ContentKey, ...], choices: Encryption, segments: int
    ) -> "FileProtection":
        """What *choices* mean for a file.

        Raises:
            InvalidInputError: There are not as many keys as the file needs, or two are one.
        """
        if drm is DrmProfile.CLEAR:
            if keys:
                raise InvalidInputError("a clear file needs no content key")
            return cls(drm)
        if not keys:
            raise InvalidInputError(f"there is no content key for {drm}")
        needed = choices.keys_needed(segments)
        if len({key.description.kid for key in keys}) != len(keys) or len(keys) < needed:
            raise InvalidInputError(f"{len(keys)} content keys are given where {needed} are needed")
        step = choices.period_segments
        pattern = choices.full_pattern and drm is DrmProfile.CBCS
        return cls(
            drm,
            keys[:needed],
            min(choices.clear_segments, segments - 1),
            tuple(step * n for n in range(1, needed)),
            FULL_PATTERN_BLOCKS if pattern else 0,
        )

    @classmethod
    def promised(cls, file: MediaFile, keys: Sequence[ContentKey]) -> "FileProtection":
        """What *file* says about itself.

        Raises:
            InvalidInputError: One of its keys is missing.
        """
        by_kid = {key.description.kid: key for key in keys}
        if missing := [kid for kid in file.kids if kid not in by_kid]:
            raise InvalidInputError(f"the content key {missing[0]} is not at hand")
        return cls(
            file.drm,
            tuple(by_kid[kid] for kid in file.kids),
            file.clear_segments,
            tuple(change.segment for change in file.key_changes),
            file.crypt_blocks,
        )

    def describe(self, file: MediaFile) -> MediaFile:
        """*file* with all that is promised about its protection."""
        if not self.keys:
            return file
        kids = [key.description.kid for key in self.keys]
        return replace(
            file,
            kid=kids[0],
            clear_segments=self.clear_segments,
            crypt_blocks=self.crypt_blocks,
            key_changes=tuple(map(KeyChange, self.changes, kids[1:])),
        )

    @property
    def track_encryption(self) -> TrackEncryption | None:
        """`tenc`: the first key, whatever comes later; None in the clear."""
        if not self.keys:
            return None
        for key in self.keys:
            check_content_key(key.key, key.iv, Scheme(self.drm))
        kid, iv = self.keys[0].description.kid, self.keys[0].iv
        if self._constant:
            return TrackEncryption(kid, 0, iv, self.crypt_blocks)
        return TrackEncryption(kid, IV_SIZE)

    @property
    def _constant(self) -> bool:
        return self.drm is DrmProfile.CBCS

    def key_at(self, segment: int) -> ContentKey | None:
        """None in the clear, and in the clear lead."""
        if not self.keys or segment < self.clear_segments:
            return None
        return self.keys[bisect_right(self.changes, segment)]

    def group_at(self, segment: int) -> KeyGroup | None:
        """The key that a fragment must name, because it is not the one in `tenc`."""
        key = self.key_at(segment)
        if key is None or key is self.keys[0]:
            return None
        kid = key.description.kid
        if self._constant:
            return KeyGroup(kid, 0, key.iv, self.crypt_blocks)
        return KeyGroup(kid, IV_SIZE)

    def pssh_at(self, segment: int) -> tuple[bytes, ...]:
        """In each segment of a later key, and behind a clear lead: players may start anywhere.

        Behind a lead, because hls.js forgets what the init segment said before it needs a key.
        """
        key = self.key_at(segment) if self.clear_segments or self.group_at(segment) else None
        return tuple(s.pssh for s in key.description.signals if s.pssh) if key else ()

    def ivs_at(self, segment: int) -> bool | None:
        """None in the clear, False for a constant IV, True for one for each sample."""
        return None if self.key_at(segment) is None else not self._constant

    def own_key_size(self, segment: int) -> int:
        """Bytes of what a fragment says about its own key."""
        group = self.group_at(segment)
        return (group.size if group else 0) + sum(map(len, self.pssh_at(segment)))

    def first_iv(self, segment: int, sample: int) -> int:
        """Of *sample*, counted from where IVs with this file's keys begin."""
        key = self.key_at(segment)
        assert key is not None
        return int.from_bytes(key.iv, "big") + sample

    def encrypt(
        self,
        data: memoryview,
        sizes: Sequence[int],
        segments: Mapping[int, int],
        sample: int,
        using: Ciphers,
    ) -> Bytes:
        """Encrypt packets that lie one after the other.

        Args:
            data: The packets.
            sizes: Of each.
            segments: How many packets each of the segments has that they belong to, in order.
            sample: Place of the first packet among all that these keys encrypt.
            using: The ciphers.
        """
        parts: list[Bytes] = []
        packet = at = 0
        for key, run in groupby(segments, self.key_at):  # mostly one run: few calls are quick
            count = sum(segments[segment] for segment in run)
            own = sizes[packet : packet + count]
            size = sum(own)
            parts.append(self._crypt(key, data[at : at + size], own, sample + packet, using))
            packet, at = packet + count, at + size
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _crypt(
        self,
        key: ContentKey | None,
        data: memoryview,
        sizes: Sequence[int],
        sample: int,
        using: Ciphers,
    ) -> Bytes:
        if key is None:
            return data
        if self._constant:
            return using.cbcs_encrypt(key.key, key.iv, data, sizes)
        return using.cenc_crypt(key.key, int.from_bytes(key.iv, "big") + sample, data, sizes)
