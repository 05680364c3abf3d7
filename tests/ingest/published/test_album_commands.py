"""`tonearm album` on local stores and a real catalogue."""

import asyncio
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from cli import wire
from core.catalogue import TrackEntry
from core.errors import ConflictError, NotFoundError
from core.home import Home
from core.model import Scheme, Tier
from ingest.published.album_commands import album
from packager.manifest import presentation
from tests.packager.manifest.examples import track


@pytest.fixture
def wiring(tmp_path):
    """Two tracks of one album; the second by name is heard first."""
    wiring = wire(Home(tmp_path))
    for position, track_id in ((2, "a-track"), (1, "b-track")):
        publish(wiring, track_id, position, 200_000 + position)
    return wiring


def publish(wiring, track_id, position, samples):
    described = presentation.seal(replace(track(samples), track_id=track_id, album_id="the-album"))
    key = f"tracks/{track_id}/{described.generation}/presentation.json"
    asyncio.run(wiring.store().put_if_absent(key, presentation.encode(described)))
    entry = TrackEntry(
        track_id=track_id,
        generation=described.generation,
        title=track_id.title(),
        artist="Somebody",
        regions=("ww",),
        master_sha256="12" * 32,
        recipe_sha256="34" * 32,
        tiers=tuple(Tier),
        schemes=(Scheme.CBCS, Scheme.CENC),
        duration_ticks=samples,
        timescale=48_000,
        loudness=described.loudness,
        album_id="the-album",
        album_position=position,
    )
    catalogue = wiring.catalogue()
    catalogue.publish(entry, published_at_s=0)
    catalogue.close()


def run(wiring, *arguments):
    """The lines of JSON that a command prints."""
    done = CliRunner().invoke(
        album, [*arguments, "--json"], obj=wiring, catch_exceptions=False, standalone_mode=False
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_albums_are_listed_with_their_tracks(wiring):
    assert run(wiring, "list") == [{"albumId": "the-album", "tracks": 2}]
    assert [t["trackId"] for t in run(wiring, "show", "the-album")] == ["b-track", "a-track"]


def test_manifests_are_made_once(wiring):
    (first,) = run(wiring, "manifest", "the-album")
    (second,) = run(wiring, "manifest", "the-album")

    assert (first["status"], second["status"]) == ("made", "unchanged")
    assert first["folder"] == second["folder"]
    hot = wiring.home.path / "hot"
    for key in first["manifests"]:
        assert (hot / key).is_file()
    playlist = (hot / first["folder"] / "cenc/aac-96k.m3u8").read_text()
    assert playlist.index("/b-track/") < playlist.index("/a-track/")


def test_a_run_that_died_half_way_is_completed(wiring):
    (first,) = run(wiring, "manifest", "the-album")
    hot = wiring.home.path / "hot"
    for key in first["manifests"][2:]:
        (hot / key).unlink()

    (again,) = run(wiring, "manifest", "the-album")

    assert again == first
    assert all((hot / key).is_file() for key in first["manifests"])


def test_a_new_generation_of_a_track_gives_new_manifests_beside_the_old(wiring):
    (first,) = run(wiring, "manifest", "the-album", "--scheme", "cbcs")
    publish(wiring, "a-track", 2, 300_000)
    (second,) = run(wiring, "manifest", "the-album", "--scheme", "cbcs")

    assert second["status"] == "made"
    assert not set(first["manifests"]) & set(second["manifests"])
    assert (wiring.home.path / "hot" / first["manifests"][0]).is_file()


def test_a_folder_gets_the_same_files(wiring, tmp_path):
    (made,) = run(wiring, "manifest", "the-album", "--output", str(tmp_path / "out"))
    (again,) = run(wiring, "manifest", "the-album", "--output", str(tmp_path / "out"))

    assert (made["status"], again["status"]) == ("made", "unchanged")
    files = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert files == set(made["manifests"])
    assert not (wiring.home.path / "hot/albums").exists()


def test_a_withdrawn_track_stops_it(wiring):
    catalogue = wiring.catalogue()
    catalogue.withdraw("a-track")
    catalogue.close()

    with pytest.raises(ConflictError, match="a-track"):
        run(wiring, "manifest", "the-album")


@pytest.mark.parametrize("command", ["show", "manifest"])
def test_an_album_that_is_not_there_is_said(wiring, command):
    with pytest.raises(NotFoundError, match="nope"):
        run(wiring, command, "nope")


def test_people_read_lines(wiring):
    done = CliRunner().invoke(
        album, ["show", "the-album"], obj=wiring, catch_exceptions=False, standalone_mode=False
    )

    assert done.stdout.splitlines()[1].split() == [
        "1", "b-track", "published", "00:04", "Somebody", "-", "B-Track",
    ]  # fmt: skip
