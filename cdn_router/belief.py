"""What is believed of one pathway in one region, from probes and from listeners.

Theory of operation. A `Cell` is a handful of numbers that move only when it is told something: a
measurement, or that time has passed. It waits for nobody, knows no clock, and has a fixed size.

Latency is y = ln(start_ms) of a cold start, where a sum of relative errors is meaningful, kept in
discounted sums (`Tally`). Before a measurement counts, the cell is faded to its time: latency and
errors by half-lives of their own, but never below `FLOOR_SAMPLES`, so a belief grows old and does
not vanish. Then, of a probe:

    failure   one more attempt and error, one more miss in a row
    success   smooth the RTT; look for a change (CUSUM); add y, at most `WINSOR_Y` from the mean

A change that was detected replaces the mean by that of the probes since its onset; one for the
worse is an alarm for `ALARM_S`. Listeners are tallied apart, because a probe has no last mile, in
buckets by session, and are read through the median over the buckets that have spoken: whatever a
session reports, it can spoil one bucket only. Until `MIN_BUCKETS` have spoken they do not count
for latency, until `MIN_ERROR_BUCKETS` have they do not count for errors, and after
`LISTENER_MEMORY_S` of silence all that they said is dropped.

    closed ─ error rate above TRIP_RATE, or MAX_MISSES probes missed ─► open
    open ─ a probe succeeds, `OPEN_S` or more after the trip ─► half-open
    half-open ─ GOOD_TO_CLOSE successes in a row ─► closed; one failure ─► open

The wait doubles with each trip, up to `MAX_OPEN_S`, until it was calm for `CALM_S`. Only active
probes close the breaker, for listeners are sent elsewhere while it is open. When it closes, errors
are forgotten, and of the latency before at most `RECOVERED_SAMPLES` are left.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from statistics import median

LATENCY_HALF_LIFE_S = 75.0
"""After this long, a latency sample weighs half."""
ERROR_HALF_LIFE_S = 25.0
"""Errors fade faster: an outage must show within a few attempts."""
FLOOR_SAMPLES = 5.0
"""Never forget below this: a pathway whose samples dry up would drift back to its prior."""
MIN_START_MS, MAX_START_MS = 5.0, 8000.0
"""Below, differences are scheduling noise; above, the listener has gone."""
WINSOR_Y = 1.1
"""A sample counts at most as e^1.1, three times, above or below the belief."""
LISTENER_MEMORY_S = 900.0
"""What listeners said is dropped when none was heard for so long: a pathway that was left on their
word has nobody to rehabilitate it, so it is tried again, by a few sessions at first."""
BUCKETS = 8
"""Into which sessions are hashed."""
MIN_BUCKETS = 3
"""Listeners count for latency once this many buckets have spoken."""
MIN_ERROR_BUCKETS = 5
"""Listeners open a breaker only from this many buckets on."""
HANDSHAKES = 2
"""Round trips of a cold start before the request: TCP (RFC 9293) and TLS 1.3 (RFC 8446)."""

SRTT_ALPHA, RTTVAR_BETA = 1 / 8, 1 / 4  # RFC 6298, section 2
NOISE_Y = 0.5
"""Standard deviation of one sample of y, for change detection and for posterior widths."""
CUSUM_SLACK, CUSUM_ALARM = 1.1, 4.0
RECOVERED_SAMPLES = 3.0
"""Effective samples that are left of the time before a breaker closed."""
ALARM_S = 60.0
"""How long a detected worsening counts as an alarm."""

TRIP_RATE = 0.25
MIN_ATTEMPTS = 3.0
MAX_MISSES = 3
"""Failed probes in a row that are enough, however many succeeded before."""
OPEN_S, MAX_OPEN_S = 30.0, 600.0
"""First and longest time before an open breaker listens to successes; doubles with each trip."""
GOOD_TO_CLOSE = 10
"""Successful probes in a row before listeners are sent again."""
CALM_S = 600.0
"""A trip this long after the breaker closed is a first one again."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One measurement of one pathway.

    Attributes:
        session: Of the listener who reports; None for an active probe.
        rtt_ms: One round trip, from the TCP handshake; None if the source cannot tell.
        first_byte_ms: Request to first byte on an open connection; None if it failed.
    """

    region: str
    pathway: str
    at_s: float
    session: str | None = None
    rtt_ms: float | None = None
    first_byte_ms: float | None = None

    @property
    def failed(self) -> bool:
        """Whether no byte came."""
        return self.first_byte_ms is None


@dataclass(slots=True)
class Tally:
    """Discounted sums: successful samples, their y and y squared, attempts and errors."""

    n: float = 0.0
    sum_y: float = 0.0
    sum_yy: float = 0.0
    attempts: float = 0.0
    errors: float = 0.0

    @property
    def mean(self) -> float:
        """Of y; only when n > 0."""
        return self.sum_y / self.n

    @property
    def variance(self) -> float:
        """Of y; 0 without samples."""
        return max(0.0, self.sum_yy / self.n - self.mean**2) if self.n else 0.0

    @property
    def error_rate(self) -> float:
        """Share of attempts that failed; 0 without attempts."""
        return self.errors / self.attempts if self.attempts else 0.0

    def add(self, y: float) -> None:
        """Count a success."""
        self.n += 1
        self.sum_y += y
        self.sum_yy += y * y
        self.attempts += 1

    def fail(self) -> None:
        """Count an error."""
        self.attempts += 1
        self.errors += 1

    def fade(self, elapsed_s: float) -> None:
        """Forget by half-life, but never below `FLOOR_SAMPLES`."""
        self.scale_latency(_kept(self.n, elapsed_s / LATENCY_HALF_LIFE_S))
        kept = _kept(self.attempts, elapsed_s / ERROR_HALF_LIFE_S)
        self.attempts *= kept
        self.errors *= kept

    def scale_latency(self, factor: float) -> None:
        """Weigh the latency samples by *factor*."""
        self.n *= factor
        self.sum_y *= factor
        self.sum_yy *= factor


def _kept(weight: float, half_lives: float) -> float:
    if weight <= FLOOR_SAMPLES:
        return 1.0
    return max(math.exp2(-half_lives), FLOOR_SAMPLES / weight)


class BreakerState(StrEnum):
    """Open: listeners are sent elsewhere. Half-open: probes succeed again, not yet often enough."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(slots=True)
