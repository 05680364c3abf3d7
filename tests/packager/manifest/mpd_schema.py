"""The MPD schema of ISO/IEC 23009-1, as far as we write it, in tables; stricter than the schema.

Every element that we write stands here with all that the standard allows us in it: children in
their order, attributes with their types. Anything else is a fault, and so is what only `lax`
validation would let pass, such as an element of another namespace that nobody intended. No
package ships the standard's own schema.
"""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from itertools import pairwise

DASH = "urn:mpeg:dash:schema:mpd:2011"
CENC = "urn:mpeg:cenc:2013"
CPS = "https://dashif.org/CPS"

# simple types: those of XML Schema, and the standard's own
BOOLEAN = r"true|false|0|1"
DURATION = r"P(?=.)(\d+Y)?(\d+M)?(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?"  # none is negative
UNSIGNED_INT = "unsignedInt"
UNSIGNED_LONG = "unsignedLong"
BITS = {UNSIGNED_INT: 32, UNSIGNED_LONG: 64}
INTEGER = r"[+-]?\d+"
STRING = r"[^\r\n\t]*"  # others would not survive the normalisation of attributes
URI = r"(?!.*%(?![0-9A-Fa-f]{2}))[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+"
TOKEN = r"\S+"  # StringNoWhitespaceType, and not empty
PROFILES = r"[^\s,]+(,[^\s,]+)*"
CODECS = r"[A-Za-z0-9!#$%^*_\-+{}|'.`~&]+(,[A-Za-z0-9!#$%^*_\-+{}|'.`~&]+)*"
SAP = r"[0-6]"
RATES = r"\d{1,10}( \d{1,10})?"
RANGE = r"\d+-\d+"
KIDS = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # one, in lower case, as DASH-IF asks
BASE64 = r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
ALIGNED = f"{BOOLEAN}"

MANY = 1 << 30


@dataclass(frozen=True)
class Element:
    """Children as (name, least, most) in order; attributes by name, a `!` behind what must be.

    Attributes stand in the order of the standard's tables, and ours must stand so as well.
    """

    children: tuple[tuple[str, int, int], ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)
    text: str | None = None


def _descriptor(*children, **attributes):
    return Element(children, {"schemeIdUri!": URI, "value": STRING, "id": STRING, **attributes})


_COMMON_CHILDREN = (
    ("AudioChannelConfiguration", 0, MANY),
    ("ContentProtection", 0, MANY),
    ("EssentialProperty", 0, MANY),
    ("SupplementalProperty", 0, MANY),
)
_COMMON = {
    "profiles": PROFILES,
    "audioSamplingRate": RATES,
    "mimeType": STRING,
    "segmentProfiles": STRING,
    "codecs": CODECS,
    "startWithSAP": SAP,
    "selectionPriority": UNSIGNED_INT,
}
_SEGMENT_BASE = {
    "timescale": UNSIGNED_INT,
    "presentationTimeOffset": UNSIGNED_LONG,
    "indexRange": RANGE,
    "indexRangeExact": BOOLEAN,
}
_SEGMENTS = (("SegmentBase", 0, 1), ("SegmentTemplate", 0, 1))

