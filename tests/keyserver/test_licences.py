"""Licences over HTTP: who gets which key, and what everybody else is told."""

import asyncio
import contextlib
import hmac
import io
import json
import logging
import re
import sqlite3
import uuid
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace

import pytest

from core.errors import UnavailableError
from core.grants import PlaybackGrant, User, sign_operator, sign_playback, sign_user
from core.keysource import KeyRequest
from core.model import Scheme, Tier
from core.storage.offload import Offload
from core.telemetry import Metrics, open_log
from core.web import create_app
from keyserver.app import INSUFFICIENT, KeyServer, setup
from keyserver.doctor import KeySearch
from keyserver.lookups import Lookups
from keyserver.throttle import DenialLimit
from keyserver.vault import Vault

NOW = 1_800_000_000
PLAYBACK, OPERATOR = b"p" * 32, b"o" * 32
GRANT = PlaybackGrant("user", "device", "session", "song", Tier.NORMAL, NOW - 10, NOW + 100)
URL = "/v1/license/clearkey"


class Clock:
    """Stands still until a test moves it."""

    now_s = NOW

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def log_text():
    return io.StringIO()


@pytest.fixture
def vault(tmp_path):
    vault = Vault.open(tmp_path / "keys.sqlite", b"r" * 32, b"k" * 32)
    yield vault
    vault.close()


@pytest.fixture
def keys(vault):
    """By tier, of the track `song`."""
    query = KeyRequest("song", tuple(Tier), (Scheme.CBCS,), 0)
    return {k.description.tier: k for k in vault.keys(query)}


@pytest.fixture
async def client(aiohttp_client, vault, clock, log_text):
    app = create_app(Metrics.create(), open_log("test", log_text))
    setup(
        app,
        KeyServer(
            vault=vault,
            playback_secret=PLAYBACK,
            operator_secret=OPERATOR,
            clock=clock,
            denials=DenialLimit(denials=5),
        ),
    )
    return await aiohttp_client(app)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def playback(**changes):
    return bearer(sign_playback(replace(GRANT, **changes), PLAYBACK))


def b64url(data):
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64url(text):
    return urlsafe_b64decode(text + "==")


def eme(*kids, **members):
    return json.dumps({"kids": [b64url(k.bytes) for k in kids], "type": "temporary", **members})


def kid(key):
    return key.description.kid


async def licence(client, body, **changes):
    return await client.post(URL, data=body, headers=playback(**changes))


async def keys_in(response):
    assert response.status == 200, await response.text()
    answer = await response.json()
    assert answer["type"] == "temporary"
    assert all(k["kty"] == "oct" for k in answer["keys"])
    return {uuid.UUID(bytes=unb64url(k["kid"])): unb64url(k["k"]) for k in answer["keys"]}


async def test_a_licence_for_normal_has_no_high_key(client, keys):
    asked = eme(*(kid(k) for k in keys.values()))

    given = await keys_in(await licence(client, asked))

    assert given == {kid(keys[t]): keys[t].key for t in (Tier.LOW, Tier.NORMAL)}


async def test_a_premium_plan_gets_every_key_it_asks_for(client, keys):
    asked = eme(kid(keys[Tier.LOSSLESS]), kid(keys[Tier.LOW]))

    given = await keys_in(await licence(client, asked, tier=Tier.LOSSLESS))

    assert list(given) == [kid(keys[Tier.LOSSLESS]), kid(keys[Tier.LOW])]


async def test_a_licence_brings_the_keys_of_later_periods(client, vault, keys):
    low = keys[Tier.LOW]
    [later] = vault.keys(KeyRequest("song", (Tier.LOW,), (Scheme.CBCS,), 1))

    given = await keys_in(await licence(client, eme(kid(low))))
    raw = await client.get(f"/v1/license/raw/{kid(low)}", headers=playback())

    assert given == {kid(low): low.key, kid(later): later.key}
    assert next(iter(given)) == kid(low)
    assert await raw.read() == low.key


async def test_forged_members_do_not_raise_the_tier(client, keys):
    high = kid(keys[Tier.HIGH])
    for forged in ({"tier": "high"}, {"exp": 9}, {"type": "persistent-license"}):
        response = await licence(client, eme(high, **forged))
        assert response.status == 400
    assert (await licence(client, eme(high))).status == 403


