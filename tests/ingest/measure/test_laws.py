"""Laws of the meters: what must hold for any music, however it comes in."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import MasterRejectedError
from ingest.master.quality import MAX_PEAK, FlacChecksum, QualityMeter
from ingest.measure.album import Heard, album_loudness
from ingest.measure.loudness import ABSOLUTE_GATE_LUFS, LoudnessMeter, programme
from ingest.measure.meters import Findings, decode_energies, encode_energies
from ingest.measure.truepeak import TruePeakMeter, oversampling
from ingest.measure.waveform import PIXELS, WaveformMeter
from tests.ingest.conftest import music

RATE = 48_000
ROUNDING_LU = 0.011
"""Two figures of two decimals may differ by one in the last of them."""
energies = st.lists(st.floats(1e-9, 1.0), min_size=30, max_size=80).map(np.array)
"""K-weighted mean squares of 100 ms each, from 3 s on: enough for every figure."""
loud_energies = st.lists(st.floats(1e-4, 1.0), min_size=30, max_size=80).map(np.array)
"""The same, 20 dB above the absolute gate: what that cuts is another programme."""
cuts = st.lists(st.integers(0, RATE), max_size=6).map(sorted)


def pieces(pcm, places):
    return np.split(pcm, [place for place in places if place < len(pcm)])


@pytest.fixture(scope="module")
def second():
    """One second of music as a decoder gives it."""
    return music(1.0, RATE).astype(np.float32)


@given(loud_energies, st.floats(-20, 20))
def test_louder_music_is_louder_by_just_as_much(row, gain_db):
    factor = 10 ** (gain_db / 10)
    before, after = programme([row], 0.0), programme([row * factor], 0.0)

    for name in ("integrated_lufs", "momentary_max_lufs", "short_term_max_lufs"):
        assert getattr(after, name) - getattr(before, name) == pytest.approx(
            gain_db, abs=ROUNDING_LU
        )
    assert after.range_lu == pytest.approx(before.range_lu, abs=ROUNDING_LU)


@given(energies)
def test_no_average_is_above_its_maximum(row):
    loudness = programme([row], -1.0)

    if loudness.integrated_lufs is not None:
        assert loudness.integrated_lufs <= loudness.momentary_max_lufs
        assert loudness.integrated_lufs > ABSOLUTE_GATE_LUFS - ROUNDING_LU
    if loudness.short_term_max_lufs is not None:
        assert loudness.short_term_max_lufs <= loudness.momentary_max_lufs
        assert loudness.range_lu >= 0


@given(st.lists(energies, min_size=1, max_size=4), st.randoms())
def test_the_order_of_tracks_does_not_change_their_album(rows, chance):
    tracks = [Heard(row, float(n)) for n, row in enumerate(rows)]
    shuffled = list(tracks)
    chance.shuffle(shuffled)

    assert album_loudness(shuffled) == album_loudness(tracks)


@given(energies, st.integers(2, 4))
def test_an_album_of_one_track_again_and_again_is_as_loud_as_the_track(row, times):
    alone = album_loudness([Heard(row, -1.0)])

    assert album_loudness([Heard(row, -1.0)] * times).integrated_lufs == pytest.approx(
        alone.integrated_lufs, abs=ROUNDING_LU
    )


def test_the_peak_of_an_album_is_its_highest_and_a_silent_track_has_none():
    loud, soft, silent = np.full(40, 0.1), np.full(40, 0.01), np.zeros(40)

    album = album_loudness([Heard(soft, -9.5), Heard(loud, -0.5), Heard(silent, None)])

    assert album.true_peak_dbtp == -0.5
    assert album_loudness([Heard(silent, None)]).true_peak_dbtp is None


@given(st.lists(st.floats(0, 1e6, width=32), max_size=50).map(np.array))
def test_energies_come_back_as_they_were_written(row):
    assert np.array_equal(decode_energies(encode_energies(row)), row)


@pytest.mark.parametrize("text", ["A", "AAAA", "not base64!", "AAAAA==="])
def test_energies_that_are_none_are_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - two libraries, one kind of answer
        decode_energies(text)


@given(cuts)
@settings(max_examples=20)
def test_where_chunks_end_does_not_change_a_true_peak(second, places):
    whole, parts = TruePeakMeter(RATE, 2), TruePeakMeter(RATE, 2)

    whole.feed(second)
    for piece in pieces(second, places):
        parts.feed(piece)

    assert parts.finish() == pytest.approx(whole.finish(), rel=1e-6)


@pytest.mark.parametrize("rate", [44_100, 48_000, 88_200, 96_000, 176_400, 192_000])
def test_a_true_peak_is_looked_for_at_176_khz_or_more(rate):
    assert rate * oversampling(rate) >= 176_400
    assert oversampling(rate) in (1, 2, 4)


@given(st.integers(0, RATE - 1), st.floats(0.01, 1.0))
@settings(max_examples=20)
def test_a_true_peak_is_never_below_a_sample(place, height):
    pcm = np.zeros((RATE, 2), np.float32)
    pcm[place, 1] = -height
    meter = TruePeakMeter(RATE, 2)

    meter.feed(pcm)

    assert meter.finish() >= np.float32(height)


@given(cuts)
@settings(max_examples=20)
def test_where_chunks_end_does_not_change_a_waveform(second, places):
    whole, parts = WaveformMeter(RATE, len(second)), WaveformMeter(RATE, len(second))

    whole.feed(second)
    for piece in pieces(second, places):
        parts.feed(piece)

    assert parts.finish() == whole.finish()


@given(st.integers(1, 10 * RATE), st.integers(1, 3 * RATE))
@settings(max_examples=20, deadline=None)
def test_a_waveform_is_as_wide_as_promised_whatever_was_expected(expected, samples):
    meter = WaveformMeter(RATE, expected)
    meter.feed(np.full((samples, 1), 0.5, np.float32))

    document = json.loads(meter.finish())

    assert document["length"] == -(-samples // document["samples_per_pixel"])
    assert len(document["data"]) == 2 * document["length"]
    assert set(document["data"]) == {0, 64}
    if samples <= expected:
        assert document["length"] <= PIXELS


def test_a_waveform_stays_in_eight_bits_above_full_scale():
    meter = WaveformMeter(RATE, 100)
    meter.feed(np.array([[-3.0], [3.0]] * 50, np.float32))

    assert set(json.loads(meter.finish())["data"]) == {-128, 0, 127}


@given(cuts)
@settings(max_examples=20)
def test_where_chunks_end_does_not_change_what_a_careful_ear_hears(second, places):
    whole, parts = QualityMeter(RATE, 2), QualityMeter(RATE, 2)

    whole.feed(second)
    for piece in pieces(second, places):
        parts.feed(piece)
    once, again = whole.finish(-1.0), parts.finish(-1.0)

    assert (again.samples, again.sample_peak) == (once.samples, once.sample_peak)
    assert again.correlation == pytest.approx(once.correlation, abs=1e-3)
    assert again.dc_offset == pytest.approx(once.dc_offset, abs=1e-4)
    assert again.leading_silence_s == once.leading_silence_s
    assert again.trailing_silence_s == once.trailing_silence_s
    assert again.warnings == once.warnings


@given(st.integers(0, 2 * RATE), st.integers(1, 500), st.integers(0, 2 * RATE))
@settings(max_examples=20, deadline=None)
def test_silence_at_both_ends_is_counted_to_the_sample(leading, loud, trailing):
    pcm = np.zeros((leading + loud + trailing, 2), np.float32)
    pcm[leading : leading + loud] = 0.1
    meter = QualityMeter(RATE, 2)

    meter.feed(pcm)
    quality = meter.finish(-20.0)

    assert quality.leading_silence_s == leading / RATE
    assert quality.trailing_silence_s == trailing / RATE


@pytest.mark.parametrize("sample", [np.nan, np.inf, -np.inf, 2 * MAX_PEAK, -2 * MAX_PEAK])
def test_samples_that_no_converter_makes_are_refused(second, sample):
    spoilt = second.copy()
    spoilt[100, 0] = sample

    with pytest.raises(MasterRejectedError, match="no numbers") as refusal:
        QualityMeter(RATE, 2).feed(spoilt)
    assert "export" in refusal.value.hint


@pytest.mark.parametrize("bits", [8, 16, 20, 24])
@given(data=st.data())
@settings(max_examples=20)
def test_the_checksum_of_a_flac_is_that_of_its_integers(bits, data):
    integer = st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    samples = np.array(data.draw(st.lists(integer, min_size=2, max_size=40)))[:, None]
    floats = (samples / (1 << (bits - 1))).astype(np.float32)
    raw = b"".join(int(s).to_bytes((bits + 7) // 8, "little", signed=True) for s in samples[:, 0])
    once, again = FlacChecksum(bits), FlacChecksum(bits)

    once.feed(floats)
    for piece in np.split(floats, [1]):
        again.feed(piece)

    assert once.digest() == again.digest() == md5(raw)


def md5(data):
    import hashlib  # noqa: PLC0415 - of this one oracle

    return hashlib.md5(data, usedforsecurity=False).digest()


def test_findings_come_back_as_they_were_kept(second):
    loudness, quality = LoudnessMeter(RATE, 2), QualityMeter(RATE, 2)
    for _ in range(4):
        loudness.feed(second)
        quality.feed(second)
    measured = loudness.finish()
    findings = Findings(measured.loudness, measured.energies, quality.finish(-1.0), b"{}")

    kept = Findings.decode(findings.encode())

    assert kept.encode() == findings.encode()
    assert (kept.loudness, kept.quality) == (findings.loudness, findings.quality)
    assert np.array_equal(kept.energies, findings.energies)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"quality": {}}', b"\xff"])
def test_findings_that_are_none_raise_what_their_reader_expects(data):
    with pytest.raises((ValueError, KeyError, TypeError)):
        Findings.decode(data)
