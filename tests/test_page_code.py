"""Run the Python code of pages whose output `test_docs` does not compare, in a reader's folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from PIL import Image
from tests.test_docs import PAGES, ROOT

from tlkit._internal.optional import installed
from tlkit.cli import app

_CODE = re.compile(r"```python\n(.*?)```", re.S)
_ELSEWHERE = {
    "docs/explanation/other-libraries.md": "other libraries are not installed, as the page says",
    "docs/how-to/cluster.md": "tests/distributed runs the same calls",
    "docs/how-to/demo.md": "tests/experiments/test_demo.py serves it",
    "docs/how-to/devices.md": "tests/backends/test_devices.py, on JAX with four devices",
    "docs/how-to/share.md": "tests/experiments/test_sharing.py, with a hub of its own",
}
"""Pages whose code needs what a test of its own has."""

_NEEDS = {
    "docs/how-to/export.md": "onnxruntime",
    "docs/how-to/serve.md": "fastapi",
    "docs/how-to/web-page.md": "tf2onnx",
}


def _list_pages() -> list[str]:
    pages = (str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md")))
    texts = {page: (ROOT / page).read_text() for page in pages if "/notebooks/" not in page}
    return [page for page, text in texts.items() if _CODE.search(text) and page not in PAGES]


@pytest.fixture
def reader_folder(
    trained: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with what pages assume: a run, its export, photos of flowers, two of them alone."""
    shutil.copytree(trained, tmp_path / "run")
    shutil.copy(trained / "model.keras", tmp_path / "model.keras")
    for number, folder in enumerate(sorted(photos.iterdir())):
        name = ("daisy", "rose", "tulip")[number]
        shutil.copytree(folder, tmp_path / "flowers" / name)
        Image.open(next(folder.iterdir())).convert("RGB").save(tmp_path / f"{name}.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", _list_pages())
def test_the_code_of_the_page_runs(
    page: str, reader_folder: Path, keras_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if page in _ELSEWHERE:
        pytest.skip(_ELSEWHERE[page])
    if page in _NEEDS and not installed(_NEEDS[page]):
        pytest.skip(f"{_NEEDS[page]} is not installed")
    blocks = [_shorten(code) for code in _CODE.findall((ROOT / page).read_text())]
    blocks = [each for each in blocks if "urlopen(" not in each]  # needs a server that runs
    if '"imagenet"' in "".join(blocks) or page == "docs/how-to/your-own-images.md":
        _run_apart(blocks, keras_home)
        return
    if '"run")' in blocks[0]:
        shutil.rmtree("run")  # the page trains it
    namespace: dict[str, object] = {"__name__": "__main__"}
    for code in blocks:
        if "exports/model.onnx" in code and not Path("run/exports").exists():
            assert app.main(["export", "run", "--format", "onnx"]) == app.DONE
        exec(compile(code, page, "exec"), namespace)  # its purpose
    keras.backend.clear_session()


def _shorten(code: str) -> str:
    """Return code whose trainings take one epoch, on small images."""
    return re.sub(r"epochs=\d+", "epochs=1", code).replace("image_size=160", "image_size=32")


def _run_apart(blocks: list[str], keras_home: Path) -> None:
    """Run code in a process whose weights are in another folder: Keras reads that at its start."""
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)],
        env={**os.environ, "KERAS_HOME": str(keras_home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_pages_that_are_left_out_exist() -> None:
    assert {*_ELSEWHERE, *_NEEDS} <= {*_list_pages()}
