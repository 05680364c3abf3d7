"""A picture of the music in a few kilobytes.

The JSON of the BBC's audiowaveform, version 2: pairs of minimum and maximum, 8 bits, both
channels in one line. Web players (peaks.js, wavesurfer.js) read it as it is.
"""

import json

import numpy as np
from numpy.typing import NDArray

PIXELS = 1000
"""As wide as a player's seek bar; about 8 kB of JSON."""


class WaveformMeter:
    """Collects minima and maxima of samples of shape ``(frames, channels)``.

    Args:
        sample_rate: In Hz.
        samples: Expected length, which decides how many samples make a pixel.
    """

    def __init__(self, sample_rate: int, samples: int) -> None:
        self._rate = sample_rate
        self._per_pixel = max(1, -(-samples // PIXELS))
        self._lows: list[float] = []
        self._highs: list[float] = []
        self._in_pixel = 0

    def feed(self, pcm: NDArray[np.float32]) -> None:
        """Take the next samples."""
        start = 0
        while start < len(pcm):
            take = min(self._per_pixel - self._in_pixel, len(pcm) - start)
            part = pcm[start : start + take]
            if self._in_pixel == 0:
                self._lows.append(0.0)
                self._highs.append(0.0)
            self._lows[-1] = min(self._lows[-1], float(part.min()))
            self._highs[-1] = max(self._highs[-1], float(part.max()))
            self._in_pixel = (self._in_pixel + take) % self._per_pixel
            start += take

    def finish(self) -> bytes:
        """The JSON document."""
        pairs = np.stack([self._lows, self._highs], axis=1).reshape(-1)
        data = np.clip(np.rint(pairs * 127), -128, 127).astype(int).tolist()
        document = {
            "version": 2,
            "channels": 1,
            "sample_rate": self._rate,
            "samples_per_pixel": self._per_pixel,
            "bits": 8,
            "length": len(self._lows),
            "data": data,
        }
        return json.dumps(document, separators=(",", ":")).encode()
