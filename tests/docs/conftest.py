"""One workspace for all pages; each gets a copy."""

import pytest

from tests.docs.workspace import copy_workspace, make_workspace


@pytest.fixture(scope="session")
def made_workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("pages"))


@pytest.fixture
def workspace(made_workspace, tmp_path):
    """A folder of its own that holds what the pages speak of: see `make_workspace`."""
    return copy_workspace(made_workspace, tmp_path)
