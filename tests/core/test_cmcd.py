"""The one reader of what players say of their requests: strict, linear, the same at both doors."""

import contextlib
import string
import time
from decimal import Decimal

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdn_router import beacons
from core import cmcd
from core.errors import InvalidInputError
from origin.playback import requests

keys = st.from_regex(r"[a-z*][a-z0-9_.*-]{0,8}", fullmatch=True)
strings = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)
tokens = st.from_regex(r"[A-Za-z*][A-Za-z0-9:/_.-]{0,8}", fullmatch=True).map(http_sf.Token)
numbers = st.integers(-(10**15) + 1, 10**15 - 1) | st.decimals(-999, 999, places=3)
bare = st.booleans() | numbers | strings | tokens | st.binary(max_size=6)
items = st.tuples(bare, st.dictionaries(keys, bare, max_size=2))
members = items | st.tuples(st.lists(items, max_size=3), st.dictionaries(keys, bare, max_size=2))


def plain(value):
    if isinstance(value, list):
        return tuple(plain(item) for item, _ in value)
    if isinstance(value, Decimal):
        return float(value)
    return str(value) if isinstance(value, http_sf.Token) else value


@given(st.dictionaries(keys, members, min_size=1, max_size=6))
def test_what_the_standard_writes_is_read(line):
    written = http_sf.ser(line).encode()

    assert cmcd.read_line(written) == {key: plain(value) for key, (value, _) in line.items()}


def test_a_report_is_its_keys_and_bare_values():
    body = (
        b'br=(160;a "x,y"),bs,cid="a \\"b\\", c",e=t,pr=1.05,'
        b'sid="s-1",sn=7,sta=p;x="1,2",ts=@5\r\n\nsn=8'
    )

    assert cmcd.read_events(body) == [
        {
            "br": (160, "x,y"), "bs": True, "cid": 'a "b", c', "e": "t", "pr": 1.05,
            "sid": "s-1", "sn": 7, "sta": "p", "ts": 5,
        },
        {"sn": 8},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        b"\xff", b"=", b"A=1", b'sid="x', b"a=1,,b", b"a=(", b"a=1 b=2", b"a=1,", b"a=1.2345",
        b"a=1234567890123456", b'a="\xc3\xa9"', b'a="x"y', b"a;", b"a=?2", b"a=:x:", b"a=@1e9",
        b"a=@99999999999999999", b'a="\\x"', b"a=(1(2))", b'a=%"%zz"', b"a=\x00",
    ],
)  # fmt: skip
def test_what_is_no_dictionary_of_structured_fields_is_refused(line):
    with pytest.raises(InvalidInputError, match="not CMCD") as caught:
        cmcd.read_line(line)

    assert caught.value.hint


def test_of_a_key_that_stands_twice_the_last_counts():
    assert cmcd.read_line(b"sn=1,sn=2") == {"sn": 2}


