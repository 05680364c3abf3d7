"""`track`, `sign`, `token` and the origin's part in `serve`, through the command line."""

import asyncio
import json
import logging
import time

import pytest
from aiohttp.test_utils import TestClient, TestServer
from click.testing import CliRunner

from cli import cli
from core.catalogue import Catalogue
from core.errors import InvalidInputError, NotFoundError, ToolkitError
from core.grants import open_user
from core.home import Home
from core.model import Pathway, PathwayDecision, Tier
from core.serving import ServeOptions
from core.state import open_state
from core.storage import open_store
from core.telemetry import Metrics
from core.web import create_app
from origin.commands import setup_role
from packager.manifest import presentation as presentation_json
from tests.origin.conftest import entry_of, make_presentation


@pytest.fixture
def home(tmp_path):
    """A home with one published track."""
    home = Home(tmp_path / "home")
    home.path.mkdir()
    presentation, bodies = make_presentation()
    stem = f"tracks/song/{presentation.generation}"

    async def fill():
        store = open_store(home.hot_url)
        for key, body in bodies.items():
            await store.put_if_absent(key, body)
        body = presentation_json.encode(presentation)
        await store.put_if_absent(f"{stem}/presentation.json", body)
        await store.aclose()

    asyncio.run(fill())
    catalogue = Catalogue.open(home.catalogue_url)
    catalogue.publish(entry_of(presentation), published_at_s=1_800_000_000)
    catalogue.close()
    return home


def run(home, *arguments, fails=None, **how):
    result = CliRunner().invoke(cli, ["--home", str(home.path), *arguments], **how)
    if fails:
        assert isinstance(result.exception, fails), result.exception
        return result
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def lines(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_tracks_are_listed_and_shown(home):
    (line,) = lines(run(home, "track", "list", "--json"))
    assert (line["trackId"], line["status"], line["publishedAt"]) == (
        "song", "published", "2027-01-15T08:00:00Z",
    )  # fmt: skip
    assert "song\tpublished\thot" in run(home, "track", "list").stdout
    (shown,) = lines(run(home, "track", "show", "song", "--json"))
    assert [r["name"] for r in shown["renditions"]] == ["aac-96k", "aac-160k", "aac-320k"]
    assert shown["loudness"]["integratedLufs"] == -14.0
    assert "aac-320k" in run(home, "track", "show", "song").stdout


def test_an_unknown_track_is_one_clear_error(home):
    for command in ("show", "withdraw", "restore", "remove", "history"):
        run(home, "track", command, "nosuch", fails=NotFoundError)


def test_a_track_is_withdrawn_and_given_back(home):
    assert lines(run(home, "track", "withdraw", "song", "--json"))[0]["status"] == "withdrawn"
    assert lines(run(home, "track", "restore", "song", "--json"))[0]["status"] == "published"


def test_removing_deletes_every_file_and_keeps_the_history(home):
    refused = CliRunner().invoke(cli, ["--home", str(home.path), "track", "remove", "song"],
                                 input="n\n")  # fmt: skip
    assert refused.exit_code != 0
    assert lines(run(home, "track", "list", "--json"))

    (removed,) = lines(run(home, "track", "remove", "song", "--yes", "--json"))

    assert removed == {"trackId": "song", "removed": True, "objects": 7}
    assert run(home, "track", "list").stdout == ""
    assert [p for p in (home.path / "hot").rglob("*") if p.is_file() and "song" in str(p)] == []
    (line,) = lines(run(home, "track", "history", "song", "--json"))
    assert line["kept"] is False
    run(home, "track", "remove", "song", "--yes", fails=NotFoundError)


def test_a_user_token_is_what_it_says(home):
    token = run(home, "token", "issue", "--tier", "normal", "--region", "de").stdout.strip()

    user = open_user(token, home.keyring.secret("user"), now_s=time.time())

    assert (user.subject, user.tier, user.region) == ("dev", Tier.NORMAL, "de")
    (shown,) = lines(run(home, "token", "show", token, "--json"))
    assert (shown["kind"], shown["subject"], shown["tier"]) == ("user", "dev", "normal")
    assert "normal" in run(home, "token", "show", "-", input=token + "\n").stdout


def test_tokens_that_nobody_would_take_are_not_made_or_shown(home):
    run(home, "token", "issue", "--region", "D E", fails=InvalidInputError)
    run(home, "token", "issue", "--subject", "", fails=InvalidInputError)
    run(home, "token", "show", "x.y.z", fails=ToolkitError)


def test_a_path_is_signed_for_no_more_than_it_names(home):
    path = "/m/song/0123456789abcdef/ww/cbcs/normal.m3u8"
    (signed,) = lines(run(home, "sign", path, "--ttl", "60", "--json"))

    assert signed["path"].endswith(path)
    token = signed["path"].split("/")[1]
    (shown,) = lines(run(home, "token", "show", token, "--json"))
    assert (shown["kind"], shown["trackId"], shown["tier"]) == ("url", "song", "normal")
    run(home, "sign", "/etc/passwd", fails=InvalidInputError)
    run(home, "sign", "/m/a/b/../c/d/high.m3u8", fails=InvalidInputError)


class _Wiring:
    """The command line's wiring, without a router."""

    def __init__(self, home):
        self.home = home

    def catalogue(self):
        return Catalogue.open(self.home.catalogue_url)

    def state(self):
        return open_state(self.home.state_url)

    def store(self, url=None):
        return open_store(url or self.home.hot_url)

    def chooser(self, app, options):
        return self

    async def choose(self, session):
        return PathwayDecision("d", (Pathway("only", "http://127.0.0.1"),))


@pytest.mark.parametrize("pathways", [1, 2])
async def test_serve_makes_an_origin_of_the_home(home, pathways):
    app = create_app(Metrics.create(), logging.Logger("test"))  # noqa: LOG001  a value
    options = ServeOptions(
        roles=("origin",),
        pathways=tuple(Pathway(f"p{n}", "http://127.0.0.1") for n in range(pathways)),
        region="ww",
        public_url="http://127.0.0.1",
        license_base="",
        router_url=None,
        steering_ttl_s=None,
    )
    setup_role(app, _Wiring(home), options)
    async with TestClient(TestServer(app)) as client:
        token = await asyncio.to_thread(run, home, "token", "issue")
        answer = await client.post(
            "/v1/play/start",
            json={"trackId": "song", "deviceId": "d"},
            headers={"Authorization": f"Bearer {token.stdout.strip()}", "Idempotency-Key": "k"},
        )
        assert answer.status == 200
        url = (await answer.json())["manifestUrl"].removeprefix("http://127.0.0.1")
        playlist = await (await client.get(url)).text()
        assert ("EXT-X-CONTENT-STEERING" in playlist) == (pathways > 1)
        segment = url.rpartition("/")[0] + "/aac-320k/1.m4s"
        assert (await client.get(segment)).status == 200
        assert (await client.get("/readyz")).status == 200


def test_a_rendition_is_signed_for_the_tier_that_is_asked_for(home):
    for options, tier in ((["--tier", "low"], "low"), ([], "lossless")):
        signed = run(home, "sign", "/m/song/0123456789abcdef/ww/cbcs/aac-96k.mp4", *options)
        token = signed.stdout.split("/")[1]
        assert lines(run(home, "token", "show", token, "--json"))[0]["tier"] == tier
