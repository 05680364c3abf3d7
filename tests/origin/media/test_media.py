"""Media URLs: what opens, what they answer, and what the store is asked."""

import asyncio
import dataclasses
import gzip
import hashlib

import pytest

from core.errors import RestoringError, UnavailableError
from core.grants import UrlGrant, UrlSigner
from core.model import DrmProfile, Tier
from origin.media import handlers as media
from origin.media.manifests import accepts_gzip
from packager.manifest import presentation as presentation_json
from packager.manifest.places import presentation_key
from tests.origin.conftest import make_presentation, publish

IMMUTABLE = "public, max-age=31536000, s-maxage=31536000, immutable"


def file_of(house, name="aac-160k", drm=DrmProfile.CBCS):
    return house.presentation.rendition(name).file(drm)


def segment_of(house, number, name="aac-160k"):
    file = file_of(house, name)
    start = file.init_size + file.index_size + sum(file.segment_sizes[: number - 1])
    return house.bodies[file.key][start : start + file.segment_sizes[number - 1]]


async def test_init_segments_and_the_whole_file_are_slices_of_one_object(house):
    file = file_of(house)
    whole = house.bodies[file.key]

    init = await house.client.get(house.path("aac-160k/init.mp4"))
    assert init.status == 200
    assert await init.read() == whole[: file.init_size]
    for number in (1, 5, 10):
        segment = await house.client.get(house.path(f"aac-160k/{number}.m4s"))
        assert segment.status == 200
        assert await segment.read() == segment_of(house, number)
    everything = await house.client.get(house.path("aac-160k.mp4"))
    assert await everything.read() == whole
    assert everything.headers["Content-Length"] == str(len(whole))


async def test_the_headers_of_a_segment_let_any_cache_and_any_page_have_it(house):
    answer = await house.client.get(house.path("aac-160k/3.m4s"))

    assert answer.headers["Content-Type"] == "audio/mp4"
    assert answer.headers["Cache-Control"] == answer.headers["CDN-Cache-Control"] == IMMUTABLE
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Cache-Status"] == "tonearm; fwd=uri-miss; stored"
    assert answer.headers["Surrogate-Key"].split()[0] == "t/song"
    assert "auth;dur=" in answer.headers["Server-Timing"]
    assert answer.headers["X-Request-Id"]
    assert "Vary" not in answer.headers
    assert "Content-Encoding" not in answer.headers


async def test_manifests_name_children_that_the_same_token_opens(house):
    playlist = await house.client.get(house.path("high.m3u8"))
    assert playlist.headers["Content-Type"] == "application/vnd.apple.mpegurl"
    children = [line for line in (await playlist.text()).splitlines() if not line.startswith("#")]
    assert children == ["aac-96k.m3u8", "aac-160k.m3u8", "aac-320k.m3u8"]
    for child in children:
        media = await house.client.get(house.path(child))
        assert media.status == 200
        urls = [line for line in (await media.text()).splitlines() if not line.startswith("#")]
        assert (await house.client.get(house.path(urls[0]))).status == 200
    mpd = await house.client.get(house.path("high.mpd"))
    assert mpd.headers["Content-Type"] == "application/dash+xml"
    assert "<MPD" in await mpd.text()


async def test_a_manifest_lists_no_more_than_its_tier(house):
    playlist = await (await house.client.get(house.path("normal.m3u8"))).text()

    assert "aac-160k.m3u8" in playlist
    assert "aac-320k" not in playlist


async def test_a_manifest_is_compressed_for_who_takes_it_with_a_tag_of_its_own(house):
    url = house.path("high.m3u8")
    plain = await house.client.get(url, headers={"Accept-Encoding": "identity"})
    packed = await house.client.get(
        url, headers={"Accept-Encoding": "br, gzip"}, auto_decompress=False
    )

    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert plain.headers["ETag"] != packed.headers["ETag"]
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(await packed.read()) == await plain.read()
    again = await house.client.get(
        url, headers={"Accept-Encoding": "gzip", "If-None-Match": packed.headers["ETag"]}
    )
    assert (again.status, again.headers["Vary"]) == (304, "Accept-Encoding")


@pytest.mark.parametrize(
    ("field", "accepted"),
    [
        ("gzip", True), ("", False), ("identity", False), ("br", False), ("*", True),
        ("br;q=1, GZIP;q=0.5", True), ("gzip;q=0", False), ("gzip; q=0.000", False),
        ("x-gzip", True), ("gzipped", False), ("deflate,gzip ;q=1", True),
    ],
)  # fmt: skip
def test_gzip_is_for_who_accepts_it(field, accepted):
    assert accepts_gzip(field) == accepted


