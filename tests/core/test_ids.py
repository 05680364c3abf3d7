"""What one door takes as an id, all doors take; what one refuses, all refuse, with a hint."""

import contextlib
import dataclasses
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cdn_router.beacons import parse as parse_report
from core import grants, ids
from core.catalogue import Catalogue
from core.errors import IntegrityError, InvalidInputError, ToolkitError
from core.keysource import KeyRequest
from core.model import Scheme, Tier
from ingest.encode.ladder import MUSIC, parse_ladder
from ingest.run.plan import Options, check_options
from ingest.run.sums import decode_sums
from keyserver.vault import Vault
from origin.playback import requests
from packager.manifest import places, presentation
from packager.manifest.album import album_of
from tests.core.test_catalogue import ENTRY
from tests.packager.manifest.examples import track

SECRET = b"s" * 32
SIGNER = grants.UrlSigner({"k1": SECRET}, active="k1")
PLAYBACK = grants.PlaybackGrant("u", "d", "s", "t", Tier.LOW, 0, 60)
few = settings(max_examples=40)  # each goes through a database or a whole description
FORMS = {name: form for name, form in vars(ids).items() if isinstance(form, ids.Form)}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    catalogue = Catalogue.open(f"sqlite:///{tmp_path_factory.mktemp('ids')}/catalogue.sqlite")
    yield catalogue
    catalogue.close()


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    vault = Vault.open(tmp_path_factory.mktemp("ids") / "vault.sqlite", SECRET, SECRET)
    yield vault
    vault.close()


def takes(door, value):
    """Whether *door* takes *value*; a refusal is one of ours, and in good words."""
    try:
        door(value)
    except ToolkitError as error:
        refusal = error
    else:
        return True
    assert refusal.hint
    assert refusal.message.isprintable()
    return False


def described(**fields):
    """A door: presentation.json with other *fields*, as a reader meets it."""
    return presentation.decode(presentation.encode(presentation.seal(dataclasses.replace(
        track(), **fields
    ))))  # fmt: skip


def signed(**fields):
    """A door: a URL token that is made and opened."""
    grant = grants.UrlGrant("t", Tier.LOW, "ww", "s", 60)
    return SIGNER.open(SIGNER.sign(dataclasses.replace(grant, **fields)), now_s=0)


def licensed(**fields):
    """A door: a playback token as the key server reads it."""
    token = grants.sign_playback(dataclasses.replace(PLAYBACK, **fields), SECRET)
    return grants.open_playback(token, SECRET, now_s=0)


def asked(**fields):
    """A door: the body of play/start."""
    body = json.dumps({"trackId": "t", "deviceId": "d"} | fields).encode()
    return requests.parse_start(body)


def reported(session_id):
    body = json.dumps({"sessionId": session_id, "seq": 1, "positionMs": 1}).encode()
    return requests.parse_report(body, "application/json")


def texts_near(form):
    """Texts of *form*, and texts that differ from one of them in a character or in length."""
    good = st.from_regex(form.pattern, fullmatch=True)
    strange = st.sampled_from(["", "A", "é", "/", "..", "\n", " ", "~", "x" * 70, "٣"])
    near = st.builds(
        lambda text, at, odd: text[: at % (len(text) + 1)] + odd + text[at % (len(text) + 1) :],
        *(good, st.integers(0, 600), strange),
    )
    return good | near | st.text(max_size=20)


