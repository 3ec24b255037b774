import subprocess
import sys
from pathlib import Path

import pytest

from tlkit._internal import optional
from tlkit.errors import MissingExtraError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package whose import fails: it needs one that isn't there."""
    (tmp_path / "tlkit_made_up" / "inner").mkdir(parents=True)
    (tmp_path / "tlkit_made_up" / "__init__.py").write_text("import tlkit_not_there\n")
    (tmp_path / "tlkit_made_up" / "inner" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return "tlkit_made_up"


def test_an_installed_module_is_returned() -> None:
    assert optional.require("json.decoder", extra="x") is sys.modules["json.decoder"]


@pytest.mark.parametrize("module", ["tlkit_not_there", "tlkit_not_there.inner", "json.not_there"])
def test_a_missing_one_is_the_command_to_type(module: str) -> None:
    with pytest.raises(MissingExtraError) as caught:
        optional.require(module, extra="onnx")
    assert str(caught.value) == f"'{module}' is not installed. Run: pip install 'tlkit[onnx]'"
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_package_that_misses_another_one_keeps_its_own_error(package: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="tlkit_not_there") as caught:
        optional.require(package, extra="onnx")
    assert not isinstance(caught.value, MissingExtraError)


def test_installed_looks_without_importing(package: str) -> None:
    assert optional.installed(package)
    assert optional.installed(f"{package}.inner")
    assert not optional.installed(f"{package}.inner.deeper")
    assert not optional.installed(f"{package}.other")
    assert not optional.installed("tlkit_not_there.inner")
    assert package not in sys.modules


def test_a_module_blocked_in_sys_modules_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert not optional.installed("openvino")


_KERNEL = """
import sys, types
kernel = types.SimpleNamespace(config={"IPKernelApp": {}})
sys.modules["IPython"] = types.ModuleType("IPython")
sys.modules["IPython"].get_ipython = lambda: kernel
sys.modules["IPython"].version_info = (9, 0)
sys.modules["ipykernel.zmqshell"] = types.ModuleType("ipykernel.zmqshell")
sys.modules["ipywidgets"] = None
from tlkit._internal import optional
"""


@pytest.mark.parametrize("imported", ["importlib.import_module", "optional.require"])
def test_a_notebook_without_widgets_gets_no_warning_of_other_packages_bars(imported: str) -> None:
    """Python's own import warns, which shows that this is a notebook to tqdm."""
    pytest.importorskip("huggingface_hub")
    extra = ", extra='card'" if imported.startswith("optional") else ""
    code = f"import importlib; {imported}('huggingface_hub'{extra}).ModelCard"
    done = subprocess.run(
        [sys.executable, "-c", f"{_KERNEL}\n{code}"], capture_output=True, text=True, check=True
    )
    assert ("IProgress not found" in done.stderr) == imported.startswith("importlib")
