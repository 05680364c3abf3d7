"""`sign`, `token` and the origin's part in `serve`, through the command line."""

import asyncio
import logging
import time

import pytest
from aiohttp.test_utils import TestClient, TestServer

from core.catalogue import Catalogue
from core.errors import InvalidInputError, ToolkitError
from core.grants import open_user
from core.home import Home
from core.model import Pathway, PathwayDecision, Tier
from core.state import open_state
from core.storage import open_store
from core.telemetry import Metrics
from core.web import create_app
from core.wiring import ServeOptions
from origin.commands import setup_role
from tests.origin.conftest import fill_home, lines, make_presentation, run


@pytest.fixture
def home(tmp_path):
    """A home with one published track."""
    return fill_home(Home(tmp_path / "home"), *make_presentation())


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
    refused = run(home, "token", "show", "x.y.z", fails=ToolkitError)
    assert "key ring of this home" in refused.exception.hint  # nobody here sends headers


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