async def test_a_licence_is_never_stored_and_may_be_read_across_origins(client, keys):
    response = await licence(client, eme(kid(keys[Tier.LOW])))

    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert response.content_type == "application/json"
    raw = (await response.read()).decode("ascii")
    assert "=" not in raw  # Chromium refuses a padded key


async def test_a_preflight_is_answered(client):
    response = await client.options(URL)

    assert response.status == 204
    assert "Authorization" in response.headers["Access-Control-Allow-Headers"]


async def test_unknown_and_foreign_and_too_high_are_one_answer(client, keys, vault):
    [foreign] = vault.keys(KeyRequest("other", (Tier.LOW,), (Scheme.CBCS,), 0))
    answers = []
    for asked in (uuid.uuid4(), kid(foreign), kid(keys[Tier.HIGH])):
        response = await licence(client, eme(asked))
        told = {
            n: v for n, v in response.headers.items() if n.lower() not in ("x-request-id", "date")
        }
        answers.append((response.status, told, await response.json()))

    assert answers[0] == answers[1] == answers[2]
    status, headers, body = answers[0]
    assert status == 403
    assert headers["Content-Type"].startswith("application/problem+json")
    assert headers["Cache-Control"] == "no-store"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert body["type"] == INSUFFICIENT


async def test_a_kid_of_nobody_beside_an_own_one_changes_nothing(client, keys):
    own = kid(keys[Tier.LOW])

    assert list(await keys_in(await licence(client, eme(uuid.uuid4(), own)))) == [own]


async def test_an_identical_retry_gets_the_same_licence_until_the_token_ends(client, keys, clock):
    asked = eme(kid(keys[Tier.LOW]))
    first = await (await licence(client, asked)).read()

    assert [await (await licence(client, asked)).read() for _ in range(2)] == [first, first]
    clock.now_s = GRANT.expires_s
    assert (await licence(client, asked)).status == 401


def forge(claims, header=None, secret=PLAYBACK, digest="sha256"):
    """A JWT by hand: libraries refuse to make the bad ones."""
    texts = [json.dumps(header or {"alg": "HS256", "typ": "JWT"}), claims]
    texts[1] = claims if isinstance(claims, str) else json.dumps(claims)
    head, payload = (b64url(text.encode()) for text in texts)
    mac = hmac.digest(secret, f"{head}.{payload}".encode(), digest)
    return f"{head}.{payload}.{b64url(mac)}"


def unsigned(alg):
    return forge(CLAIMS, {"alg": alg}).rsplit(".", 1)[0] + "."


CLAIMS = {
    "aud": "playback", "sub": "user", "did": "device", "sid": "session", "trk": "song",
    "tier": "normal", "iat": NOW - 10, "exp": NOW + 100,
}  # fmt: skip


def without(name):
    return {k: v for k, v in CLAIMS.items() if k != name}


GOOD = forge(CLAIMS)
BAD_TOKENS = {
    "none at all": "",
    "alg none": unsigned("none"),
    "alg NoNe": unsigned("NoNe"),
    "alg none, our signature": unsigned("none") + GOOD.rsplit(".", 1)[1],
    "HS512": forge(CLAIMS, {"alg": "HS512"}, digest="sha512"),
    "another secret": forge(CLAIMS, secret=OPERATOR),
    "a user's token": sign_user(User("user", Tier.HIGH, "ww"), PLAYBACK, now_s=NOW, ttl_s=60),
    "an operator's token": sign_operator(PLAYBACK, now_s=NOW),
    "exp as text": forge(CLAIMS | {"exp": str(NOW + 100)}),
    "exp 1e300": forge(CLAIMS | {"exp": 1e300}),
    "exp NaN": forge(CLAIMS | {"exp": float("nan")}),
    "exp as float": forge(CLAIMS | {"exp": NOW + 100.0}),
    "no exp": forge(without("exp")),
    "no iat": forge(without("iat")),
    "exp true": forge(CLAIMS | {"exp": True}),
    "exp in the past": forge(CLAIMS | {"exp": NOW - 1}),
    "iat five minutes ahead": forge(CLAIMS | {"iat": NOW + 300, "exp": NOW + 360}),
    "a life of 181 s": forge(CLAIMS | {"exp": NOW + 171}),
    "no track": forge(without("trk")),
    "track as a list": forge(CLAIMS | {"trk": ["song"]}),
    "a tier of nobody": forge(CLAIMS | {"tier": "platinum"}),
    "padding": GOOD + "=",
    "padded payload": ".".join(f"{p}==" for p in GOOD.split(".")),
    "a blank inside": GOOD.replace(".", ". "),
    "dirty last character": GOOD[:-1] + chr(ord(GOOD[-1]) + 1),
    "truncated": GOOD[:-2],
    "four parts": GOOD + ".x",
    "an unknown critical header": forge(CLAIMS, {"alg": "HS256", "crit": ["x"], "x": 1}),
    "an unencoded payload": forge(CLAIMS, {"alg": "HS256", "crit": ["b64"], "b64": False}),
    "exp in the header only": forge(without("exp"), {"alg": "HS256", "exp": NOW + 100}),
    "deep": forge("[" * 1200),
    "not UTF-8": GOOD.split(".", maxsplit=1)[0] + "._w." + GOOD.rsplit(".", 1)[1],
    "long": "a" * 4000,
}


