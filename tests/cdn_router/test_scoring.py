"""Scenarios of the pure scorer: time is an argument and noise is seeded."""

import math
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdn_router import snapshot
from cdn_router.belief import (
    ALARM_S,
    GOOD_TO_CLOSE,
    LISTENER_MEMORY_S,
    OPEN_S,
    BreakerState,
    Observation,
)
from cdn_router.scoring import MAX_REGIONS, Table, rank

CDNS = ("cdn-a", "cdn-b", "cdn-c")
STEP_S = 5.0
"""Between two probes of a pathway; there is a new epoch each time."""
SESSIONS = [f"session-{n}" for n in range(400)]


class World:
    """Probes every pathway each five seconds and decides, as the router does."""

    def __init__(self, pathways=CDNS, seed=1):
        self.table = Table(pathways, "ww")
        self.now_s = 1000.0
        self.noise = random.Random(seed)
        self.leaders = []

    def run(self, seconds, rtts, *, sigma=0.1, listeners=()):
        """*rtts*: by pathway, a number of ms or None for an outage."""
        for _ in range(int(seconds / STEP_S)):
            self.now_s += STEP_S
            for pathway, rtt in rtts.items():
                noisy = sigma[pathway] if isinstance(sigma, dict) else sigma
                self.probe(pathway, rtt and rtt * self.noise.lognormvariate(0, noisy))
            for session, pathway, rtt in listeners:
                self.report(session, pathway, rtt)
            self.table.decide(self.now_s)
            self.leaders.append(self.leader)

    def probe(self, pathway, rtt, region="ww"):
        self.table.observe(Observation(region, pathway, self.now_s, None, rtt, rtt and rtt + 20))

    def report(self, session, pathway, rtt, region="ww"):
        self.table.observe(Observation(region, pathway, self.now_s, session, rtt, rtt and rtt + 20))

    @property
    def leader(self):
        return self.table.leads["ww"].order[0]

    @property
    def flips(self):
        return sum(a != b for a, b in zip(self.leaders, self.leaders[1:], strict=False))

    def score(self, pathway, region="ww"):
        return next(s for s in rank(self.table, region, self.now_s) if s.pathway == pathway)


def test_the_nearest_pathway_leads():
    world = World()
    world.run(60, {"cdn-a": 120, "cdn-b": 30, "cdn-c": 80})

    assert world.table.leads["ww"].order == ("cdn-b", "cdn-c", "cdn-a")


def test_a_steady_pathway_beats_a_faster_but_jittery_one():
    world = World(("jittery", "steady"))
    world.run(300, {"jittery": 50, "steady": 60}, sigma={"jittery": 0.8, "steady": 0.03})

    assert world.score("jittery").typical_ms < world.score("steady").typical_ms
    assert world.leader == "steady"


def test_equal_pathways_do_not_flip():
    world = World()
    world.run(3600, dict.fromkeys(CDNS, 60), sigma=0.3)

    assert world.flips <= 1  # the first measurements may correct the configured order


def test_without_measurements_the_configured_order_holds():
    table = Table(CDNS, "ww")
    table.decide(1000)

    assert table.order_for("s", "ww") == CDNS
    assert table.order_for("s", "never-seen") == CDNS


def test_a_slightly_better_challenger_does_not_win_and_the_reason_says_so():
    world = World(("cdn-a", "cdn-b"))
    world.run(60, {"cdn-a": 50, "cdn-b": 50})
    other = {"cdn-a": "cdn-b", "cdn-b": "cdn-a"}[world.leader]
    world.run(600, {world.leader: 51, other: 50}, sigma=0.01)

    assert world.flips == 0
    assert world.table.leads["ww"].reason.startswith(f"kept: {other} is ")


def test_one_lost_probe_does_not_move_a_region():
    world = World(("cdn-a", "cdn-b"))
    rtts = {"cdn-a": 30, "cdn-b": 45}
    world.run(300, rtts)
    world.run(STEP_S, {**rtts, "cdn-a": None})
    world.run(300, rtts)

    assert set(world.leaders) == {"cdn-a"}


