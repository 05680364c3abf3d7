"""Without a proper token nothing is learned: one answer, whether or not the object exists."""

import dataclasses
import time

import pytest

from core.grants import UrlSigner


def _split(url):
    """Origin, token and canonical path of a player's URL."""
    scheme, _, host, token, path = url.split("/", 4)
    return f"{scheme}//{host}", token, path


def _forged(token):
    head, mac = token.rsplit(".", 1)
    return f"{head}.{'B' if mac[0] == 'A' else 'A'}{mac[1:]}"


@pytest.fixture
def session(service):
    track_id, other_id = "night-drive", "glass-hall"
    mine = service.start(track_id)
    url = mine["manifests"]["hls"]
    _, token, path = _split(url)
    _, other_token, _ = _split(service.start(other_id)["manifests"]["hls"])
    ring = {"k1": service.home.keyring.secret("url-token")}
    signer = UrlSigner(ring, active="k1")
    old = dataclasses.replace(signer.open(token, now_s=0), expires_s=int(time.time()) - 1)
    tokens = {
        "valid": token,
        "missing": None,
        "of another track": other_token,
        "expired": signer.sign(old),
        "forged": _forged(token),
        "garbage": "abc.def",
    }
    return service.url, path, tokens


REFUSED = ["missing", "of another track", "expired", "forged", "garbage"]


def _get(http, url, path, token):
    return http(f"{url}/{token}/{path}" if token else f"{url}/{path}")


def test_a_valid_token_opens_its_manifest(session, http):
    url, path, tokens = session

    answer = _get(http, url, path, tokens["valid"])

    assert answer.status == 200
    assert answer.body.startswith(b"#EXTM3U")


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_is_a_problem_with_cors_and_is_never_stored(session, http, kind):
    url, path, tokens = session

    answer = _get(http, url, path, tokens[kind])

    assert answer.status == 403
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Vary" not in answer.headers


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_has_the_same_words_whether_or_not_the_object_exists(session, http, kind):
    url, path, tokens = session
    track_id = path.split("/")[1]
    absent = path.replace(track_id, "no-such-track").replace("high", "low")

    there = _get(http, url, path, tokens[kind])
    nowhere = _get(http, url, absent, tokens[kind])

    assert (there.status, there.body) == (nowhere.status, nowhere.body)
    volatile = {"Date", "X-Request-Id", "Server-Timing"}
    assert {k: v for k, v in there.headers.items() if k not in volatile} == {
        k: v for k, v in nowhere.headers.items() if k not in volatile
    }


def test_expiry_is_told_apart_so_that_players_renew(session, http):
    url, path, tokens = session

    assert _get(http, url, path, tokens["expired"]).json()["type"].endswith("token-expired")
    assert not _get(http, url, path, tokens["forged"]).json()["type"].endswith("token-expired")


def test_a_normal_grant_does_not_open_the_high_tier(service, http):
    track_id = "night-drive"
    url, token, path = _split(service.start(track_id, tier="normal")["manifests"]["hls"])

    assert "normal.m3u8" in path
    folder = path.rsplit("/", 1)[0]
    for file in ("high.m3u8", "high.mpd", "aac-320k.m3u8", "aac-320k/1.m4s", "aac-320k.mp4"):
        assert http(f"{url}/{token}/{folder}/{file}").status == 403
    assert http(f"{url}/{token}/{folder}/aac-160k/1.m4s").status == 200


def test_no_token_stands_in_the_servers_log(service, session, http):
    url, _, tokens = session
    assert http(f"{url}/{tokens['valid']}/{'a' * 9000}").status == 400
    assert http(f"{url}/{tokens['valid']}/%00").status == 404

    log = service.log.read_text()
    for token in filter(None, tokens.values()):
        assert token not in log