@pytest.mark.parametrize("name", BAD_TOKENS)
async def test_a_bad_token_is_refused_before_the_request_is_looked_at(client, keys, name):
    good = await client.post(URL, data=eme(kid(keys[Tier.LOW])), headers=bearer(GOOD))
    assert good.status == 200

    answers = []
    for body in (eme(kid(keys[Tier.LOW])), "not json"):
        response = await client.post(URL, data=body, headers=bearer(BAD_TOKENS[name]))
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert response.headers["Cache-Control"] == "no-store"
        answers.append(await response.json())
    raw = await client.get(
        f"/v1/license/raw/{kid(keys[Tier.LOW])}", headers=bearer(BAD_TOKENS[name])
    )
    answers.append(await raw.json())
    assert answers[0] == answers[1] == answers[2]
    if name != "exp in the past":
        plain = await client.post(URL, headers=bearer("x"))
        assert answers[0] == await plain.json()


async def test_a_token_in_the_url_is_not_read(client, keys):
    for name in ("token", "access_token", "authorization"):
        response = await client.post(URL, params={name: GOOD}, data=eme(kid(keys[Tier.LOW])))
        assert response.status == 401


async def test_a_clock_thirty_seconds_ahead_does_no_harm(client, keys):
    ahead = {"issued_s": NOW + 29, "expires_s": NOW + 100}

    assert (await licence(client, eme(kid(keys[Tier.LOW])), **ahead)).status == 200


KID = b64url(bytes(16))
BAD_BODIES = {
    "empty": b"",
    "not an object": b'["' + KID.encode() + b'"]',
    "no kids": b'{"type":"temporary"}',
    "empty kids": b'{"kids":[]}',
    "kids as text": json.dumps({"kids": KID}),
    "kids of numbers": b'{"kids":[1]}',
    "33 kids": json.dumps({"kids": [b64url(uuid.uuid4().bytes) for _ in range(33)]}),
    "the same kid twice": json.dumps({"kids": [KID, KID]}),
    "kids twice": f'{{"kids":["{KID}"],"kids":["{KID}"]}}',
    "padded kid": json.dumps({"kids": [KID + "=="]}),
    "dirty low bits": json.dumps({"kids": [KID[:-1] + "B"]}),
    "standard base64": json.dumps({"kids": ["/" + KID[1:]]}),
    "ignored characters": json.dumps({"kids": [KID[:4] + "!!" + KID[4:]]}),
    "a line break": json.dumps({"kids": [KID + "\n"]}),
    "a hexadecimal kid": json.dumps({"kids": ["0" * 32]}),
    "15 bytes": json.dumps({"kids": [b64url(bytes(15))]}),
    "another script's digits": json.dumps({"kids": ["\u0660" * 21 + "A"]}),
    "depth of 100000": b"[" * 100_000,
    "depth in our size": b"[" * 2000,
    "a number of 5000 digits": b'{"kids":' + b"9" * 5000 + b"}",
    "a number of 1500 digits": b'{"kids":[' + b"9" * 1500 + b"]}",
    "NaN": b'{"kids":[NaN]}',
    "not UTF-8": b'{"kids":["\xff\xfe"]}',
    "UTF-16": json.dumps({"kids": [KID]}).encode("utf-16"),
    "half a surrogate pair": b'{"kids":["\\ud800"]}',
    "NUL": b'{"kids":["' + KID.encode() + b'"]}\0',
    "a wrong type": json.dumps({"kids": [KID], "type": "persistent-license"}),
    "type as a list": json.dumps({"kids": [KID], "type": ["temporary"]}),
    "an unknown member": json.dumps({"kids": [KID], "tier": "high"}),
    "trailing text": json.dumps({"kids": [KID]}) + "{}",
}


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_a_body_that_is_no_licence_request_is_a_clean_400(client, name, log_text):
    response = await licence(client, BAD_BODIES[name])
    body = await response.json()

    assert response.status in ((400, 413) if name == "depth of 100000" else (400,))
    assert response.content_type == "application/problem+json"
    assert KID not in body["detail"]
    assert log_text.getvalue() == ""  # not even a traceback of ours