VECTORS = {
    "TRACK_ID": (["a", "0-a_b", "a" * 64], ["", "A", "-a", "_a", "a.b", "a/b", "é", "a" * 65]),
    "ALBUM_ID": (["a", "0-a_b", "a" * 64], ["", "A", "-a", "_a", "a.b", "a/b", "é", "a" * 65]),
    "LADDER_NAME": (["a", "0-a_b", "a" * 32], ["", "A", "-a", "a" * 33]),
    "GENERATION": (["0123456789abcdef"], ["0" * 15, "0" * 17, "A" * 16, "g" * 16]),
    "RENDITION": (
        ["aac-96k", "flac", "low-1", "lowest", "statics", "a" * 32],
        ["", "low", "normal", "high", "lossless", "static", "a_b", "-a", "A", "a" * 33],
    ),
    "REGION": (["ww", "eu-1", "-", "a" * 16], ["", "EU", "a_b", "a" * 17]),
    "TITLE": (["", "Zoë 🎵 / \n", "x" * 500], ["x" * 501, "\ud800"]),
    "ARTIST": (["", "Zoë 🎵 / \n", "x" * 500], ["x" * 501, "\ud800"]),
    "SUBJECT": (["u", "auth0|é 5", "x" * 128], ["", "x" * 129, "\ud800"]),
    "DEVICE_ID": (["d", "A_b.c-9", "a" * 64], ["", "a b", "é", "a/b", "a~b", "a" * 65]),
    "SESSION_ID": (["s", "A_b.c-9", "a" * 64], ["", "a b", "é", "a/b", "a~b", "a" * 65]),
    "SIGNING_KEY_ID": (["k1", "A_b.c-9", "a" * 64], ["", "a b", "é", "a~b", "a" * 65]),
    "PATHWAY_ID": (["eu-a", "A_b.c-9", "a" * 64], ["", "-a", ".a", "_a", "a b", "a" * 65]),
    "REQUEST_ID": (["A-b_5678", "a" * 64], ["a" * 7, "a" * 65, "a.b.c.d.e", "a b c d e"]),
    "SHA256": (["0" * 64], ["0" * 63, "0" * 65, "A" * 64]),
    "ISRC": (["GBAYE6900531"], ["gbaye6900531", "GB-AYE-69-00531", "GBAYE690053", "1BAYE6900531"]),
}
"""Of each form what it takes and what not; the tests below only say that doors agree with it."""


@pytest.mark.parametrize("name", FORMS)
def test_a_form_takes_these_and_refuses_those(name):
    good, bad = VECTORS[name]
    # a pattern that ends in `$` would take the newline
    bad = [*bad, *([f"{good[0]}\n"] if name not in ("TITLE", "ARTIST", "SUBJECT") else [])]

    assert [text for text in good if not FORMS[name].fits(text)] == []
    assert [text for text in bad if FORMS[name].fits(text)] == []


@few
@given(text=texts_near(ids.TRACK_ID))
@example(text="a" * 64)
@example(text="a" * 65)
@example(text="a\n")
def test_a_track_id_is_taken_everywhere_or_nowhere(text, catalogue, vault):
    doors = {
        "ingest": lambda t: check_options(Options(ladder=MUSIC, track_id=t), ["one"]),
        "catalogue": lambda t: catalogue.publish(
            dataclasses.replace(ENTRY, track_id=t), published_at_s=0
        ),
        "look-up": catalogue.get,
        "presentation.json": lambda t: described(track_id=t),
        "URL token": lambda t: signed(track_id=t),
        "playback token": lambda t: licensed(track_id=t),
        "play/start": lambda t: asked(trackId=t),
        "vault": lambda t: vault.keys(KeyRequest(t, (Tier.LOW,), (Scheme.CBCS,))),
    }

    assert {name: takes(door, text) for name, door in doors.items()} == dict.fromkeys(
        doors, ids.TRACK_ID.fits(text)
    )


@few
@given(text=texts_near(ids.ALBUM_ID))
def test_an_album_id_is_taken_everywhere_or_nowhere(text, catalogue):
    doors = {
        "catalogue": lambda t: catalogue.publish(
            dataclasses.replace(ENTRY, album_id=t), published_at_s=0
        ),
        "presentation.json": lambda t: described(album_id=t),
        "manifests": lambda t: album_of(t, [track()]),
    }

    assert {name: takes(door, text) for name, door in doors.items()} == dict.fromkeys(
        doors, ids.ALBUM_ID.fits(text)
    )


