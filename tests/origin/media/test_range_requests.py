"""Range and conditional requests over a real socket, on a segment, a whole file and a manifest."""

import asyncio
import email
import email.policy

import pytest

from core.model import DrmProfile
from tests.origin.raw_http import raw_request

FILES = ["aac-160k/4.m4s", "aac-160k/init.mp4", "aac-160k.mp4", "high.m3u8"]


async def whole(house, file):
    answer = await house.client.get(house.path(file), headers={"Accept-Encoding": "identity"})
    return await answer.read(), answer.headers


async def ask(house, file, method="GET", **headers):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return await house.client.request(
        method, house.path(file), headers={"Accept-Encoding": "identity"} | fields
    )


@pytest.mark.parametrize("file", FILES)
async def test_a_part_is_the_part_and_carries_what_the_whole_would(house, file):
    body, full = await whole(house, file)

    answer = await ask(house, file, Range="bytes=100-199")

    assert answer.status == 206
    assert await answer.read() == body[100:200]
    assert answer.headers["Content-Range"] == f"bytes 100-199/{len(body)}"
    assert answer.headers["Content-Length"] == "100"
    for name in ("ETag", "Cache-Control", "Content-Type", "Access-Control-Allow-Origin"):
        assert answer.headers[name] == full[name]
    assert answer.headers.get("Vary") == full.get("Vary")
    assert answer.headers["Date"]


@pytest.mark.parametrize("file", FILES)
async def test_suffixes_and_ends_beyond_the_end_are_clamped(house, file):
    body, _ = await whole(house, file)

    for field, expected in (
        ("bytes=-7", body[-7:]),
        ("bytes=-999999", body),
        ("bytes=50-999999", body[50:]),
        (f"bytes={len(body) - 1}-", body[-1:]),
    ):
        answer = await ask(house, file, Range=field)
        assert (answer.status, await answer.read()) == (206, expected), field


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("field", ["bytes=-0", "bytes=999999-", "bytes=999999-,-0"])
async def test_what_cannot_be_satisfied_is_416_with_the_size(house, file, field):
    body, _ = await whole(house, file)

    answer = await ask(house, file, Range=field)

    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(body)}"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("field", ["items=0-5", "bytes= 0-99", "bytes=9-5", "bytes=x", "0-5"])
async def test_what_is_no_byte_range_is_ignored(house, file, field):
    body, _ = await whole(house, file)

    answer = await ask(house, file, Range=field)

    assert (answer.status, await answer.read()) == (200, body)


@pytest.mark.parametrize("file", FILES)
async def test_several_ranges_come_as_parts_of_one_message(house, file):
    body, full = await whole(house, file)

    answer = await ask(house, file, Range="bytes=0-1,10-19,-5")

    content = await answer.read()
    assert answer.status == 206
    assert "Content-Range" not in answer.headers
    assert answer.headers["Content-Length"] == str(len(content))
    parsed = email.message_from_bytes(
        f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode() + content,
        policy=email.policy.HTTP,
    )
    assert parsed.get_content_type() == "multipart/byteranges"
    parts = [(p["Content-Range"], p["Content-Type"], p.get_payload(decode=True)) for p in
             parsed.iter_parts()]  # fmt: skip
    size, kind = len(body), full["Content-Type"]
    assert [p[0] for p in parts] == [
        f"bytes 0-1/{size}", f"bytes 10-19/{size}", f"bytes {size - 5}-{size - 1}/{size}",
    ]  # fmt: skip
    assert {p[1] for p in parts} == {kind}
    # the parser decodes text to text; what is binary must be exact, and it is compared raw too
    for start, end in ((0, 2), (10, 20), (size - 5, size)):
        assert b"\r\n\r\n" + body[start:end] + b"\r\n--" in content


@pytest.mark.parametrize("file", FILES)
async def test_ranges_that_merge_come_as_one_part(house, file):
    body, _ = await whole(house, file)

    answer = await ask(house, file, Range="bytes=0-9,5-19")

    assert answer.headers["Content-Range"] == f"bytes 0-19/{len(body)}"
    assert await answer.read() == body[:20]


async def test_too_many_ranges_get_the_whole(house):
    body, _ = await whole(house, FILES[0])
    field = "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 200, 2))

    answer = await ask(house, FILES[0], Range=field)

    assert (answer.status, await answer.read()) == (200, body)