async def test_kids_cannot_be_enumerated(client, keys, clock):
    low = eme(kid(keys[Tier.LOW]))
    statuses = [(await licence(client, eme(uuid.uuid4()))).status for _ in range(7)]
    assert statuses == [403] * 5 + [429] * 2

    # the guesser is answered nothing at all, whatever is asked, but other sessions are
    response = await licence(client, low)
    assert response.status == 429
    assert 0 < int(response.headers["Retry-After"]) <= 60
    assert (await licence(client, low, session_id="another")).status == 200
    clock.now_s += 60
    assert (await licence(client, low)).status == 200
    # a renewed token of the same session is no new budget
    for _ in range(5):
        await licence(client, eme(uuid.uuid4()))
    renewed = {"issued_s": NOW + 50, "expires_s": NOW + 170}
    assert (await licence(client, low, **renewed)).status == 429


async def test_there_is_no_route_that_lists_anything(client):
    for path in ("/v1/license", "/v1/license/raw", "/v1/license/raw/", URL, "/v1/keys", "/"):
        assert (await client.get(path, headers=playback())).status in (404, 405)


async def test_a_raw_key_is_16_octets(client, keys):
    low = keys[Tier.LOW]
    response = await client.get(f"/v1/license/raw/{kid(low)}", headers=playback())

    assert await response.read() == low.key
    assert response.content_type == "application/octet-stream"
    assert response.headers["Cache-Control"] == "no-store"


async def test_a_raw_key_needs_the_tier_the_track_and_one_spelling(client, keys):
    high, low = kid(keys[Tier.HIGH]), kid(keys[Tier.LOW])
    statuses = {}
    for text in (high, uuid.uuid4(), str(low).upper(), low.hex, f"{{{low}}}", f"urn:uuid:{low}"):
        response = await client.get(f"/v1/license/raw/{text}", headers=playback())
        statuses[str(text)] = response.status
        assert response.content_type == "application/problem+json"

    assert list(statuses.values()) == [
        403,
        403,
        400,
        400,
        404,
        400,
    ]  # a brace ends the route's pattern
    foreign = await client.get(f"/v1/license/raw/{low}", headers=playback(track_id="other"))
    assert foreign.status == 403


async def test_a_packager_is_given_the_same_keys_as_the_vault_holds(client, vault):
    wanted = {"trackId": "new", "tiers": ["low", "high"], "schemes": ["cbcs", "cenc"], "period": 3}
    operator = bearer(sign_operator(OPERATOR, now_s=NOW))

    response = await client.post("/v1/keys", json=wanted, headers=operator)
    again = await client.post("/v1/keys", json=wanted, headers=operator)

    assert response.headers["Cache-Control"] == "no-store"
    answer = await response.json()
    assert await again.json() == answer
    query = KeyRequest("new", (Tier.LOW, Tier.HIGH), tuple(Scheme), 3)
    assert [(unb64url(k["key"]), unb64url(k["iv"]), k["kid"]) for k in answer["keys"]] == [
        (k.key, k.iv, str(kid(k))) for k in vault.keys(query)
    ]


