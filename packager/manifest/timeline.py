"""Segments on the edited timeline, where 0 is the first sample of music.

A player's time is `tfdt` minus the edit list's `media_time`, that is minus the priming. So the
first segment is shorter by the priming and the last one by the padding, and all together are
exactly the music. DASH says so; HLS players need other numbers, with the same sum.
"""

from itertools import accumulate, pairwise

from core.model import Rendition, Timing

MICROSECONDS = 1_000_000


def boundaries(rendition: Rendition) -> list[int]:
    """Where segments start, and where the last one ends: ticks of `timing.timescale`."""
    timing = rendition.timing
    ends = [end - timing.priming for end in accumulate(rendition.segment_ticks)]
    return [0, *ends[:-1], timing.samples]


def durations(rendition: Rendition) -> list[int]:
    """Edited duration of each segment in ticks; the sum is `timing.samples`."""
    return [end - start for start, end in pairwise(boundaries(rendition))]


def hls_durations_us(rendition: Rendition) -> list[int]:
    """EXTINF of each segment in whole microseconds; the sum is `length_us`.

    Inner boundaries stand where `tfdt` puts them, later than on the edited timeline by the
    priming; the last segment makes up for it. hls.js and shaka-player compare playlist time with
    `tfdt` and know no edit list there: told of the edited boundaries, they move all segments but
    the first, or all after a start in the middle, by the priming, and music is lost at the seam.
    Boundaries are rounded, not durations: so the sum is right however many segments there are.
    """
    timing = rendition.timing
    inner = [min(end, timing.samples) for end in accumulate(rendition.segment_ticks[:-1])]
    points = [microseconds(tick, timing.timescale) for tick in (0, *inner, timing.samples)]
    return [end - start for start, end in pairwise(points)]


def length_us(timing: Timing) -> int:
    """The music's length, rounded to the microsecond."""
    return microseconds(timing.samples, timing.timescale)


def microseconds(ticks: int, timescale: int) -> int:
    """*ticks* in microseconds, rounded half up; in integers, because a float would lose digits."""
    return (2 * ticks * MICROSECONDS + timescale) // (2 * timescale)
