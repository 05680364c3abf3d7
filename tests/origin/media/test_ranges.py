"""RFC 9110 as arithmetic: the table of conditional and range requests, and a naive model."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.media.ranges import MAX_RANGES, Conditions, content_range, parse_range, select

ETAG = '"sha256-abc"'
SIZE = 1000


def ask(method="GET", **fields):
    return select(method, Conditions(**fields), etag=ETAG, size=SIZE)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("bytes=0-0", ((0, 1),)),
        ("bytes=0-99", ((0, 100),)),
        ("bytes=999-", ((999, 1000),)),
        ("bytes=500-", ((500, 1000),)),
        ("bytes=-1", ((999, 1000),)),
        ("bytes=-1000", ((0, 1000),)),
        ("bytes=-5000", ((0, 1000),)),  # a suffix longer than all is all
        ("bytes=900-5000", ((900, 1000),)),  # the end is clamped
        ("BYTES=0-9", ((0, 10),)),  # unit names have no case
        ("bytes=0-9,20-29", ((0, 10), (20, 30))),
        ("bytes=0-9 , 20-29,", ((0, 10), (20, 30))),  # lists may have blanks and empty elements
        ("bytes=20-29,0-9", ((0, 10), (20, 30))),
        ("bytes=0-9,5-19", ((0, 20),)),  # overlaps are merged
        ("bytes=0-9,10-19", ((0, 20),)),
        ("bytes=0-9,2000-", ((0, 10),)),  # what exists is sent
        ("bytes=-0", ()),
        ("bytes=1000-", ()),
        ("bytes=1000-2000", ()),
        ("bytes=5000-,-0", ()),
        ("bytes=0-" + "9" * 5000, ((0, 1000),)),
        ("bytes=" + "9" * 5000 + "-", ()),
        ("bytes=" + "0" * 5000 + "5-5", ((5, 6),)),
        ("items=0-5", None),
        ("bytes", None),
        ("bytes=", None),
        ("bytes=,", None),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=0-9,5-2", None),
        ("bytes=abc", None),
        ("bytes=0-9x", None),
        ("bytes=0x0-9", None),
        ("bytes= 0-99", None),
        ("bytes =0-99", None),
        ("bytes=+0-9", None),
        ("bytes=\u0660-\u0669", None),  # digits of other scripts are no digits
        ("bytes=1.5-9", None),
        ("bytes=--5", None),
        ("bytes=" + ",".join(f"{n * 10}-{n * 10}" for n in range(MAX_RANGES + 1)), None),
    ],
)
def test_a_range_field_is_read_as_the_standard_says(field, expected):
    assert parse_range(field, SIZE) == expected


@pytest.mark.parametrize(
    ("method", "fields", "status"),
    [
        ("GET", {}, 200),
        ("GET", {"range": "bytes=0-9"}, 206),
        ("HEAD", {"range": "bytes=0-9"}, 200),  # 14.2: only GET knows ranges
        ("HEAD", {"range": "bytes=5000-"}, 200),
        ("GET", {"range": "bytes=5000-"}, 416),
        ("GET", {"range": "bytes=-0"}, 416),
        ("GET", {"range": "items=0-5"}, 200),
        # If-Range: strong, and without Range nothing
        ("GET", {"range": "bytes=0-9", "if_range": ETAG}, 206),
        ("GET", {"range": "bytes=0-9", "if_range": '"other"'}, 200),
        ("GET", {"range": "bytes=0-9", "if_range": f"W/{ETAG}"}, 200),
        ("GET", {"range": "bytes=0-9", "if_range": "Tue, 24 Nov 2026 00:00:00 GMT"}, 200),
        ("GET", {"range": "bytes=0-9", "if_range": "*"}, 200),
        ("GET", {"range": "bytes=0-9", "if_range": ""}, 200),
        ("GET", {"range": "bytes=5000-", "if_range": '"other"'}, 200),
        ("GET", {"if_range": '"other"'}, 200),
        # If-None-Match: weak
        ("GET", {"if_none_match": ETAG}, 304),
        ("HEAD", {"if_none_match": ETAG}, 304),
        ("GET", {"if_none_match": f"W/{ETAG}"}, 304),
        ("GET", {"if_none_match": "*"}, 304),
        ("GET", {"if_none_match": f'"a", "b,c", {ETAG}'}, 304),
        ("GET", {"if_none_match": '"a"'}, 200),
        ("GET", {"if_none_match": "sha256-abc"}, 200),
        ("GET", {"if_none_match": f'"x{ETAG[1:]}'}, 200),
        ("GET", {"if_none_match": ETAG, "range": "bytes=0-9"}, 304),
        ("GET", {"if_none_match": '"a"', "range": "bytes=0-9"}, 206),
        # If-Match: strong
        ("GET", {"if_match": ETAG}, 200),
        ("GET", {"if_match": "*"}, 200),
        ("GET", {"if_match": f'"a", {ETAG}', "range": "bytes=0-9"}, 206),
        ("GET", {"if_match": '"a"'}, 412),
        ("HEAD", {"if_match": '"a"'}, 412),
        ("GET", {"if_match": f"W/{ETAG}"}, 412),
        ("GET", {"if_match": ""}, 412),
        ("GET", {"if_match": '"a"', "if_none_match": ETAG}, 412),
        ("GET", {"if_match": ETAG, "if_none_match": ETAG}, 304),
        ("GET", {"if_match": '"a"', "range": "bytes=5000-"}, 412),
    ],
)
def test_conditions_are_evaluated_in_the_standard_order(method, fields, status):
    assert ask(method, **fields).status == status


def test_without_a_range_everything_is_selected():
    assert ask().spans == ((0, SIZE),)


def test_content_range_counts_the_last_byte():
    assert content_range((0, 1), 10) == "bytes 0-0/10"


positions = st.integers(0, 40)
specs = st.one_of(
    st.tuples(positions, positions).filter(lambda p: p[0] <= p[1]).map("{0[0]}-{0[1]}".format),
    positions.map("{}-".format),
    positions.map("-{}".format),
)


@given(st.lists(specs, min_size=1, max_size=MAX_RANGES), st.integers(1, 30))
def test_ranges_select_the_bytes_that_a_naive_model_selects(items, size):
    expected = set()
    for item in items:
        first, last = item.split("-")
        if first == "":
            expected |= set(range(size)[size - min(size, int(last)) :])
        else:
            expected |= set(range(size)[int(first) : int(last) + 1 if last else None])

    spans = parse_range("bytes=" + ",".join(items), size)

    assert {n for start, end in spans for n in range(start, end)} == expected
    assert all(0 <= start < end <= size for start, end in spans)
    assert all(a[1] < b[0] for a, b in pairwise(spans)), "apart and ascending"


@given(st.text(max_size=40))
def test_no_range_field_breaks_the_parser(field):
    for text in (field, "bytes=" + field):
        spans = parse_range(text, SIZE)
        assert spans is None or all(0 <= a < b <= SIZE for a, b in spans)


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_conditional_field_breaks_the_evaluation(first, second):
    ask(if_match=first, if_none_match=second)
    ask(if_range=first, range=second)