@pytest.mark.parametrize("seconds", [300, 3600])
def test_an_outage_is_left_within_three_failed_probes(seconds):
    world = World()
    world.run(seconds, {"cdn-a": 30, "cdn-b": 60, "cdn-c": 90})
    assert world.leader == "cdn-a"
    world.run(3 * STEP_S, {"cdn-a": None, "cdn-b": 60, "cdn-c": 90})

    assert world.leader == "cdn-b"
    assert world.table.leads["ww"].order[-1] == "cdn-a"
    # an alarm moves everybody at once
    assert {world.table.order_for(s, "ww")[0] for s in SESSIONS} == {"cdn-b"}


def test_a_pathway_recovers_through_half_open_and_not_before():
    world = World()
    rtts = {"cdn-a": 20, "cdn-b": 80, "cdn-c": 90}
    world.run(300, rtts)
    world.run(60, {**rtts, "cdn-a": None})
    assert world.score("cdn-a").breaker is BreakerState.OPEN

    world.run(STEP_S * 2, rtts)
    assert world.leader == "cdn-b"
    world.run(OPEN_S, rtts)
    assert world.score("cdn-a").breaker is BreakerState.HALF_OPEN
    assert world.leader == "cdn-b"

    world.run(GOOD_TO_CLOSE * STEP_S + OPEN_S, rtts)
    assert world.score("cdn-a").breaker is BreakerState.CLOSED
    assert world.leader == "cdn-a"


def test_a_failure_while_half_open_opens_again_and_for_longer():
    world = World()
    rtts = {"cdn-a": 20, "cdn-b": 80, "cdn-c": 90}
    world.run(300, rtts)
    world.run(30, {**rtts, "cdn-a": None})
    world.run(OPEN_S + 10, rtts)
    assert world.score("cdn-a").breaker is BreakerState.HALF_OPEN
    world.run(STEP_S, {**rtts, "cdn-a": None})
    world.run(OPEN_S + 10, rtts)

    assert world.score("cdn-a").breaker is BreakerState.OPEN  # the second time counts double


def test_recovered_listeners_come_back_gradually_and_each_moves_once():
    world = World()
    rtts = {"cdn-a": 20, "cdn-b": 80, "cdn-c": 90}
    world.run(300, rtts)
    world.run(30, {**rtts, "cdn-a": None})
    shares, moved = [], set()
    for _ in range(120):
        world.run(STEP_S, rtts)
        now = {s for s in SESSIONS if world.table.order_for(s, "ww")[0] == "cdn-a"}
        assert moved <= now
        moved = now
        shares.append(len(now) / len(SESSIONS))

    assert shares[-1] == 1
    assert sum(0.05 < share < 0.95 for share in shares) >= 30


def test_a_slower_leader_is_left_quickly_and_raises_an_alarm():
    world = World(("cdn-a", "cdn-b"))
    world.run(300, {"cdn-a": 30, "cdn-b": 60})
    assert not world.table.alarmed("ww", world.now_s)
    world.run(40, {"cdn-a": 400, "cdn-b": 60})

    assert world.leader == "cdn-b"
    assert world.table.alarmed("ww", world.now_s)
    assert {world.table.order_for(s, "ww")[0] for s in SESSIONS} == {"cdn-b"}
    world.run(600 + ALARM_S, {"cdn-a": 400, "cdn-b": 60})
    assert not world.table.alarmed("ww", world.now_s)


def test_every_pathway_failing_still_gives_every_pathway():
    world = World()
    world.run(60, {"cdn-a": 30, "cdn-b": 60, "cdn-c": 90})
    world.run(120, dict.fromkeys(CDNS))

    assert sorted(world.table.leads["ww"].order) == sorted(CDNS)
    assert world.leader == "cdn-a"
    assert "last resort" in world.table.leads["ww"].reason


