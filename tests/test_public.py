"""What users see: the names of each package, their documentation, and what importing them costs."""

import ast
import graphlib
import importlib
import inspect
import operator
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import keras
import pytest

import tlkit
from tlkit.errors import ConfigError

ROOT = Path(__file__).parent.parent
SOURCE = Path(tlkit.__file__).parent  # of the installed package: CI tests the wheel without src/
SOURCES = sorted(SOURCE.rglob("*.py"))
STUBS = sorted(SOURCE.rglob("__init__.pyi"))
DOORS = {
    "tlkit.datasets": "tlkit.data.datasets",
    "tlkit.freezing": "tlkit.models.freezing",
    "tlkit.recipes": "tlkit.experiments.recipes",
    "tlkit.sources": "tlkit.data.sources",
    "tlkit.splits": "tlkit.data.splits",
}
"""Short paths, and the module behind each."""

USES_TENSORFLOW = {  # in functions that run on that backend only
    "tlkit.caching.batching",
    "tlkit.caching.kernels",
    "tlkit.data.augmentation",
}


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


def imported_names(file: Path) -> dict[str, str]:
    """Return each name that a stub or a module imports, and the path it comes from."""
    found = {}
    for statement in ast.parse(file.read_text()).body:
        if isinstance(statement, ast.ImportFrom):
            relative = [dotted(file)] if statement.level else []
            origin = [*relative, *filter(None, [statement.module])]
            found |= {each.name: ".".join([*origin, each.name]) for each in statement.names}
    return found


def resolve(path: str) -> str:
    """Follow a name through stubs and modules to the one that defines it."""
    module, _, name = path.rpartition(".")
    base = SOURCE.parent.joinpath(*module.split("."))
    for file in (base / "__init__.pyi", base.with_suffix(".py")):
        origin = imported_names(file).get(name, path) if file.exists() else path
        if origin != path and origin.startswith("tlkit."):
            return resolve(origin)
    return path


PUBLIC = {dotted(stub): imported_names(stub) for stub in STUBS}


@pytest.mark.parametrize("package", PUBLIC)
def test_a_package_shows_the_names_of_its_stub(package: str) -> None:
    module = importlib.import_module(package)
    assert sorted(module.__all__) == sorted(PUBLIC[package])
    for name, path in PUBLIC[package].items():
        value = getattr(module, name)  # a module of a function's name would hide the function
        if isinstance(value, ModuleType):
            assert value.__name__ == path
        else:
            behind, _, name = resolve(path).rpartition(".")
            assert value is getattr(importlib.import_module(behind), name)


def documented() -> Iterator[re.Pattern[str]]:
    """Yield a pattern of the paths that each block of the reference pages documents."""
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        for block in re.split(r"^(?=::: )", page.read_text(), flags=re.M)[1:]:
            path = re.escape(block.split()[1])
            members = re.search(r"members: \[(.*?)\]", block, flags=re.S)
            inside = r"\w+" if members is None else "|".join(re.findall(r"\w+", members[1]))
            yield re.compile(rf"{path}(\.({inside}))?")


def is_documented(package: str, name: str, patterns: list[re.Pattern[str]]) -> bool:
    origin = PUBLIC[package][name]
    paths = [f"{package}.{name}", origin, resolve(origin)]
    short = [path.replace(module, door) for path in paths for door, module in DOORS.items()]
    return any(pattern.fullmatch(path) for pattern in patterns for path in (*paths, *short))


def test_every_public_name_is_in_the_reference() -> None:
    patterns = list(documented())
    elsewhere = {*PUBLIC, "tlkit.errors", "tlkit.cli.app.main"}
    missing = [
        f"{package}.{name}"
        for package, names in PUBLIC.items()
        for name, origin in names.items()
        if origin not in elsewhere and not is_documented(package, name, patterns)
    ]
    assert missing == []


def test_what_the_reference_names_can_be_reached_from_tlkit() -> None:
    code = "import tlkit; print(tlkit.evaluation.significance.mcnemar.__name__)"  # of a new process
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "mcnemar"
    with pytest.raises(AttributeError, match="module 'tlkit.evaluation' has no attribute 'other'"):
        _ = tlkit.evaluation.other


def public_callables() -> dict[str, object]:
    """Return the functions and classes of stubs, and those that public modules define."""
    found = {}
    for package, names in PUBLIC.items():
        for name in names:
            value = getattr(importlib.import_module(package), name)
            path = getattr(value, "__module__", "")
            if isinstance(value, ModuleType):
                path = value.__name__
                inside = {k: v for k, v in vars(value).items() if not k.startswith("_")}
                members = [v for v in inside.values() if getattr(v, "__module__", "") == path]
            else:
                members = [value] if path.startswith("tlkit") else []
            found |= {f"{path}.{v.__name__}": v for v in members if callable(v)}
    return found


