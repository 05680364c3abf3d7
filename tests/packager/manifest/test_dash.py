"""MPDs: golden text, a strict parser's view, and the rules of ISO/IEC 23009-1 and DASH-IF."""

import dataclasses
import uuid
import xml.etree.ElementTree as ET
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpegdash.parser import MPEGDASHParser

from core.errors import NotFoundError
from core.model import DrmProfile, DrmSignal, Loudness, Tier
from packager.manifest import dash
from packager.manifest.options import ManifestOptions
from packager.manifest.places import STEERING_DASH
from tests.packager.manifest.examples import LADDER, WIDEVINE, signals, track

NS = {
    "": "urn:mpeg:dash:schema:mpd:2011",
    "cenc": "urn:mpeg:cenc:2013",
    "dashif": "https://dashif.org/CPS",
}
PLAIN = ManifestOptions()
STEERED = ManifestOptions(steering_uri=STEERING_DASH)


def xml(text):
    return ET.fromstring(text.encode())


def sets(root):
    return root.findall("Period/AdaptationSet", NS)


def seconds(duration):
    assert duration.startswith("PT")
    assert duration.endswith("S")
    return Fraction(duration[2:-1])


@pytest.mark.parametrize(
    ("drm", "tier", "profile"),
    [
        ("cbcs", Tier.HIGH, "live"),
        ("cenc", Tier.LOW, "on-demand"),
        ("clear", Tier.LOSSLESS, "live"),
    ],
)
def test_an_mpd_is_as_reviewed(golden, drm, tier, profile):
    text = dash.mpd(track(), DrmProfile(drm), tier, STEERED, profile)

    golden(f"manifest/{drm}-{tier}-{profile}.mpd", text)


@pytest.mark.parametrize("profile", ["live", "on-demand"])
@pytest.mark.parametrize("drm", list(DrmProfile))
def test_another_parser_sees_the_same(drm, profile):
    p = track()
    parsed = MPEGDASHParser.parse(dash.mpd(p, drm, Tier.LOSSLESS, PLAIN, profile))

    assert parsed.type == "static"
    assert parsed.profiles == f"urn:mpeg:dash:profile:isoff-{profile}:2011"
    found = {
        r.id: r
        for period in parsed.periods
        for a in period.adaptation_sets
        for r in a.representations
    }
    assert found.keys() == {rung.name for rung in LADDER}
    for name, representation in found.items():
        rendition = p.rendition(name)
        file = rendition.file(drm)
        assert representation.bandwidth == file.peak_bps
        assert representation.codecs == rendition.codecs
        if profile == "live":
            [template] = representation.segment_templates
            [timeline] = template.segment_timelines
            count = sum(1 + (s.r or 0) for s in timeline.Ss)
            assert count == len(rendition.segment_ticks)
            assert template.start_number == 1
        else:
            [base] = representation.segment_bases
            assert base.index_range == f"{file.init_size}-{file.init_size + file.index_size - 1}"
            assert base.initializations[0].range == f"0-{file.init_size - 1}"
            assert representation.base_urls[0].base_url_value == f"{name}.mp4"


@given(st.integers(48_000, 48_000 * 36_000), st.sampled_from(LADDER))
def test_the_timeline_adds_up_to_exactly_the_music(samples, rung):
    root = xml(dash.mpd(track(samples, [rung]), DrmProfile.CLEAR, Tier.LOSSLESS, PLAIN))
    template = root.find(".//SegmentTemplate", NS)
    s = template.findall("SegmentTimeline/S", NS)

    assert s[0].get("t") == "0"
    assert sum(int(e.get("d")) * (1 + int(e.get("r", 0))) for e in s) == samples
    assert template.get("timescale") == "48000"
    exact = Fraction(samples, 48_000)
    for duration in (root.get("mediaPresentationDuration"), root[0].get("duration")):
        assert abs(seconds(duration) - exact) <= Fraction(1, 2_000_000)


def test_a_set_holds_one_codec_of_one_tier_and_one_key():
    p = track()
    root = xml(dash.mpd(p, DrmProfile.CBCS, Tier.LOSSLESS, PLAIN))

    names = [[r.get("id") for r in s.findall("Representation", NS)] for s in sets(root)]
    assert names == [
        ["aac-96k"],
        ["aac-160k"],
        ["aac-320k"],
        ["opus-64k", "opus-96k"],
        ["opus-160k"],
        ["flac"],
    ]
    for group in names:
        assert len({p.rendition(n).file(DrmProfile.CBCS).kid for n in group}) == 1


def test_tiers_of_a_codec_name_each_other_as_switchable():
    root = xml(dash.mpd(track(), DrmProfile.CBCS, Tier.LOSSLESS, PLAIN))
    switching = {
        s.get("id"): e.get("value")
        for s in sets(root)
        for e in s.findall("SupplementalProperty", NS)
        if e.get("schemeIdUri") == "urn:mpeg:dash:adaptation-set-switching:2016"
    }

    assert switching == {"1": "2,3", "2": "1,3", "3": "1,2", "4": "5", "5": "4"}


