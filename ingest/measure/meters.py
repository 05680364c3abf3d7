"""Everything that listens to the one decode, and what it found, in a form that can be kept."""

import base64
import dataclasses
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import MasterRejectedError
from core.model import Loudness
from ingest.master.containers import TRUNCATED_HINT
from ingest.master.probe import Master
from ingest.master.quality import FlacChecksum, Quality, QualityMeter
from ingest.measure.album import Heard
from ingest.measure.loudness import Energies, LoudnessMeter, Measurement
from ingest.measure.waveform import WaveformMeter


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What one pass over a master's samples says; equal ones `encode` to equal bytes."""

    loudness: Loudness
    energies: Energies
    quality: Quality
    waveform: bytes

    @property
    def heard(self) -> Heard:
        """What the track brings to its album."""
        return Heard(self.energies, self.loudness.true_peak_dbtp)

    def encode(self) -> bytes:
        """As JSON, for the work directory and the report."""
        document = {
            "loudness": dataclasses.asdict(self.loudness),
            "energies": encode_energies(self.energies),
            "quality": dataclasses.asdict(self.quality),
            "waveform": self.waveform.decode(),
        }
        return json.dumps(document, sort_keys=True).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Findings":
        """Read what `encode` wrote; ValueError, KeyError or TypeError for anything else."""
        document = json.loads(data)
        quality = document["quality"]
        quality |= {key: tuple(quality[key]) for key in ("dc_offset", "warnings")}
        return cls(
            Loudness(**document["loudness"]),
            decode_energies(document["energies"]),
            Quality(**quality),
            document["waveform"].encode(),
        )


class Meters:
    """Feed every meter from one stream, then check the promises of the container."""

    def __init__(self, master: Master) -> None:
        self._master = master
        expected = round(master.estimated_duration_s * master.sample_rate)
        rate, channels = master.sample_rate, master.output_channels
        self._loudness = LoudnessMeter(rate, channels)
        self._quality = QualityMeter(rate, channels)
        self._waveform = WaveformMeter(rate, expected)
        depth = master.bit_depth or 0
        checkable = master.pcm_md5 is not None and master.channels <= 2
        self._checksum = (
            FlacChecksum(depth) if checkable and depth <= FlacChecksum.MAX_BIT_DEPTH else None
        )
        self.samples = 0

    def feed(self, pcm: NDArray[np.float32]) -> None:
        """Take samples of shape ``(frames, channels)``."""
        self._quality.feed(pcm)  # first: it refuses what the others cannot count with
        self._loudness.feed(pcm)
        self._waveform.feed(pcm)
        if self._checksum is not None:
            self._checksum.feed(pcm)
        self.samples += len(pcm)

    def finish(self) -> Findings:
        """The findings.

        Raises:
            MasterRejectedError: Samples are missing, too many, altered or silent.
        """
        declared = self._master.samples
        if declared is not None and abs(declared - self.samples) > self._master.slack_samples:
            raise MasterRejectedError(
                f"{declared} samples are declared but {self.samples} could be decoded",
                hint=TRUNCATED_HINT,
            )
        if self._checksum is not None and self._checksum.digest() != self._master.pcm_md5:
            raise MasterRejectedError(
                "damaged: the audio does not have the MD5 that the FLAC header promises",
                hint="deliver the file again and compare checksums",
            )
        measured: Measurement = self._loudness.finish()
        if measured.loudness.integrated_lufs is None:
            raise MasterRejectedError(
                "silent: no part of it is louder than -70 LUFS", hint="is it the right file?"
            )
        assert measured.loudness.true_peak_dbtp is not None  # what is loud has a peak
        quality = self._quality.finish(measured.loudness.true_peak_dbtp)
        return Findings(measured.loudness, measured.energies, quality, self._waveform.finish())


def encode_energies(energies: Energies) -> str:
    """Base64 of little-endian 32-bit floats: 10 energies a second, 53 bytes."""
    return base64.b64encode(energies.astype("<f4").tobytes()).decode("ascii")


def decode_energies(text: str) -> Energies:
    """Read what `encode_energies` wrote."""
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float64)
