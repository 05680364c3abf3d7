"""A session's book-keeping as arithmetic."""

from hypothesis import given
from hypothesis import strategies as st

from core.grants import URL_TTL_S, PlaybackGrant
from core.model import DrmProfile, Pathway, Tier
from origin.playback.session import JITTER_MS, Beat, Session

SESSION = Session(
    session_id="s", subject="u", device_id="d", track_id="t", generation="0" * 16, tier=Tier.HIGH,
    region="ww", drm=DrmProfile.CBCS, duration_ms=200_000,
    pathways=(Pathway("a", "http://a.example"),), started_s=1000,
)  # fmt: skip

steps = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 300_000), st.integers(0, 60)), max_size=30
)


@given(steps)
def test_nothing_heard_exceeds_the_time_that_passed(reports):
    session, now_s, fresh = SESSION, 1000.0, 0
    for seq, position_ms, wait_s in reports:
        now_s += wait_s
        after = session.advance((Beat(seq, position_ms),), now_s=now_s)
        fresh += after is not session
        assert after.listened_ms >= session.listened_ms
        assert after.seq >= session.seq
        assert after.counted >= session.counted
        session = after

    assert session.listened_ms <= (now_s - 1000) * 1000 + fresh * JITTER_MS


@given(st.permutations([Beat(n, n * 10_000) for n in range(6)]))
def test_the_order_of_arrival_never_moves_a_session_back(beats):
    session = SESSION
    for number, beat in enumerate(beats):
        session = session.advance((beat,), now_s=1000 + 10 * number)

    assert (session.seq, session.position_ms) == (5, 50_000)


@given(steps)
def test_a_session_survives_the_state_store(reports):
    session = SESSION
    for seq, position_ms, wait_s in reports:
        session = session.advance((Beat(seq, position_ms),), now_s=1000.5 + wait_s)

    assert Session.decode(session.encode()) == session


@given(st.floats(0, 100_000))
def test_a_url_token_of_the_present_epoch_has_ten_to_fifteen_minutes_left(elapsed_s):
    now_s = SESSION.started_s + elapsed_s

    left_s = SESSION.url_grant(SESSION.url_epoch(now_s)).expires_s - now_s

    assert URL_TTL_S - 300 <= left_s <= URL_TTL_S


def test_a_session_knows_its_own_grants():
    grant = SESSION.playback_grant(1000, 180)
    assert SESSION.accepts(grant)
    for changed in ("subject", "device_id", "session_id", "track_id"):
        fields = {name: getattr(grant, name) for name in PlaybackGrant.__slots__}
        assert not SESSION.accepts(PlaybackGrant(**{**fields, changed: "other"}))
