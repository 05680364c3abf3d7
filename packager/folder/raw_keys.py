"""Content keys that a person gives: read, matched to tiers, and signalled without a DRM system.

A message never shows what was read: it may be a key.
"""

import base64
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from core.errors import InvalidInputError
from core.ids import CLEARKEY_SYSTEM_ID, COMMON_SYSTEM_ID, IV_SIZES
from core.model import ContentKey, DrmSignal, HlsKeyTag, KeyDescription, Scheme, Tier
from packager.mp4.pssh import ProtectionHeader

MAX_KEYS = 64

_HINT = "[TIER=]KID:KEY, each 32 hex digits; or label=TIER:key_id=KID:key=KEY"
_HEX = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True)
class RawKey:
    """A key for one tier, or for all that have none of their own; `key` stays out of `repr`."""

    tier: Tier | None
    kid: uuid.UUID
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Licensing:
    """Where players get keys from: W3C JSON licences, and 16 raw bytes for HLS `identity`.

    In `hls_key_uri`, ``{kid}`` stands for the key ID.
    """

    license_url: str | None = None
    hls_key_uri: str | None = None

    def check(self) -> None:
        """Raise InvalidInputError if a URL cannot stand in a manifest."""
        for option, url in (
            ("--license-url", self.license_url),
            ("--hls-key-uri", self.hls_key_uri),
        ):
            if url and not (url.isprintable() and not set(url) & set(' "<>\\')):
                raise InvalidInputError(
                    f"{option} is no URL that a manifest can hold",
                    hint="such as https://keys.example/{kid}, without spaces and quotes",
                )

    def check_keys(self, raw: Sequence[RawKey]) -> None:
        """Raise InvalidInputError if one URI should answer several keys."""
        if len(raw) > 1 and "{kid}" not in (self.hls_key_uri or "{kid}"):
            raise InvalidInputError(
                f"one URI cannot answer {len(raw)} keys",
                hint="write {kid} where the key ID belongs",
            )


def parse_keys(texts: Sequence[str]) -> tuple[RawKey, ...]:
    """Read ``[TIER=]KID:KEY`` and Shaka Packager's ``label=TIER:key_id=KID:key=KEY``, with commas.

    Raises:
        InvalidInputError: One is neither, a tier has two, or two share a key or a key ID.
    """
    parts = [part for text in texts for part in text.split(",")]
    if len(parts) > MAX_KEYS:
        raise InvalidInputError(f"{len(parts)} keys are more than {MAX_KEYS}", hint=_HINT)
    keys = tuple(_shaka_key(part) if "key_id=" in part else _key(part) for part in parts)
    if len({key.tier for key in keys}) < len(keys):
        raise InvalidInputError("a tier has two keys", hint=_HINT)
    if len({key.kid for key in keys}) < len(keys):
        raise InvalidInputError("two keys have one key ID", hint=_HINT)
    if len({key.key for key in keys}) < len(keys):  # IVs are counted by key ID
        raise InvalidInputError("two key IDs have one key", hint="each key ID needs its own key")
    return keys


def _key(text: str) -> RawKey:
    tier, equals, pair = text.rpartition("=")
    kid, _, key = pair.partition(":")
    return _raw_key(tier if equals else "", kid, key)


def _shaka_key(text: str) -> RawKey:
    fields = dict(pair.partition("=")[::2] for pair in text.split(":"))
    if not {"key_id", "key"} <= fields.keys() <= {"label", "key_id", "key"}:
        raise InvalidInputError("a key cannot be understood", hint=_HINT)
    return _raw_key(fields.get("label", ""), fields["key_id"], fields["key"])


def _raw_key(tier: str, kid: str, key: str) -> RawKey:
    kid = kid.replace("-", "")
    if not _HEX.fullmatch(kid) or not _HEX.fullmatch(key):
        raise InvalidInputError("a key or key ID has not 32 hex digits", hint=_HINT)
    if tier and tier.lower() not in {*Tier}:
        raise InvalidInputError("a key is for an unknown tier", hint=f"one of {', '.join(Tier)}")
    return RawKey(Tier(tier.lower()) if tier else None, uuid.UUID(kid), bytes.fromhex(key))


def parse_iv(text: str | None, schemes: Sequence[Scheme]) -> bytes | None:
    """An IV in hex, of the size that the one scheme needs.

    Raises:
        InvalidInputError: It has another size.
    """
    if text is None:
        return None
    try:
        iv = bytes.fromhex(text)
    except ValueError:
        iv = b""
    if len(schemes) != 1 or len(iv) != IV_SIZES[schemes[0]]:
        raise InvalidInputError(
            "the IV does not fit",
            hint="32 hex digits for cbcs and aes-128, 16 for cenc, none for both",
        )
    return iv


def content_keys(  # noqa: PLR0913  # independent choices of the person who packages
    raw: Sequence[RawKey],
    tiers: Sequence[Tier],
    schemes: Sequence[Scheme],
    *,
    licensing: Licensing,
    iv: bytes | None,
    random: Callable[[int], bytes],
) -> tuple[ContentKey, ...]:
    """One key for each tier and scheme, with an IV for each KID and scheme.

    Args:
        raw: As `parse_keys` gave them.
        tiers: Of what is packaged.
        schemes: At least one.
        licensing: Goes into the signals.
        iv: The IV of all keys, or None to draw them.
        random: Gives that many random bytes.

    Raises:
        InvalidInputError: A tier has no key.
    """
    by_tier = {key.tier: key for key in raw}
    ivs: dict[tuple[uuid.UUID, Scheme], bytes] = {}
    keys = []
    for tier in tiers:
        key = by_tier.get(tier) or by_tier.get(None)
        if key is None:
            raise InvalidInputError(f"there is no key for the tier {tier}", hint=_HINT)
        for scheme in schemes:
            own = ivs.setdefault((key.kid, scheme), iv or random(IV_SIZES[scheme]))
            signals = _signals(key.kid, scheme, licensing)
            keys.append(ContentKey(KeyDescription(key.kid, tier, scheme, signals), key.key, own))
    return tuple(keys)


def _signals(kid: uuid.UUID, scheme: Scheme, licensing: Licensing) -> tuple[DrmSignal, ...]:
    """The common system in `moov`, ClearKey in DASH, and in HLS whatever URL there is."""
    method, tags = scheme.hls_method, []
    if licensing.hls_key_uri:
        uri = licensing.hls_key_uri.replace("{kid}", str(kid))
        tags.append(HlsKeyTag(method, uri, "identity"))
    if licensing.license_url:
        # hls.js keeps its requests by URI, so each key has one of its own; nobody fetches it
        uri = f"{licensing.license_url}{'&' if '?' in licensing.license_url else '?'}kid={kid}"
        tags.append(HlsKeyTag(method, uri, "org.w3.clearkey", keyid=kid))
    if not tags:  # players are handed keys by their page; this names which, as Shaka Packager does
        uri = f"data:text/plain;base64,{base64.b64encode(kid.bytes).decode()}"
        tags.append(HlsKeyTag(method, uri, "identity"))
    return (
        DrmSignal(COMMON_SYSTEM_ID, pssh=ProtectionHeader(COMMON_SYSTEM_ID, (kid,)).encode()),
        DrmSignal(
            CLEARKEY_SYSTEM_ID,
            hls=tuple(tags),
            dash_value="ClearKey1.0",
            license_path=licensing.license_url,
        ),
    )
