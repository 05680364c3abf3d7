"""The words of the house: what is derived from them is arithmetic that holds for all of them."""

import dataclasses
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import ids, model
from core.model import (
    Codec,
    ContentKey,
    DrmProfile,
    KeyChange,
    KeyDescription,
    Rung,
    Scheme,
    Tier,
    Timing,
)
from tests.packager.manifest.examples import rendition, track

tiers = st.sampled_from(Tier)
counts = st.integers(0, 2**40)


@given(tiers, tiers)
def test_of_two_plans_one_includes_the_other(one, other):
    assert one.includes(other) or other.includes(one)
    assert (one.includes(other) and other.includes(one)) == (one is other)


@given(tiers, tiers, tiers)
def test_what_a_plan_includes_includes_what_that_includes(high, middle, low):
    if high.includes(middle) and middle.includes(low):
        assert high.includes(low)


def test_ranks_count_from_the_lowest_plan():
    assert [tier.rank for tier in Tier] == [0, 1, 2, 3]
    assert [tier for tier in Tier if Tier.NORMAL.includes(tier)] == [Tier.LOW, Tier.NORMAL]


@given(
    st.sampled_from((Codec.AAC, Codec.OPUS)), st.integers(16, 512), tiers, st.sampled_from((1, 2))
)
def test_the_name_of_a_rung_is_a_name_for_a_rendition(codec, bitrate_kbps, tier, channels):
    rung = Rung(codec, bitrate_kbps * 1000, tier, channels)

    assert rung.name == f"{codec}-{bitrate_kbps}k"
    assert ids.RENDITION.fits(rung.name)


@pytest.mark.parametrize("codec", [Codec.FLAC, Codec.ALAC])
def test_a_lossless_rung_is_named_by_its_codec(codec):
    assert Rung(codec, 0, Tier.LOSSLESS).name == codec
    assert ids.RENDITION.fits(codec)


@given(st.integers(1, 192_000), counts, counts, counts)
def test_a_decoder_gives_priming_music_and_padding(timescale, priming, samples, padding):
    timing = Timing(timescale, priming, samples, padding)

    assert timing.media_ticks - priming - padding == samples
    assert timing.duration_s * timescale == pytest.approx(samples)


def test_schemes_say_what_hls_calls_them():
    assert {scheme: scheme.hls_method for scheme in Scheme} == {
        Scheme.CBCS: "SAMPLE-AES", Scheme.CENC: "SAMPLE-AES-CTR",
    }  # fmt: skip


def test_each_scheme_is_a_drm_profile_and_clear_is_the_only_other_one():
    assert {*DrmProfile} - {DrmProfile(scheme) for scheme in Scheme} == {DrmProfile.CLEAR}


def test_a_file_names_its_keys_in_the_order_in_which_they_are_needed():
    first, second, third = (uuid.UUID(int=n) for n in (7, 3, 9))
    [file] = rendition(Rung(Codec.AAC, 96_000, Tier.LOW), 400_000, (Scheme.CBCS,)).files[1:]
    changing = dataclasses.replace(
        file, kid=first, key_changes=(KeyChange(1, second), KeyChange(2, third))
    )

    assert changing.kids == (first, second, third)
    assert dataclasses.replace(file, kid=None).kids == ()


def test_renditions_files_and_keys_are_found_by_name_or_not_at_all():
    p = track()
    for r in p.renditions:
        assert p.rendition(r.name) is r
        assert {drm: r.file(drm) for drm in DrmProfile} == {f.drm: f for f in r.files}
    for key in p.keys:
        assert p.key(key.kid) is key
    assert p.rendition("aac-97k") is None
    assert p.key(uuid.UUID(int=0)) is None
    assert dataclasses.replace(p.renditions[0], files=()).file(DrmProfile.CBCS) is None


def test_a_content_key_prints_everything_but_the_key_and_the_iv():
    description = KeyDescription(uuid.UUID(int=5), Tier.LOW, Scheme.CBCS, (), 3)
    text = repr(ContentKey(description, b"kkkkkkkkkkkkkkkk", b"iiiiiiiiiiiiiiii"))

    assert "period=3" in text
    assert "kkkk" not in text
    assert "iiii" not in text


@pytest.mark.parametrize(
    "kind",
    [k for k in vars(model).values() if dataclasses.is_dataclass(k)],
    ids=lambda k: k.__name__,
)
def test_no_word_changes_once_it_is_said(kind):
    assert kind.__dataclass_params__.frozen
    assert "__slots__" in vars(kind)
