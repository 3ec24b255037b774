import sys
from importlib.metadata import version
from types import ModuleType

import pytest

from tlkit._internal import backends


def test_versions_are_those_of_what_is_installed() -> None:
    found = backends.package_versions("numpy", "no-such-package", "keras")
    assert found == {"numpy": version("numpy"), "keras": version("keras")}


@pytest.fixture
def starting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras has just failed to be imported, since its backend "torch" is missing."""
    monkeypatch.setitem(sys.modules, "keras", ModuleType("keras"))
    monkeypatch.setattr(backends, "installed", lambda name: name == "jax")


@pytest.mark.usefixtures("starting")
def test_a_missing_backend_is_named_with_both_ways_out() -> None:
    error = backends.explain_missing(ModuleNotFoundError(name="torch.nn"))
    assert str(error) == (
        "Keras is set to run on 'torch', which is not installed; of its backends, jax is "
        "installed. Set the environment variable KERAS_BACKEND=jax, or run: "
        "pip install 'tlkit[torch]'"
    )


@pytest.mark.usefixtures("starting")
@pytest.mark.parametrize("module", ["pandas", "jax.numpy", None])
def test_other_missing_modules_are_not_explained(module: str | None) -> None:
    assert backends.explain_missing(ModuleNotFoundError(name=module)) is None


def test_a_missing_backend_is_not_explained_once_keras_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backends, "installed", lambda name: False)
    assert backends.explain_missing(ModuleNotFoundError(name="torch")) is None
