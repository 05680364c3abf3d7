"""Album manifests: every track in its place, to the sample, and URLs that lead to its files."""

import dataclasses
import json
import re
import xml.etree.ElementTree as ET
from decimal import Decimal
from fractions import Fraction
from urllib.parse import urljoin

import m3u8
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpegdash.parser import MPEGDASHParser

from core.errors import ConflictError, InvalidInputError
from core.model import DrmProfile, Loudness, Tier
from packager.manifest import album as albums
from packager.manifest import presentation
from packager.manifest.options import ManifestOptions
from packager.manifest.places import ALBUM, STEERING_HLS
from tests.packager.manifest.examples import LADDER, track

OPTIONS = ManifestOptions(license_base="https://keys.example", steering_uri=STEERING_HLS)
LENGTHS = (1_152_007, 240_331, 777_777)
NS = {"": "urn:mpeg:dash:schema:mpd:2011", "cenc": "urn:mpeg:cenc:2013"}
RATE = 48_000


def tracks(lengths=LENGTHS, ladder=LADDER):
    """Presentations with ids and keys of their own, as the key server makes them."""
    return [own_keys(track(samples, ladder), n) for n, samples in enumerate(lengths, 1)]


def own_keys(p, number):
    text = presentation.encode(dataclasses.replace(p, track_id=f"track-{number}")).decode()
    for key in p.keys:
        text = text.replace(str(key.kid), f"{number:04x}{str(key.kid)[4:]}")
    tree = json.loads(text)
    for r in tree["renditions"]:
        for f in r["files"]:
            f["key"] = f["key"].replace("tracks/nocturne/", f"tracks/track-{number}/")
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return presentation.seal(presentation.decode(text.encode()))


def made(lengths=LENGTHS):
    return albums.album_of("the-album", tracks(lengths))


def extinfs(text):
    return [Decimal(value) for value in re.findall(r"#EXTINF:([0-9.]+),", text)]


def seconds(duration):
    return Fraction(re.fullmatch(r"PT([0-9.]+)S", duration)[1])


@given(st.lists(st.integers(1, 20_000_000), min_size=1, max_size=4))
def test_a_playlist_is_as_long_as_the_tracks_together(lengths):
    album = made(lengths)
    for name in ("aac-96k", "opus-160k", "flac"):
        text = albums.media(album, DrmProfile.CLEAR, name, OPTIONS)

        parts = text.split("#EXT-X-DISCONTINUITY\n")
        assert len(parts) == len(lengths)
        for part, samples in zip(parts, lengths, strict=True):
            assert abs(sum(extinfs(part)) - Decimal(samples) / RATE) <= Decimal("0.0000005")


@given(st.lists(st.integers(1, 20_000_000), min_size=1, max_size=4))
def test_periods_follow_each_other_without_a_gap(lengths):
    root = ET.fromstring(albums.mpd(made(lengths), DrmProfile.CBCS, Tier.HIGH, OPTIONS))
    periods = root.findall("Period", NS)

    end = Fraction(0)
    for period, samples in zip(periods, lengths, strict=True):
        assert seconds(period.get("start")) == end
        assert abs(seconds(period.get("duration")) - Fraction(samples, RATE)) <= Fraction(
            1, 2_000_000
        )
        end += seconds(period.get("duration"))
    assert seconds(root.get("mediaPresentationDuration")) == end


@pytest.mark.parametrize("drm", list(DrmProfile))
def test_strict_parsers_read_them(drm):
    album = made()
    playlist = m3u8.M3U8(albums.media(album, drm, "aac-160k", OPTIONS), strict=True)
    variants = m3u8.M3U8(albums.multivariant(album, drm, Tier.HIGH, OPTIONS), strict=True)
    mpd = MPEGDASHParser.parse(albums.mpd(album, drm, Tier.LOSSLESS, OPTIONS))

    assert [s.discontinuity for s in playlist.segments].count(True) == len(LENGTHS) - 1
    assert len({s.init_section.uri for s in playlist.segments}) == len(LENGTHS)
    assert len(variants.playlists) == 6
    assert [period.id for period in mpd.periods] == ["track-1", "track-2", "track-3"]


