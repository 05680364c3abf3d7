"""EBU Tech 3341 and 3342 cases, synthesised; tolerances are theirs."""

import numpy as np
import pyebur128
import pyloudnorm
import pytest

from ingest.measure.loudness import LoudnessMeter, programme
from ingest.measure.meters import decode_energies, encode_energies
from ingest.measure.truepeak import TruePeakMeter
from tests.ingest.conftest import music

TOLERANCE_LU = 0.1
RANGE_TOLERANCE_LU = 1.0
RATE = 48_000


def sine(*parts, rate=RATE):
    """A 1 kHz sine in phase in both channels: (dBFS of the peak, seconds) after each other."""
    level = np.concatenate([np.full(round(s * rate), 10 ** (db / 20)) for db, s in parts])
    wave = level * np.sin(2 * np.pi * 1000 * np.arange(len(level)) / rate)
    return np.stack([wave, wave], axis=1).astype(np.float32)


def measure(pcm, rate=RATE, chunk=10_007):
    meter = LoudnessMeter(rate, pcm.shape[1])
    for start in range(0, len(pcm), chunk):
        meter.feed(pcm[start : start + chunk])
    return meter.finish()


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
@pytest.mark.parametrize(
    "parts, expected",
    [
        ([(-23, 20)], -23),
        ([(-33, 20)], -33),
        ([(-36, 10), (-23, 60), (-36, 10)], -23),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23),
    ],
)
def test_integrated_loudness_follows_ebu_tech_3341(parts, expected, rate):
    loudness = measure(sine(*parts, rate=rate), rate).loudness

    assert loudness.integrated_lufs == pytest.approx(expected, abs=TOLERANCE_LU)


@pytest.mark.parametrize(
    "levels, expected",
    [((-20, -30), 10), ((-20, -15), 5), ((-40, -20), 20), ((-50, -35, -20, -35, -50), 15)],
)
def test_loudness_range_follows_ebu_tech_3342(levels, expected):
    loudness = measure(sine(*[(level, 20) for level in levels])).loudness

    assert loudness.range_lu == pytest.approx(expected, abs=RANGE_TOLERANCE_LU)


def test_momentary_and_short_term_maxima_are_those_of_the_loudest_part():
    loudness = measure(sine((-40, 5), (-20, 3), (-40, 5))).loudness

    assert loudness.momentary_max_lufs == pytest.approx(-20, abs=TOLERANCE_LU)
    assert loudness.short_term_max_lufs == pytest.approx(-20, abs=TOLERANCE_LU)


@pytest.mark.parametrize(
    "divisor, amplitude, degrees, expected",
    [(4, 0.5, 0, -6), (4, 0.5, 45, -6), (6, 0.5, 60, -6), (8, 0.5, 67.5, -6), (4, 1.41, 45, 3)],
)
@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_true_peak_follows_ebu_tech_3341(divisor, amplitude, degrees, expected, rate):
    tone = amplitude * np.sin(2 * np.pi * np.arange(rate) / divisor + np.radians(degrees))
    ramp = rate // 100
    tone[:ramp] *= np.linspace(0, 1, ramp)
    tone[-ramp:] *= np.linspace(1, 0, ramp)

    peak = measure(tone.astype(np.float32)[:, None], rate).loudness.true_peak_dbtp

    assert expected - 0.4 <= peak <= expected + 0.2


@pytest.mark.parametrize("rate", [44_100, 48_000, 192_000])
def test_true_peak_agrees_with_libebur128(rate):
    pcm = np.random.default_rng(2).uniform(-0.9, 0.9, (rate, 2)).astype(np.float32)
    meter = TruePeakMeter(rate, 2)
    for start in range(0, rate, 1234):
        meter.feed(pcm[start : start + 1234])
    reference = pyebur128.R128State(2, rate, pyebur128.MeasurementMode.MODE_TRUE_PEAK)
    reference.add_frames(pcm.reshape(-1), rate)

    expected = max(pyebur128.get_true_peak(reference, channel) for channel in (0, 1))

    assert meter.finish() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [44_100, 96_000])
def test_integrated_loudness_agrees_with_pyloudnorm(rate, channels):
    pcm = music(6, rate, channels).astype(np.float32)

    expected = pyloudnorm.Meter(rate).integrated_loudness(pcm.astype(np.float64))

    assert measure(pcm, rate).loudness.integrated_lufs == pytest.approx(expected, abs=TOLERANCE_LU)


def test_how_the_samples_are_cut_does_not_matter():
    pcm = music(3).astype(np.float32)

    assert measure(pcm, 44_100, chunk=441).loudness == measure(pcm, 44_100, chunk=132_300).loudness


def test_silence_has_no_loudness():
    loudness = measure(np.zeros((RATE * 2, 2), np.float32)).loudness

    assert loudness.integrated_lufs is None
    assert loudness.true_peak_dbtp is None


def test_an_album_is_gated_as_one_programme_and_is_no_mean_of_its_tracks():
    loud, soft = sine((-20, 20)), sine((-45, 20))
    whole = measure(np.concatenate([loud, soft])).loudness.integrated_lufs
    parts = [measure(loud), measure(soft)]

    album = programme([part.energies for part in parts], None).integrated_lufs

    assert album == pytest.approx(whole, abs=TOLERANCE_LU)
    mean = sum(part.loudness.integrated_lufs for part in parts) / 2
    assert abs(album - mean) > 10


def test_stored_energies_give_the_same_album_as_fresh_ones():
    fresh = measure(music(3).astype(np.float32), 44_100).energies

    assert np.array_equal(decode_energies(encode_energies(fresh)), fresh)
