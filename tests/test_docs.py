import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
_FIGURE = re.compile(r"\]\(([^)]*figures/[^)]*)\)")
_OUTPUT = re.compile(r"```(?:text|console)\n(.*?)```", re.S)


def _shape(output: str) -> list[str]:
    """Return an output's words, its numbers and the list of epochs left out."""
    lines = re.sub(r"(?<![\w.])[\d.,]+", "#", output).splitlines()
    return sorted({" ".join(line.split()) for line in lines if "loss #" not in line})


def _one_epoch(found: re.Match[str]) -> str:
    return "epochs=(1, 1)" if found[1] else "epochs=1"


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/tutorial.md",
        "docs/how-to/cache.md",
        "docs/how-to/fine-tuning.md",
        "docs/how-to/freezing.md",
        "docs/how-to/from-photos-to-a-report.md",
        "docs/reference/command-line.md",
        "docs/explanation/starter.md",
        "docs/explanation/taps.md",
    ],
)
def test_the_page_runs_and_prints_what_it_shows(
    page: str, tmp_path: Path, keras_home: Path
) -> None:
    if page.endswith("command-line.md") and sys.version_info[:2] != (3, 11):
        pytest.skip("argparse lays its help out in another way in each version of Python")
    text = (ROOT / page).read_text()
    copy = tmp_path / "docs" / "page" / "page.md"
    copy.parent.mkdir(parents=True)
    copy.write_text(re.sub(r"epochs=\(?\d+(, \d+\))?", _one_epoch, text))
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "run_docs.py"), str(copy)],
        env={**os.environ, "KERAS_HOME": str(keras_home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown, printed = _OUTPUT.findall(text), _OUTPUT.findall(copy.read_text())
    assert [_shape(block) for block in printed] == [_shape(block) for block in shown]
    assert all(block.strip() for block in shown)
    for link in _FIGURE.findall(text):
        made, there = (Image.open(each.parent / link) for each in (copy, ROOT / page))
        assert min(*made.size, *there.size) > 100


def test_the_readme_names_commands_that_are_there() -> None:
    readme = (ROOT / "README.md").read_text()
    for path in re.findall(r"\((?:\./)?((?:docs|examples)/[^)#]+)\)", readme):
        assert (ROOT / path).exists(), path
    assert "python -m pytest -n 2 tests --pyargs tlkit" in (ROOT / "Makefile").read_text().replace(
        "$(PYTHON)", "python"
    )