@few
@given(text=texts_near(ids.REGION))
def test_a_region_group_is_taken_everywhere_or_nowhere(text, catalogue):
    doors = {
        "ingest": lambda t: check_options(Options(ladder=MUSIC, regions=(t,)), ["one"]),
        "catalogue": lambda t: catalogue.publish(
            dataclasses.replace(ENTRY, regions=("ww", t)), published_at_s=0
        ),
        "URL token": lambda t: signed(region=t),
        "user token": lambda t: grants.open_user(
            grants.sign_user(grants.User("u", Tier.LOW, t), SECRET, now_s=0, ttl_s=60),
            SECRET,
            now_s=0,
        ),
    }

    assert {name: takes(door, text) for name, door in doors.items()} == dict.fromkeys(
        doors, ids.REGION.fits(text)
    )


@pytest.mark.parametrize("count", [0, 1, ids.MAX_REGIONS, ids.MAX_REGIONS + 1])
def test_how_many_region_groups_a_track_has_is_one_number(catalogue, count):
    regions = tuple(f"r{n}" for n in range(count))
    doors = {
        "ingest": lambda r: check_options(Options(ladder=MUSIC, regions=r), ["one"]),
        "catalogue": lambda r: catalogue.publish(
            dataclasses.replace(ENTRY, regions=r), published_at_s=0
        ),
    }

    fits = 1 <= count <= ids.MAX_REGIONS
    assert {name: takes(door, regions) for name, door in doors.items()} == dict.fromkeys(
        doors, fits
    )


@few
@given(text=texts_near(ids.TITLE))
@example(text="x" * ids.MAX_TEXT)
@example(text="x" * (ids.MAX_TEXT + 1))
@example(text="\udcff")
def test_a_title_and_an_artist_are_taken_everywhere_or_nowhere(text, catalogue):
    doors = {
        "ingest": lambda t: check_options(Options(ladder=MUSIC, title=t), ["one"]),
        "ingest --artist": lambda t: check_options(Options(ladder=MUSIC, artist=t), ["one"]),
        "catalogue": lambda t: catalogue.publish(
            dataclasses.replace(ENTRY, title=t, artist=t), published_at_s=0
        ),
    }
    if text.encode("utf-8", "replace").decode() == text:  # what no UTF-8 can hold is not written
        doors["presentation.json"] = lambda t: described(title=t, artist=t)

    assert {name: takes(door, text) for name, door in doors.items()} == dict.fromkeys(
        doors, ids.TITLE.fits(text)
    )


@given(text=texts_near(ids.SESSION_ID))
def test_a_session_id_is_taken_everywhere_or_nowhere(text):
    doors = {
        "URL token": lambda t: signed(session_id=t),
        "playback token": lambda t: licensed(session_id=t),
        "heartbeat": reported,
    }

    assert {name: takes(door, text) for name, door in doors.items()} == dict.fromkeys(
        doors, ids.SESSION_ID.fits(text)
    )


@given(text=texts_near(ids.DEVICE_ID))
def test_a_device_id_is_taken_everywhere_or_nowhere(text):
    doors = {
        "play/start": lambda t: asked(deviceId=t),
        "playback token": lambda t: licensed(device_id=t),
    }

    assert {name: takes(door, text) for name, door in doors.items()} == dict.fromkeys(
        doors, ids.DEVICE_ID.fits(text)
    )


@few
@given(name=texts_near(ids.RENDITION))
@example(name="low")
@example(name="low-1")
@example(name="static")
def test_a_rendition_has_a_url_if_it_may_be_described(name):
    p = track()
    one = dataclasses.replace(p.renditions[0], name=name)

    def addressed(name):
        path = places.MediaPath("", "t", "0" * 16, "ww", "cbcs", f"{name}/1.m4s")
        assert path.parse_file().name == name

    fits = ids.RENDITION.fits(name)
    assert takes(lambda _: described(renditions=(one,)), name) == fits
    assert takes(addressed, name) == fits