async def test_manifests_may_be_stale_but_not_for_ever(house):
    cache_control = (await house.client.get(house.path("high.mpd"))).headers["Cache-Control"]

    fields = dict(part.strip().partition("=")[::2] for part in cache_control.split(","))
    assert fields["max-age"] == "60"
    assert 270 <= int(fields["s-maxage"]) <= 330
    assert fields["stale-if-error"] == "86400"


async def test_unknown_queries_change_nothing(house):
    plain = await house.client.get(house.path("aac-160k/2.m4s"))
    query = await house.client.get(house.path("aac-160k/2.m4s") + "?CMCD=br%3D160&x=..%2f")

    assert query.status == 200
    assert query.headers["ETag"] == plain.headers["ETag"]
    assert query.headers["Cache-Status"] == "tonearm; hit"


async def test_entity_tags_come_from_the_content(house):
    file = file_of(house)
    digest = hashlib.sha256(house.bodies[file.key]).hexdigest()

    answer = await house.client.get(house.path("aac-160k/2.m4s"))

    assert answer.headers["ETag"].startswith(f'"sha256-{digest[:32]}')
    other = await house.client.get(house.path("aac-160k/3.m4s"))
    assert other.headers["ETag"] != answer.headers["ETag"]


# --- tokens


def refused_paths(house):
    """Every way to ask without the right, for things that exist and things that do not."""
    old = UrlSigner({"k1": b"other secret" * 3}, active="k1")
    forged = old.sign(UrlGrant("song", Tier.HIGH, "ww", "s", int(house.now_s) + 900))
    good = house.token()
    for track, generation, file in [
        ("song", None, "aac-160k/1.m4s"),
        ("song", None, "aac-160k/99.m4s"),
        ("song", "f" * 16, "aac-160k/1.m4s"),
        ("nosuch", "f" * 16, "high.m3u8"),
        ("song", None, "high.m3u8"),
        ("song", None, "what.is.this"),
    ]:
        tail = house.path(file, token="T", track=track, generation=generation).removeprefix("/T")
        yield tail
        for token in (
            "v1", "x.y", forged, good[:-1] + ("A" if good[-1] != "A" else "B"), good + "A",
            good.split(".")[0] + ".", house.token(track="other"), house.token(region="de"),
            "~", "A" * 3000,
        ):  # fmt: skip
            yield f"/{token}{tail}"


async def test_an_unsigned_request_learns_nothing_about_what_exists(house):
    answers = set()
    house.store.calls.clear()
    house.catalogue.calls.clear()
    for path in refused_paths(house):
        for method in ("GET", "HEAD"):
            answer = await house.client.request(method, path)
            headers = {name.lower(): value for name, value in answer.headers.items()}
            del headers["date"], headers["x-request-id"]
            assert headers["content-type"].startswith("application/problem+json")
            assert headers["access-control-allow-origin"] == "*"
            assert headers["cache-control"] == "no-store"
            body = await answer.read() if method == "GET" else b""
            answers.add((answer.status, method, body, tuple(sorted(headers.items()))))

    assert {status for status, *_ in answers} == {403}
    assert len(answers) == 2, "one answer for GET and one for HEAD"
    # not "in the same time" but stronger: nothing was asked whose answer could take time
    assert house.store.calls == []
    assert house.catalogue.calls == []


async def test_an_expired_token_says_so_and_nothing_else(house):
    token = house.token(ttl_s=60)
    there, gone = house.path("aac-160k/1.m4s", token=token), house.path("x/1.m4s", token=token)
    assert (await house.client.get(there)).status == 200
    house.now_s += 60
    house.store.calls.clear()

    answers = [await house.client.get(path) for path in (there, gone)]

    assert [a.status for a in answers] == [403, 403]
    problems = [await a.json() for a in answers]
    assert problems[0] == problems[1]
    assert problems[0]["type"] == "urn:tonearm:problem:token-expired"
    assert answers[0].headers["Access-Control-Allow-Origin"] == "*"
    assert house.store.calls == []


