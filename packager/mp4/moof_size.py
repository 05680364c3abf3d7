"""How large a `moof` will be, before there is one. ISO/IEC 14496-12:2022, 8.8.4.

Sizes are known before the first packet is touched, so that the index can be written first.
"""

from core.ids import IV_SIZES
from core.model import Scheme

_FIXED_SIZE = 8 + 16 + 8 + 28 + 20 + 20
"""moof, mfhd, traf, tfhd, tfdt, and trun without its samples."""
_SBGP_SIZE, _SENC_SIZE, _SAIZ_SIZE, _SAIO_SIZE = 28, 16, 17, 20
IV_SIZE = IV_SIZES[Scheme.CENC]


def moof_size(
    samples: int, *, durations: bool, roll: bool, ivs: bool | None, own_key: int = 0
) -> int:
    """Bytes of an encoded fragment header; `ivs` is None in the clear, False for a constant IV.

    `own_key` is the size of its key group and `pssh` boxes.
    """
    size = _FIXED_SIZE + samples * (8 if durations else 4) + (_SBGP_SIZE if roll else 0) + own_key
    if ivs is None:
        return size
    return size + _SENC_SIZE + (_SAIZ_SIZE + _SAIO_SIZE + IV_SIZE * samples if ivs else 0)
