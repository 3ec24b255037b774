"""The fuzzers' world, and a folder for all that their calls write."""

import tempfile
from collections.abc import Iterator

import pytest
from tests.fuzz.world import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Everything that valid calls need; relative paths and temporary files lie in its folder."""
    folder = tmp_path_factory.mktemp("fuzz")
    temporary = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(temporary))
        patch.setenv("TLKIT_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        yield World(folder)
