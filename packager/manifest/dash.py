"""MPDs of a presentation (ISO/IEC 23009-1; steering as in ETSI TS 103 998).

One AdaptationSet per codec and tier, because all Representations of a set must share one content
key (DASH-IF); sets of one codec name each other as switchable. All URLs are relative. Attributes
stand in the order of the standard's tables.

`profiles` says what decides how segments are addressed, and no more: the CMAF profile would say
nothing about them, no player of ours reads it, and its other promises were never checked.
"""

import base64
import xml.etree.ElementTree as ET
from itertools import groupby
from typing import Literal

from core.model import (
    DrmProfile,
    DrmSignal,
    KeyDescription,
    MediaFile,
    Presentation,
    Rendition,
    Tier,
)
from packager.manifest.hls import gapless, loudness_value
from packager.manifest.options import ManifestOptions, key_of, listed
from packager.manifest.places import init_name, segment_name, whole_name
from packager.manifest.timeline import MICROSECONDS, durations, length_us, microseconds

Profile = Literal["live", "on-demand"]

GAPLESS_SCHEME = "urn:tonearm:gapless:2026"
LOUDNESS_SCHEME = "urn:tonearm:loudness:2026"

_SWITCHING = "urn:mpeg:dash:adaptation-set-switching:2016"
_CHANNELS = "urn:mpeg:dash:23003:3:audio_channel_configuration:2011"
_MANY_CHANNELS = "urn:mpeg:mpegB:cicp:ChannelConfiguration"
_LAYOUTS = {7: "11", 8: "12", 24: "13"}  # 6.1, 7.1, 22.2 (ISO/IEC 23091-3)
_MP4_PROTECTION = "urn:mpeg:dash:mp4protection:2011"

_Pair = tuple[Rendition, MediaFile]


def mpd(
    p: Presentation,
    drm: DrmProfile,
    tier: Tier,
    options: ManifestOptions,
    profile: Profile = "live",
) -> str:
    """The MPD `{tier}.mpd`: segment URLs (*live*, static all the same) or byte ranges.

    Raises:
        NotFoundError: The track has no rendition of *tier* or below.
    """
    root = head(profile, length_us(p.timing), longest_us(p, drm, tier))
    if options.steering_uri is not None:
        base = ET.SubElement(root, "BaseURL", {"serviceLocation": options.pathway_id})
        base.text = "./"
        steering = ET.SubElement(
            root,
            "ContentSteering",
            {"defaultServiceLocation": options.pathway_id, "queryBeforeStart": "false"},
        )
        steering.text = options.steering_uri
    root.append(period(p, drm, tier, options, profile))
    add_loudness(root, p)
    return rendered(root)


def head(profile: Profile, total_us: int, longest_us: int) -> ET.Element:
    """An MPD without Periods, for so many microseconds of music, the longest segment of so many."""
    live = profile == "live"
    return ET.Element(
        "MPD",
        {
            "xmlns": "urn:mpeg:dash:schema:mpd:2011",
            "xmlns:cenc": "urn:mpeg:cenc:2013",
            "xmlns:dashif": "https://dashif.org/CPS",
            "profiles": f"urn:mpeg:dash:profile:isoff-{profile}:2011",
            "type": "static",
            "mediaPresentationDuration": _duration(total_us),
            "minBufferTime": _duration(longest_us),
            "maxSegmentDuration" if live else "maxSubsegmentDuration": _duration(longest_us),
        },
    )


def period(  # noqa: PLR0913 - a track, what to list of it, and its place
    p: Presentation,
    drm: DrmProfile,
    tier: Tier,
    options: ManifestOptions,
    profile: Profile = "live",
    *,
    period_id: str = "1",
    start_us: int = 0,
) -> ET.Element:
    """The track as a Period that ends with its last sample."""
    duration = _duration(length_us(p.timing))
    element = ET.Element(
        "Period", {"id": period_id, "start": _duration(start_us), "duration": duration}
    )
    sets = _sets(listed(p, drm, tier))
    for number, pairs in enumerate(sets, start=1):
        adaptation_set = _adaptation_set(p, pairs, profile, options, number)
        _switchable(adaptation_set, number, sets)
        element.append(adaptation_set)
    return element


def add_loudness(element: ET.Element, p: Presentation) -> None:
    """Say how loud the track is, at the end of its MPD or Period; nothing for silence."""
    if value := loudness_value(p):
        _property(element, LOUDNESS_SCHEME, value)


def longest_us(p: Presentation, drm: DrmProfile, tier: Tier) -> int:
    """The longest segment of all that a manifest of *tier* lists, in microseconds."""
    return max(microseconds(max(durations(r)), r.timing.timescale) for r, _ in listed(p, drm, tier))


def rendered(root: ET.Element) -> str:
    """The document as text."""
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def _sets(pairs: list[_Pair]) -> list[list[_Pair]]:
    """Pairs by codec, then tier; codecs in the order in which the track lists them."""
    codecs = list(dict.fromkeys(r.codec for r, _ in pairs))

    def place(pair: _Pair) -> tuple[int, int]:
        return codecs.index(pair[0].codec), pair[0].tier.rank

    return [list(group) for _, group in groupby(sorted(pairs, key=place), key=place)]


