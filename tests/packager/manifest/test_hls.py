"""HLS playlists: golden text, a strict parser's view, and the rules that players depend on."""

import dataclasses
import re
import uuid
from decimal import Decimal
from itertools import pairwise

import m3u8
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInputError, NotFoundError
from core.model import DrmProfile, DrmSignal, HlsKeyTag, KeyChange, Tier
from packager.manifest import hls
from packager.manifest.options import ManifestOptions
from packager.manifest.places import STEERING_HLS
from tests.packager.manifest.examples import CLEARKEY, LADDER, WIDEVINE, signals, track

PLAIN = ManifestOptions()
STEERED = ManifestOptions(steering_uri=STEERING_HLS, pathway_id="base")
PROFILES = list(DrmProfile)
PROTECTED = [DrmProfile.CBCS, DrmProfile.CENC]


def parse(text):
    return m3u8.M3U8(text, strict=True)


def attributes(line):
    """An attribute list as the standard defines it (RFC 8216, 4.2)."""
    return dict(re.findall(r'([A-Z0-9-]+)=("[^"]*"|[^",]+)(?:,|$)', line.partition(":")[2]))


def lines_of(text, tag):
    return [line for line in text.splitlines() if line.startswith(f"#{tag}:")]


def extinfs(text):
    return [Decimal(value) for value in re.findall(r"#EXTINF:([0-9.]+),", text)]


@pytest.mark.parametrize(
    ("drm", "tier"), [("cbcs", Tier.HIGH), ("cenc", Tier.LOW), ("clear", Tier.LOSSLESS)]
)
def test_a_multivariant_playlist_is_as_reviewed(golden, drm, tier):
    text = hls.multivariant(track(), DrmProfile(drm), tier, STEERED)

    golden(f"manifest/{drm}-{tier}.m3u8", text)


@pytest.mark.parametrize(
    ("drm", "rendition", "layout"),
    [
        ("cbcs", "aac-96k", "segments"),
        ("cbcs", "aac-96k", "byterange"),
        ("cenc", "opus-160k", "segments"),
        ("clear", "flac", "byterange"),
    ],
)
def test_a_media_playlist_is_as_reviewed(golden, drm, rendition, layout):
    text = hls.media(track(), DrmProfile(drm), rendition, PLAIN, layout)

    golden(f"manifest/{drm}-{rendition}-{layout}.m3u8", text)


@pytest.mark.parametrize("tier", Tier)
def test_a_strict_parser_sees_the_ladder_of_the_tier(tier):
    parsed = parse(hls.multivariant(track(), DrmProfile.CBCS, tier, STEERED))

    expected = [rung.name for rung in LADDER if tier.includes(rung.tier)]
    assert [p.stream_info.stable_variant_id for p in parsed.playlists] == expected
    assert [p.uri for p in parsed.playlists] == [f"{name}.m3u8" for name in expected]
    assert {p.stream_info.pathway_id for p in parsed.playlists} == {"base"}
    assert parsed.content_steering.uri == STEERING_HLS
    assert parsed.content_steering.pathway_id == "base"
    for p in parsed.playlists:
        assert p.stream_info.average_bandwidth <= p.stream_info.bandwidth


@pytest.mark.parametrize("layout", ["segments", "byterange"])
@pytest.mark.parametrize("drm", PROFILES)
def test_a_strict_parser_sees_every_segment(drm, layout):
    p = track()
    for r in p.renditions:
        text = hls.media(p, drm, r.name, PLAIN, layout)
        parsed = parse(text)

        assert len(parsed.segments) == len(r.segment_ticks)
        assert parsed.is_endlist
        assert parsed.playlist_type == "vod"
        assert parsed.version == 6
        assert all(s.duration <= parsed.target_duration + 0.5 for s in parsed.segments)


