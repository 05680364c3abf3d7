"""Which keys a plan gets: the premium rung's key is in a premium licence only."""

import json
from base64 import urlsafe_b64encode

import pytest

from core.model import Scheme, Tier


def _b64(data):
    return urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.fixture
def licence(service, http):
    """Ask for every key of a track with the plan *tier*; the tiers that were answered."""

    def ask(track_id, tier, *, token=None, scheme=Scheme.CBCS):
        session = service.start(track_id, tier=tier, scheme=scheme.value)
        kids = {
            _b64(key.kid.bytes): key.tier
            for key in service.tracks[track_id].keys
            if key.scheme is scheme
        }
        answer = http(
            session["license"]["clearkey"]["url"],
            method="POST",
            headers={"Authorization": f"Bearer {token or session['license']['token']}"},
            body=json.dumps({"kids": list(kids), "type": "temporary"}).encode(),
        )
        return answer, kids

    return ask


@pytest.mark.parametrize("scheme", Scheme)
@pytest.mark.parametrize("tier", Tier)
def test_a_licence_has_the_keys_of_the_plan_and_no_other(licence, tier, scheme):
    track_id = "night-drive"

    answer, kids = licence(track_id, tier.value, scheme=scheme)

    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    given = {kids[key["kid"]] for key in answer.json()["keys"]}
    assert given == {t for t in kids.values() if tier.includes(t)}


def test_a_licence_is_refused_without_a_token_of_this_track(service, licence):
    track_id, other_id = "night-drive", "glass-hall"
    other = service.start(other_id)["license"]["token"]

    answer, _ = licence(track_id, "high", token=other)
    assert answer.status == 403
    answer, _ = licence(track_id, "high", token="abc")
    assert answer.status == 401


def test_no_key_stands_in_the_home_in_the_clear(service, tonearm):
    done = tonearm(service.home.path, "keys", "doctor", service.home.path, service.log)

    assert done.returncode == 0