def _adaptation_set(
    p: Presentation, pairs: list[_Pair], profile: Profile, options: ManifestOptions, number: int
) -> ET.Element:
    first, first_file = pairs[0]
    aligned = {"segmentAlignment": "true"}
    if profile == "on-demand":
        aligned = {"subsegmentAlignment": "true", "subsegmentStartsWithSAP": "1"}
    element = ET.Element(
        "AdaptationSet",
        {
            "id": str(number),
            "contentType": "audio",
            **aligned,
            "mimeType": "audio/mp4",
            "startWithSAP": "1",
        },
    )
    element.append(_channels(first.channels))
    if key := key_of(p, first_file):
        for protection in _protections(key, options):
            element.append(protection)
    for rendition, file in pairs:
        element.append(_representation(rendition, file, profile, options))
    return element


def _channels(count: int) -> ET.Element:
    """Up to six channels the layout's number is theirs; Shaka takes it so beyond, too.

    Therefore larger layouts are of the newer scheme, which all players read as it is meant.
    """
    many = count in _LAYOUTS
    scheme, value = (_MANY_CHANNELS, _LAYOUTS[count]) if many else (_CHANNELS, str(count))
    return ET.Element("AudioChannelConfiguration", {"schemeIdUri": scheme, "value": value})


def _switchable(element: ET.Element, number: int, sets: list[list[_Pair]]) -> None:
    """Name the other tiers of the same codec; their frames align, whatever the bitrate."""
    mine = _grid(sets[number - 1])
    others = [n for n, pairs in enumerate(sets, start=1) if n != number and _grid(pairs) == mine]
    if others:
        property_ = ET.Element(
            "SupplementalProperty",
            {"schemeIdUri": _SWITCHING, "value": ",".join(map(str, others))},
        )
        first = next(i for i, child in enumerate(element) if child.tag == "Representation")
        element.insert(first, property_)


def _grid(pairs: list[_Pair]) -> tuple[object, ...]:
    """What must be equal for a player to switch: the codec and where segments are cut."""
    rendition = pairs[0][0]
    return rendition.codec, rendition.sample_rate, rendition.channels, rendition.segment_ticks


def _representation(
    rendition: Rendition, file: MediaFile, profile: Profile, options: ManifestOptions
) -> ET.Element:
    element = ET.Element(
        "Representation",
        {
            "id": rendition.name,
            "bandwidth": str(file.peak_bps),
            "audioSamplingRate": str(rendition.sample_rate),
            "codecs": rendition.codecs,
        },
    )
    _property(element, GAPLESS_SCHEME, gapless(rendition))
    if profile == "live":
        element.append(_segment_template(rendition, options))
    else:
        ET.SubElement(element, "BaseURL").text = options.media_prefix + whole_name(rendition.name)
        element.append(_segment_base(rendition, file))
    return element


def _segment_template(rendition: Rendition, options: ManifestOptions) -> ET.Element:
    """Numbered URLs and the edited timeline, in runs of equal durations."""
    template = ET.Element(
        "SegmentTemplate",
        {
            "timescale": str(rendition.timing.timescale),
            "startNumber": "1",
            "media": options.media_prefix + segment_name("$RepresentationID$", "$Number$"),
            "initialization": options.media_prefix + init_name("$RepresentationID$"),
        },
    )
    timeline = ET.SubElement(template, "SegmentTimeline")
    start = {"t": "0"}
    for duration, run in groupby(durations(rendition)):
        s = ET.SubElement(timeline, "S", {**start, "d": str(duration)})
        if repeats := len(list(run)) - 1:
            s.set("r", str(repeats))
        start = {}
    return template


def _segment_base(rendition: Rendition, file: MediaFile) -> ET.Element:
    """Byte ranges of the init segment and the `sidx`; both ends are included."""
    end = file.init_size + file.index_size - 1
    base = ET.Element(
        "SegmentBase",
        {
            "timescale": str(rendition.timing.timescale),
            "indexRange": f"{file.init_size}-{end}",
            "indexRangeExact": "true",
        },
    )
    ET.SubElement(base, "Initialization", {"range": f"0-{file.init_size - 1}"})
    return base


def _protections(key: KeyDescription, options: ManifestOptions) -> list[ET.Element]:
    """The mp4protection descriptor first, then one for each DRM system that DASH knows."""
    general = {
        "schemeIdUri": _MP4_PROTECTION,
        "value": str(key.scheme),
        "cenc:default_KID": str(key.kid),
    }
    systems = [_protection(s, options) for s in key.signals if s.dash_value is not None]
    return [ET.Element("ContentProtection", general), *systems]


def _protection(signal: DrmSignal, options: ManifestOptions) -> ET.Element:
    element = ET.Element(
        "ContentProtection",
        {"schemeIdUri": f"urn:uuid:{signal.system_id}", "value": signal.dash_value or ""},
    )
    if signal.pssh:
        ET.SubElement(element, "cenc:pssh").text = base64.b64encode(signal.pssh).decode("ascii")
    if signal.license_path is not None:
        # Shaka Player reads `Laurl` only, though the guideline's text says `laurl`.
        url = ET.SubElement(element, "dashif:Laurl", {"licenseType": "EME-1.0"})
        url.text = options.license_url(signal.license_path)
    return element


def _property(parent: ET.Element, scheme: str, value: str) -> None:
    ET.SubElement(parent, "SupplementalProperty", {"schemeIdUri": scheme, "value": value})


def _duration(us: int) -> str:
    """xs:duration in seconds, to the microsecond, without trailing zeros."""
    seconds, rest = divmod(us, MICROSECONDS)
    fraction = f".{rest:06d}".rstrip("0").rstrip(".")
    return f"PT{seconds}{fraction}S"
