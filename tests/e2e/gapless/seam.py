"""A signal that shows where it was cut, and the measure of what became of it.

Left is a sine of 997 Hz: its phase tells time to a hundredth of a sample. Right is noise, which is
like itself at one place only: it tells which period of the sine it is, and counts whole samples.
"""

import wave
from dataclasses import dataclass

import numpy as np

TONE_HZ = 997
NOISE_HZ = 4000
"""Noise above this is left out: the cheapest encoders leave it out, too."""
NEAR_S = 0.02
"""What belongs to the seam: both sides of it are looked at beyond this."""
SIDE_S = 0.4
"""How much of each side is compared with the master."""


def continuous(rate: int, samples: int):
    """The master before it is cut: ``(samples, 2)``, full scale 1."""
    sine = np.sin(2 * np.pi * TONE_HZ * np.arange(samples) / rate)
    spectrum = np.fft.rfft(np.random.default_rng(997).standard_normal(samples))
    spectrum[np.fft.rfftfreq(samples, 1 / rate) > NOISE_HZ] = 0
    noise = np.fft.irfft(spectrum, samples)
    return np.stack([0.4 * sine, 0.1 * noise / noise.std()], axis=1)


def write_wav(path, rate, pcm):
    """*pcm* as 16-bit stereo."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(pcm.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(pcm * 32767).astype("<i2").tobytes())
    return path


@dataclass(frozen=True, slots=True)
class Seam:
    """What a listener gets where one track ends and the next begins.

    Attributes:
        inserted: Whole samples that are too many behind the seam; negative if music is lost.
        phase_samples: The same from the sine, to a fraction of a sample.
        silent: Samples of digital silence around the seam.
        error_db: Energy of the difference to the master around the seam, over that of the sides:
            0 if the seam is as good as the rest.
    """

    inserted: int
    phase_samples: float
    silent: int
    error_db: float


def measure(heard, master, cut, rate) -> Seam:
    """Compare a recording that spans the seam with the continuous master.

    Args:
        heard: ``(n, 2)``, from somewhere before the seam to somewhere behind it.
        master: What `continuous` made.
        cut: Length of the first track: it was ``master[:cut]``.
        rate: Of both, in Hz.
    """
    near, side = round(NEAR_S * rate), round(SIDE_S * rate)
    # where the last of the first track is heard, and the first of the second
    before = _find(heard, master, cut - near - side, side)
    after = _find(heard, master, cut + near, side)
    phase = _late(heard, after, cut + near, side, rate) - _late(
        heard, before, cut - near - side, side, rate
    )
    inserted = (after - before) - (side + 2 * near)
    first, last = before + side, after
    silent = int((np.abs(heard[first:last]).max(axis=1) < 1e-6).sum())
    middle = _error(heard[first:last], master[cut - near : cut - near + last - first])
    sides = _error(heard[before:first], master[cut - near - side : cut - near])
    return Seam(inserted, inserted + phase, silent, 10 * np.log10(middle / sides))


def _find(heard, master, start, length):
    """Index in *heard* of ``master[start]``, by the noise."""
    wanted = master[start : start + length, 1]
    size = 1 << (len(heard) + length).bit_length()
    spectrum = np.fft.rfft(heard[:, 1], size) * np.conj(np.fft.rfft(wanted, size))
    return int(np.argmax(np.fft.irfft(spectrum, size)[: len(heard) - length]))


def _late(heard, index, start, length, rate):
    """By what part of a sample ``heard[index:]`` comes later than ``master[start:]``."""
    time = np.arange(length) / rate
    turn = np.exp(-2j * np.pi * TONE_HZ * (time + start / rate))
    angle = np.angle((heard[index : index + length, 0] * turn).sum() * 1j)
    return -angle / (2 * np.pi * TONE_HZ) * rate


def _error(heard, expected):
    length = min(len(heard), len(expected))
    return float(np.mean((heard[:length] - expected[:length]) ** 2)) + 1e-15