@pytest.mark.parametrize("honest", [0, 2, 20])
@pytest.mark.parametrize("lie", [None, 5.0, 8000.0])
def test_poisoned_reports_of_one_session_do_not_move_a_region(honest, lie):
    rtts = {"cdn-a": 40, "cdn-b": 60, "cdn-c": 90}
    world = World()
    crowd = [(f"honest-{n}", "cdn-a", 55) for n in range(honest)]
    world.run(300, rtts, listeners=crowd)
    target = "cdn-c" if lie == 5.0 else "cdn-a"
    # the intake counts one report per session and 15 s; here all of its reports get through
    world.run(1200, rtts, listeners=crowd + [("liar", target, lie)] * 10)

    assert set(world.leaders) == {"cdn-a"}
    assert world.score("cdn-a").breaker is BreakerState.CLOSED


def test_many_listeners_in_trouble_outweigh_a_happy_probe():
    rtts = {"cdn-a": 30, "cdn-b": 45}
    world = World(("cdn-a", "cdn-b"))
    world.run(300, rtts, listeners=[(s, "cdn-a", 50) for s in SESSIONS[:20]])
    assert world.leader == "cdn-a"
    world.run(120, rtts, listeners=[(s, "cdn-a", 400) for s in SESSIONS[:20]])

    assert world.leader == "cdn-b"


def test_listeners_that_fail_open_the_breaker_though_probes_succeed():
    rtts = {"cdn-a": 30, "cdn-b": 45}
    world = World(("cdn-a", "cdn-b"))
    world.run(300, rtts, listeners=[(s, "cdn-a", 50) for s in SESSIONS[:20]])
    world.run(60, rtts, listeners=[(s, "cdn-a", None) for s in SESSIONS[:20]])

    assert world.leader == "cdn-b"


def test_a_pathway_left_on_listeners_word_is_tried_again():
    rtts = {"cdn-a": 30, "cdn-b": 90}
    world = World(("cdn-a", "cdn-b"))
    world.run(300, rtts, listeners=[(s, "cdn-a", 50) for s in SESSIONS[:20]])
    world.run(120, rtts, listeners=[(s, "cdn-a", 1000) for s in SESSIONS[:20]])
    assert world.leader == "cdn-b"
    world.run(LISTENER_MEMORY_S + 60, rtts, listeners=[(s, "cdn-b", 110) for s in SESSIONS[:20]])

    assert world.leader == "cdn-a"


def test_reports_on_the_chosen_pathway_alone_do_not_make_it_look_worse_than_the_unused():
    """Listeners have a last mile that probes lack; it must not be blamed on the pathway."""
    rtts = {"cdn-a": 10, "cdn-b": 18}
    world = World(("cdn-a", "cdn-b"))
    world.run(1800, rtts, listeners=[(s, "cdn-a", 90) for s in SESSIONS[:30]])

    assert set(world.leaders) == {"cdn-a"}


def test_a_region_without_probes_leans_on_the_pathways_effect_elsewhere():
    world = World()
    world.run(120, {"cdn-a": 120, "cdn-b": 30, "cdn-c": 80})

    assert world.table.order_for("s", "eu")[0] == "cdn-b"
    world.report("s", "cdn-a", 200, region="eu")
    world.table.decide(world.now_s + STEP_S)
    assert world.table.leads["eu"].order[0] == "cdn-b"


def test_regions_are_judged_apart():
    world = World(("cdn-a", "cdn-b"))
    for _ in range(30):
        world.now_s += STEP_S
        for region, a, b in (("ww", 20, 90), ("us", 90, 20)):
            world.probe("cdn-a", a, region)
            world.probe("cdn-b", b, region)
        world.table.decide(world.now_s)

    assert world.table.leads["ww"].order[0] == "cdn-a"
    assert world.table.leads["us"].order[0] == "cdn-b"


def test_dried_up_samples_do_not_drift_back_to_the_prior():
    world = World()
    world.run(120, {"cdn-a": 400, "cdn-b": 60, "cdn-c": 60})
    before = world.score("cdn-a").typical_ms
    world.run(7200, {"cdn-b": 60, "cdn-c": 60})

    assert world.score("cdn-a").typical_ms > before * 0.8
    assert world.score("cdn-a").samples >= 5


