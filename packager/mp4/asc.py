"""AudioSpecificConfig: what kind of AAC this is. ISO/IEC 14496-3:2019, 1.6.2.1 and 1.6.5.3."""

from dataclasses import dataclass

from core.errors import MalformedBoxError

RATES_HZ = (
    96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350,
)  # fmt: skip
AAC_LC, SBR, PS = 2, 5, 29
_CHANNELS = (0, 1, 2, 3, 4, 5, 6, 8, 0, 0, 0, 7, 8, 24, 8, 0)
"""By channelConfiguration (1.6.3.5); 0 where none is said."""
_SBR_SYNC, _PS_SYNC = 0x2B7, 0x548
_SYNC_SEARCH_BITS = 512
_MAX_CORE_RATE_HZ = 24_000
"""Of AAC that SBR doubles to at most 48 kHz; nobody uses it above."""


@dataclass(frozen=True, slots=True)
class AacKind:
    """`object_type` is 2 for AAC-LC, 5 for HE-AAC, 29 for HE-AAC v2, 42 for xHE-AAC."""

    object_type: int
    sample_rate: int
    channels: int

    @property
    def codecs(self) -> str:
        """The RFC 6381 string."""
        return f"mp4a.40.{self.object_type}"


def may_hide_sbr(specific: bytes) -> bool:
    """Whether packets may hold SBR that the configuration does not tell (1.6.6.1, implicit)."""
    kind = aac_kind(specific)
    return kind.object_type == AAC_LC and kind.sample_rate <= _MAX_CORE_RATE_HZ


def with_sbr(specific: bytes, *, parametric_stereo: bool) -> bytes:
    """A configuration of plain AAC-LC, with the SBR told that its packets hold (1.6.6.1, explicit).

    In the hierarchical way, which players understand that know nothing of the other one.
    """
    bits = _Bits(specific)
    core, rate = _object_type(bits), _rate(bits)
    channels, decoder = bits.take(4), bits.take(3)  # GASpecificConfig: frame length, dependences
    if core != AAC_LC or rate not in RATES_HZ or 2 * rate not in RATES_HZ:
        raise MalformedBoxError(f"AAC of type {core} at {rate} Hz cannot have SBR")
    value = 0
    for width, field in (
        (5, PS if parametric_stereo else SBR), (4, RATES_HZ.index(rate)), (4, channels),
        (4, RATES_HZ.index(2 * rate)), (5, core), (3, decoder), (7, 0),
    ):  # fmt: skip
        value = value << width | field
    return value.to_bytes(4, "big")


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self.left = 8 * len(data)

    def peek(self, count: int) -> int:
        return self._value >> self.left - count & (1 << count) - 1

    def take(self, count: int) -> int:
        if count > self.left:
            raise MalformedBoxError("AudioSpecificConfig is too short")
        value = self.peek(count)
        self.left -= count
        return value


def aac_kind(specific: bytes) -> AacKind:
    """Read an AudioSpecificConfig; the rate and channels are those that come out of a decoder."""
    bits = _Bits(specific)
    object_type, rate, channels = _object_type(bits), _rate(bits), _CHANNELS[bits.take(4)]
    if object_type in (SBR, PS):  # explicit, hierarchical signalling
        return AacKind(object_type, _rate(bits), 2 if object_type == PS else channels)
    if object_type == AAC_LC:  # explicit, backward compatible: after the core's own fields
        while _SYNC_SEARCH_BITS >= bits.left >= 17:
            if bits.peek(11) == _SBR_SYNC:
                return _extension(bits, rate, channels)
            bits.take(1)
    return AacKind(object_type, rate, channels)


def _extension(bits: _Bits, rate: int, channels: int) -> AacKind:
    bits.take(11)
    if _object_type(bits) != SBR or not bits.take(1):
        return AacKind(AAC_LC, rate, channels)
    rate = _rate(bits)
    if bits.left >= 12 and bits.take(11) == _PS_SYNC and bits.take(1):
        return AacKind(PS, rate, 2)
    return AacKind(SBR, rate, channels)


def _object_type(bits: _Bits) -> int:
    value = bits.take(5)
    return 32 + bits.take(6) if value == 31 else value


def _rate(bits: _Bits) -> int:
    index = bits.take(4)
    if index == 15:
        return bits.take(24)
    if index >= len(RATES_HZ):
        raise MalformedBoxError(f"AAC sample rate index {index} is reserved")
    return RATES_HZ[index]
