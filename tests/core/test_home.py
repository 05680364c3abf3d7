"""The home: private, and a clear error where it cannot be."""

import stat
from pathlib import Path

import pytest

from core.errors import InvalidInputError
from core.home import Home


def test_a_home_is_its_owners_alone(tmp_path):
    home = Home(tmp_path / "a" / "home")
    home.create()
    home.create()

    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700


def test_a_home_that_cannot_be_made_is_an_error_with_a_hint(tmp_path):
    (tmp_path / "file").write_text("")

    for path in (tmp_path / "file", tmp_path / "file" / "home"):
        with pytest.raises(InvalidInputError, match="cannot be made") as caught:
            Home(path).create()
        assert "--home" in caught.value.hint


def test_everything_a_home_names_lies_below_it(tmp_path):
    home = Home(tmp_path / "home")
    places = [home.work_dir, home.keys_path] + [
        Path(url.partition(":")[2].removeprefix("///"))
        for url in (home.hot_url, home.cold_url, home.catalogue_url, home.state_url)
    ]

    assert len(set(map(str, places))) == len(places)
    assert all(place.is_relative_to(home.path) for place in places)


def test_naming_places_makes_none(tmp_path):
    home = Home(tmp_path / "home")
    for name in ("keyring", "work_dir", "hot_url", "cold_url", "catalogue_url", "state_url"):
        assert getattr(home, name)

    assert not home.path.exists()


def test_a_home_that_is_there_keeps_its_mode_and_its_files(tmp_path):
    home = Home(tmp_path / "home")
    home.path.mkdir(mode=0o755)
    (home.path / "kept").write_text("x")
    home.create()

    assert stat.S_IMODE(home.path.stat().st_mode) == 0o755
    assert (home.path / "kept").read_text() == "x"


def test_a_homes_ring_is_the_same_for_all_who_ask(tmp_path):
    home = Home(tmp_path / "home")

    assert home.keyring.secret("user") == Home(tmp_path / "home").keyring.secret("user")
