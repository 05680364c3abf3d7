"""The steering manifest keeps to what all players bear; each test is one of their traps."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdn_router.steering import (
    BASE_ID,
    Format,
    check_pathways,
    player_report,
    staggered_ttl,
    steering_manifest,
    takes_clones,
)
from core.errors import InvalidInputError
from core.model import Pathway

RELOAD = "https://r.example/tok/steering/hls"
A, B, C = (Pathway(f"cdn-{x}", f"https://{x}.example") for x in "abc")

names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,10}", fullmatch=True).filter(lambda n: n != BASE_ID)
orders = st.lists(names, min_size=1, max_size=8, unique=True).map(
    lambda ids: tuple(Pathway(i, f"https://{i}.example") for i in ids)
)


def build(order, kind=Format.HLS, **given):
    settings = {"start": order[0].id, "clones": True, "reload_uri": RELOAD, "ttl_s": 300}
    return json.loads(steering_manifest(order, kind, **settings | given))


@given(orders, st.integers(-10, 10**6), st.booleans(), st.integers(0, 8))
def test_the_priority_is_exactly_the_declared_pathways(order, ttl_s, clones, start):
    start_id = order[start].id if start < len(order) else None
    body = build(order, start=start_id, clones=clones, ttl_s=ttl_s)
    declared = [BASE_ID, *(c["ID"] for c in body.get("PATHWAY-CLONES", []))]

    assert sorted(body["PATHWAY-PRIORITY"]) == sorted(declared)
    assert len(set(declared)) == len(declared)


@given(orders, st.integers(-10, 10**6), st.booleans(), st.integers(0, 8))
def test_the_shape_is_what_every_player_accepts(order, ttl_s, clones, start):
    start_id = order[start].id if start < len(order) else None
    body = build(order, start=start_id, clones=clones, ttl_s=ttl_s)

    assert body["VERSION"] == 1
    assert type(body["TTL"]) is int
    assert 1 <= body["TTL"] <= 3600
    assert body["RELOAD-URI"] == RELOAD
    assert body["PATHWAY-PRIORITY"]
    assert set(body) <= {"VERSION", "TTL", "RELOAD-URI", "PATHWAY-PRIORITY", "PATHWAY-CLONES"}
    for clone in body.get("PATHWAY-CLONES", []):
        assert clone["BASE-ID"] == BASE_ID != clone["ID"]
        assert clone["URI-REPLACEMENT"] == {"HOST": f"{clone['ID']}.example"}


def test_the_base_stands_for_the_pathway_the_session_started_on():
    body = build((B, A, C), start="cdn-a")

    assert body["PATHWAY-PRIORITY"] == ["cdn-b", BASE_ID, "cdn-c"]
    assert [c["ID"] for c in body["PATHWAY-CLONES"]] == ["cdn-b", "cdn-c"]


def test_an_unknown_start_makes_all_pathways_clones_and_puts_the_base_last():
    body = build((B, A), start=None)

    assert body["PATHWAY-PRIORITY"] == ["cdn-b", "cdn-a", BASE_ID]


def test_a_host_replacement_never_holds_a_port():
    order = (Pathway("a", "http://127.0.0.1:8080"), Pathway("b", "http://127.0.0.2:8080"))

    assert build(order)["PATHWAY-CLONES"][0]["URI-REPLACEMENT"] == {"HOST": "127.0.0.2"}
    # dash.js loses the port otherwise
    (clone,) = build(order, Format.DASH)["PATHWAY-CLONES"]
    assert clone["URI-REPLACEMENT"]["HOST"] == order[1].base_url.removeprefix("http://")


def test_avplayer_gets_no_clones():
    assert not takes_clones("AppleCoreMedia/1.0.0.21F90 (iPhone; U; CPU OS 17_5 like Mac OS X)")
    assert takes_clones("Mozilla/5.0 (X11; Linux x86_64) Chrome/130.0 Safari/537.36")
    assert build((B, A), start="cdn-a", clones=False)["PATHWAY-PRIORITY"] == [BASE_ID]


@pytest.mark.parametrize(
    "query, kind, expected",
    [
        (
            {"_HLS_pathway": '"cdn-b"', "_HLS_throughput": "2150000"},
            "hls",
            (("cdn-b",), (2150000,)),
        ),
        (
            {"_HLS_pathway": "cdn-b", "_HLS_throughput": "2150000.7"},
            "hls",
            (("cdn-b",), (2150000,)),
        ),
        ({"_HLS_pathway": "base"}, "hls", (("cdn-a",), ())),
        (
            {"_DASH_pathway": '"cdn-b,base"', "_DASH_throughput": "5140000,3200000"},
            "dash",
            (("cdn-b", "cdn-a"), (5140000, 3200000)),
        ),
        ({"_DASH_pathway": '"cdn-b","cdn-c"'}, "dash", (("cdn-b", "cdn-c"), ())),
        ({"_DASH_pathway": "cdn-b", "_DASH_throughput": "NaN"}, "dash", (("cdn-b",), (0,))),
        ({"_DASH_pathway": "cdn-b"}, "hls", ((), ())),
        ({}, "hls", ((), ())),
    ],
)
def test_all_spellings_of_the_players_are_understood(query, kind, expected):
    report = player_report(query, Format(kind), "cdn-a")

    assert (report.pathways, report.throughputs_bps) == expected


@given(st.text(max_size=300), st.text(max_size=300))
def test_no_query_is_an_error(pathway, throughput):
    query = {"_DASH_pathway": pathway, "_DASH_throughput": throughput}
    report = player_report(query, Format.DASH, None)

    assert len(report.pathways) <= 8
    assert all(bps >= 0 for bps in report.throughputs_bps)


def test_sessions_do_not_all_come_back_together():
    ttls = {staggered_ttl(300, f"s{n}") for n in range(200)}

    assert min(ttls) >= 240
    assert max(ttls) <= 360
    assert len(ttls) > 50
    assert staggered_ttl(5, "s1") == 5
    assert staggered_ttl(1, "s1") == 1


@pytest.mark.parametrize(
    "urls",
    [
        ("https://a.example", "http://b.example"),
        ("https://a.example", "https://b.example:8443"),
        ("https://a.example", "https://b.example/path"),
        ("https://a.example", "https://u@b.example"),
        ("https://a.example", "https://"),
    ],
)
def test_pathways_that_clones_cannot_express_are_refused(urls):
    with pytest.raises(InvalidInputError):
        check_pathways(Pathway(f"p{n}", url) for n, url in enumerate(urls))


def test_the_reserved_id_is_refused():
    with pytest.raises(InvalidInputError, match="taken"):
        check_pathways([Pathway(BASE_ID, "https://a.example")])
