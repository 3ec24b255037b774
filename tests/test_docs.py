import contextlib
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import tlkit

ROOT = Path(__file__).parent.parent
_FIGURE = re.compile(r"\]\(([^)]*figures/[^)]*)\)")
_OUTPUT = re.compile(r"```(?:text|console)\n(.*?)```", re.S)
_EPOCH = re.compile(r"^\d+ \w+ loss #$")  # a line for each epoch, in the tutorial

# Pages that run as they are, and those whose trainings last one epoch in the test, to save time. Of
# the latter only the numbers that training does not change are compared: counts, shapes, bytes.
WHOLE = (
    "README.md",
    "docs/how-to/compare.md",
    "docs/how-to/freezing.md",
    "docs/how-to/from-photos-to-a-report.md",
    "docs/how-to/interrupt.md",
    "docs/how-to/tuning.md",
    "docs/reference/command-line.md",
    "docs/explanation/taps.md",
)
ONE_EPOCH = (
    "docs/tutorial.md",
    "docs/how-to/cache.md",
    "docs/how-to/fine-tuning.md",
    "docs/how-to/from-a-keras-notebook.md",
    "docs/explanation/starter.md",
)
PAGES = (*WHOLE, *ONE_EPOCH)
SLOW = (  # others show the same calls
    "docs/explanation/starter.md",
    "docs/explanation/taps.md",
    "docs/how-to/cache.md",
    "docs/how-to/compare.md",
    "docs/how-to/fine-tuning.md",
    "docs/how-to/from-a-keras-notebook.md",
    "docs/how-to/from-photos-to-a-report.md",
    "docs/how-to/interrupt.md",
    "docs/how-to/tuning.md",
)

# How far a printed number may be from the one that a page shows, by how it is written: the first
# pattern that fits decides, and a number that fits none must be equal. The allowed difference is
# the larger one of a number and a share of what the page shows.
_NUMBER = r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?"
BOUNDS = {
    # depend on the machine, and on what is installed
    "seconds": (r"NUMBER s\b", math.inf, 0),
    "memory": (r"up to NUMBER GB", math.inf, 0),
    "version": (r"(?=\d+\.\d+\.\d)NUMBER\.\d+", math.inf, 0),
    # rounding differs between processors, and training amplifies it
    "loss": (r"loss NUMBER", 0.05, 0.5),
    # chosen from a grid, where the next value is as good
    "penalty": (r"penalty NUMBER", 0, 9),
    # of all test images: 6 images of the smallest test set, which has 211
    "accuracy": (r"accuracy=NUMBER", 0.03, 0),
    "interval": (r"NUMBER to (?=[\d.]+ %)", 3, 0),
    "points": (r"within NUMBER(?= points)", 1, 0),
    "percentage": (r"NUMBER(?= ?%)", 3, 0),
    # of the images of a class: 2 images of the smallest class, which has 16
    "share": (r"(?=[01]\.\d\d\d)NUMBER", 0.13, 0),
    # a row of `tlkit compare`: accuracy (from low to high), loss, macro F1, difference, p
    "compared": (r"NUMBER(?= \([\d.]+ to)", 3, 0),
    "low": (r"NUMBER(?= to [\d.]+\))", 3, 0),
    "high": (r"NUMBER(?=\) 0\.\d{4} )", 3, 0),
    "macro": (r"(?<=\d{4} )NUMBER(?=$| \+)", 3, 0),
    "gain": (r"NUMBER(?= ±)", 1, 0),
    "width": (r"± NUMBER", 1, 0),
}
_BOUNDED = re.compile(
    "|".join(p.replace("NUMBER", f"(?P<{name}>{_NUMBER})") for name, (p, *_) in BOUNDS.items())
)


def _read(output: str) -> tuple[list[str], list[tuple[str, float]]]:
    """Return an output's lines with # for each number that may differ, and those with a bound."""
    numbers: list[tuple[str, float]] = []

    def take(found: re.Match[str]) -> str:
        [(name, number)] = [pair for pair in found.groupdict().items() if pair[1]]
        if BOUNDS[name][1] == math.inf:
            return f"# {name}"
        numbers.append((name, float(number.replace(",", ""))))
        return found[0].replace(number, "#")

    lines = [_BOUNDED.sub(take, " ".join(line.split())) for line in output.splitlines()]
    return lines, numbers


def _drop_epochs(lines: list[str]) -> set[str]:
    return {line for line in lines if not _EPOCH.match(line)}