@pytest.mark.parametrize("file", FILES)
async def test_head_has_the_headers_of_get_and_ignores_ranges(house, file):
    body, full = await whole(house, file)
    house.store.calls.clear()

    for headers in ({}, {"Range": "bytes=0-9"}, {"Range": "bytes=999999-"}):
        answer = await ask(house, file, "HEAD", **headers)
        assert answer.status == 200
        assert await answer.read() == b""
        assert answer.headers["Content-Length"] == str(len(body))
        for name in ("ETag", "Content-Type", "Cache-Control", "Accept-Ranges"):
            assert answer.headers[name] == full[name]
    assert house.store.calls == []


@pytest.mark.parametrize("file", FILES)
async def test_a_resumed_download_never_mixes_two_versions(house, file):
    body, full = await whole(house, file)
    etag = full["ETag"]

    same = await ask(house, file, Range="bytes=9-", If_Range=etag)
    assert (same.status, await same.read()) == (206, body[9:])
    for other in ('"other"', f"W/{etag}", "Tue, 24 Nov 2026 00:00:00 GMT"):
        answer = await ask(house, file, Range="bytes=9-", If_Range=other)
        assert (answer.status, await answer.read()) == (200, body)


@pytest.mark.parametrize("file", FILES)
async def test_a_revalidation_costs_no_bytes(house, file):
    _, full = await whole(house, file)
    house.store.calls.clear()

    for field in (full["ETag"], f"W/{full['ETag']}", "*", f'"x", {full["ETag"]}'):
        answer = await ask(house, file, If_None_Match=field)
        assert answer.status == 304
        assert await answer.read() == b""
        for name in ("ETag", "Cache-Control", "Date", "Access-Control-Allow-Origin"):
            assert answer.headers[name]
        assert answer.headers.get("Vary") == full.get("Vary")
        assert "Content-Type" not in answer.headers
    assert house.store.calls == []


@pytest.mark.parametrize("file", FILES)
async def test_a_failed_precondition_is_412(house, file):
    _, full = await whole(house, file)

    assert (await ask(house, file, If_Match=full["ETag"])).status == 200
    for field in ('"other"', f"W/{full['ETag']}"):
        answer = await ask(house, file, If_Match=field, Range="bytes=0-9")
        assert answer.status == 412
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_a_condition_on_several_lines_is_one_list(house):
    _, full = await whole(house, FILES[0])
    head, _ = await raw_request(
        house.client,
        house.path(FILES[0]),
        ['If-None-Match: "a"', f"If-None-Match: {full['ETag']}"],
    )

    assert head.startswith(b"HTTP/1.1 304")


async def test_a_connection_serves_many_answers_in_a_row(house):
    """A wrong length would shift everything that follows on a connection."""
    lines = [
        ("GET", "aac-160k/4.m4s", "Range: bytes=0-9"), ("HEAD", "aac-160k/4.m4s", "X: y"),
        ("GET", "aac-160k.mp4", "Range: bytes=0-1,10-19"), ("GET", "aac-160k.mp4", "X: y"),
        ("GET", "aac-160k/4.m4s", "If-None-Match: *"), ("GET", "aac-160k/4.m4s", "Range: bytes=-0"),
        ("GET", "high.m3u8", "Range: bytes=3-"), ("GET", "healthz", "X: y"),
    ]  # fmt: skip
    reader, writer = await asyncio.open_connection(house.client.host, house.client.port)
    statuses = []
    for method, file, line in lines:
        path = "/healthz" if file == "healthz" else house.path(file)
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        statuses.append(int(head.split()[1]))
        fields = email.message_from_bytes(head.partition(b"\r\n")[2])
        if method != "HEAD" and statuses[-1] != 304:
            await asyncio.wait_for(reader.readexactly(int(fields["Content-Length"])), 5)
    writer.close()
    await writer.wait_closed()

    assert statuses == [206, 200, 206, 200, 304, 416, 206, 200]


def test_the_made_up_files_are_large_enough_for_these_ranges(house):
    for rendition in house.presentation.renditions:
        assert min(rendition.file(DrmProfile.CBCS).segment_sizes) > 500
