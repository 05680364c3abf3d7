"""Where a track is cut, what players see of it, and how many bits per second that takes."""

from dataclasses import dataclass
from itertools import accumulate, pairwise

from core.errors import InvalidInputError
from core.model import Timing
from packager.encoded.track import EncodedTrack
from packager.mp4.sidx import MAX_REFERENCES

SEGMENT_MS = 3840
"""180 AAC frames, 192 Opus packets or 45 FLAC blocks of 4096 at 48 kHz."""
MIN_TAIL_MS = 500
"""A shorter last segment joins the one before it."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Where a track is cut, in packets; the last entry of `cuts` is the number of packets."""

    cuts: tuple[int, ...]
    ticks: tuple[int, ...]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """First packet, and the one after the last, of each segment."""
        return list(pairwise(self.cuts))


def segment_samples(timescale: int) -> int:
    """`SEGMENT_MS` in ticks."""
    return timescale * SEGMENT_MS // 1000


def grid_of(track: EncodedTrack, segment_ticks: int) -> Grid:
    """Cut *track* every *segment_ticks*, rounded to whole packets, counted from packet 0.

    The number of segments depends on the music alone, not on priming and padding: so rungs of
    all codecs have equally many.

    Raises:
        InvalidInputError: A segment would be all priming, or there would be too many.
    """
    timing, frame, packets = track.timing, track.frame_samples, len(track.sizes)
    per_segment = max(1, round(segment_ticks / frame))
    full, tail = divmod(timing.samples, per_segment * frame)
    count = max(1, full + (tail * 1000 >= MIN_TAIL_MS * timing.timescale))
    if count > MAX_REFERENCES:
        raise InvalidInputError(f"{count} segments are more than an index holds, {MAX_REFERENCES}")
    before_last = (count - 1) * per_segment * frame
    if max(timing.media_ticks - before_last, per_segment * frame * (count > 1)) >= 1 << 32:
        raise InvalidInputError("a segment lasts too many ticks for an index")
    if count > 1 and per_segment * frame <= timing.priming:
        raise InvalidInputError("a segment is shorter than the encoder delay")
    cuts = (*range(0, count * per_segment, per_segment), packets)
    ends = [cut * frame for cut in cuts[:-1]] + [timing.media_ticks]
    return Grid(cuts, tuple(end - start for start, end in pairwise(ends)))


def edited_ticks(ticks: tuple[int, ...], timing: Timing) -> tuple[int, ...]:
    """Segment durations without priming and padding; they add up to the music exactly."""
    ends = [end - timing.priming for end in accumulate(ticks)]
    return tuple(end - start for start, end in pairwise([0, *ends[:-1], timing.samples]))


def bitrates(
    segment_sizes: tuple[int, ...], ticks: tuple[int, ...], timing: Timing
) -> tuple[int, int]:
    """Average and peak in bits per second, rounded up.

    The peak is taken over segments of at least half the longest one's duration, as HLS does
    (draft-pantos-hls-rfc8216bis, 4.1): a short last segment says little.
    """
    edited = edited_ticks(ticks, timing)
    rates = [
        -(-size * 8 * timing.timescale // duration)
        for size, duration in zip(segment_sizes, edited, strict=True)
        if 2 * duration >= max(edited)
    ]
    average = -(-sum(segment_sizes) * 8 * timing.timescale // timing.samples)
    return average, max(average, *rates)
