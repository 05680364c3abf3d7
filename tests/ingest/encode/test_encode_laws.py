"""Laws of what is encoded: ladders, exact lengths, and the packets that are cut off at seams."""

import contextlib
from array import array
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInputError, MasterRejectedError, ToolkitError
from core.model import Codec, Ladder, Rung, Tier, Timing
from ingest.encode.ladder import (
    BITRATE_RANGES_KBPS,
    BITRATE_TOLERANCE,
    MAX_RUNGS,
    MUSIC,
    Fit,
    fit,
    lossless_depth,
    parse_ladder,
    with_lossless,
)
from ingest.encode.neighbours import Sides, cut_off
from ingest.encode.rungs import exact_samples
from ingest.encode.toolchain import Toolchain
from ingest.encode.transcode import LOSSY_RATE, ROLL_SAMPLES
from ingest.master.containers import Container
from ingest.master.probe import Master, Tags
from packager.encoded.track import EncodedTrack
from packager.mp4.dops import OpusConfig

RATES = st.sampled_from([44_100, 48_000, 88_200, 96_000, 176_400, 192_000])
AAC = Rung(Codec.AAC, 96_000, Tier.LOW)
FLAC = Rung(Codec.FLAC, 0, Tier.LOSSLESS)
lossy_rungs = st.one_of(
    *(
        st.builds(
            lambda kbps, tier, codec=codec: Rung(codec, kbps * 1000, tier),
            st.integers(low, high),
            st.sampled_from([Tier.LOW, Tier.NORMAL, Tier.HIGH]),
        )
        for codec, (low, high) in BITRATE_RANGES_KBPS.items()
    )
)
ladders = st.builds(
    Ladder,
    st.just("mine"),
    st.lists(lossy_rungs, min_size=1, max_size=6, unique_by=lambda rung: rung.name).map(tuple),
)
masters = st.builds(
    Master,
    path=st.just(Path("a.wav")),
    container=st.just(Container.WAV),
    codec=st.just("mp3"),
    sample_rate=RATES,
    channels=st.integers(1, 8),
    bit_depth=st.sampled_from([None, 16, 20, 24, 32]),
    samples=st.none(),
    slack_samples=st.just(0),
    estimated_duration_s=st.just(10.0),
    bitrate_bps=st.none() | st.integers(8_000, 512_000),
    pcm_md5=st.none(),
    tags=st.just(Tags()),
)


@given(ladders, masters)
def test_a_master_never_gets_a_rung_that_it_does_not_hold(ladder, master):
    fitted = Fit((), ("",) * len(with_lossless(ladder).rungs))
    with contextlib.suppress(MasterRejectedError):
        fitted = fit(with_lossless(ladder), master)

    for rung in fitted.rungs:
        if master.lossy:
            assert rung.codec is not Codec.FLAC
            assert rung.bitrate_bps <= master.bitrate_bps * BITRATE_TOLERANCE
        if master.channels > 2:
            assert rung.codec is not Codec.FLAC
        assert rung.channels == master.output_channels
    assert len(fitted.rungs) + len(fitted.notes) == len(with_lossless(ladder).rungs)


@given(ladders, masters)
def test_what_a_lossless_master_of_two_channels_gets_is_the_whole_ladder(ladder, master):
    best = replace(master, bitrate_bps=None, channels=2)

    assert fit(with_lossless(ladder), best).rungs == with_lossless(ladder).rungs


@given(ladders)
def test_a_ladder_that_is_written_as_toml_is_read_as_it_was(ladder):
    text = 'name = "mine"\n' + "".join(
        f'[[rung]]\ncodec = "{rung.codec}"\nbitrate_kbps = {rung.bitrate_bps // 1000}\n'
        f'tier = "{rung.tier}"\n'
        for rung in ladder.rungs
    )

    assert parse_ladder(text, name="file") == ladder


@given(st.text(max_size=100) | st.sampled_from(["[[rung]]", "rung = 1", "rung = []", "a = 1"]))
def test_any_text_is_a_ladder_or_a_refusal_with_a_hint(text):
    with pytest.raises(InvalidInputError) as refusal:
        parse_ladder(text, name="file")

    assert refusal.value.hint


