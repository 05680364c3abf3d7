"""What the text of ISO/IEC 23009-1 and DASH-IF asks of an MPD, and no schema can say.

For static MPDs of the profiles that we write: isoff-live:2011 (8.4) and isoff-on-demand:2011 (8.3).
"""

import base64
import re
import struct
import uuid
from fractions import Fraction
from itertools import accumulate
from xml.etree import ElementTree as ET

NS = {"": "urn:mpeg:dash:schema:mpd:2011"}
_NAMESPACE = "{urn:mpeg:cenc:2013}"
_PROFILE = "urn:mpeg:dash:profile:isoff-"
_SWITCHING = "urn:mpeg:dash:adaptation-set-switching:2016"
_MP4_PROTECTION = "urn:mpeg:dash:mp4protection:2011"
_IDENTIFIER = re.compile(r"\$(RepresentationID|(Number|Time|Bandwidth)(%0\d+d)?|)\$")
_ROUNDING = Fraction(1, 2_000_000)  # manifests have microseconds


def rule_faults(text, slack_s=0):
    """One line for each rule that is broken.

    Args:
        text: An MPD that the schema allows.
        slack_s: How far the media of a Representation may be from the length of its Period.
    """
    root = ET.fromstring(text.encode())
    profile = root.get("profiles").removeprefix(_PROFILE).removesuffix(":2011")
    assert profile in {"live", "on-demand"}, root.get("profiles")
    yield from _presentation(root)
    yield from _steering(root)
    for period in root.findall("Period", NS):
        sets = period.findall("AdaptationSet", NS)
        yield from _identifiers(period, sets)
        yield from _switching(sets)
        for adaptation_set in sets:
            yield from _set(adaptation_set)
            yield from _protection(adaptation_set)
            for representation in adaptation_set.findall("Representation", NS):
                if profile == "live":
                    yield from _live(root, period, representation, slack_s)
                else:
                    yield from _on_demand(representation)
            yield from _aligned(adaptation_set, profile)


def seconds(duration):
    found = re.fullmatch(r"PT(\d+(?:\.\d+)?)S", duration or "")
    return Fraction(found[1]) if found else None


def _presentation(root):
    periods = root.findall("Period", NS)
    lengths = [seconds(p.get("duration")) for p in periods]
    if None in lengths or None in [seconds(p.get("start")) for p in periods]:
        yield "a Period without start or duration"
        return
    if [seconds(p.get("start")) for p in periods] != [0, *accumulate(lengths[:-1])]:
        yield "Periods do not follow each other"
    if root.get("type") != "static" or root.get("mediaPresentationDuration") is None:
        yield "neither static nor of a known length"
    elif seconds(root.get("mediaPresentationDuration")) != sum(lengths):
        yield "the Periods do not add up"
    if not seconds(root.get("minBufferTime")) or 0 in lengths:
        yield "nothing to buffer"
    ids = [p.get("id") for p in periods]
    if None in ids or len(set(ids)) < len(ids):
        yield f"Periods are called {ids}"


def _steering(root):
    steering = root.find("ContentSteering", NS)
    places = [b.get("serviceLocation") for b in root.findall("BaseURL", NS)]
    if steering is None:
        if root.find(".//BaseURL[@serviceLocation]", NS) is not None:
            yield "a service location that nobody steers"
        return
    if None in places or len(set(places)) < len(places) or not places:
        yield f"service locations are {places}"
    if not set((steering.get("defaultServiceLocation") or "").split()) <= set(places):
        yield "the default is no service location"


def _identifiers(period, sets):
    if not sets:
        yield "an empty Period"
    for what, found in {
        "AdaptationSets": [s.get("id") for s in sets],
        "Representations": [r.get("id") for r in period.iterfind(".//Representation", NS)],
    }.items():
        if None in found or len(set(found)) < len(found):
            yield f"{what} are called {found}"


def _switching(sets):
    named = {s.get("id"): set(_switchable(s)) for s in sets}
    kinds = {s.get("id"): _codecs(s) for s in sets}
    templates = {s.get("id"): _timelines(s) for s in sets}
    for number, others in named.items():
        if number in others or not others <= named.keys():
            yield f"set {number} names {sorted(others)}"
            continue
        for other in others:
            if number not in named[other]:
                yield f"set {number} switches to {other}, but not back"
            if kinds[number] != kinds[other] or templates[number] != templates[other]:
                yield f"sets {number} and {other} do not fit together"


def _switchable(adaptation_set):
    properties = adaptation_set.findall("SupplementalProperty", NS)
    values = [p.get("value") for p in properties if p.get("schemeIdUri") == _SWITCHING]
    return values[0].split(",") if values else []


def _codecs(adaptation_set):
    return {r.get("codecs") for r in adaptation_set.findall("Representation", NS)}