@pytest.mark.parametrize("drm", [DrmProfile.CBCS, DrmProfile.CENC])
def test_each_track_has_its_own_key(drm):
    album = made()
    text = albums.media(album, drm, "aac-160k", OPTIONS)
    parts = text.split("#EXT-X-DISCONTINUITY\n")
    kids = [str(t.rendition("aac-160k").file(drm).kid) for t in album.tracks]

    assert len(set(kids)) == len(kids)
    for part, kid in zip(parts, kids, strict=True):
        assert set(re.findall(r"raw/([0-9a-f-]+)", part)) == {kid}
    sessions = albums.multivariant(album, drm, Tier.LOSSLESS, OPTIONS)
    assert set(kids) < set(re.findall(r"SESSION-KEY.*kid=([0-9a-f-]+)", sessions))
    root = ET.fromstring(albums.mpd(album, drm, Tier.NORMAL, OPTIONS))
    for period, kid in zip(root.findall("Period", NS), kids, strict=True):
        sets = period.findall("AdaptationSet", NS)
        mine = next(s for s in sets if s.find("Representation[@id='aac-160k']", NS) is not None)
        assert mine.find("ContentProtection", NS).get(f"{{{NS['cenc']}}}default_KID") == kid


def test_adaptation_sets_keep_their_ids_from_period_to_period():
    root = ET.fromstring(albums.mpd(made(), DrmProfile.CBCS, Tier.LOSSLESS, OPTIONS))
    shapes = [
        [
            (s.get("id"), [r.get("id") for r in s.findall("Representation", NS)])
            for s in period.findall("AdaptationSet", NS)
        ]
        for period in root.findall("Period", NS)
    ]

    assert shapes == [shapes[0]] * len(LENGTHS)


def test_every_url_leads_to_a_manifest_or_to_a_file_of_a_track():
    album = made()
    texts = albums.album_manifests(album, list(DrmProfile), OPTIONS)
    there = {f"https://bucket/{key}" for key in texts}
    there |= {
        f"https://bucket/{f.key}" for t in album.tracks for r in t.renditions for f in r.files
    }

    assert {key.rpartition(".")[2] for key in texts} == {"json", "m3u8", "mpd"}
    for key, text in texts.items():
        if key.endswith(".json"):
            continue
        plain = re.findall(r"^[^#\s<].*$", text, re.MULTILINE)
        named = re.findall(r'MAP:URI="(.*?)"|<BaseURL>(.*?)<', text)
        found = plain + [url for pair in named for url in pair if url]
        assert found
        assert {urljoin(f"https://bucket/{key}", url) for url in found} <= there
        assert "teering" not in text
        assert "STEERING" not in text


def test_a_variant_promises_what_its_largest_track_needs():
    quiet, loud = tracks(LENGTHS[:2])
    renditions = tuple(
        dataclasses.replace(
            r, files=tuple(dataclasses.replace(f, peak_bps=f.peak_bps * 2) for f in r.files)
        )
        for r in loud.renditions
    )
    album = albums.album_of("a", [quiet, dataclasses.replace(loud, renditions=renditions)])
    text = albums.multivariant(album, DrmProfile.CLEAR, Tier.LOW, OPTIONS)

    first = m3u8.M3U8(text, strict=True).playlists[0].stream_info
    assert first.bandwidth == 2 * (96_000 + 1_234)
    assert first.average_bandwidth == 96_000


def test_gapless_numbers_of_every_track_are_said():
    album = made()
    texts = albums.album_manifests(album, [DrmProfile.CBCS], OPTIONS)
    key, text = list(texts.items())[-1]
    described = json.loads(text)

    assert key.endswith(f"/{ALBUM}")
    for track_, said in zip(album.tracks, described["tracks"], strict=True):
        for r in track_.renditions:
            assert said["gapless"][r.name] == dataclasses.asdict(r.timing)
    variants = albums.multivariant(album, DrmProfile.CBCS, Tier.LOW, OPTIONS)
    assert (
        '"org.tonearm.gapless.aac-96k.2",VALUE="timescale=48000 priming=1024 samples=240331'
        in variants
    )


