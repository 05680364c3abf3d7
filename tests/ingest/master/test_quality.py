"""Warnings and the waveform."""

import json

import numpy as np
import pytest

from ingest.master.quality import QualityMeter
from ingest.measure.waveform import WaveformMeter
from tests.ingest.conftest import music

RATE = 44_100


def verdict(signal, true_peak_dbtp=-3.0):
    pcm = np.asarray(signal, np.float32)
    meter = QualityMeter(RATE, pcm.shape[1])
    for start in range(0, len(pcm), RATE):
        meter.feed(pcm[start : start + RATE])
    return meter.finish(true_peak_dbtp)


def test_honest_music_has_no_warnings():
    assert verdict(music(3)).warnings == ()


def test_three_samples_at_full_scale_in_a_row_are_a_clip():
    signal = music(1)
    signal[100:102, 0] = 1.0  # two: honest
    signal[500:503, 0] = 1.0
    signal[900:950, 1] = -1.0

    assert verdict(signal).clip_runs == 2
    assert "2 runs of 3 or more samples" in verdict(signal).warnings[0]


@pytest.mark.parametrize(
    "spoil, warning",
    [
        (lambda s: s + 0.02, "DC offset"),
        (lambda s: s * [1, 0], "one channel is dead"),
        (lambda s: s[:, [0, 0]], "dual mono"),
        (lambda s: s[:, [0, 0]] * [1, -1], "inverted"),
        (lambda s: np.concatenate([np.zeros((6 * RATE, 2)), s]), "6.0 s of silence at the start"),
        (lambda s: np.concatenate([s, np.zeros((7 * RATE, 2))]), "7.0 s of silence at the end"),
    ],
)
def test_what_a_careful_ear_objects_to_is_named(spoil, warning):
    assert any(warning in text for text in verdict(spoil(music(2))).warnings)


def test_a_true_peak_above_full_scale_is_named():
    assert "true peak +0.50 dBTP" in verdict(music(1), 0.5).warnings[0]


def test_a_mono_master_is_no_dual_mono():
    assert verdict(music(1, channels=1)).warnings == ()


def test_the_waveform_is_small_and_true():
    pcm = (music(10) * 2).astype(np.float32)
    meter = WaveformMeter(RATE, len(pcm))
    for start in range(0, len(pcm), 30_000):
        meter.feed(pcm[start : start + 30_000])

    encoded = meter.finish()
    picture = json.loads(encoded)

    assert len(encoded) < 16_000
    assert picture["version"] == 2
    assert len(picture["data"]) == 2 * picture["length"]
    first = pcm[: picture["samples_per_pixel"]]
    assert picture["data"][:2] == [round(float(first.min()) * 127), round(float(first.max()) * 127)]
    assert abs(max(picture["data"]) - float(pcm.max()) * 127) < 1