@pytest.mark.parametrize("value", [pytest.param(v, id=k) for k, v in public_callables().items()])
def test_every_public_callable_says_what_it_does(value: object) -> None:
    first = (inspect.getdoc(value) or "").splitlines()[0]
    assert first.endswith((".", ":")), first
    if isinstance(value, type) and issubclass(value, Exception):
        return
    parameters = inspect.signature(value).parameters.values()
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert len(positional) <= 4


@pytest.mark.parametrize(("door", "module"), DOORS.items())
def test_a_short_path_gives_the_same_objects(door: str, module: str) -> None:
    inner, outer = importlib.import_module(module), importlib.import_module(door)
    assert {name for name in vars(outer) if not name.startswith("_")} == set(inner.__all__)
    assert all(getattr(outer, name) is getattr(inner, name) for name in inner.__all__)


def test_nothing_lies_beside_the_packages_but_the_short_paths_and_the_errors() -> None:
    beside = {path.stem for path in SOURCE.glob("*.py")}
    doors = {door.removeprefix("tlkit.") for door in DOORS}
    assert beside == {"__init__", "__main__", "errors", *doors}


def test_importing_tlkit_imports_no_keras(run_python: Callable[..., str]) -> None:
    code = "import sys, tlkit; print('tlkit.models' in sys.modules, 'keras' in sys.modules)"
    assert run_python(code).split()[-2:] == ["False", "False"]


def test_every_name_can_be_imported_at_once(run_python: Callable[..., str]) -> None:
    code = "import tlkit; print(sorted(vars(tlkit).keys() & {'models', 'Phase', 'load'}))"
    assert run_python(code, EAGER_IMPORT="1").splitlines()[-1] == "['Phase', 'load', 'models']"


FIRST = {"tlkit._internal", "tlkit._internal.lazy"}
"""What `tlkit` itself imports; they need no name of it."""


def imported_modules(path: Path) -> set[str]:
    """Return the modules of tlkit that importing a module imports, their packages included."""
    known = {dotted(each) for each in SOURCES}
    package = dotted(path) if path.stem == "__init__" else dotted(path.parent / "__init__.py")
    found = {package}
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            assert not statement.level, f"{path}: a relative import"
            inside = {f"{statement.module}.{alias.name}" for alias in statement.names}
            found |= {statement.module or "", *inside}
    parents = {name.rsplit(".", count)[0] for name in found & known for count in range(1, 4)}
    own = {dotted(path)} | ({"tlkit"} if dotted(path) in FIRST else set())
    return ((found & known) | (parents & known)) - own


def test_every_module_can_be_imported_first() -> None:
    """No module needs one that needs it."""
    order = graphlib.TopologicalSorter({dotted(path): imported_modules(path) for path in SOURCES})
    order.prepare()  # raises an error that shows the cycle


@pytest.mark.parametrize("path", SOURCES, ids=dotted)
def test_sources_hold_no_assert_no_print_no_pickle_and_no_tensorflow(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Assert)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
            packages = {name.split(".")[0] for name in names}
            assert "pickle" not in packages
            in_a_function = node.col_offset > 0
            allowed = in_a_function and dotted(path) in USES_TENSORFLOW
            assert allowed or "tensorflow" not in packages


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*/__init__.py")), ids=dotted)
def test_a_package_says_where_to_start_reading_and_names_files_that_exist(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert "Start reading in `" in text
    for file in re.findall(r"`(\w+\.pyi?)`", text):
        assert (path.parent / file).exists(), file


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("path", "datasets.mnist"),
        ("path", "load"),
        ("folder", "sources.from_folder"),
        ("manifest", "sources.from_manifest"),
        ("folder", "experiments.report"),
        ("folder", "experiments.run_folder.load_run"),
        ("folder", "experiments.run_folder.require_empty"),
    ],
)
def test_a_number_in_place_of_a_path_is_refused(name: str, function: str) -> None:
    settings = {"image_size": 8} if function.startswith("sources") else {}
    with pytest.raises(ConfigError, match=f"`{name}` must be a path, got 5."):
        operator.attrgetter(function)(tlkit)(5, **settings)


@pytest.mark.parametrize("write", ["save", "export"])
def test_a_file_to_write_must_be_a_path(model: keras.Model, write: str) -> None:
    with pytest.raises(ConfigError, match="`path` must be a path, got 5."):
        getattr(tlkit, write)(model, 5)