def test_byte_ranges_cover_the_file_without_a_gap():
    p = track()
    for r in p.renditions:
        file = r.file(DrmProfile.CBCS)
        parsed = parse(hls.media(p, DrmProfile.CBCS, r.name, PLAIN, "byterange"))

        offset = file.init_size + file.index_size
        for segment in parsed.segments:
            size, start = map(int, segment.byterange.split("@"))
            assert start == offset
            offset += size
            assert segment.uri == f"{r.name}.mp4"
        assert offset == file.size
        assert parsed.segment_map[0].byterange == f"{file.init_size}@0"


@given(st.integers(48_000, 48_000 * 36_000), st.sampled_from(LADDER))
def test_durations_add_up_to_the_track_to_the_microsecond(samples, rung):
    text = hls.media(track(samples, [rung]), DrmProfile.CLEAR, rung.name, PLAIN)

    exact = Decimal(samples) / 48_000
    values = extinfs(text)
    assert abs(sum(values) - exact) <= Decimal("0.0000005")
    assert min(values) > 0
    target = int(re.search(r"TARGETDURATION:(\d+)", text)[1])
    assert target == max(int(value + Decimal("0.5")) for value in values)


def test_inner_boundaries_stand_where_the_decode_times_are():
    p = track()
    for r in p.renditions:
        values = extinfs(hls.media(p, DrmProfile.CLEAR, r.name, PLAIN))

        decode_time = 0
        for ticks, value in zip(r.segment_ticks[:-1], values, strict=False):
            assert value == Decimal(ticks) / 48_000
            decode_time += ticks
        exact = Decimal(r.timing.samples - decode_time) / 48_000
        assert abs(values[-1] - exact) <= Decimal("0.000001")


def test_codecs_are_spelt_as_safari_wants_them():
    text = hls.multivariant(track(), DrmProfile.CLEAR, Tier.LOSSLESS, PLAIN)

    found = {attributes(line)["CODECS"] for line in lines_of(text, "EXT-X-STREAM-INF")}
    assert found == {'"mp4a.40.2"', '"Opus"', '"fLaC"'}


def test_lossless_variants_alone_say_their_channels_rate_and_depth():
    text = hls.multivariant(track(), DrmProfile.CBCS, Tier.LOSSLESS, PLAIN)

    names = ("CHANNELS", "SAMPLE-RATE", "BIT-DEPTH")
    variants = [attributes(line) for line in lines_of(text, "EXT-X-STREAM-INF")]
    assert {found["CODECS"] == '"fLaC"' for found in variants} == {True, False}
    for found in variants:
        lossless = found["CODECS"] == '"fLaC"'
        assert [found.get(n) for n in names] == (['"2"', "48000", "24"] if lossless else [None] * 3)


def test_there_are_no_media_groups_and_no_steering_unless_asked_for():
    text = hls.multivariant(track(), DrmProfile.CBCS, Tier.LOSSLESS, PLAIN)

    assert "EXT-X-MEDIA:" not in text
    assert "AUDIO=" not in text
    assert "STEERING" not in text
    assert "PATHWAY-ID" not in text


@pytest.mark.parametrize("drm", PROTECTED)
def test_a_session_key_stands_once_for_each_key_and_format(drm):
    p = track()
    session = lines_of(hls.multivariant(p, drm, Tier.HIGH, PLAIN), "EXT-X-SESSION-KEY")

    assert len(session) == len(set(session)) == 3  # low, normal, high; ClearKey only
    keys = {
        line.partition(":")[2]
        for r in p.renditions[:6]
        for line in lines_of(hls.media(p, drm, r.name, PLAIN), "EXT-X-KEY")
    }
    # METHOD, KEYFORMAT and URI equal those of an EXT-X-KEY (RFC 8216, 4.3.4.5)
    assert {line.partition(":")[2] for line in session} <= keys
    assert not any("identity" in line for line in session)