@pytest.mark.parametrize(
    ("channels", "scheme", "value"),
    [
        (1, "urn:mpeg:dash:23003:3:audio_channel_configuration:2011", "1"),
        (6, "urn:mpeg:dash:23003:3:audio_channel_configuration:2011", "6"),
        (7, "urn:mpeg:mpegB:cicp:ChannelConfiguration", "11"),
        (8, "urn:mpeg:mpegB:cicp:ChannelConfiguration", "12"),
    ],
)
def test_channels_are_said_by_their_layout(channels, scheme, value):
    p = track(ladder=LADDER[:1])
    p = dataclasses.replace(
        p, renditions=(dataclasses.replace(p.renditions[0], channels=channels),)
    )
    root = xml(dash.mpd(p, DrmProfile.CLEAR, Tier.LOW, PLAIN))
    found = root.find(".//AudioChannelConfiguration", NS)

    assert (found.get("schemeIdUri"), found.get("value")) == (scheme, value)


def test_segments_align_and_start_with_a_stream_access_point():
    live = sets(xml(dash.mpd(track(), DrmProfile.CBCS, Tier.LOSSLESS, PLAIN)))
    on_demand = sets(xml(dash.mpd(track(), DrmProfile.CBCS, Tier.LOSSLESS, PLAIN, "on-demand")))

    assert all(s.get("startWithSAP") == "1" for s in [*live, *on_demand])
    assert all(s.get("segmentAlignment") == "true" for s in live)
    assert all(s.get("subsegmentAlignment") == "true" for s in on_demand)
    assert all(s.get("subsegmentStartsWithSAP") == "1" for s in on_demand)


@pytest.mark.parametrize("drm", [DrmProfile.CBCS, DrmProfile.CENC])
def test_protection_starts_with_the_scheme_and_the_default_kid(drm):
    options = ManifestOptions(license_base="https://keys.example")
    root = xml(dash.mpd(track(), drm, Tier.LOSSLESS, options))
    assert sets(root)
    for s in sets(root):
        general, clearkey = s.findall("ContentProtection", NS)

        assert general.get("schemeIdUri") == "urn:mpeg:dash:mp4protection:2011"
        assert general.get("value") == str(drm)
        kid = general.get("{urn:mpeg:cenc:2013}default_KID")
        assert str(uuid.UUID(kid)) == kid
        assert clearkey.get("schemeIdUri") == "urn:uuid:e2719d58-a985-b3c9-781a-b030af78d30e"
        laurl = clearkey.find("dashif:Laurl", NS)
        assert laurl.text == "https://keys.example/v1/license/clearkey"
        # dash.js takes a pssh in this descriptor for a list of key ids and cannot play
        assert clearkey.find("cenc:pssh", NS) is None


def test_other_systems_bring_their_pssh():
    def many(key, scheme):
        return (*signals(key, scheme), DrmSignal(WIDEVINE, b"\0\0\0\x0cpsshdata", dash_value="W"))

    text = dash.mpd(track(signals=many), DrmProfile.CENC, Tier.LOW, PLAIN)
    widevine = sets(xml(text))[0].findall("ContentProtection", NS)[-1]

    assert widevine.get("schemeIdUri") == f"urn:uuid:{WIDEVINE}"
    assert widevine.find("cenc:pssh", NS).text == "AAAADHBzc2hkYXRh"
    assert widevine.find("dashif:Laurl", NS) is None


def test_clear_mpds_have_no_protection():
    assert "ContentProtection" not in dash.mpd(track(), DrmProfile.CLEAR, Tier.LOSSLESS, PLAIN)


def test_steering_names_one_base_pathway_and_asks_after_the_start():
    root = xml(dash.mpd(track(), DrmProfile.CBCS, Tier.LOW, STEERED))

    [base] = root.findall("BaseURL", NS)
    steering = root.find("ContentSteering", NS)
    assert base.get("serviceLocation") == steering.get("defaultServiceLocation") == "base"
    assert base.text == "./"
    assert steering.text == STEERING_DASH
    assert steering.get("queryBeforeStart") == "false"
    assert "ContentSteering" not in dash.mpd(track(), DrmProfile.CBCS, Tier.LOW, PLAIN)


def test_loudness_and_gapless_numbers_are_supplemental():
    root = xml(dash.mpd(track(), DrmProfile.CLEAR, Tier.LOW, PLAIN))

    assert "integrated-lufs=-14.23" in root[-1].get("value")
    gapless = root.find(".//Representation/SupplementalProperty", NS)
    assert gapless.get("value").startswith("timescale=48000 priming=1024 samples=1152007")
    assert "EssentialProperty" not in ET.tostring(root, "unicode")


def test_silence_has_no_loudness():
    p = dataclasses.replace(track(), loudness=Loudness(None, None, None, None, None))

    assert "loudness" not in dash.mpd(p, DrmProfile.CLEAR, Tier.LOW, PLAIN)


def test_album_loudness_is_told_too():
    p = dataclasses.replace(track(), album_loudness=Loudness(-12.0, None, None, None, 0.1))

    assert "album-integrated-lufs=-12.00 album-true-peak-dbtp=0.10" in dash.mpd(
        p, DrmProfile.CLEAR, Tier.LOW, PLAIN
    )


def test_a_tier_without_renditions_is_not_found():
    with pytest.raises(NotFoundError):
        dash.mpd(track(ladder=LADDER[2:3]), DrmProfile.CBCS, Tier.LOW, PLAIN)
