"""Fields of the boxes that say what a track sounds like: codecs and loudness, by anybody.

Like `packager.inspection.box_fields`, of which this is a part.
"""

from collections.abc import Callable
from typing import Any

from packager.mp4 import ludt
from packager.mp4.alac import AlacConfig
from packager.mp4.asc import aac_kind
from packager.mp4.dfla import FlacConfig
from packager.mp4.dops import OpusConfig
from packager.mp4.esds import AacConfig
from packager.mp4.grammar import Fields

Values = dict[str, Any]

_METHODS = {
    ludt.PROGRAM: "integrated_lufs",
    2: "anchor_lufs",
    3: "maximum_of_range_lufs",
    ludt.MOMENTARY_MAX: "momentary_max_lufs",
    ludt.SHORT_TERM_MAX: "short_term_max_lufs",
    ludt.RANGE: "range_lu",
}


def _esds(fields: Fields) -> Values:
    config = AacConfig.decode(fields.rest())
    kind = aac_kind(config.specific)
    return {
        "codecs": kind.codecs,
        "sample_rate": kind.sample_rate,
        "channels": kind.channels,
        "average_bps": config.average_bps,
        "max_bps": config.max_bps,
        "specific": config.specific.hex(),
    }


def _dops(fields: Fields) -> Values:
    config = OpusConfig.decode(fields.rest())
    return {
        "codecs": "opus",
        "channels": config.channels,
        "pre_skip": config.pre_skip,
        "input_sample_rate": config.input_sample_rate,
        "output_gain": config.output_gain,
        "family": config.family,
    }


def _lossless(codecs: str, config: FlacConfig | AlacConfig) -> Values:
    return {
        "codecs": codecs,
        "sample_rate": config.sample_rate,
        "channels": config.channels,
        "bit_depth": config.bit_depth,
    }


def _dfla(fields: Fields) -> Values:
    config = FlacConfig.decode(fields.rest())
    return _lossless("flac", config) | {"total_samples": config.total_samples}


def _alac(fields: Fields) -> Values:
    return _lossless("alac", AlacConfig.decode(fields.rest()))


def _loudness(fields: Fields) -> Values:
    """`tlou` and `alou`, version 0 or 1; the first loudness of version 1 is told."""
    version, _ = fields.uint(1), fields.uint(3)
    if version:
        if not fields.uint(1) & 63:
            return {}
        fields.view(1)  # EQ set
    fields.view(2)  # downmix and DRC set
    peaks = fields.uint(4)
    found: Values = {}
    if peaks >> 20:
        found["sample_peak_dbfs"] = 20 - (peaks >> 20) / 32
    if peaks >> 8 & 0xFFF:
        found["true_peak_dbtp"] = 20 - (peaks >> 8 & 0xFFF) / 32
    for _ in range(fields.uint(1)):
        method, value, _ = fields.take(3)
        if method in _METHODS:
            found[_METHODS[method]] = _range(value) if method == ludt.RANGE else value / 4 - 57.75
    return found


def _range(code: int) -> float:
    """Undo `packager.mp4.ludt.range_code`."""
    return code / 4 if code <= 128 else code / 2 - 32 if code <= 204 else code - 134.0


CODEC_READERS: dict[str, Callable[[Fields], Values]] = {
    "alac": _alac,
    "alou": _loudness,
    "dOps": _dops,
    "dfLa": _dfla,
    "esds": _esds,
    "tlou": _loudness,
}