@pytest.mark.parametrize(
    ("drm", "method"), [(DrmProfile.CBCS, "SAMPLE-AES"), (DrmProfile.CENC, "SAMPLE-AES-CTR")]
)
def test_the_identity_tag_is_cancelled_before_the_others_take_force(drm, method):
    text = hls.media(track(), drm, "aac-96k", PLAIN)
    tags = [attributes(line) for line in lines_of(text, "EXT-X-KEY")]

    assert [tag["METHOD"] for tag in tags] == [method, "NONE", method]
    assert tags[0]["KEYFORMAT"] == '"identity"'
    assert tags[1] == {"METHOD": "NONE"}
    assert tags[2]["KEYFORMAT"] == '"org.w3.clearkey"'
    assert text.index("#EXT-X-MAP") < text.index("#EXT-X-KEY")  # the init segment is clear


def test_a_lone_identity_tag_stays_in_force():
    def only_identity(*_):
        return (DrmSignal(CLEARKEY, hls=(HlsKeyTag("SAMPLE-AES", "/raw", "identity"),)),)

    text = hls.media(track(signals=only_identity), DrmProfile.CBCS, "aac-96k", PLAIN)

    assert len(lines_of(text, "EXT-X-KEY")) == 1


def test_fairplay_has_no_iv_and_other_systems_keep_their_attributes():
    def many(key, scheme):
        return (
            *signals(key, scheme),
            DrmSignal(
                WIDEVINE,
                hls=(
                    HlsKeyTag("SAMPLE-AES", "skd://k", "com.apple.streamingkeydelivery"),
                    HlsKeyTag("SAMPLE-AES", "data:x", f"urn:uuid:{WIDEVINE}", "1", b"\1" * 16, key),
                ),
            ),
        )

    text = hls.media(track(signals=many), DrmProfile.CBCS, "aac-96k", PLAIN)
    *_, fairplay, widevine = (attributes(line) for line in lines_of(text, "EXT-X-KEY"))

    assert "IV" not in fairplay
    assert fairplay["URI"] == '"skd://k"'
    assert widevine["IV"] == "0x" + "01" * 16
    assert widevine["KEYID"].startswith("0x0000001")
    assert widevine["KEYFORMATVERSIONS"] == '"1"'


def test_paths_of_the_key_server_stand_below_its_public_base():
    options = ManifestOptions(license_base="https://keys.example")
    text = hls.media(track(), DrmProfile.CBCS, "aac-96k", options)

    assert 'URI="https://keys.example/v1/license/raw/' in text
    assert 'URI="/v1/license/raw/' in hls.media(track(), DrmProfile.CBCS, "aac-96k", PLAIN)


def test_clear_playlists_have_no_key():
    p = track()

    assert "KEY" not in hls.media(p, DrmProfile.CLEAR, "aac-96k", PLAIN)
    assert "KEY" not in hls.multivariant(p, DrmProfile.CLEAR, Tier.LOSSLESS, PLAIN)


def test_the_gapless_numbers_are_in_session_data():
    text = hls.multivariant(track(), DrmProfile.CBCS, Tier.LOW, PLAIN)
    data = {a["DATA-ID"]: a["VALUE"] for a in map(attributes, lines_of(text, "EXT-X-SESSION-DATA"))}

    timing = track().rendition("opus-64k").timing
    assert data['"org.tonearm.gapless.opus-64k"'] == (
        f'"timescale=48000 priming=312 samples=1152007 padding={timing.padding}"'
    )
    assert "integrated-lufs=-14.23" in data['"org.tonearm.loudness"']


def test_what_cannot_be_quoted_is_refused():
    def evil(*_):
        return (DrmSignal(CLEARKEY, hls=(HlsKeyTag("SAMPLE-AES", 'x"\n#EXT', "identity"),)),)

    with pytest.raises(InvalidInputError, match="cannot stand in a playlist"):
        hls.media(track(signals=evil), DrmProfile.CBCS, "aac-96k", PLAIN)


def test_absent_renditions_are_not_found():
    p = track(ladder=LADDER[2:3])

    with pytest.raises(NotFoundError):
        hls.multivariant(p, DrmProfile.CBCS, Tier.LOW, PLAIN)
    with pytest.raises(NotFoundError):
        hls.media(p, DrmProfile.CBCS, "aac-96k", PLAIN)
    clear_only = dataclasses.replace(p.renditions[0], files=p.renditions[0].files[:1])
    with pytest.raises(NotFoundError):
        hls.media(
            dataclasses.replace(p, renditions=(clear_only,)), DrmProfile.CENC, "aac-320k", PLAIN
        )