@pytest.mark.parametrize(
    ("tier", "opens", "stays_shut"),
    [
        (
            Tier.LOW,
            ["low.m3u8", "low.mpd", "aac-96k.m3u8", "aac-96k/1.m4s", "aac-96k.mp4"],
            ["normal.m3u8", "aac-160k.m3u8", "aac-160k/init.mp4", "aac-160k.mp4", "high.mpd"],
        ),
        (
            Tier.NORMAL,
            ["low.m3u8", "normal.mpd", "aac-160k/1.m4s"],
            ["high.m3u8", "high.mpd", "lossless.mpd", "aac-320k/1.m4s", "aac-320k.m3u8"],
        ),
        (Tier.HIGH, ["high.m3u8", "aac-320k/1.m4s", "aac-320k.mp4"], ["lossless.m3u8"]),
    ],
)
async def test_a_token_opens_its_tier_and_below(house, tier, opens, stays_shut):
    token = house.token(tier=tier)

    for file in opens:
        assert (await house.client.get(house.path(file, token=token))).status == 200, file
    for file in stays_shut:
        answer = await house.client.get(house.path(file, token=token))
        assert answer.status == 403, file
        assert (await answer.json())["type"] == "urn:tonearm:problem:signature-invalid"


@pytest.mark.parametrize(
    "file",
    ["aac-160k/0.m4s", "aac-160k/11.m4s", "aac-160k/01.m4s", "aac-160k/99999999.m4s",
     "opus-96k/1.m4s", "opus-96k.m3u8", "aac-160k.mpd", "aac-160k/init.mp4/x", "presentation.json",
     "AAC-160k/1.m4s", "aac-160k/1.m4s.m4s", "aac-160k"],
)  # fmt: skip
async def test_what_is_not_there_is_404_for_who_may_ask(house, file):
    answer = await house.client.get(house.path(file))

    assert answer.status == 404
    assert answer.headers["Cache-Control"] == "max-age=5"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_another_generation_or_protection_is_404(house):
    for changes in (
        {"generation": "f" * 16},
        {"generation": "xyz"},
        {"drm": "clear"},
        {"drm": "no"},
    ):
        assert (await house.client.get(house.path("aac-160k/1.m4s", **changes))).status == 404


# --- standing


async def test_a_withdrawn_track_goes_dark(house):
    assert (await house.client.get(house.path("aac-160k/1.m4s"))).status == 200
    house.catalogue.withdraw("song")
    house.now_s += 6

    for file in ("aac-160k/1.m4s", "high.m3u8", "aac-160k.mp4"):
        answer = await house.client.get(house.path(file))
        assert answer.status == 403
        assert (await answer.json())["type"] == "urn:tonearm:problem:track-withdrawn"
        assert answer.headers["Cache-Control"] == "no-store"


async def test_a_removed_track_is_not_found(house):
    house.catalogue.remove("song")

    assert (await house.client.get(house.path("aac-160k/1.m4s"))).status == 404


# --- the store in trouble


async def test_a_restoring_segment_tells_players_when_to_come_back(house):
    await house.client.get(house.path("high.m3u8"))
    house.store.failure = RestoringError("coming", retry_after_s=17)

    for file in ("aac-160k/7.m4s", "aac-160k.mp4"):
        answer = await house.client.get(house.path(file))
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "17"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert (await answer.json())["type"] == "urn:tonearm:problem:content-restoring"
    house.store.failure = None
    assert (await house.client.get(house.path("aac-160k/7.m4s"))).status == 200


async def test_an_outage_is_503_and_what_is_in_memory_still_plays(house):
    await house.client.get(house.path("aac-160k/1.m4s"))
    house.store.failure = UnavailableError("down")

    assert (await house.client.get(house.path("aac-160k/1.m4s"))).status == 200
    answer = await house.client.get(house.path("aac-160k/2.m4s"))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


async def test_bytes_that_are_missing_in_the_store_are_never_sent_as_a_segment(house):
    file = file_of(house)
    await house.store.delete(file.key)
    await house.store.put_if_absent(file.key, house.bodies[file.key][:-10])

    answer = await house.client.get(house.path("aac-160k/10.m4s"))

    assert answer.status == 500
    assert "shorter" in house.logged()


@pytest.mark.parametrize("kept", [None, 0, 1000])
async def test_what_the_store_has_lost_is_our_fault_and_its_key_stays_here(house, kept):
    file = file_of(house)
    await house.store.delete(file.key)
    if kept is not None:
        await house.store.put_if_absent(file.key, house.bodies[file.key][:kept])

    files = {"aac-160k/10.m4s": None, "aac-160k.mp4": "bytes=20000-20009"}
    for name, wanted in files.items():
        headers = {"Range": wanted} if wanted else {}
        answer = await house.client.get(house.path(name), headers=headers)
        told = await answer.text()
        assert (answer.status, answer.headers["Cache-Control"]) == (500, "no-store")
        assert file.key not in told
        assert "urn:tonearm:problem:integrity" in told
    assert house.logged().count(file.key) >= len(files)


