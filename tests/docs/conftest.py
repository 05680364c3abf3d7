"""A workspace for each page; what is in it is made once."""

import pytest

from tests.docs.workspace import copied_workspace


@pytest.fixture
def workspace(tmp_path_factory, tmp_path):
    """A folder of its own that holds what the pages speak of: see `make_workspace`."""
    return copied_workspace(tmp_path_factory, tmp_path)