def test_an_undescribed_key_is_an_error():
    with pytest.raises(InvalidInputError, match="does not describe key"):
        hls.media(dataclasses.replace(track(), keys=()), DrmProfile.CBCS, "aac-96k", PLAIN)


def rekeyed(*, lead, changes):
    """A track whose first rendition has a clear lead, and the keys of other tiers later on."""
    p = track()
    first = p.renditions[0]
    others = [k for k in p.keys if k.kid != first.file(DrmProfile.CBCS).kid]
    later = tuple(KeyChange(s, key.kid) for s, key in zip(changes, others, strict=False))
    files = [
        dataclasses.replace(f, clear_segments=lead, key_changes=later) if f.kid else f
        for f in first.files
    ]
    changed = dataclasses.replace(first, files=tuple(files))
    return dataclasses.replace(p, renditions=(changed, *p.renditions[1:]))


def keys_in_force(text):
    """The KID of the `org.w3.clearkey` tag that stands over each segment; None for none."""
    found, kid = [], None
    for line in text.splitlines():
        if line == "#EXT-X-KEY:METHOD=NONE":
            kid = None
        elif line.startswith("#EXT-X-KEY:") and "org.w3.clearkey" in line:
            kid = uuid.UUID(attributes(line)["KEYID"].removeprefix("0x"))
        elif line.startswith("#EXTINF"):
            found.append(kid)
    return found


@pytest.mark.parametrize(("lead", "changes"), [(2, ()), (0, (3, 5)), (2, (3, 5)), (4, (3, 5))])
def test_each_segment_stands_under_its_own_key(lead, changes):
    p = rekeyed(lead=lead, changes=changes)
    file = p.renditions[0].file(DrmProfile.CBCS)

    text = hls.media(p, DrmProfile.CBCS, p.renditions[0].name, PLAIN)

    count = len(file.segment_sizes)
    starts = [0, *(change.segment for change in file.key_changes), count]
    kids = [k for k, (a, b) in zip(file.kids, pairwise(starts), strict=True) for _ in range(a, b)]
    assert keys_in_force(text) == [None] * lead + kids[lead:]
    assert len(set(keys_in_force(text))) == bool(lead) + 1 + sum(c > lead for c in changes)
    assert text.index("#EXT-X-MAP") < text.index("#EXT-X-KEY")
    parse(text)


def test_a_new_key_ends_the_one_before_it_first():
    p = rekeyed(lead=0, changes=(3,))

    lines = hls.media(p, DrmProfile.CBCS, p.renditions[0].name, PLAIN).splitlines()

    tags = [i for i, line in enumerate(lines) if line.startswith("#EXT-X-KEY")]
    later = [i for i in tags if i > lines.index(next(x for x in lines if "#EXTINF" in x))]
    assert lines[later[0]] == "#EXT-X-KEY:METHOD=NONE"


def test_every_key_has_its_session_key():
    p = rekeyed(lead=0, changes=(3, 5))
    file = p.renditions[0].file(DrmProfile.CBCS)

    text = hls.multivariant(p, DrmProfile.CBCS, Tier.LOW, PLAIN)

    tags = "".join(lines_of(text, "EXT-X-SESSION-KEY"))
    assert all(kid.hex.upper() in tags for kid in file.kids)


def test_where_keys_change_no_bare_key_is_offered():
    steady, changing = rekeyed(lead=2, changes=()), rekeyed(lead=0, changes=(3,))
    name = steady.renditions[0].name

    assert 'KEYFORMAT="identity"' in hls.media(steady, DrmProfile.CBCS, name, PLAIN)
    assert 'KEYFORMAT="identity"' not in hls.media(changing, DrmProfile.CBCS, name, PLAIN)