def _timelines(adaptation_set):
    found = adaptation_set.iterfind(".//SegmentTemplate", NS)
    return {(t.get("timescale"), ET.tostring(t[0])) for t in found}


def _set(adaptation_set):
    representations = adaptation_set.findall("Representation", NS)
    if not representations or len(_codecs(adaptation_set)) != 1:
        yield "a set without one codec"
    if adaptation_set.get("mimeType") != "audio/mp4" or None in _codecs(adaptation_set):
        yield "a Representation whose type is not known"
    if len(adaptation_set.findall("AudioChannelConfiguration", NS)) != 1:
        yield "the channels are not said once"
    if adaptation_set.get("startWithSAP") not in {"1", "2", "3"}:
        yield "segments do not start with an access point"
    if any(r.get("bandwidth") == "0" for r in representations):
        yield "no bandwidth"


def _protection(adaptation_set):
    found = adaptation_set.findall("ContentProtection", NS)
    if not found:
        return
    schemes = [p.get("schemeIdUri") for p in found]
    kid = found[0].get(f"{_NAMESPACE}default_KID")
    if schemes[0] != _MP4_PROTECTION or found[0].get("value") not in {"cbcs", "cenc"} or not kid:
        yield "protection does not start with the scheme and the key"
        return
    if len(set(schemes)) < len(schemes):
        yield f"a system is described twice: {schemes}"
    for descriptor in found[1:]:
        yield from _system(descriptor, uuid.UUID(kid))


def _system(descriptor, kid):
    where = descriptor.get("schemeIdUri")
    if not re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", where):
        yield f"{where} is no system"
    if descriptor.get(f"{_NAMESPACE}default_KID") is not None:
        yield f"{where} names a key of its own"
    for element in descriptor.findall(f"{_NAMESPACE}pssh"):
        box = base64.b64decode(element.text)
        size, fourcc, version = struct.unpack_from(">I4sB", box)
        if (size, fourcc) != (len(box), b"pssh"):
            yield f"{where} has no pssh box"
        if f"urn:uuid:{uuid.UUID(bytes=box[12:28])}" != where:
            yield f"{where} has the box of another system"
        if version and kid.bytes not in box[28:]:
            yield f"{where} has the box of another key"


def _live(root, period, representation, slack_s):
    template = representation.find("SegmentTemplate", NS)
    if template is None or representation.find("SegmentBase", NS) is not None:
        yield "isoff-live wants SegmentTemplate (8.4.2)"
        return
    media, init = template.get("media") or "", template.get("initialization") or ""
    if not re.search(r"\$(Number|Time)(%0\d+d)?\$", media) or "$" in _IDENTIFIER.sub("", media):
        yield f"media is {media}"
    if re.search(r"\$(Number|Time)", init) or "$" in _IDENTIFIER.sub("", init) or not init:
        yield f"initialization is {init}"
    timescale, end = int(template.get("timescale") or 1), 0
    longest = seconds(root.get("maxSegmentDuration"))
    for s in template.findall("SegmentTimeline/S", NS):
        if int(s.get("t", end)) != end or int(s.get("d")) == 0 or int(s.get("r", 0)) < 0:
            yield "the timeline has a hole, or no end"
        end += int(s.get("d")) * (1 + int(s.get("r", 0)))
        if longest is None or Fraction(int(s.get("d")), timescale) > longest + _ROUNDING:
            yield f"a segment of {s.get('d')} ticks is longer than promised"
    length = seconds(period.get("duration"))
    if abs(Fraction(end, timescale) - length) > _ROUNDING + Fraction(slack_s):
        yield f"{representation.get('id')} is not as long as its Period"


def _on_demand(representation):
    base, urls = representation.find("SegmentBase", NS), representation.findall("BaseURL", NS)
    if base is None or representation.find("SegmentTemplate", NS) is not None:
        yield "isoff-on-demand wants one indexed Segment (8.3.2)"
        return
    if len(urls) != 1:
        yield f"{len(urls)} URLs of one Segment"
    index = re.fullmatch(r"(\d+)-(\d+)", base.get("indexRange") or "")
    init = base.find("Initialization", NS)
    if index is None or init is None or int(index[1]) >= int(index[2]):
        yield "the index is nowhere"
    elif init.get("range") != f"0-{int(index[1]) - 1}":
        yield "the index does not follow the initialisation"


def _aligned(adaptation_set, profile):
    live = profile == "live"
    representations = adaptation_set.findall("Representation", NS)
    flag = adaptation_set.get("segmentAlignment" if live else "subsegmentAlignment")
    if len(representations) > 1 and flag != "true":
        yield "switching without alignment"
    if live and len(_timelines(adaptation_set)) > 1:
        yield "segments are said to align, and do not"
    if not live and adaptation_set.get("subsegmentStartsWithSAP") not in {"1", "2", "3"}:
        yield "subsegments do not start with an access point"
