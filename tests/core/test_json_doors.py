"""Every door that takes JSON refuses the same things, in the same words, over real sockets."""

import gzip
import hmac
import json
from base64 import urlsafe_b64encode
from itertools import product

import pytest
from joserfc import jws
from joserfc.jwk import OctKey

from core import grants
from core.errors import IntegrityError, InvalidInputError, UnauthorizedError
from core.keyring import KeyRing
from core.model import Tier
from ingest.run.sums import decode_sums
from packager.manifest import presentation
from tests.packager.manifest.examples import track

SECRET = b"s" * 32


# path, credential, a body that the door understands
DOORS = {
    "start": ("/v1/play/start", "user", {"trackId": "t", "deviceId": "d"}),
    "heartbeat": ("/v1/play/heartbeat", "playback", {"sessionId": "s", "seq": 1, "positionMs": 1}),
    "end": ("/v1/play/end", "playback", {"sessionId": "s", "seq": 1, "positionMs": 1}),
    "clearkey": ("/v1/license/clearkey", "playback", {"kids": ["AAAAAAAAAAAAAAAAAAAAAA"]}),
    "keys": ("/v1/keys", "operator", {"trackId": "t", "tiers": ["low"], "schemes": ["cbcs"]}),
    "report": ("/v1/rum", "playback", {"pathway": "base", "firstByteMs": 40}),
    "choose": ("/v1/router/choose", "choice", {"sessionId": "s", "region": "ww", "trackId": "t"}),
}


def with_more(text):
    """What makes a body with one more member of it, which stands first."""
    return lambda body: b"{" + text + b"," + json.dumps(body).encode()[1:]


SPOILT = {
    "a member stands twice": lambda body: with_more(
        json.dumps(dict([next(iter(body.items()))])).encode()[1:-1]
    )(body),
    "a member of a member stands twice": with_more(b'"x":{"a":1,"a":1}'),
    "NaN": with_more(b'"x":NaN'),
    "-Infinity": with_more(b'"x":-Infinity'),
    "a number without end": with_more(b'"x":' + b"9" * 400),
    "an exponent without end": with_more(b'"x":1e999'),
    "half of a pair": with_more(b'"x":"\\ud800"'),
    "a half pair in a name": with_more(b'"\\udc00":1'),
    "not UTF-8": with_more(b'"x":"\xed\xa0\x80"'),
    "too deep": with_more(b'"x":' + b"[" * 40 + b"]" * 40),
    "no JSON": lambda body: json.dumps(body).encode() + b",",
    "a byte order mark": lambda body: b"\xef\xbb\xbf" + json.dumps(body).encode(),
    "nothing": lambda _: b"",
}


@pytest.mark.parametrize(
    "door, fault",
    # a beacon that reports nothing is a beacon
    [pair for pair in product(DOORS, SPOILT) if pair != ("report", "nothing")],
)
def test_what_no_two_readers_would_agree_on_is_refused_at_every_door(server, door, fault):
    path, credential, body = DOORS[door]

    status, answer = server.post(path, credential, SPOILT[fault](body))

    assert status == 400
    assert answer["type"] == "urn:tonearm:problem:invalid-input"
    if not (door == "report" and fault == "a byte order mark"):  # it may be CMCD
        assert answer["detail"].startswith("the request body cannot be read: ")
        assert answer["hint"] == "send JSON in UTF-8, with each member once"


@pytest.mark.parametrize("door", DOORS)
def test_the_same_body_is_understood_without_the_fault(server, door):
    path, credential, body = DOORS[door]

    status, _ = server.post(path, credential, json.dumps(body).encode())

    assert status != 400


@pytest.mark.parametrize("door", DOORS)
def test_a_body_that_would_have_to_be_unpacked_is_refused_at_every_door(server, door):
    path, credential, body = DOORS[door]
    packed = gzip.compress(json.dumps(body).encode())

    for data in (packed, packed[:-9], b"nonsense"):
        status, answer = server.post(path, credential, data, **{"Content-Encoding": "gzip"})
        assert (status, answer["type"]) == (415, "urn:tonearm:problem:body-encoded")


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"x"'])
@pytest.mark.parametrize("door", [door for door in DOORS if door != "report"])
def test_what_is_no_object_is_refused(server, door, body):
    path, credential, _ = DOORS[door]

    assert server.post(path, credential, body)[0] == 400


def test_a_description_with_a_doubled_field_is_refused():
    data = presentation.encode(track())

    with pytest.raises(InvalidInputError, match="stands twice"):
        presentation.decode(data.replace(b'"title":', b'"title":"a","title":'))


def test_sums_with_a_doubled_name_are_refused():
    with pytest.raises(IntegrityError):
        decode_sums(b'{"a":"%s","a":"%s"}' % (b"0" * 64, b"1" * 64))


def test_a_key_ring_with_a_doubled_secret_is_refused(tmp_path):
    path = tmp_path / "keyring.json"
    path.write_text('{"user": "YQ==", "user": "Yg=="}')
    path.chmod(0o600)

    with pytest.raises(InvalidInputError, match="not a key ring"):
        KeyRing(path).secret("user")


@pytest.mark.parametrize(
    "header",
    [
        '["alg"]', '"alg"', "null", "{}", '{"alg":"none"}', '{"alg":["HS256"]}',
        '{"alg":"none","alg":"HS256"}', '{"alg":"HS256","\\u0061lg":"none"}',
        '{"alg":"HS256","crit":1}', '{"alg":"HS256","crit":null}', '{"alg":"HS256","crit":[]}',
        '{"alg":"HS256","x":' + "[" * 40 + "]" * 40 + "}", '{"alg":"HS256","typ":7}',
    ],
)  # fmt: skip
def test_an_odd_header_is_refused_though_the_signature_holds(header):
    claims = b'{"aud":"tonearm","sub":"u","tier":"low","iat":0,"exp":60}'
    signed = b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in (header.encode(), claims))
    mac = urlsafe_b64encode(hmac.digest(SECRET, signed, "sha256")).rstrip(b"=")

    with pytest.raises(UnauthorizedError):
        grants.open_user(b".".join((signed, mac)).decode(), SECRET, now_s=1)


@pytest.mark.parametrize(
    "claims",
    [
        '{"aud":"tonearm","sub":"u","tier":"low","tier":"lossless","iat":0,"exp":60}',
        '{"aud":"keys","aud":"tonearm","sub":"u","tier":"low","iat":0,"exp":60}',
        '{"aud":"tonearm","sub":"u","tier":"low","iat":0,"exp":60,"x":NaN}',
        '{"aud":"tonearm","sub":"u","tier":"low","iat":0,"exp":60,"x":"\\ud800"}',
    ],
)
def test_a_token_that_says_two_things_is_refused_though_its_signature_holds(claims):
    good = '{"aud":"tonearm","sub":"u","tier":"low","iat":0,"exp":60}'
    key = OctKey.import_key(SECRET)
    sign = lambda text: jws.serialize_compact({"alg": "HS256"}, text.encode(), key)  # noqa: E731  short
    assert grants.open_user(sign(good), SECRET, now_s=1).tier is Tier.LOW

    with pytest.raises(UnauthorizedError):
        grants.open_user(sign(claims), SECRET, now_s=1)
