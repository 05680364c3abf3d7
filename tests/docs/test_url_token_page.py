"""docs/url-token.md: its vectors, and its validator, against the origin's own."""

import hashlib
import hmac
import json
import random
import re
import subprocess
import sys

import pytest

from core.errors import ToolkitError
from core.grants import MAX_TOKEN_LENGTH, TokenExpiredError, UrlGrant, UrlSigner
from core.model import Tier
from packager.manifest.places import MAX_PATH_LENGTH, parse
from tests.docs.pages import PAGES, blocks

PAGE = "docs/url-token.md"
SECRET = bytes(range(32))
VECTORS = json.loads(blocks(PAGE, "json")[0].text)
DRIVER = """
import json, sys
for case in json.load(sys.stdin):
    print(allowed(case["path"], {"k1": bytes(range(32))}, case["now"]))
"""
MUTATIONS = 400


def _validate(cases):
    """What the page's validator says; `-I` keeps our own modules out of its sight."""
    [block] = blocks(PAGE, "python")
    done = subprocess.run(
        [sys.executable, "-I", "-c", block.text + DRIVER], input=json.dumps(cases),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


def _ours(path, now_s):
    """What the origin says before it looks at catalogue and store."""
    try:
        media = parse(path)
        grant = UrlSigner({"k1": SECRET}, "k1").open(media.token, now_s=now_s)
        tier = media.parse_file().tier
    except TokenExpiredError:
        return "expired"
    except ToolkitError:
        return "refused"
    if (grant.track_id, grant.region) != (media.track_id, media.region):
        return "refused"
    return "refused" if tier and not grant.tier.includes(tier) else "ok"


def test_the_vectors_hold_for_the_origin_and_for_the_validator_of_the_page():
    results = [case["result"] for case in VECTORS]

    assert {"ok", "expired", "refused"} == set(results)
    assert [_ours(case["path"], case["now"]) for case in VECTORS] == results
    assert _validate(VECTORS) == results


def test_the_validator_refuses_what_the_origin_refuses():
    dice = random.Random(1)  # the same mutations each time: a failure can be repeated
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.~"
    cases = []
    for _ in range(MUTATIONS):
        case = dice.choice(VECTORS)
        at = dice.randrange(1, len(case["path"].partition("/m/")[0]))
        kept = dice.choice((0, 1))  # replace a character of the token, or put one in
        path = case["path"][:at] + dice.choice(alphabet) + case["path"][at + 1 - kept :]
        cases.append({"path": path, "now": case["now"]})

    assert _validate(cases) == [_ours(case["path"], case["now"]) for case in cases]


def test_the_worked_example_is_what_the_signer_does():
    [secret] = re.findall(r"^Secret `([0-9a-f]{64})`", PAGES[PAGE], re.MULTILINE)
    row = re.compile(r"^\| (payload|HMAC-SHA-256|token) \| `([^`]+)` \|$", re.MULTILINE)
    steps = dict(row.findall(PAGES[PAGE]))
    _, expires, track, tier, region, session = steps["payload"].split("~")
    grant = UrlGrant(track, Tier(tier), region, session, int(expires))
    mac = hmac.digest(SECRET, b"tonearm-url/1\0" + steps["payload"].encode(), hashlib.sha256)

    assert bytes.fromhex(secret) == SECRET
    assert steps["HMAC-SHA-256"] == mac.hex()
    assert f"`{mac[:16].hex()}`" in PAGES[PAGE]
    assert steps["token"] == UrlSigner({"k1": SECRET}, "k1").sign(grant)


@pytest.mark.parametrize("limit", [MAX_TOKEN_LENGTH, MAX_PATH_LENGTH])
def test_limits_stand_in_the_page(limit):
    assert f"at most {limit} characters" in PAGES[PAGE]