def test_a_session_keeps_its_order_through_an_epoch():
    world = World(seed=4)
    rtts = {"cdn-a": 20, "cdn-b": 80, "cdn-c": 90}
    world.run(300, rtts)
    world.run(30, {**rtts, "cdn-a": None})
    world.run(160, rtts)
    orders = [world.table.order_for(s, "ww") for s in SESSIONS]
    for _ in range(5):
        world.probe("cdn-a", 500)
    assert not world.table.decide(world.now_s)
    assert [world.table.order_for(s, "ww") for s in SESSIONS] == orders


def test_the_same_observations_give_the_same_table():
    one, two = World(seed=9), World(seed=9)
    for world in (one, two):
        world.run(600, {"cdn-a": 30, "cdn-b": 60, "cdn-c": None}, sigma=0.4)

    assert snapshot.dump(one.table) == snapshot.dump(two.table)


def test_a_saved_table_goes_on_as_the_original_does():
    world = World(seed=9)
    world.run(600, {"cdn-a": 30, "cdn-b": 60, "cdn-c": None}, sigma=0.4)
    loaded = snapshot.load(snapshot.dump(world.table), Table(CDNS, "ww"))

    assert loaded.leads == world.table.leads
    assert [s.pathway for s in rank(loaded, "ww", world.now_s)] == list(loaded.leads["ww"].order)
    for s, t in zip(rank(loaded, "ww", 1600), rank(world.table, "ww", 1600), strict=True):
        assert math.isclose(s.cost_ms, t.cost_ms, rel_tol=0.01)


def test_a_saved_table_survives_a_change_of_pathways():
    world = World()
    world.run(60, {"cdn-a": 120, "cdn-b": 30, "cdn-c": 80})
    loaded = snapshot.load(snapshot.dump(world.table), Table(("new", "cdn-a", "cdn-c"), "ww"))

    assert loaded.order_for("s", "ww") == ("cdn-c", "cdn-a", "new")
    loaded.decide(world.now_s + STEP_S)
    assert sorted(loaded.order_for("s", "ww")) == ["cdn-a", "cdn-c", "new"]


@given(
    st.binary(max_size=64)
    | st.sampled_from([b"{}", b"[]", b'{"decided_s":1}', b"null"]).map(zlib.compress)
)
def test_a_damaged_table_raises_value_error_and_nothing_else(data):
    with pytest.raises(ValueError, match="not a routing table"):
        snapshot.load(data, Table(CDNS, "ww"))


def test_the_largest_table_fits_a_state_stores_value():
    table = Table(tuple(f"cdn-{n}" for n in range(8)), "ww")
    noise = random.Random(3)
    for n in range(20_000):
        region = f"a-long-region-{noise.randrange(MAX_REGIONS * 2)}"
        rtt = noise.uniform(10, 500)
        session = f"s{n}" if n % 3 else None
        at_s = 1_800_000_000 + n / 7
        table.observe(Observation(region, f"cdn-{n % 8}", at_s, session, rtt, rtt * 1.3))
    table.decide(1_800_010_000)

    assert len(table.cells) == MAX_REGIONS * 8
    assert len(snapshot.dump(table)) <= 64 * 1024


observations = st.builds(
    Observation,
    region=st.just("ww"),
    pathway=st.just("cdn-a"),
    at_s=st.floats(0, 1000),
    session=st.none() | st.sampled_from(SESSIONS[:12]),
    rtt_ms=st.none() | st.floats(0.01, 10_000),
    first_byte_ms=st.none() | st.floats(0.01, 10_000),
)


@given(st.lists(observations, max_size=60))
def test_no_observation_makes_a_score_that_is_not_a_finite_positive_number(seen):
    table = Table(CDNS, "ww")
    for one in seen:
        table.observe(one)
    table.decide(2000)

    for score in rank(table, "ww", 2000):
        assert 0 < score.cost_ms < math.inf
        assert 0 <= score.error_rate <= 1
    assert sorted(table.order_for("s", "ww")) == sorted(CDNS)
