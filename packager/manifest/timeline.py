"""Segments on the edited timeline, where 0 is the first sample of music.

A player's time is `tfdt` minus the edit list's `media_time`, that is minus the priming. So the
first segment is shorter by the priming and the last one by the padding, and all together are
exactly the music.
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


def durations_us(rendition: Rendition) -> list[int]:
    """Edited duration of each segment in whole microseconds.

    Boundaries are rounded, not durations: so the sum is the track's length to the microsecond,
    however many segments there are.
    """
    timescale = rendition.timing.timescale
    points = [_round_div(tick * MICROSECONDS, timescale) for tick in boundaries(rendition)]
    return [end - start for start, end in pairwise(points)]


def length_us(timing: Timing) -> int:
    """The music's length, rounded to the microsecond."""
    return _round_div(timing.samples * MICROSECONDS, timing.timescale)


def _round_div(numerator: int, denominator: int) -> int:
    """Half up, in integers: a float would lose the last digits of long tracks."""
    return (2 * numerator + denominator) // (2 * denominator)
