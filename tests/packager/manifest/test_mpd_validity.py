"""Every kind of MPD against the schema and the profiles' rules, and these against broken ones."""

import dataclasses
import uuid

import pytest

from core.model import DrmProfile, KeyChange, KeyDescription, Scheme, Tier
from keyserver.signals import PLAYREADY_ID, SYSTEMS, WIDEVINE_ID, make_signals
from packager.manifest import album, dash, static
from packager.manifest.options import ManifestOptions
from packager.manifest.places import STEERING_DASH
from tests.packager.manifest.examples import LADDER, rendition, track
from tests.packager.manifest.mpd_rules import rule_faults
from tests.packager.manifest.mpd_schema import schema_faults
from tests.packager.manifest.test_album import tracks

PLAIN = ManifestOptions(license_base="https://keys.example")
STEERED = ManifestOptions(steering_uri=STEERING_DASH, pathway_id="cdn-a")
PROFILES = ["live", "on-demand"]


def faults(text):
    return schema_faults(text) or list(rule_faults(text))


def every_system(key, scheme):
    return make_signals(key, scheme, bytes(16), systems=list(SYSTEMS))


def changing(p):
    """Keys that change within the track, behind a clear lead."""
    added = [
        KeyDescription(uuid.UUID(int=1 << 90 | number), key.tier, key.scheme, (), 1)
        for number, key in enumerate(p.keys)
    ]
    by_use = {(key.tier, key.scheme): key.kid for key in added}

    def file(r, f):
        if f.drm is DrmProfile.CLEAR:
            return f
        later = by_use[r.tier, Scheme(f.drm)]
        return dataclasses.replace(f, clear_segments=1, key_changes=(KeyChange(3, later),))

    renditions = tuple(
        dataclasses.replace(r, files=tuple(file(r, f) for f in r.files)) for r in p.renditions
    )
    return dataclasses.replace(p, keys=(*p.keys, *added), renditions=renditions)


def hi_res():
    """AAC, and FLAC at 96 kHz."""
    p = track(ladder=(LADDER[0], LADDER[-1]))
    lossless = rendition(LADDER[-1], 2 * 1_152_007, rate=96_000)
    return dataclasses.replace(p, renditions=(p.renditions[0], lossless))


TRACKS = {
    "ladder": track,
    "one rung": lambda: track(ladder=LADDER[:1]),
    "one segment": lambda: track(samples=4_711),
    "ten hours": lambda: track(samples=48_000 * 36_000 + 1),
    "every system": lambda: track(signals=every_system),
    "changing keys": lambda: changing(track()),
    "hi-res": hi_res,
}


@pytest.mark.parametrize("options", [PLAIN, STEERED], ids=["plain", "steered"])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("drm", list(DrmProfile))
@pytest.mark.parametrize("name", TRACKS)
def test_an_mpd_is_valid(name, drm, profile, options):
    p = TRACKS[name]()
    for tier in Tier:
        assert faults(dash.mpd(p, drm, tier, options, profile)) == []


@pytest.mark.parametrize("drm", list(DrmProfile))
@pytest.mark.parametrize("name", TRACKS)
def test_mpds_for_a_bucket_are_valid(name, drm):
    texts = static.static_manifests(TRACKS[name](), drm, STEERED)

    assert [faults(text) for name, text in texts.items() if name.endswith(".mpd")] == [[]] * (
        sum(name.endswith(".mpd") for name in texts)
    )


@pytest.mark.parametrize("drm", list(DrmProfile))
def test_the_mpds_of_an_album_are_valid(drm):
    made = album.album_of("the-album", tracks())
    texts = album.album_manifests(made, [drm], PLAIN)
    mpds = [text for key, text in texts.items() if key.endswith(".mpd")]

    assert [faults(text) for text in mpds] == [[]] * len(Tier)