def test_the_loudness_of_every_track_is_said():
    quiet, loud, silent = tracks()
    loud = dataclasses.replace(
        loud,
        loudness=dataclasses.replace(loud.loudness, integrated_lufs=-7.5),
        album_loudness=Loudness(-9.25, None, None, None, -0.5),
    )
    silent = dataclasses.replace(silent, loudness=Loudness(None, None, None, None, None))
    album = albums.album_of("a", [quiet, loud, silent])
    variants = albums.multivariant(album, DrmProfile.CLEAR, Tier.LOW, OPTIONS)
    root = ET.fromstring(albums.mpd(album, DrmProfile.CLEAR, Tier.LOW, OPTIONS))
    said = [p.find("SupplementalProperty", NS) for p in root.findall("Period", NS)]

    assert '"org.tonearm.loudness.1",VALUE="integrated-lufs=-14.23 ' in variants
    assert '"org.tonearm.loudness.2",VALUE="integrated-lufs=-7.50 ' in variants
    assert "org.tonearm.loudness.3" not in variants
    assert "album-integrated-lufs=-9.25 album-true-peak-dbtp=-0.50" in said[1].get("value")
    assert said[2] is None


def test_the_same_album_has_the_same_keys_and_another_one_others():
    def keys(lengths):
        return list(albums.album_manifests(made(lengths), [DrmProfile.CBCS], OPTIONS))

    assert keys(LENGTHS) == keys(LENGTHS)
    assert not set(keys(LENGTHS)) & set(keys(LENGTHS[:2]))


def test_a_track_without_a_rendition_is_refused_by_name_or_costs_the_rendition():
    whole, poor = tracks(LENGTHS[:1])[0], own_keys(track(LENGTHS[1], LADDER[:-1]), 2)

    with pytest.raises(ConflictError, match="track-2 has no flac"):
        albums.album_of("a", [whole, poor])
    album = albums.album_of("a", [whole, poor], common=True)
    assert [r.name for r in album.tracks[0].renditions] == [rung.name for rung in LADDER[:-1]]


def test_tracks_with_nothing_in_common_are_no_album():
    pair = [own_keys(track(9_999, (rung,)), n) for n, rung in enumerate(LADDER[:2], 1)]

    with pytest.raises(ConflictError):
        albums.album_of("a", pair, common=True)


def test_mixed_schemes_are_refused_by_name():
    whole, other = tracks(LENGTHS[:2])
    clear = tuple(
        dataclasses.replace(r, files=tuple(f for f in r.files if f.drm is DrmProfile.CENC))
        for r in other.renditions
    )
    album = albums.album_of("a", [whole, dataclasses.replace(other, renditions=clear)])

    with pytest.raises(ConflictError, match="track-2 has no cbcs file"):
        albums.album_manifests(album, [DrmProfile.CBCS], OPTIONS)


@pytest.mark.parametrize("album_id", ["", "../x", "a/b", "A", "x" * 65])
def test_an_id_that_cannot_stand_in_a_key_is_refused(album_id):
    with pytest.raises(InvalidInputError):
        albums.album_of(album_id, tracks(LENGTHS[:1]))


def test_an_album_without_tracks_is_refused():
    with pytest.raises(InvalidInputError):
        albums.album_of("a", [])


def test_a_lossless_variant_of_an_album_is_as_fine_as_its_finest_track():
    first, *others = tracks()
    flac = first.rendition("flac")
    rates = [dataclasses.replace(r, sample_rate=44_100, bit_depth=16) if r is flac else r
             for r in first.renditions]  # fmt: skip
    album = albums.Album("mixed", (dataclasses.replace(first, renditions=tuple(rates)), *others))

    text = albums.multivariant(album, DrmProfile.CLEAR, Tier.LOSSLESS, OPTIONS)

    [line] = [line for line in text.splitlines() if "fLaC" in line]
    assert "SAMPLE-RATE=48000,BIT-DEPTH=24" in line