def _check(printed: str, shown: str, *, one_epoch: bool = False) -> None:
    """Compare an output with the one that a page shows, within the bounds."""
    (lines, numbers), (lines_shown, numbers_shown) = _read(printed), _read(shown)
    if one_epoch:
        assert _drop_epochs(lines) == _drop_epochs(lines_shown)
        return
    assert lines == lines_shown
    for (name, number), (_, number_shown) in zip(numbers, numbers_shown, strict=True):
        _, most, share = BOUNDS[name]
        assert abs(number - number_shown) <= max(most, share * number_shown), (
            f"{name}: {number} is printed, and the page shows {number_shown}"
        )


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow) if page in SLOW else page for page in PAGES],
)
def test_the_page_runs_and_prints_what_it_shows(
    page: str, tmp_path: Path, keras_home: Path
) -> None:
    text = (ROOT / page).read_text()
    copy = tmp_path / "docs" / "page" / "page.md"
    copy.parent.mkdir(parents=True)
    one_epoch = page in ONE_EPOCH
    shorter = re.sub(r"epochs=(\(?)\d+(?:, \d+\))?", _one_epoch, text)
    assert (shorter != text) or not one_epoch
    copy.write_text(shorter if one_epoch else text)
    _run_page(copy, keras_home)
    shown, printed = _OUTPUT.findall(text), _OUTPUT.findall(copy.read_text())
    for block, block_shown in zip(printed, shown, strict=True):
        assert block.strip()
        _check(block, block_shown, one_epoch=one_epoch)
    for link in _FIGURE.findall(text):
        made, there = (Image.open(each.parent / link) for each in (copy, ROOT / page))
        assert min(*made.size, *there.size) > 100


def _run_page(copy: Path, keras_home: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "run_docs.py"), str(copy)],
        env={**os.environ, "KERAS_HOME": str(keras_home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _one_epoch(found: re.Match[str]) -> str:
    return "epochs=(1, 1)" if found[1] else "epochs=1"


@pytest.mark.parametrize(
    ("printed", "shown", "equal"),
    [
        ("accuracy 97.00 %, 797 images, 3 s", "accuracy 98.75 %, 797 images, 0.5 s", True),
        ("accuracy 95.00 %, 797 images", "accuracy 98.75 %, 797 images", False),
        ("accuracy 98.75 %, 798 images", "accuracy 98.75 %, 797 images", False),
        ("accuracy 98.75 %, 797 images", "accuracy 98.75 %, 797 photos", False),
        ("(95 % interval 97.71 to 99.3 %)", "(95 % interval 94.70 to 99.3 %)", False),
        ("loss 0.09, penalty 1e-4", "loss 0.04, penalty 8.9e-4", True),
        ("loss 2.0", "loss 1.0", False),
        ("3 0.987 0.951 0.969 81", "3 1.000 0.900 0.969 81", True),
        ("3 0.987 0.951 0.969 81", "3 1.000 0.700 0.969 81", False),
        ("by keras 3.15.0 up to 3.2 GB", "by keras 3.16.1 up to 11.2 GB", True),
        ("1,024 bytes of mobilenetv2_0.35_32", "1,024 bytes of mobilenetv2_0.35_96", False),
    ],
)
def test_numbers_are_compared_within_their_bounds(printed: str, shown: str, equal: bool) -> None:
    with contextlib.nullcontext() if equal else pytest.raises(AssertionError):
        _check(printed, shown)


def test_the_readme_names_commands_that_are_there() -> None:
    readme = (ROOT / "README.md").read_text()
    for path in re.findall(r"\((?:\./)?((?:docs|examples)/[^)#]+)\)", readme):
        assert (ROOT / path).exists(), path
    assert "python -m pytest -n 2 tests --pyargs tlkit" in (ROOT / "Makefile").read_text().replace(
        "$(PYTHON)", "python"
    )


def test_the_maps_of_the_code_name_files_that_exist() -> None:
    """CONTRIBUTING shows some rows of the page's table."""
    page, contributing = (
        {
            line
            for line in (ROOT / path).read_text().splitlines()
            if re.match(r"\| .*\.(py|j2)`", line)
        }
        for path in ("docs/development/layout.md", "CONTRIBUTING.md")
    )
    assert contributing
    assert contributing < page
    for file in re.findall(r"`([\w/]+\.(?:py|md\.j2|css))`", "\n".join(page)):
        assert (Path(tlkit.__file__).parent / file).exists(), file
