"""Which pathway is best for a region, and which a session gets: arithmetic without a clock.

Theory of operation. y of a cell (region, pathway) = level of the region + effect of the pathway
there + noise. The effect in a region is shrunk towards the pathway's effect everywhere with
`KAPPA` pseudo-samples: one sample's worth, because stronger priors lose. Probes have no last mile,
so each region keeps a slowly learned *offset* between its listeners and the probes; only what
deviates from the offset is blamed on a pathway. The score is the cost of a start in milliseconds::

    cost = exp(mu + sigma) * (1 - p_err) + ERROR_COST_MS * p_err

one sigma above the median, so that a steady pathway beats a faster but jittery one. The order of
a region changes once an epoch and only when a challenger beats the incumbent by a margin that
grows with the uncertainty: equal CDNs must not flip players. Without an alarm, sessions then move
over `RAMP_S`, each of them once.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from statistics import fmean

from cdn_router.belief import (
    FLOOR_SAMPLES,
    BreakerState,
    Cell,
    Observation,
    Tally,
)

KAPPA = 1.0
FIT_ROUNDS = 4
MAX_FIT_WEIGHT = 40.0
"""Effective samples above which a region's word counts no more."""
PRIOR_JITTER_Y = 0.3
"""Sigma of a pathway of which nothing is known yet."""
ERROR_COST_MS = 3500.0
"""What a failed start costs a listener: a timeout, then the best alternative."""
MARGIN = 0.05
MARGIN_SD = 2.0
"""A challenger must be better by 5 % and two joint standard deviations. Three equal ones, probed
each 5 s with 30 % noise, then flip less than once in 4 hours; with one, 3.5 times an hour."""
RAMP_S = 240.0
"""In which all sessions of a region move when there is no alarm: 25 % a minute."""
OFFSET_HALF_LIFE_S = 1800.0
"""The last mile changes slowly; what changes faster is the pathway's doing."""
LAST_RESORT = "every pathway fails: kept as the last resort"
EPOCH_S = 2.5
"""Orders change at most this often, unless a table is told otherwise."""
MAX_EPOCHS_AHEAD = 12
MAX_REGIONS = 24
MAX_PATHWAYS = 8
"""Together they bound the table: 192 cells fit the 64 KiB of a state store's value, compressed."""


@dataclass(frozen=True, slots=True)
class Score:
    """What is believed of a pathway in a region, and what a start over it costs.

    Attributes:
        cost_ms: The score; lower is better.
        typical_ms: Median of a start without errors.
        sd_ms: How uncertain the cost is.
        samples: Effective ones; below 1 nothing was measured.
    """

    pathway: str
    cost_ms: float
    typical_ms: float
    jitter: float
    sd_ms: float
    error_rate: float
    samples: float
    breaker: BreakerState
    alarmed: bool
    srtt_ms: float | None
    rttvar_ms: float


@dataclass(slots=True)
class Lead:
    """The order of a region.

    Attributes:
        reason: Why the leader leads now.
        cause: Why it took over.
        former: The order that sessions leave during a ramp.
    """

    order: tuple[str, ...]
    reason: str
    cause: str = ""
    changed_s: float = -math.inf
    former: tuple[str, ...] | None = None


