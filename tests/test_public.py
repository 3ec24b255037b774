import ast
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

import tlkit

ROOT = Path(__file__).parent.parent
PACKAGE = Path(tlkit.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
PACKAGES = sorted(path.parent.relative_to(PACKAGE) for path in PACKAGE.rglob("*/__init__.py"))
USES_TENSORFLOW = {  # in functions that run on that backend only
    "caching/batching.py",
    "caching/kernels.py",
    "data/augmentation.py",
    "plotting/saliency.py",
}
SUBMODULES = [name for name in tlkit.__all__ if isinstance(getattr(tlkit, name), ModuleType)]


def test_all_is_sorted_and_complete() -> None:
    public = {
        name
        for name, value in vars(tlkit).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and name != "version"
    }
    assert tlkit.__all__ == sorted(tlkit.__all__)
    assert public <= set(tlkit.__all__)
    assert all(hasattr(tlkit, name) for name in tlkit.__all__)


def _documented() -> str:
    return "\n".join(
        path.read_text() for path in sorted((ROOT / "docs" / "reference").glob("*.md"))
    )


@pytest.mark.parametrize("name", [n for n in tlkit.__all__ if n != "__version__"])
def test_every_public_name_is_in_the_reference(name: str) -> None:
    value = getattr(tlkit, name)
    path = value.__name__ if isinstance(value, ModuleType) else f"{value.__module__}.{name}"
    assert re.search(rf"^::: {re.escape(path)}$", _documented(), flags=re.M)


def _public_callables() -> list[object]:
    values = [getattr(tlkit, name) for name in tlkit.__all__]
    for module in SUBMODULES:
        inside = vars(getattr(tlkit, module)).values()
        values += [v for v in inside if getattr(v, "__module__", "") == f"tlkit.{module}"]
    return [v for v in values if callable(v) and not getattr(v, "__name__", "_").startswith("_")]


@pytest.mark.parametrize("value", _public_callables(), ids=lambda value: value.__name__)
def test_every_public_callable_says_what_it_does(value: object) -> None:
    first = (inspect.getdoc(value) or "").splitlines()[0]
    assert first.endswith((".", ":")), first
    if isinstance(value, type) and issubclass(value, Exception):
        return
    parameters = inspect.signature(value).parameters.values()
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert len(positional) <= 4


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_sources_hold_no_assert_no_print_no_pickle_and_no_tensorflow(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Assert)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
            found = {name.split(".")[0] for name in names}
            assert "pickle" not in found
            in_a_function = node.col_offset > 0
            allowed = in_a_function and path.relative_to(PACKAGE).as_posix() in USES_TENSORFLOW
            assert allowed or "tensorflow" not in found


@pytest.mark.parametrize("path", PACKAGES, ids=str)
def test_a_package_offers_what_it_lists_and_names_files_that_exist(path: Path) -> None:
    package = importlib.import_module(".".join(("tlkit", *path.parts)))
    assert all(hasattr(package, name) for name in getattr(package, "__all__", ()))
    assert "Start reading in `" in package.__doc__
    for file in re.findall(r"`(\w+\.pyi?)`", package.__doc__):
        assert (PACKAGE / path / file).exists(), file
