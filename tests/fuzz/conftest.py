"""The fuzzers' world, and a folder for all that their calls write."""

import tempfile
from pathlib import Path

import pytest
from tests.fuzz.world import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Everything that valid calls need, made when it is first used."""
    return World(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(scope="session")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for temporary files of the fuzzers alone."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(autouse=True)
def inside_world(world: World, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths and temporary files lie in the world's folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TLKIT_CACHE", str(world.folder / "cache"))
    monkeypatch.chdir(world.folder)