class Breaker:
    """Keeps listeners off a failing pathway, and off a recovering one for a while."""

    state: BreakerState = BreakerState.CLOSED
    since_s: float = 0.0
    good: int = 0
    trips: int = 0

    def trip(self, now_s: float) -> None:
        """Open; longer each time, unless it has been calm."""
        if self.state is BreakerState.CLOSED and now_s - self.since_s > CALM_S:
            self.trips = 0
        self.state, self.since_s, self.good = BreakerState.OPEN, now_s, 0
        self.trips += 1

    def succeed(self, now_s: float) -> bool:
        """Take note of a successful probe; True when that closes the breaker."""
        if self.state is BreakerState.OPEN and now_s >= self.since_s + self._open_s():
            self.state = BreakerState.HALF_OPEN
        if self.state is not BreakerState.HALF_OPEN:
            return False
        self.good += 1
        if self.good < GOOD_TO_CLOSE:
            return False
        self.state, self.since_s, self.good = BreakerState.CLOSED, now_s, 0
        return True

    def _open_s(self) -> float:
        return float(min(OPEN_S * 2 ** min(self.trips - 1, 10), MAX_OPEN_S))


@dataclass(slots=True)
class Cell:
    """The belief of one pathway in one region; of a fixed size.

    Attributes:
        srtt_ms: Smoothed round trip of the probes (RFC 6298); None before the first.
        rttvar_ms: Its mean deviation.
        excursion: Probes since they last agreed with the belief, as they were measured.
        worse_s: When a change for the worse was last detected.
        heard_s: When a listener last reported.
        misses: Failed probes in a row.
    """

    probe: Tally = field(default_factory=Tally)
    listeners: list[Tally] = field(default_factory=lambda: [Tally() for _ in range(BUCKETS)])
    breaker: Breaker = field(default_factory=Breaker)
    srtt_ms: float | None = None
    rttvar_ms: float = 0.0
    excursion: Tally = field(default_factory=Tally)
    rising: float = 0.0
    falling: float = 0.0
    worse_s: float = -math.inf
    heard_s: float = -math.inf
    misses: int = 0
    at_s: float = 0.0

    def observe(self, seen: Observation) -> None:
        """Take one measurement into account; an older one than the last counts as of now."""
        now_s = max(seen.at_s, self.at_s)
        self.fade_to(now_s)
        if seen.session is None:
            self._observe_probe(seen, now_s)
        else:
            self.heard_s = now_s
            self._observe_listener(seen, seen.session)
        failing = self.error_rate() > TRIP_RATE or self.misses >= MAX_MISSES
        if failing and self.breaker.state is BreakerState.CLOSED:
            self.breaker.trip(now_s)

    def recover(self, *, succeeded: bool, now_s: float) -> None:
        """Let an active probe of this pathway open the breaker again, or help to close it."""
        if not succeeded:
            if self.breaker.state is BreakerState.HALF_OPEN:
                self.breaker.trip(now_s)
        elif self.breaker.succeed(now_s):
            # what was counted during the outage says nothing of what comes after it
            for tally in (self.probe, *self.listeners):
                tally.attempts = tally.errors = 0.0
                tally.scale_latency(min(1.0, RECOVERED_SAMPLES / tally.n) if tally.n else 1.0)

    def error_rate(self) -> float:
        """The worse of what probes and what the median bucket of listeners see."""
        probes = self.probe.error_rate if self.probe.attempts >= MIN_ATTEMPTS else 0.0
        rates = [t.error_rate for t in self.listeners if t.attempts >= 1]
        return max(probes, median(rates) if len(rates) >= MIN_ERROR_BUCKETS else 0.0)

    def attempts(self) -> float:
        """Effective attempts behind `error_rate`."""
        return self.probe.attempts + sum(t.attempts for t in self.listeners)

    def listener_mean(self) -> tuple[float, float] | None:
        """Effective samples and the median bucket's y; None before enough buckets spoke."""
        spoken = [t for t in self.listeners if t.n >= 1]
        if len(spoken) < MIN_BUCKETS:
            return None
        return sum(t.n for t in spoken), median(t.mean for t in spoken)

    def alarmed(self, now_s: float) -> bool:
        """Whether listeners should be able to leave quickly."""
        return self.breaker.state is not BreakerState.CLOSED or now_s - self.worse_s < ALARM_S

    def fade_to(self, now_s: float) -> None:
        """Forget what time has made less true."""
        elapsed_s, self.at_s = max(0.0, now_s - self.at_s), max(now_s, self.at_s)
        if elapsed_s:
            for tally in (self.probe, *self.listeners):
                tally.fade(elapsed_s)
        if self.at_s - self.heard_s > LISTENER_MEMORY_S:
            self.listeners = [Tally() for _ in range(BUCKETS)]

    def _observe_probe(self, seen: Observation, now_s: float) -> None:
        if seen.first_byte_ms is None:
            self.probe.fail()
            self.misses += 1
            self.recover(succeeded=False, now_s=now_s)
            return
        self.misses = 0
        if seen.rtt_ms is not None:
            self._smooth(seen.rtt_ms)
        y = self._y(seen)
        if self.probe.n:
            self._detect_change(y, now_s)
        self.probe.add(_winsorised(y, self.probe.mean) if self.probe.n else y)
        self.recover(succeeded=True, now_s=now_s)

    def _observe_listener(self, seen: Observation, session: str) -> None:
        tally = self.listeners[bucket_of(session)]
        if seen.first_byte_ms is None:
            tally.fail()
            return
        agreed = self.listener_mean()
        y = self._y(seen)
        if agreed or tally.n:
            y = _winsorised(y, agreed[1] if agreed else tally.mean)
        tally.add(y)

    def _y(self, seen: Observation) -> float:
        first_byte_ms, rtt_ms = seen.first_byte_ms or 0.0, seen.rtt_ms
        if rtt_ms is None:
            # a first byte cannot be sooner than one round trip
            rtt_ms = min(first_byte_ms if self.srtt_ms is None else self.srtt_ms, first_byte_ms)
        start_ms = HANDSHAKES * rtt_ms + first_byte_ms
        return math.log(min(max(start_ms, MIN_START_MS), MAX_START_MS))

    def _smooth(self, rtt_ms: float) -> None:
        if self.srtt_ms is None:
            self.srtt_ms, self.rttvar_ms = rtt_ms, rtt_ms / 2
            return
        self.rttvar_ms += RTTVAR_BETA * (abs(self.srtt_ms - rtt_ms) - self.rttvar_ms)
        self.srtt_ms += SRTT_ALPHA * (rtt_ms - self.srtt_ms)

    def _detect_change(self, y: float, now_s: float) -> None:
        """CUSUM in both directions; after a change, only what was seen since its onset holds."""
        z = (_winsorised(y, self.probe.mean) - self.probe.mean) / NOISE_Y
        self.rising = max(0.0, self.rising + z - CUSUM_SLACK)
        self.falling = max(0.0, self.falling - z - CUSUM_SLACK)
        if not self.rising and not self.falling:
            self.excursion = Tally()
            return
        self.excursion.add(y)
        if max(self.rising, self.falling) <= CUSUM_ALARM:
            return
        if self.rising > self.falling:
            self.worse_s = now_s
        since, self.excursion = self.excursion, Tally()
        self.rising = self.falling = 0.0
        self.probe.n, self.probe.sum_y, self.probe.sum_yy = since.n, since.sum_y, since.sum_yy


def bucket_of(session: str) -> int:
    """The bucket that all reports of *session* fall into."""
    return blake2b(session.encode(), digest_size=1, person=b"bucket").digest()[0] % BUCKETS


def _winsorised(y: float, centre: float) -> float:
    return min(max(y, centre - WINSOR_Y), centre + WINSOR_Y)
