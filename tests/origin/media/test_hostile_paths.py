"""Paths made to slip past somebody's prefix match."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInputError, NotFoundError
from packager.manifest.places import Kind, MediaPath, parse
from tests.origin.raw_http import raw_request

TAIL = "song/0123456789abcdef/ww/cbcs"


@pytest.mark.parametrize(
    "file",
    [
        "aac-160k/%31.m4s", "aac-160k%2f1.m4s", "aac-160k%2F1.m4s", "%2e%2e/x.m3u8", "../x.m3u8",
        "./high.m3u8", "a/../high.m3u8", "a//high.m3u8", "/high.m3u8", "high.m3u8/",
        "a\\high.m3u8", "a%5chigh.m3u8", "high.m3u8%00", "high.m3u8%0a", "high.m3u8;x=1",
        "..%2f..%2f..%2fother/x/high.m3u8", "%2e/high.m3u8", "high.m3u8%", "high%E2%80%AE.m3u8",
        ".high.m3u8", "hi gh.m3u8".replace(" ", "+"), "high.m3u8:80", "@high.m3u8", "a" * 5000,
    ],
)  # fmt: skip
async def test_a_path_that_is_not_canonical_is_refused_whatever_its_token(house, file):
    house.store.calls.clear()
    for token in (house.token(), "x.y"):
        head, body = await raw_request(house.client, house.path(file, token=token))
        assert int(head.split()[1]) == 400, file
        assert b"Access-Control-Allow-Origin: *" in head
        assert json.loads(body)["type"] == "urn:tonearm:problem:invalid-input"
    assert house.store.calls == []


@pytest.mark.parametrize(
    "path",
    ["//m/song/x/ww/cbcs/high.m3u8", "/a/../m/song/x/ww/cbcs/high.m3u8", "/%6d/song",
     "/m/song/0123456789abcdef/ww/cbcs/../../../../v1/x", "/./m/song/x/ww/cbcs/high.m3u8",
     "/{good}/m/song/../other/0123456789abcdef/ww/cbcs/high.m3u8", "/\0/m/a/b/c/d/e",
     "/{good}//m/song/0123456789abcdef/ww/cbcs/high.m3u8", "http:///m/a/b/c/d/e",
     "/{good}%2fm/song/0123456789abcdef/ww/cbcs/high.m3u8"],
)  # fmt: skip
async def test_no_trick_with_the_path_reaches_the_store(house, path):
    house.store.calls.clear()

    head, _ = await raw_request(house.client, path.replace("{good}", house.token()))

    assert 400 <= int(head.split()[1]) < 500
    assert house.store.calls == []


async def test_a_token_for_a_track_does_not_open_one_whose_name_starts_alike(house):
    token = house.token(track="son")

    answer = await house.client.get(house.path("high.m3u8", token=token))

    assert answer.status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_media_can_only_be_read(house, method):
    answer = await house.client.request(method, house.path("high.m3u8"))

    assert answer.status == 405
    assert "GET" in answer.headers["Allow"]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_a_preflight_is_answered_without_a_token(house):
    answer = await house.client.options(f"/x.y/m/{TAIL}/high.m3u8")

    assert answer.status == 204
    assert "Range" in answer.headers["Access-Control-Allow-Headers"]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("file", "kind", "name", "number"),
    [
        ("high.m3u8", Kind.HLS_TIER, "high", 0),
        ("lossless.mpd", Kind.DASH_TIER, "lossless", 0),
        ("aac-96k.m3u8", Kind.HLS_MEDIA, "aac-96k", 0),
        ("flac/init.mp4", Kind.INIT, "flac", 0),
        ("flac/12.m4s", Kind.SEGMENT, "flac", 12),
        ("flac.mp4", Kind.WHOLE, "flac", 0),
    ],
)
def test_every_kind_of_file_has_a_name(file, kind, name, number):
    parsed = parse(f"/t.t/m/{TAIL}/{file}").parse_file()

    assert (parsed.kind, parsed.name, parsed.number) == (kind, name, number)


@given(st.text(alphabet="/.%~_-aZ0m\\\0", max_size=40))
def test_no_path_raises_anything_but_our_errors(text):
    try:
        path = parse(f"/t/m/a/b/c/d/{text}")
        assert isinstance(path, MediaPath)
        path.parse_file()
    except (InvalidInputError, NotFoundError):
        pass