async def test_only_an_operator_gets_keys(client, vault):
    wanted = {"trackId": "new", "tiers": ["low"], "schemes": ["cbcs"]}
    old = sign_operator(OPERATOR, now_s=NOW - 301)
    for headers in ({}, playback(), bearer(old), bearer(sign_operator(PLAYBACK, now_s=NOW))):
        response = await client.post("/v1/keys", json=wanted, headers=headers)
        assert response.status == 401
    assert list(vault.stored()) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 1000,
        {"trackId": "../x", "tiers": ["low"], "schemes": ["cbcs"]},
        {"trackId": 1, "tiers": ["low"], "schemes": ["cbcs"]},
        {"trackId": "x", "tiers": [], "schemes": ["cbcs"]},
        {"trackId": "x", "tiers": ["low", "low"], "schemes": ["cbcs"]},
        {"trackId": "x", "tiers": ["gold"], "schemes": ["cbcs"]},
        {"trackId": "x", "tiers": [["low"]], "schemes": ["cbcs"]},
        {"trackId": "x", "tiers": "low", "schemes": ["cbcs"]},
        {"trackId": "x", "tiers": ["low"], "schemes": ["cens"]},
        {"trackId": "x", "tiers": ["low"], "schemes": ["cbcs"], "period": -1},
        {"trackId": "x", "tiers": ["low"], "schemes": ["cbcs"], "period": True},
        {"trackId": "x", "tiers": ["low"], "schemes": ["cbcs"], "period": 10**30},
        {"trackId": "x", "tiers": ["low"], "schemes": ["cbcs"], "more": 1},
    ],
)
async def test_a_malformed_key_request_is_a_clean_400(client, body, vault, log_text):
    data = body if isinstance(body, bytes) else json.dumps(body)
    operator = bearer(sign_operator(OPERATOR, now_s=NOW))

    response = await client.post("/v1/keys", data=data, headers=operator)

    assert response.status == 400
    assert list(vault.stored()) == []
    assert log_text.getvalue() == ""


async def test_no_key_leaves_by_any_other_door(client, keys, log_text, tmp_path, caplog):
    """The canary: known keys, every route and its errors, then a search in every encoding."""
    caplog.set_level(logging.DEBUG)
    foreign = playback(track_id="other", session_id="another")
    tokens, outside = [playback(), foreign, bearer(GOOD[:-2]), {}], []
    bodies = [eme(uuid.uuid4()), eme(kid(keys[Tier.HIGH])), "{", eme(type="x")]
    for headers in tokens:
        for body in bodies:
            response = await client.post(URL, data=body, headers=headers)
            outside += [await response.read(), str(response.headers).encode()]
        for path in ("/healthz", "/readyz", "/metrics", "/v1/keys", "/nothing"):
            outside.append(await (await client.get(path, headers=headers)).read())
        raw = await client.get(f"/v1/license/raw/{kid(keys[Tier.HIGH])}", headers=headers)
        outside.append(await raw.read())
    # a good answer too: then the logs and the metrics must still say nothing
    given = await (await licence(client, eme(kid(keys[Tier.LOW])))).read()
    with contextlib.closing(sqlite3.connect(tmp_path / "keys.sqlite")) as database:
        database.execute("UPDATE content_key SET period = 9 WHERE tier = 'normal'")
        database.commit()
    failed = await licence(client, eme(kid(keys[Tier.NORMAL])))
    assert failed.status == 500
    outside += [await failed.read(), await (await client.get("/metrics")).read()]
    outside += [log_text.getvalue().encode(), caplog.text.encode(), repr(keys).encode()]
    outside += [p.read_bytes() for p in tmp_path.iterdir()]

    search = KeySearch([k.key for k in keys.values()] + [PLAYBACK[:16], b"r" * 16, b"k" * 16])
    assert search.finds(given)  # the search works
    assert [data for data in outside if search.finds(data)] == []
    assert "IntegrityError" in log_text.getvalue()
    assert str(kid(keys[Tier.NORMAL])) not in log_text.getvalue()


async def test_metrics_count_licences_by_result_and_name_nobody(client, keys):
    low, high = kid(keys[Tier.LOW]), kid(keys[Tier.HIGH])
    for asked in ([low], [low, high], [high], [uuid.uuid4()]):
        await licence(client, eme(*asked))

    text = await (await client.get("/metrics")).text()

    counts = dict(re.findall(r'license_requests_total{result="(\w+)"} ([\d.]+)', text))
    assert counts == {"full": "1.0", "partial": "1.0", "denied": "2.0"}
    for name in ("user", "device", "session", "song", str(low)):
        assert not re.search(rf'="[^"]*{name}', text)


