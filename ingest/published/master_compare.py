"""A rendition beside its master: equal length, equal position, and equal bits where it is lossless.

Decoding is FFmpeg's (PyAV). The packets have been proved by their hash before, so FFmpeg's own
decryption is believed here.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from core.errors import IntegrityError, InvalidInputError
from core.model import ContentKey, Rendition

EXCERPT_SAMPLES = 1 << 17
"""What is laid over each other: 2.7 s at 48 kHz."""
SEARCH_SAMPLES = 1 << 13
"""How far a rendition may be off and still be measured."""
SEARCH_S = 60
"""Seconds from the start among which the loudest excerpt is taken."""
TOLERANCE_SAMPLES = 1
"""Resampling and a lossy codec may move the best fit that far."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a decoder put out: `start` is mono, its first `SEARCH_S`; `sha256` is of whole samples.

    `sha256` is over left-justified 32-bit integers, or None if the decoder's samples are floats.
    """

    samples: int
    sha256: str | None
    start: Floats


def compare_with_master(
    path: Path, rendition: Rendition, key: ContentKey | None, master: Path
) -> str:
    """Decode both; a sentence that says what was found.

    Args:
        path: A file of *rendition* that has been verified.
        rendition: What it should be.
        key: Its key; None in the clear.
        master: What it was made from.

    Raises:
        IntegrityError: Length, position or (if lossless) a bit differs.
        InvalidInputError: The master cannot be decoded.
    """
    options = {"decryption_key": key.key.hex()} if key else {}
    try:
        mine = _decode(path, rendition.timing.timescale, options)
    except av.FFmpegError as error:
        raise IntegrityError(f"cannot be decoded: {error.strerror}") from None
    try:
        whole = _decode(master, rendition.timing.timescale, {})
    except av.FFmpegError as error:
        raise InvalidInputError(f"the master cannot be decoded: {error.strerror}") from None
    timing = rendition.timing
    if abs(whole.samples - timing.samples) > TOLERANCE_SAMPLES:
        raise IntegrityError(f"{timing.samples} samples, the master has {whole.samples}")
    if rendition.bit_depth and mine.sha256 and whole.sha256:
        if mine.sha256 != whole.sha256:
            raise IntegrityError("its samples are not the master's")
        return f"{rendition.name}: bit-exact, {mine.samples} samples"
    # a decoder may drop the priming itself; whatever is missing, it has dropped from the start
    expected = timing.priming - (timing.media_ticks - mine.samples)
    off = _offset(whole.start, mine.start, expected)
    if abs(off) > TOLERANCE_SAMPLES:
        raise IntegrityError(f"the music is {off} samples away from the master's")
    return f"{rendition.name}: {off} samples off the master, {timing.samples} samples"


def _decode(path: Path, rate: int, options: dict[str, str]) -> Decoded:
    """All samples of the first audio stream, resampled if it has not *rate*."""
    digest, count, held = hashlib.sha256(), 0, 0
    start: list[Floats] = []
    integers = True
    with av.open(str(path), options=options) as container:
        stream = container.streams.audio[0]
        resampler = None
        if stream.codec_context.sample_rate != rate:
            resampler = av.AudioResampler(format="fltp", rate=rate)
        for frame in _frames(container.decode(stream), resampler):
            pcm = _interleaved(frame)
            count += len(pcm)
            integers = integers and pcm.dtype.kind == "i"
            if integers:
                digest.update(_left_justified(pcm).tobytes())
            if held < SEARCH_S * rate:
                mono = pcm.astype(np.float32).mean(axis=1, dtype=np.float32)
                start.append(mono)
                held += len(mono)
    opening = np.concatenate(start) if start else np.zeros(0, np.float32)
    return Decoded(count, digest.hexdigest() if integers else None, opening)


def _frames(
    frames: Iterator[av.AudioFrame], resampler: av.AudioResampler | None
) -> Iterator[av.AudioFrame]:
    if resampler is None:
        yield from frames
        return
    for frame in frames:
        frame.pts = None
        yield from resampler.resample(frame)
    yield from resampler.resample(None)


def _interleaved(frame: av.AudioFrame) -> NDArray[np.generic]:
    """Shape ``(samples, channels)``."""
    data = frame.to_ndarray()
    return data.T if frame.format.is_planar else data.reshape(-1, frame.layout.nb_channels)


def _left_justified(pcm: NDArray[np.generic]) -> NDArray[np.int32]:
    shift = 32 - 8 * pcm.dtype.itemsize
    return np.ascontiguousarray(pcm.astype("<i4") << shift)


def _offset(master: Floats, decoded: Floats, expected: int) -> int:
    """By how many samples *decoded* is later than *expected* says, where both fit best."""
    size = min(EXCERPT_SAMPLES, len(master), len(decoded)) - 2 * SEARCH_SAMPLES - abs(expected)
    if size <= SEARCH_SAMPLES:
        raise InvalidInputError("the music is too short to be compared with its master")
    # the loudest place among a few, but with room on both sides
    last = min(len(master), len(decoded)) - size - SEARCH_SAMPLES - max(expected, 0)
    places = np.linspace(SEARCH_SAMPLES + max(-expected, 0), last, 16).astype(int)
    at = int(max(places, key=lambda p: float(np.square(master[p : p + size]).sum())))
    excerpt = master[at : at + size]
    start = at + expected - SEARCH_SAMPLES
    window = decoded[start : start + size + 2 * SEARCH_SAMPLES]
    if not excerpt.any():
        return 0  # silence lies everywhere
    length = 1 << (len(window) + size).bit_length()
    product = np.fft.rfft(window, length) * np.conj(np.fft.rfft(excerpt, length))
    fit = np.fft.irfft(product, length)[: 2 * SEARCH_SAMPLES + 1]
    return int(fit.argmax()) - SEARCH_SAMPLES