async def test_what_was_removed_while_it_was_remembered_is_not_found(house):
    await house.client.get(house.path("high.m3u8"))
    file = file_of(house)
    for key in (presentation_key("song", house.presentation.generation), file.key):
        await house.store.delete(key)

    for name in ("aac-160k/10.m4s", "aac-160k.mp4"):
        answer = await house.client.get(house.path(name))
        assert answer.status == 404
        assert "tracks/" not in await answer.text()


async def test_a_stream_that_breaks_off_is_cut_and_not_ended(house):
    file = file_of(house)
    await house.store.delete(file.key)
    await house.store.put_if_absent(file.key, house.bodies[file.key][:-10])

    answer = await house.client.get(house.path("aac-160k.mp4"))

    assert answer.status == 200
    with pytest.raises(Exception, match="payload|closed|reset|not completed"):
        await answer.read()
    assert "request failed" in house.logged()


@pytest.mark.parametrize("file", ["high.m3u8", "low.mpd", "aac-96k/1.m4s", "aac-96k.mp4"])
@pytest.mark.parametrize("what", ["another track", "another title", "no JSON"])
async def test_a_description_of_something_else_is_not_served(house, what, file):
    await describe_otherwise(house, what)

    answer = await house.client.get(house.path(file))

    assert answer.status == 500
    body = await answer.json()
    assert body["type"].endswith("integrity")
    assert "song" not in str(body)
    assert "other" not in str(body)
    assert "the description of track song" in house.logged()


@pytest.mark.parametrize("what", ["another track", "another title", "no JSON"])
async def test_a_description_of_something_else_is_not_played(house, what):
    await describe_otherwise(house, what)

    answer = await house.client.post(
        "/v1/play/start",
        json={"trackId": "song", "deviceId": "d"},
        headers={"Authorization": f"Bearer {house.user()}", "Idempotency-Key": "k"},
    )

    assert answer.status == 500
    assert (await answer.json())["type"].endswith("integrity")


async def describe_otherwise(house, what):
    """Put something else where the description of the track lies."""
    key = presentation_key("song", house.presentation.generation)
    body = {
        "another track": presentation_json.encode(make_presentation("other")[0]),
        "another title": presentation_json.encode(
            dataclasses.replace(house.presentation, title="Other")
        ),
        "no JSON": b"<html>",
    }[what]
    await house.store.delete(key)
    await house.store.put_if_absent(key, body)


async def half_read(house, file):
    """A connection whose client has read the headers of a large file, and no more."""
    await publish(house, *make_presentation("big", [DrmProfile.CLEAR], [Tier.LOW], scale=1000))
    generation = house.catalogue.get("big").entry.generation
    path = house.path(
        file, token=house.token("big"), track="big", generation=generation, drm="clear"
    )
    reader, writer = await asyncio.open_connection(house.client.host, house.client.port, limit=1024)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    return reader, writer


async def closed(house):
    """Whether the store's stream is given back, soon."""
    for _ in range(200):
        if any(call[0] == "stream closed" for call in house.store.calls):
            return True
        await asyncio.sleep(0.02)
    return False


async def test_a_listener_who_leaves_is_no_failure_and_frees_the_store(house):
    _, writer = await half_read(house, "aac-96k.mp4")
    writer.transport.abort()

    assert await closed(house)
    assert house.logged() == ""


async def test_a_listener_who_stalls_is_cut_off(house, monkeypatch):
    monkeypatch.setattr(media, "STALL_TIMEOUT_S", 0.1)
    _, writer = await half_read(house, "aac-96k.mp4")

    assert await closed(house)
    assert house.logged() == ""
    writer.transport.abort()


# --- single flight


async def test_many_who_miss_cost_one_fetch(house):
    await house.client.get(house.path("high.m3u8"))
    house.store.calls.clear()
    house.store.gate = asyncio.Event()
    asks = [asyncio.create_task(house.client.get(house.path("aac-320k/4.m4s"))) for _ in range(20)]
    await asyncio.sleep(0.2)  # all of them have arrived
    house.store.gate.set()

    answers = await asyncio.gather(*asks)

    assert [a.status for a in answers] == [200] * 20
    assert len(house.store.calls) == 1
    states = sorted(a.headers["Cache-Status"] for a in answers)
    assert states == ["tonearm; fwd=uri-miss; collapsed"] * 19 + ["tonearm; fwd=uri-miss; stored"]


async def test_users_with_different_tokens_share_what_is_in_memory(house):
    for track_token in (house.token(ttl_s=100), house.token(ttl_s=200)):
        assert (
            await house.client.get(house.path("aac-96k/1.m4s", token=track_token))
        ).status == 200

    assert sum(call[0] == "get_range" for call in house.store.calls) == 1