async def test_readiness_is_the_vaults(client, vault):
    assert (await client.get("/readyz")).status == 200
    vault.close()
    response = await client.get("/readyz")
    assert (response.status, (await response.json())["checks"]["vault"]) == (503, "IntegrityError")


async def test_unknown_and_foreign_kids_are_one_query(client, keys, vault):
    """Time is the same by structure: both are rows that the one query does not find."""
    [foreign] = vault.keys(KeyRequest("other", (Tier.LOW,), (Scheme.CBCS,), 0))
    statements = []
    vault._database.set_trace_callback(statements.append)  # noqa: SLF001  the only way to see them
    for asked in (uuid.uuid4(), kid(foreign), kid(keys[Tier.HIGH])):
        await licence(client, eme(asked))
    vault._database.set_trace_callback(None)  # noqa: SLF001  likewise

    shapes = {re.sub(r"x'[0-9a-fA-F]+'", "?", s) for s in statements}
    assert len(statements) == 3
    assert len(shapes) == 1


async def test_many_at_once_are_all_served(client, keys):
    asked = eme(kid(keys[Tier.LOW]))

    responses = await asyncio.gather(*(licence(client, asked) for _ in range(50)))

    assert [r.status for r in responses] == [200] * 50


async def test_a_broken_row_harms_nobody_else_who_asks_at_the_same_time(client, keys, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "keys.sqlite")) as database:
        database.execute("UPDATE content_key SET iv = zeroblob(16) WHERE tier = 'normal'")
        database.commit()
    asked = [eme(kid(keys[t])) for t in (Tier.LOW, Tier.NORMAL)] * 20

    responses = await asyncio.gather(*(licence(client, body) for body in asked))

    assert [r.status for r in responses] == [200, 500] * 20


async def test_a_player_that_hangs_up_leaves_the_others_served(client, keys):
    asked = eme(kid(keys[Tier.LOW]))
    tasks = [asyncio.create_task(licence(client, asked)) for _ in range(40)]
    await asyncio.sleep(0.01)
    for task in tasks[::2]:
        task.cancel()

    assert [(await task).status for task in tasks[1::2]] == [200] * 20


async def test_look_ups_beyond_the_limit_are_told_to_come_back(vault, keys, monkeypatch):
    monkeypatch.setattr("keyserver.lookups.MAX_WAITING", 3)
    offload = Offload("vault", 1)
    lookups = Lookups(vault, offload)
    asked = [kid(keys[Tier.LOW])]

    answers = await asyncio.gather(
        *(lookups.licence(asked, track_id="song", tier=Tier.LOW) for _ in range(5)),
        return_exceptions=True,
    )
    await offload.aclose()

    assert [isinstance(a, UnavailableError) for a in answers] == [False] * 3 + [True] * 2
    assert answers[0][0].key == keys[Tier.LOW].key


async def test_a_bug_in_a_look_up_is_an_error_and_not_a_hang(vault):
    offload = Offload("vault", 1)
    lookups = Lookups(vault, offload)
    with pytest.raises(AttributeError):
        await lookups.licence(["no uuid"], track_id="song", tier=Tier.LOW)
    await offload.aclose()
    with pytest.raises(RuntimeError, match="shutdown"):
        await lookups.licence([], track_id="song", tier=Tier.LOW)


def test_the_search_for_keys_knows_every_spelling():
    key = bytes(range(7, 23))
    search = KeySearch([key])

    for form in (
        key,
        key.hex().encode(),
        key.hex().upper().encode(),
        str(uuid.UUID(bytes=key)).encode(),
        b64encode(key),
        urlsafe_b64encode(key).rstrip(b"="),
        *(b64encode(b"x" * n + key + b"y") for n in (1, 2, 3)),
        key.hex().encode("utf-16"),
        b64encode(key).decode().encode("utf-16-be"),
    ):
        assert search.finds(b"before " + form + b" after"), form
    assert not search.finds(b"before " + key[:15] + b" after" + key.hex().encode()[1:])