def test_a_ladder_has_a_bound_and_a_lossless_rung_once():
    rung = '[[rung]]\ncodec = "aac"\nbitrate_kbps = {}\ntier = "low"\n'
    parse_ladder("".join(rung.format(32 + n) for n in range(MAX_RUNGS)), name="most")

    with pytest.raises(InvalidInputError, match="1 to 16"):
        parse_ladder("".join(rung.format(32 + n) for n in range(MAX_RUNGS + 1)), name="more")
    assert with_lossless(with_lossless(MUSIC)) == with_lossless(MUSIC)


@given(masters)
def test_a_lossless_rung_has_a_depth_that_holds_the_master_or_24_bits(master):
    depth = lossless_depth(master)

    assert depth in (16, 24)
    assert depth >= min(master.bit_depth or 24, 24)


@given(RATES, st.integers(1, 10**10))
def test_a_resampled_length_is_the_nearest_whole_one(rate, samples):
    length = exact_samples(AAC, rate, samples)

    assert abs(length * rate - samples * LOSSY_RATE) * 2 <= rate
    assert exact_samples(FLAC, rate, samples) == samples
    if rate == LOSSY_RATE:
        assert length == samples


def encoded(codec, frame, packets, priming=0, pad=0):
    """A track of packets of one byte, each its own number; only the fields that matter are real."""
    sizes = array("I", [1] * packets)
    payload = memoryview(bytes(n % 256 for n in range(packets)))
    samples = packets * frame - priming - pad
    return EncodedTrack(
        config=OpusConfig(2, priming, LOSSY_RATE),
        codec=codec,
        codecs=str(codec),
        sample_rate=LOSSY_RATE,
        channels=2,
        bit_depth=None,
        frame_samples=frame,
        sizes=sizes,
        payload=payload,
        timing=Timing(LOSSY_RATE, priming, samples, pad),
    )


FRAMES = {Codec.AAC: (1024, 1024), Codec.OPUS: (960, 312)}
"""Samples of a packet, and of priming."""


@pytest.mark.parametrize("codec", FRAMES)
@given(samples=st.integers(1, 200_000), before=st.booleans(), after=st.booleans())
def test_what_is_kept_at_a_seam_covers_the_music_and_no_packet_more(codec, samples, before, after):
    frame, priming = FRAMES[codec]
    sides = Sides(before=before, after=after)
    rolled = ROLL_SAMPLES if before and codec is Codec.AAC else 0
    fed = rolled + priming + samples + (ROLL_SAMPLES if after else 0)
    track = encoded(codec, frame, -(-fed // frame) + 1, priming)

    kept = cut_off(track, sides, samples)

    if not sides.any:
        assert kept is track
        return
    first = rolled // frame
    assert kept.timing.samples == samples
    assert kept.timing.priming == priming
    assert 0 <= kept.timing.padding < frame
    assert kept.timing.media_ticks == len(kept.sizes) * frame
    assert bytes(kept.payload) == bytes(track.payload[first : first + len(kept.sizes)])


def test_lossless_packets_are_never_cut_and_too_few_packets_are_an_error():
    sides = Sides(before=True, after=True)
    flac = encoded(Codec.FLAC, 4096, 10)

    assert cut_off(flac, sides, 40_000) is flac
    with pytest.raises(ToolkitError, match="ended too early") as refusal:
        cut_off(encoded(Codec.AAC, 1024, 46, 1024), sides, 10_000)
    assert refusal.value.hint


@pytest.mark.parametrize(
    "version, release",
    [
        ("7.1", (7, 1)),
        ("6.0.2-static", (6, 0)),
        ("n5.1.4-10", (5, 1)),
        ("N-117-gabcdef", (99, 0)),
        ("git-2024", (99, 0)),
    ],
)
def test_a_release_is_read_from_any_spelling_and_a_build_from_git_is_new(version, release):
    assert Toolchain(Path("ffmpeg"), version, "0" * 64, "sse4.2").release == release


def test_two_toolchains_with_one_fingerprint_are_the_same_binary_wherever_it_lies():
    here = Toolchain(Path("/a/ffmpeg"), "7.1", "0" * 64, "sse4.2")

    assert replace(here, ffmpeg=Path("/b/ffmpeg")).fingerprint == here.fingerprint
    for other in ({"version": "7.2"}, {"sha256": "1" * 64}, {"simd": "aarch64"}):
        assert replace(here, **other).fingerprint != here.fingerprint
