"""Manifests for a bucket: complete, relative, and about byte ranges only."""

import re
from urllib.parse import urljoin

import pytest

from core.model import DrmProfile, Tier
from packager.manifest.options import ManifestOptions
from packager.manifest.places import STEERING_HLS
from packager.manifest.static import static_manifests
from tests.packager.manifest.examples import LADDER, track

OPTIONS = ManifestOptions(license_base="https://keys.example", steering_uri=STEERING_HLS)


@pytest.mark.parametrize("drm", list(DrmProfile))
def test_every_tier_and_every_rendition_has_its_manifests(drm):
    names = static_manifests(track(), drm, OPTIONS).keys()

    assert names == {
        *(f"{tier}.{ending}" for tier in Tier for ending in ("m3u8", "mpd")),
        *(f"{rung.name}.m3u8" for rung in LADDER),
    }


@pytest.mark.parametrize("drm", list(DrmProfile))
def test_every_url_leads_to_a_manifest_or_to_a_file_of_the_track(drm):
    p = track()
    manifests = static_manifests(p, drm, OPTIONS)
    folder = f"https://bucket/tracks/{p.track_id}/{p.generation}/{drm}/static/"
    there = {folder + name for name in manifests}
    there |= {f"https://bucket/{r.file(drm).key}" for r in p.renditions}

    assert manifests
    for text in manifests.values():
        plain = re.findall(r"^[^#\s<].*$", text, re.MULTILINE)
        named = re.findall(r'MAP:URI="(.*?)"|<BaseURL>(.*?)<', text)
        found = plain + [url for pair in named for url in pair if url]
        assert found
        assert {urljoin(folder, url) for url in found} <= there


def test_a_bucket_is_not_steered_and_serves_no_keys():
    texts = static_manifests(track(), DrmProfile.CBCS, OPTIONS).values()

    assert not any("teering" in text or "STEERING" in text for text in texts)
    assert not any('"/v1' in text or ">/v1" in text for text in texts)


def test_tiers_with_nothing_of_their_own_have_no_manifest():
    names = static_manifests(track(ladder=LADDER[:1]), DrmProfile.CENC, OPTIONS).keys()

    assert names == {"low.m3u8", "low.mpd", "aac-96k.m3u8"}


def test_a_protection_that_was_not_made_has_no_manifests():
    assert static_manifests(track(ladder=()), DrmProfile.CBCS, OPTIONS) == {}
