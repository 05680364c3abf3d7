"""`sha256.json`: hashes of the objects of a generation that nothing else vouches for.

Media are hashed in `presentation.json`, which is hashed in the generation. Waveform and report
follow from nothing that is published, and static manifests only by the version that wrote them.
"""

import hashlib
import json
from collections.abc import Mapping

from core import ids
from core.errors import IntegrityError


def encode_sums(bodies: Mapping[str, bytes]) -> bytes:
    """Canonical JSON: name to SHA-256 in hex."""
    return _canonical({name: hashlib.sha256(body).hexdigest() for name, body in bodies.items()})


def decode_sums(data: bytes) -> dict[str, str]:
    """Read what `encode_sums` wrote.

    Raises:
        IntegrityError: It is not that, to the byte.
    """
    try:
        sums = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"is no JSON: {error}") from error
    if not isinstance(sums, dict) or _canonical(sums) != data:
        raise IntegrityError("is not written as sums are")
    if not all(ids.SHA256.fits(s) for s in sums.values()):
        raise IntegrityError("holds something that is no SHA-256")
    return sums


def _canonical(sums: dict[str, str]) -> bytes:
    return json.dumps(sums, sort_keys=True, separators=(",", ":")).encode()
