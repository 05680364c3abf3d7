"""A description that is not its generation's is refused at every door, with the track's name."""

import asyncio
import dataclasses

import pytest
from click.testing import CliRunner

from cli import cli, wire
from core.catalogue import TrackEntry
from core.errors import IntegrityError
from core.home import Home
from core.model import Scheme, Tier
from packager.manifest import presentation
from packager.manifest.places import presentation_key
from tests.packager.manifest.examples import track

DESCRIBED = presentation.seal(
    dataclasses.replace(track(200_000), track_id="song", album_id="the-album")
)
FOREIGN = {
    "another track's": presentation.encode(
        presentation.seal(dataclasses.replace(DESCRIBED, track_id="other"))
    ),
    "another generation's": presentation.encode(
        presentation.seal(dataclasses.replace(DESCRIBED, title="Other"))
    ),
    "changed in one word": presentation.encode(dataclasses.replace(DESCRIBED, title="Other")),
    "no JSON": b"<html>",
}
DOORS = {
    "track show": ("track", "show", "song"),
    "track verify": ("track", "verify", "song"),
    "album manifest": ("album", "manifest", "the-album"),
    "tier status": ("tier", "status", "song"),
    "tier demote": ("tier", "demote", "song"),
    "tier promote": ("tier", "promote", "song"),
    "keys rotate": ("keys", "rotate", "--track", "song"),
}


@pytest.fixture
def home(tmp_path):
    """A home whose catalogue has the track, and whose store has nothing yet."""
    home = Home(tmp_path / "home")
    entry = TrackEntry(
        track_id="song",
        generation=DESCRIBED.generation,
        title=DESCRIBED.title,
        artist=DESCRIBED.artist,
        regions=("ww",),
        master_sha256="12" * 32,
        recipe_sha256="34" * 32,
        tiers=tuple(Tier),
        schemes=tuple(Scheme),
        duration_ticks=200_000,
        timescale=48_000,
        loudness=DESCRIBED.loudness,
        album_id="the-album",
        album_position=1,
    )
    catalogue = wire(home).catalogue()
    catalogue.publish(entry, published_at_s=0)
    catalogue.close()
    return home


def store(home, description):
    key = presentation_key("song", DESCRIBED.generation)
    asyncio.run(wire(home).store().put_if_absent(key, description))


def run(home, door):
    return CliRunner().invoke(cli, ["--home", str(home.path), *DOORS[door]])


@pytest.mark.parametrize("description", FOREIGN)
@pytest.mark.parametrize("door", DOORS)
def test_a_description_of_something_else_is_refused(home, door, description):
    store(home, FOREIGN[description])

    result = run(home, door)

    assert result.exit_code == 1
    if isinstance(result.exception, IntegrityError):
        said = result.exception.message
    else:  # verify and tier say what is wrong with each track, and go on to the next
        said = result.output
    assert f"the description of track song, generation {DESCRIBED.generation}" in said


@pytest.mark.parametrize("door", ["track show", "album manifest", "tier status"])
def test_its_own_description_is_taken(home, door):
    store(home, presentation.encode(DESCRIBED))

    result = run(home, door)

    assert not isinstance(result.exception, IntegrityError)