ELEMENTS = {
    "MPD": Element(
        (
            ("BaseURL", 0, MANY),
            # not of ISO's fifth edition: ETSI TS 103 998 puts it here, and players look nowhere
            # else, though the sixth edition has it in ServiceDescription
            ("ContentSteering", 0, 1),
            ("Period", 1, MANY),
            ("EssentialProperty", 0, MANY),
            ("SupplementalProperty", 0, MANY),
        ),
        {
            "id": STRING,
            "profiles!": PROFILES,
            "type": r"static|dynamic",
            "mediaPresentationDuration": DURATION,
            "minBufferTime!": DURATION,
            "maxSegmentDuration": DURATION,
            "maxSubsegmentDuration": DURATION,
        },
    ),
    "BaseURL": Element((), {"serviceLocation": STRING}, URI),
    "ContentSteering": Element(
        (),
        {
            "defaultServiceLocation": TOKEN,
            "queryBeforeStart": BOOLEAN,
            "clientRequirement": BOOLEAN,
        },
        URI,
    ),
    "Period": Element(
        (
            ("BaseURL", 0, MANY),
            *_SEGMENTS,
            ("AdaptationSet", 0, MANY),
            ("SupplementalProperty", 0, MANY),
        ),
        {"id": STRING, "start": DURATION, "duration": DURATION},
    ),
    "AdaptationSet": Element(
        (*_COMMON_CHILDREN, ("BaseURL", 0, MANY), *_SEGMENTS, ("Representation", 0, MANY)),
        {
            "id": UNSIGNED_INT,
            "lang": r"[a-zA-Z]{1,8}(-[a-zA-Z0-9]{1,8})*",
            "contentType": r"text|image|audio|video|application|font",
            "segmentAlignment": ALIGNED,
            "subsegmentAlignment": ALIGNED,
            "subsegmentStartsWithSAP": SAP,
            "bitstreamSwitching": BOOLEAN,
            **_COMMON,
        },
    ),
    "Representation": Element(
        (*_COMMON_CHILDREN, ("BaseURL", 0, MANY), *_SEGMENTS),
        {"id!": TOKEN, "bandwidth!": UNSIGNED_INT, "qualityRanking": UNSIGNED_INT, **_COMMON},
    ),
    "AudioChannelConfiguration": _descriptor(),
    "EssentialProperty": _descriptor(),
    "SupplementalProperty": _descriptor(),
    "ContentProtection": _descriptor(
        ("cenc:pssh", 0, 1), ("dashif:Laurl", 0, 1), **{"cenc:default_KID": KIDS}
    ),
    "cenc:pssh": Element((), {}, BASE64),
    "dashif:Laurl": Element((), {"licenseType": TOKEN}, URI),
    "SegmentBase": Element((("Initialization", 0, 1),), _SEGMENT_BASE),
    "Initialization": Element((), {"sourceURL": URI, "range": RANGE}),
    "SegmentTemplate": Element(
        (("Initialization", 0, 1), ("SegmentTimeline", 0, 1)),
        {
            **_SEGMENT_BASE,
            "duration": UNSIGNED_INT,
            "startNumber": UNSIGNED_INT,
            "media": STRING,
            "initialization": STRING,
        },
    ),
    "SegmentTimeline": Element((("S", 1, MANY),)),
    "S": Element((), {"t": UNSIGNED_LONG, "d!": UNSIGNED_LONG, "r": INTEGER}),
}

_PREFIXES = {f"{{{DASH}}}": "", f"{{{CENC}}}": "cenc:", f"{{{CPS}}}": "dashif:"}


def named(tag):
    """A tag or attribute as the tables have it; in full if its namespace is none of ours."""
    space = tag[: tag.find("}") + 1]
    return _PREFIXES.get(space, space) + tag.removeprefix(space)


def schema_faults(text):
    """What is wrong with an MPD, one line each; empty if nothing is."""
    root = ET.fromstring(text.encode())
    if named(root.tag) != "MPD":
        return [f"the root is {root.tag}"]
    return list(_faults(root, "MPD"))


def _faults(element, path):
    known = ELEMENTS[named(element.tag)]
    yield from (f"{path}: {fault}" for fault in _attribute_faults(element, known))
    text = element.text or ""
    if known.text is None and (text.strip() or any((c.tail or "").strip() for c in element)):
        yield f"{path}: text between elements"
    if known.text is not None and not re.fullmatch(known.text, text):
        yield f"{path}: the text {text!r}"
    yield from (f"{path}: {fault}" for fault in _child_faults(element, known))
    for number, child in enumerate(element):
        if named(child.tag) in ELEMENTS:
            yield from _faults(child, f"{path}/{number}:{named(child.tag)}")


def _attribute_faults(element, known):
    types = {name.removesuffix("!"): kind for name, kind in known.attributes.items()}
    needed = {name.removesuffix("!") for name in known.attributes if name.endswith("!")}
    found = [named(name) for name in element.attrib]
    yield from (f"no @{name}" for name in sorted(needed - set(found)))
    places = [list(types).index(name) for name in found if name in types]
    if places != sorted(places):
        yield f"attributes out of order: {found}"
    for name, value in zip(found, element.attrib.values(), strict=True):
        if name not in types:
            yield f"unknown @{name}"
        elif not _is(types[name], value):
            yield f"@{name} is {value!r}"


def _is(kind, value):
    if kind in BITS:
        return bool(re.fullmatch(r"\d+", value)) and int(value) < 1 << BITS[kind]
    return bool(re.fullmatch(kind, value))


def _child_faults(element, known):
    order = [name for name, _, _ in known.children]
    found = [named(child.tag) for child in element]
    yield from (f"unknown child {name}" for name in found if name not in order)
    places = [order.index(name) for name in found if name in order]
    yield from (f"{order[b]} behind {order[a]}" for a, b in pairwise(places) if b < a)
    for name, least, most in known.children:
        if not least <= found.count(name) <= most:
            yield f"{found.count(name)} of {name}"