def test_lines_keys_and_bytes_have_limits():
    assert len(cmcd.read_events(b"sn=1\n" * cmcd.MAX_EVENTS)) == cmcd.MAX_EVENTS
    assert cmcd.read_line(b"a=1," * (cmcd.MAX_LINE_SIZE // 4 - 1) + b"b=12") == {"a": 1, "b": 12}
    names = [f"k{n}".encode() for n in range(cmcd.MAX_KEYS + 1)]
    assert len(cmcd.read_line(b",".join(names[1:]))) == cmcd.MAX_KEYS
    for hostile in (
        b"sn=1\n" * (cmcd.MAX_EVENTS + 1), b",".join(names), b" " * cmcd.MAX_LINE_SIZE + b"a"
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match="more than"):
            cmcd.read_events(hostile)


def test_a_value_of_another_kind_is_none():
    line = cmcd.read_line(b'sn="7",pt=1.5,ttfb,rc=(1 2),sid=5,v=2,e=rr')

    assert [cmcd.whole(line, key) for key in ("sn", "pt", "ttfb", "rc", "gone", "v")] == [
        None, None, None, None, None, 2,
    ]  # fmt: skip
    assert (cmcd.text(line, "sid"), cmcd.text(line, "rc"), cmcd.text(line, "e")) == ("", "", "rr")


@given(st.text(alphabet='asn=1,;"\\() \n', max_size=60).map(str.encode) | st.binary(max_size=60))
def test_no_body_breaks_the_reader(body):
    with contextlib.suppress(InvalidInputError):
        cmcd.read_events(body)


FULL = cmcd.MAX_LINE_SIZE
HOSTILE = [
    b"a=" + b" " * FULL + b"(", b"a;" + b" " * FULL + b'"', b'a=("' + b'""' * FULL, b"a" * FULL,
    b'a="' + b"\\\\" * FULL, b"a" + b";a" * FULL, b"a," * FULL, b"a=(" + b"1 " * FULL, b"," * FULL,
    b"a=" + b"1" * FULL, b"a=:" + b"A" * FULL, b'a=%"' + b"%c3%a9" * FULL, b"a=(" * FULL,
]  # fmt: skip


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_line_costs_no_more_than_a_long_one(line):
    line = line[:FULL]
    started_s = time.process_time()
    for _ in range(cmcd.MAX_EVENTS):
        with contextlib.suppress(InvalidInputError):
            cmcd.read_line(line)

    # a whole hostile body of that many such lines; quadratic reading would take minutes of CPU
    assert time.process_time() - started_s < 5


def at_the_origin(line):
    """What a heartbeat says that is this line."""
    report = requests.parse_report(line, cmcd.MEDIA_TYPE)
    return report.session_id, [(beat.seq, beat.position_ms) for beat in report.beats]


def at_the_router(line):
    return [(r.pathway, r.host, r.first_byte_ms) for r in beacons.parse(line)]


def test_a_quoted_comma_in_a_parameter_ends_nothing_at_either_door():
    line = b'pt=30000;x="a,b",cdn="c",e=rr,rc=200,sid="s",sn=4,ttfb=82,v=2'

    assert at_the_origin(line) == ("s", [(4, 30_000)])
    assert at_the_router(line) == [("c", "", 82.0)]


@given(
    st.builds(
        lambda pt, cdn, odd: (
            b'pt=%d%s,cdn=%s,e=rr,rc=200,sid="s",sn=4,ttfb=82,v=2'
            % (pt, odd.encode(), http_sf.ser(cdn).encode())
        ),
        st.integers(0, 10**9),
        strings,
        st.text(string.ascii_lowercase + ';=",() \\?', max_size=12),
    )
)
def test_both_doors_read_the_same_line_in_the_same_way(line):
    read = {}
    for name, door in (("origin", at_the_origin), ("router", at_the_router)):
        with contextlib.suppress(InvalidInputError):
            read[name] = door(line)
    with contextlib.suppress(InvalidInputError):
        event = cmcd.read_line(line)
        if type(event.get("pt")) is int and event.get("sid") == "s" and event.get("sn") == 4:
            assert read["origin"] == ("s", [(4, event["pt"])])
        if event.get("e") == "rr" and event.get("ttfb") == 82:
            assert read["router"] == [(cmcd.text(event, "cdn"), "", 82.0)]
        return
    assert read == {}


@pytest.mark.parametrize(
    ("line", "understood"),
    [
        (b'pt=30000;x="a,b",cdn="c",e=rr,rc=200,sid="s",sn=4,ttfb=82,v=2', True),
        (b'pt=30000;x="a,b,cdn="c",e=rr,rc=200,sid="s",sn=4,ttfb=82,v=2', False),
        (b'pt=30000,cdn=c"d",e=rr,rc=200,sid="s",sn=4,ttfb=82,v=2', False),
        (b'PT=30000,cdn="c",e=rr,rc=200,sid="s",sn=4,ttfb=82,v=2', False),
        (b'pt=30000,,cdn="c",e=rr,rc=200,sid="s",sn=4,ttfb=82,v=2', False),
    ],
)
def test_both_servers_take_a_line_or_neither_does(server, line, understood):
    statuses = [
        server.post(path, "playback", line, content_type=cmcd.MEDIA_TYPE)[0]
        for path in ("/v1/play/heartbeat", "/v1/rum")
    ]

    assert [status != 400 for status in statuses] == [understood] * 2
