"""The home: private, and a clear error where it cannot be."""

import stat

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