BROKEN = {
    # the schema
    "an unknown attribute": ('<Period id="1"', '<Period number="1" id="1"'),
    "an attribute that is needed": (' minBufferTime="PT3.84S"', ""),
    "a type": ('bandwidth="65234"', 'bandwidth="65234.5"'),
    "a number that is too large": ('bandwidth="65234"', 'bandwidth="4294967296"'),
    "a duration": ('duration="PT24.000146S"', 'duration="24.000146"'),
    "white space in an id": ('Representation id="opus-64k"', 'Representation id="opus 64k"'),
    "attributes that changed places": ('t="0" d="184008"', 'd="184008" t="0"'),
    "an order": ("<Period", '<SupplementalProperty schemeIdUri="urn:x:y" /><Period'),
    "a child that is not for here": ("<SegmentTimeline>", "<SegmentTimeline><BaseURL>x</BaseURL>"),
    "too many children": ("</SegmentTemplate>", "</SegmentTemplate><SegmentTemplate />"),
    "text between elements": ("</Period>", "x</Period>"),
    "a foreign element": ("</Period>", '<x xmlns="urn:x" /></Period>'),
    "a KID in capitals": ('default_KID="0000001', 'default_KID="A000001'),
    "no URL": ("https://keys.example/v1/", "https://keys.example/v 1/"),
    "no base64": ("<cenc:pssh>", "<cenc:pssh>="),
    # the rules
    "two sets of one id": ('AdaptationSet id="2"', 'AdaptationSet id="1"'),
    "two Representations of one id": ('id="opus-96k"', 'id="opus-64k"'),
    "a switch to nowhere": ('switching:2016" value="2,3"', 'switching:2016" value="2,9"'),
    "a switch of no return": ('switching:2016" value="2,3"', 'switching:2016" value="2"'),
    "a switch to another codec": (
        'bandwidth="97234" audioSamplingRate="48000" codecs="mp4a.40.2"',
        'bandwidth="97234" audioSamplingRate="48000" codecs="mp4a.40.5"',
    ),
    "a scheme that is none": ('2011" value="cbcs"', '2011" value="cbca"'),
    "a system twice": (f"urn:uuid:{PLAYREADY_ID}", f"urn:uuid:{WIDEVINE_ID}"),
    "another system's box": ("urn:uuid:edef8ba9", "urn:uuid:edef8ba8"),
    "a length": ('mediaPresentationDuration="PT24.', 'mediaPresentationDuration="PT25.'),
    "a Period elsewhere": ('start="PT0S"', 'start="PT1S"'),
    "a hole": ('t="0"', 't="1"'),
    "a timeline of another length": ('<S d="184320" r="4"', '<S d="184320" r="3"'),
    "segments longer than promised": ('maxSegmentDuration="PT3.84S"', 'maxSegmentDuration="PT3S"'),
    "a template of no number": ("$Number$", "$Count$"),
    "no default location": ('defaultServiceLocation="cdn-a"', 'defaultServiceLocation="cdn-b"'),
    "sets that do not align": (' segmentAlignment="true"', ""),
}
BROKEN_INDEX = {
    "an index elsewhere": ('indexRange="720-', 'indexRange="721-'),
    "no range": ('range="0-719"', 'range="0"'),
    "a location that nobody steers": ("<BaseURL>", '<BaseURL serviceLocation="x">'),
    "two Segments": ("<SegmentBase", "<BaseURL>x</BaseURL><SegmentBase"),
    "no access point": (' subsegmentStartsWithSAP="1"', ""),
    "subsegments that do not align": (' subsegmentAlignment="true"', ""),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_found(what):
    old, new = BROKEN[what]
    options = dataclasses.replace(STEERED, license_base="https://keys.example")
    text = dash.mpd(track(signals=every_system), DrmProfile.CBCS, Tier.HIGH, options)

    assert old in text
    assert faults(text.replace(old, new))


@pytest.mark.parametrize("what", BROKEN_INDEX)
def test_what_is_broken_about_an_index_is_found(what):
    old, new = BROKEN_INDEX[what]
    text = dash.mpd(track(), DrmProfile.CENC, Tier.HIGH, PLAIN, "on-demand")

    assert old in text
    assert faults(text.replace(old, new))