@dataclass(slots=True)
class Table:
    """All beliefs and orders of a router; bounded and deterministic.

    Attributes:
        pathways: Ids in the operator's order of preference, which decides between equals.
        home: The region that this router probes; regions that nobody probes lean on it.
        epoch: Number of the epoch for which the orders were decided.
    """

    pathways: tuple[str, ...]
    home: str
    epoch_s: float = EPOCH_S
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)
    offsets: dict[str, float] = field(default_factory=dict)
    leads: dict[str, Lead] = field(default_factory=dict)
    epoch: int = -1

    def __post_init__(self) -> None:
        assert 0 < len(self.pathways) <= MAX_PATHWAYS

    @property
    def regions(self) -> list[str]:
        """The home region and all that were observed."""
        return sorted({self.home, *(region for region, _ in self.cells)})

    def observe(self, seen: Observation) -> None:
        """Take one measurement into account; regions above the limit count as home."""
        if seen.pathway not in self.pathways:
            return
        region = seen.region
        if (region, seen.pathway) not in self.cells:
            regions = self.regions
            region = region if region in regions or len(regions) < MAX_REGIONS else self.home
        self.cells.setdefault((region, seen.pathway), Cell(at_s=seen.at_s)).observe(seen)
        if seen.session is None:
            for (other, pathway), cell in self.cells.items():
                # probes elsewhere stand in where nobody probes
                if pathway == seen.pathway and other != region and not cell.probe.attempts:
                    cell.recover(succeeded=not seen.failed, now_s=seen.at_s)

    def decide(self, now_s: float) -> bool:
        """Renew every region's order if a new epoch began, or there is none yet; whether so."""
        epoch = int(now_s // self.epoch_s)
        # an epoch far ahead was written by a clock that has since been set back
        if self.leads and self.epoch - MAX_EPOCHS_AHEAD <= epoch <= self.epoch:
            return False
        elapsed_s = self.epoch_s * max(0, epoch - self.epoch) if self.epoch >= 0 else 0.0
        self.epoch = epoch
        for cell in self.cells.values():
            cell.fade_to(now_s)
        fit = _fit(self)
        for region in self.regions:
            self._learn_offset(region, fit, elapsed_s)
        for region in self.regions:
            ranking = _rank(self, region, fit, now_s)
            if any(score.samples >= 1 for score in ranking):
                self.leads[region] = _renew(self.leads.get(region), ranking, now_s)
        return True

    def order_for(self, session: str, region: str) -> tuple[str, ...]:
        """All pathways, best first; the same for a session all through an epoch."""
        lead = self.leads.get(region) or self.leads.get(self.home)
        if lead is None:
            return self.pathways
        if lead.former is None:
            return lead.order
        moved = (self.epoch * self.epoch_s - lead.changed_s) / RAMP_S
        return lead.order if _draw(session, region) < moved else lead.former

    def alarmed(self, region: str, now_s: float) -> bool:
        """Whether any pathway of *region* is in trouble, so that players should ask again soon."""
        return any(
            cell.alarmed(now_s)
            for pathway in self.pathways
            if (cell := self._nearest(region, pathway)) is not None
        )

    def _nearest(self, region: str, pathway: str) -> Cell | None:
        return self.cells.get((region, pathway)) or self.cells.get((self.home, pathway))

    def _learn_offset(self, region: str, fit: "_Fit", elapsed_s: float) -> None:
        base = fit.level(region, self.home)
        residuals = [
            means[1] - base - fit.effects.get(pathway, 0.0)
            for pathway in self.pathways
            if (cell := self.cells.get((region, pathway))) and (means := cell.listener_mean())
        ]
        if not residuals:
            return
        # the lowest: a pathway in trouble must not raise what is expected of all
        target = min(residuals)
        known = self.offsets.get(region, target)
        self.offsets[region] = target + (known - target) * 0.5 ** (elapsed_s / OFFSET_HALF_LIFE_S)


def rank(table: Table, region: str, now_s: float) -> list[Score]:
    """Every pathway's score in *region*, best first; failing ones come last."""
    return _rank(table, region, _fit(table), now_s)


def rank_all(table: Table, now_s: float) -> dict[str, list[Score]]:
    """`rank` of every region; the fit that they share is made once."""
    fit = _fit(table)
    return {region: _rank(table, region, fit, now_s) for region in table.regions}


def _rank(table: Table, region: str, fit: "_Fit", now_s: float) -> list[Score]:
    scores = [_score(table, region, p, fit, now_s) for p in table.pathways]
    # sorted is stable: between equals, the operator's order decides
    return sorted(scores, key=lambda s: (s.breaker is not BreakerState.CLOSED, s.cost_ms))


@dataclass(frozen=True, slots=True)
class _Fit:
    """The effect of each pathway anywhere and the level of each probed region, in y."""

    effects: Mapping[str, float]
    levels: Mapping[str, float]

    def level(self, region: str, home: str) -> float:
        return self.levels.get(region, self.levels.get(home, 0.0))


def _fit(table: Table) -> _Fit:
    """Backfit the probes: they see every pathway, chosen or not."""
    probes = {key: c.probe for key, c in table.cells.items() if c.probe.n >= 1}
    effects = dict.fromkeys((p for _, p in probes), 0.0)
    levels = dict.fromkeys((r for r, _ in probes), 0.0)
    for _ in range(FIT_ROUNDS):
        for region in levels:
            levels[region] = _mean(
                (t.mean - effects[p], t.n) for (r, p), t in probes.items() if r == region
            )
        for pathway in effects:
            effects[pathway] = _mean(
                (t.mean - levels[r], t.n) for (r, p), t in probes.items() if p == pathway
            )
        centre = fmean(effects.values()) if effects else 0.0
        effects = {p: e - centre for p, e in effects.items()}
    return _Fit(effects, levels)


def _score(table: Table, region: str, pathway: str, fit: _Fit, now_s: float) -> Score:
    cell = table.cells.get((region, pathway))
    near = table.cells.get((table.home, pathway))
    prober = cell if cell and cell.probe.attempts else near
    level = fit.level(region, table.home)
    total, samples = KAPPA * fit.effects.get(pathway, 0.0), 0.0
    if cell and cell.probe.n:
        total += cell.probe.n * (cell.probe.mean - level)
        samples += cell.probe.n
    offset = table.offsets.get(region, 0.0)
    if cell and (means := cell.listener_mean()):
        total += means[0] * (means[1] - level - offset)
        samples += means[0]
    mu = level + offset + total / (samples + KAPPA)
    jitter = _jitter(prober.probe if prober else Tally())
    error_rate = max((c.error_rate() for c in (cell, prober) if c), default=0.0)
    # one lost probe must not move a region: how sure is the rate?
    attempts = max((c.attempts() for c in (cell, prober) if c), default=0.0)
    error_sd_ms = ERROR_COST_MS * math.sqrt(error_rate * (1 - error_rate) / (attempts + KAPPA))
    states = [c.breaker.state for c in (cell, prober) if c]
    failing = next((s for s in states if s is not BreakerState.CLOSED), BreakerState.CLOSED)
    typical_ms = math.exp(mu)
    cost_ms = math.exp(mu + jitter) * (1 - error_rate) + ERROR_COST_MS * error_rate
    return Score(
        pathway, cost_ms, typical_ms, jitter,
        sd_ms=math.hypot(cost_ms * jitter / math.sqrt(samples + KAPPA), error_sd_ms),
        error_rate=error_rate,
        samples=samples or (prober.probe.n if prober else 0.0),
        breaker=failing,
        alarmed=any(c.alarmed(now_s) for c in (cell, prober) if c),
        srtt_ms=prober.srtt_ms if prober else None,
        rttvar_ms=prober.rttvar_ms if prober else 0.0,
    )  # fmt: skip


def _renew(old: Lead | None, ranking: list[Score], now_s: float) -> Lead:
    """Apply hysteresis: the incumbent leads until it fails or is clearly beaten."""
    by_id = {score.pathway: score for score in ranking}
    best = next(s for s in ranking if s.samples >= 1)
    if old is None:
        return Lead(_with_first(best, ranking), "best", "first measurement", now_s)
    incumbent = by_id[old.order[0]]
    leader, reason, at_once = _leader(incumbent, best)
    order = _with_first(leader, ranking)
    if leader is not incumbent:
        return Lead(order, reason, reason, now_s, None if at_once else old.order)
    former = old.former
    if former and (by_id[former[0]].alarmed or now_s - old.changed_s >= RAMP_S):
        former = None
    return Lead(order, reason, old.cause, old.changed_s, former)


def _with_first(leader: Score, ranking: list[Score]) -> tuple[str, ...]:
    return (leader.pathway, *(s.pathway for s in ranking if s is not leader))


def _leader(incumbent: Score, best: Score) -> tuple[Score, str, bool]:
    """Who leads, why, and whether all sessions move at once."""
    closed = BreakerState.CLOSED
    if best is incumbent:
        failing = incumbent.breaker is not closed
        return incumbent, LAST_RESORT if failing else "best", False
    if incumbent.breaker is not closed:
        if best.breaker is not closed:
            return incumbent, LAST_RESORT, False
        return best, f"{incumbent.pathway} fails (breaker {incumbent.breaker})", True
    gain_ms = incumbent.cost_ms - best.cost_ms
    needed_ms = MARGIN * incumbent.cost_ms + MARGIN_SD * math.hypot(incumbent.sd_ms, best.sd_ms)
    if best.breaker is closed and gain_ms > needed_ms:
        reason = f"{gain_ms:.0f} ms better than {incumbent.pathway}, {needed_ms:.0f} ms needed"
        # nobody is used to an incumbent of which next to nothing was known
        return best, reason, incumbent.alarmed or incumbent.samples < FLOOR_SAMPLES
    reason = f"kept: {best.pathway} is {gain_ms:.0f} ms better, {needed_ms:.0f} ms needed"
    return incumbent, reason, False


def _draw(session: str, region: str) -> float:
    """A number in [0, 1) that belongs to the session: who moves early, moves once."""
    digest = blake2b(f"{session}~{region}".encode(), digest_size=8, person=b"ramp").digest()
    return int.from_bytes(digest) / 2**64


def _jitter(tally: Tally) -> float:
    """Sigma of y, shrunk to the prior with one pseudo-sample, as the mean is."""
    variance = (tally.n * tally.variance + KAPPA * PRIOR_JITTER_Y**2) / (tally.n + KAPPA)
    return math.sqrt(variance)


def _mean(weighted: Iterable[tuple[float, float]]) -> float:
    values = [(v, min(w, MAX_FIT_WEIGHT)) for v, w in weighted]
    return sum(v * w for v, w in values) / sum(w for _, w in values)
