"""Object keys and media URLs: what one side writes, the other takes apart."""

import re
from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import NotFoundError
from core.model import DrmProfile, Tier
from packager.manifest import places
from packager.manifest.places import Kind, MediaFileName, MediaPath, parse
from tests.packager.manifest.examples import track

ids = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,63}", fullmatch=True)
generations = st.from_regex(r"[0-9a-f]{16}", fullmatch=True)
names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True).filter(
    lambda name: name not in list(Tier)
)


@given(
    ids.filter(lambda token: token != "m"),
    ids,
    generations,
    ids,
    st.sampled_from(DrmProfile),
    names,
)
def test_taking_a_url_apart_undoes_writing_it(token, track_id, generation, region, drm, name):
    for in_front in (token, ""):
        path = MediaPath(in_front, track_id, generation, region, drm, places.whole_name(name))

        assert parse(path.url) == path
        assert path.profile() is drm


@given(names, st.sampled_from(Tier), st.integers(1, 9_999_999))
def test_every_name_of_a_file_is_understood(name, tier, number):
    def read(file):
        return MediaPath("", "t", "0" * 16, "ww", "cbcs", file).parse_file()

    assert read(places.whole_name(name)) == MediaFileName(Kind.WHOLE, name)
    assert read(places.init_name(name)) == MediaFileName(Kind.INIT, name)
    assert read(places.segment_name(name, number)) == MediaFileName(Kind.SEGMENT, name, number)
    assert read(places.hls_name(name)) == MediaFileName(Kind.HLS_MEDIA, name)
    assert read(places.hls_name(tier)) == MediaFileName(Kind.HLS_TIER, tier)
    assert read(places.dash_name(tier)) == MediaFileName(Kind.DASH_TIER, tier)


@pytest.mark.parametrize(
    ("generation", "drm"),
    [
        ("latest", "cbcs"),
        ("0" * 15, "cbcs"),
        ("A" * 16, "cbcs"),
        ("0" * 16, "cens"),
        ("0" * 16, ""),
    ],
)
def test_a_generation_or_profile_that_cannot_be_is_known_without_a_store(generation, drm):
    with pytest.raises(NotFoundError):
        MediaPath("", "t", generation, "ww", drm, "low.m3u8").profile()


def test_relative_urls_lead_to_the_media():
    rendition = track(200_000).renditions[0]
    drm = DrmProfile.CBCS
    media = "/" + places.media_key("t", "0" * 16, drm, rendition)
    file = places.whole_name(rendition.name)
    static = "/" + places.generation_prefix("t", "0" * 16) + places.static_name(drm, "low.mpd")
    album = "/" + places.album_prefix("a", "1" * 16) + places.album_name(drm, "low.mpd")

    assert urljoin(static, places.STATIC_TO_MEDIA + file) == media
    assert urljoin(album, places.album_to_media("t", "0" * 16, drm) + file) == media


@pytest.mark.parametrize("uri", [places.STEERING_HLS, places.STEERING_DASH])
def test_steering_lies_beside_the_media_of_a_token(uri):
    manifest = MediaPath("token", "t", "0" * 16, "ww", "cbcs", places.hls_name(Tier.LOW)).url

    assert re.fullmatch(r"/token/steering/(hls|dash)", urljoin(manifest, uri))


def test_a_key_says_which_generation_it_belongs_to():
    key = places.presentation_key("t", "0" * 16)

    assert places.generation_in(key) == "0" * 16
    assert places.generation_in("albums/t/0/x") is None
    assert places.generation_in("tracks/t/0") is None