@pytest.mark.parametrize("period", [-1, 0, ids.MAX_PERIOD, ids.MAX_PERIOD + 1, True, 1.0])
def test_a_key_period_is_taken_everywhere_or_nowhere(vault, period):
    p = track()

    def written(period):
        keys = tuple(dataclasses.replace(key, period=period) for key in p.keys)
        return described(keys=keys)

    fits = type(period) is int and 0 <= period <= 2**31 - 1
    assert takes(written, period) == fits
    request = KeyRequest("t", (Tier.LOW,), (Scheme.CBCS,), period)
    assert takes(lambda _: vault.keys(request), period) == fits
    if not fits:  # before it reaches a vault, which has no row for it
        with pytest.raises(InvalidInputError, match="not a key period"):
            request.uses()


@given(text=texts_near(ids.LADDER_NAME))
def test_a_ladder_is_named_by_its_file_as_by_its_text(text):
    rung = '[[rung]]\ncodec = "aac"\nbitrate_kbps = 96\ntier = "low"\n'

    assert takes(lambda name: parse_ladder(rung, name=name), text) == ids.LADDER_NAME.fits(text)


@given(text=texts_near(ids.PATHWAY_ID))
def test_a_listener_can_report_each_pathway_that_can_be_configured(text):
    body = json.dumps({"pathway": text, "firstByteMs": 40}).encode()

    assert takes(lambda _: parse_report(body), text) == ids.PATHWAY_ID.fits(text)


@given(text=texts_near(ids.SHA256))
def test_sums_hold_nothing_but_hashes(text):
    data = json.dumps({"a": text}, separators=(",", ":")).encode()

    if ids.SHA256.fits(text):
        assert decode_sums(data) == {"a": text}
    else:
        with pytest.raises(IntegrityError):
            decode_sums(data)


@pytest.mark.parametrize("name", FORMS)
def test_a_refusal_shows_the_form_and_never_a_terminal_code(name):
    with pytest.raises(InvalidInputError) as caught:
        FORMS[name].check("\x1b[31m/" * 200, "field")

    assert caught.value.message.startswith("field: ")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500
    assert caught.value.hint


@pytest.mark.parametrize("value", [None, 5, True, ["a"], {"a": 1}, b"a"])
def test_what_is_no_text_is_no_id(value):
    for form in FORMS.values():
        assert not form.fits(value)
        with pytest.raises(InvalidInputError, match="what is there is no"):
            form.check(value)


@given(st.binary(max_size=64))
def test_base64url_has_one_spelling(data):
    text = ids.write_base64url(data)

    assert ids.read_base64url(text) == data
    assert ids.read_base64url(text, size=len(data)) == data
    for other in (f"{text}=", f"{text}\n", f" {text}", text.replace("-", "+") + "+"):
        with pytest.raises(InvalidInputError, match="base64url"):
            ids.read_base64url(other)
    with pytest.raises(InvalidInputError, match=f"of {len(data) + 1} bytes"):
        ids.read_base64url(text, size=len(data) + 1)


@given(st.text(max_size=40) | st.none() | st.integers())
def test_what_is_no_base64url_raises_our_error_and_nothing_else(value):
    with contextlib.suppress(InvalidInputError):
        assert ids.write_base64url(ids.read_base64url(value)) == value


@given(st.uuids())
def test_a_uuid_has_one_spelling(value):
    assert ids.read_uuid(str(value)) == value
    for other in (value.hex, f"{{{value}}}", f"urn:uuid:{value}", f"{value} ", str(value) + "0"):
        with pytest.raises(InvalidInputError, match="not a KID") as caught:
            ids.read_uuid(other)
        assert other not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("scheme", Scheme)
def test_a_content_key_has_the_sizes_of_its_scheme_and_is_never_shown(scheme):
    key, iv = b"0123456789abcdef", bytes(ids.IV_SIZES[scheme])
    ids.check_content_key(key, iv, scheme)

    for wrong in ((key[:-1], iv), (key, iv + b"x"), (b"", b"")):
        with pytest.raises(InvalidInputError) as caught:
            ids.check_content_key(*wrong, scheme)
        assert "0123456789" not in caught.value.message + caught.value.hint
