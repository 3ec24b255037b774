"""Run the code of each page whose output `test_docs` does not compare, in an empty folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from tests.test_docs import PAGES, ROOT

from tlkit._internal.optional import installed
from tlkit.cli import app

_CODE = re.compile(r"```python\n(.*?)```", re.S)
_ELSEWHERE = {
    "docs/explanation/other-libraries.md": "other libraries are not installed, as the page says",
    "docs/how-to/demo.md": "tests/experiments/test_demo.py serves it",
    "docs/how-to/devices.md": "tests/backends/test_devices.py, on JAX with four devices",
    "docs/how-to/share.md": "tests/experiments/test_sharing.py, with a hub of its own",
}
"""Pages whose code needs what a test of its own has."""

_NEEDS = {
    "docs/how-to/cluster.md": ("jax", "pyarrow", "ray"),
    "docs/how-to/export.md": ("onnxruntime", "tf2onnx"),
    "docs/how-to/serve.md": ("fastapi", "onnxruntime", "tf2onnx"),
    "docs/how-to/web-page.md": ("tf2onnx",),
}
"""The packages of extras that the code of pages needs."""

_OWN_PHOTOS = "docs/how-to/your-own-images.md"


def _list_pages() -> list[str]:
    pages = (str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md")))
    texts = {page: (ROOT / page).read_text() for page in pages if "/notebooks/" not in page}
    return [page for page, text in texts.items() if _CODE.search(text) and page not in PAGES]


@pytest.mark.parametrize("page", _list_pages())
def test_the_code_of_the_page_runs(
    page: str, photos: Path, tmp_path: Path, keras_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an empty folder, so that a page makes all that it uses except the reader's own photos."""
    if page in _ELSEWHERE:
        pytest.skip(_ELSEWHERE[page])
    for package in _NEEDS.get(page, ()):
        if not installed(package):
            pytest.skip(f"{package} is not installed")
    monkeypatch.chdir(tmp_path)
    blocks = [_shorten(code) for code in _CODE.findall((ROOT / page).read_text())]
    blocks = [each for each in blocks if "urlopen(" not in each]  # needs a server that runs
    if page == _OWN_PHOTOS:
        shutil.copytree(photos, "flowers")
        _run_apart(blocks, keras_home)
        return
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
    assert {*_ELSEWHERE, *_NEEDS, _OWN_PHOTOS} <= {*_list_pages()}
