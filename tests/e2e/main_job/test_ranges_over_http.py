"""Ranges and conditions of a whole file, over a socket, as RFC 9110 (13.2.2, 14) has them."""

import re

import pytest

from core.model import DrmProfile


@pytest.fixture
def whole(service, http):
    """URL, bytes and ETag of a whole rendition."""
    track_id = "night-drive"
    described = service.tracks[track_id]
    manifest = service.start(track_id)["manifests"]["hls"]
    file = described.rendition("aac-96k").file(DrmProfile.CBCS)
    url = f"{manifest.rsplit('/', 1)[0]}/aac-96k.mp4"
    body = (service.home.path / "hot" / file.key).read_bytes()
    return url, body, http(url, method="HEAD").headers["ETag"]


LAST = "the object's last byte"


@pytest.mark.parametrize(
    ("range_", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-99", 0, 99),
        ("bytes=100-199", 100, 199),
        ("bytes=500-", 500, LAST),
        ("bytes=0-999999999", 0, LAST),
        ("bytes=-100", -100, LAST),
        ("bytes=-999999999", 0, LAST),
    ],
)
def test_a_satisfiable_range_is_answered_in_part(whole, http, range_, first, last):
    url, body, _ = whole
    first = first % len(body)
    last = len(body) - 1 if last is LAST else last

    answer = http(url, headers={"Range": range_})

    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(body)}"
    assert answer.body == body[first : last + 1]


@pytest.mark.parametrize(
    "range_", ["items=0-5", "bytes 0-5", "bytes=5-2", "bytes=a-b", "bytes=--5"]
)
def test_a_range_that_is_none_is_ignored(whole, http, range_):
    url, body, _ = whole

    answer = http(url, headers={"Range": range_})

    assert (answer.status, answer.body) == (200, body)


@pytest.mark.parametrize("range_", ["bytes=999999999-", "bytes=-0"])
def test_an_unsatisfiable_range_says_how_long_the_object_is(whole, http, range_):
    url, body, _ = whole

    answer = http(url, headers={"Range": range_})

    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(body)}"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_several_ranges_are_parts_of_one_answer_or_the_whole(whole, http):
    url, body, _ = whole

    answer = http(url, headers={"Range": "bytes=0-1,10-19"})

    assert answer.status in (200, 206)
    if answer.status == 206:
        boundary = re.search(r"boundary=(\S+)", answer.headers["Content-Type"]).group(1).encode()
        parts = answer.body.split(b"--" + boundary)[1:-1]
        assert [p.split(b"\r\n\r\n", 1)[1][:-2] for p in parts] == [body[0:2], body[10:20]]
    else:
        assert answer.body == body


def test_head_ignores_the_range(whole, http):
    url, body, _ = whole

    answer = http(url, method="HEAD", headers={"Range": "bytes=0-9"})

    assert answer.status == 200
    assert answer.headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize(
    ("if_range", "status"),
    [
        ("the etag", 206),
        ('"another"', 200),
        ("W/the etag", 200),
        ("Sun, 01 Jan 2040 00:00:00 GMT", 200),
    ],
)
def test_if_range_compares_strongly(whole, http, if_range, status):
    url, _, etag = whole

    answer = http(
        url, headers={"Range": "bytes=0-9", "If-Range": if_range.replace("the etag", etag)}
    )

    assert answer.status == status


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("If-None-Match", "the etag", 304),
        ("If-None-Match", "W/the etag", 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", '"another", the etag', 304),
        ("If-None-Match", '"another"', 200),
        ("If-Match", "the etag", 200),
        ("If-Match", "*", 200),
        ("If-Match", "W/the etag", 412),
        ("If-Match", '"another"', 412),
    ],
)
def test_conditions(whole, http, name, value, status):
    url, _, etag = whole

    answer = http(url, headers={name: value.replace("the etag", etag)})

    assert answer.status == status
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    if status == 304:
        assert answer.body == b""
        assert answer.headers["ETag"] == etag
        assert "immutable" in answer.headers["Cache-Control"]


def test_segments_are_slices_of_the_whole_file(whole, http, service):
    url, body, _ = whole
    described = service.tracks["night-drive"]
    file = described.rendition("aac-96k").file(DrmProfile.CBCS)
    folder = url.removesuffix(".mp4")

    pieces = [http(f"{folder}/init.mp4").body]
    pieces += [http(f"{folder}/{n + 1}.m4s").body for n in range(len(file.segment_sizes))]

    assert pieces[0] == body[: file.init_size]
    assert b"".join(pieces[1:]) == body[file.init_size + file.index_size :]
    assert http(f"{folder}/{len(file.segment_sizes) + 1}.m4s").status == 404
    assert http(f"{folder}/0.m4s").status == 404


def test_unknown_query_parameters_change_nothing(whole, http):
    url, body, _ = whole

    assert http(f"{url}?CMCD=br%3D96&x=1").body == body
