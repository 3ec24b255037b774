"""What a terminal of 80 columns shows: what one types is not divided, and colours have meaning."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rich.console
from PIL import Image

import tlkit
from tlkit._internal import bars
from tlkit.cli import options
from tlkit.cli.app import main

pty = pytest.importorskip("pty")  # Windows has none

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_COLOUR = re.compile(r"\x1b\[[\d;]*3[1-6][\d;]*m")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of tiny images in a folder whose path is longer than a line."""
    root = tmp_path / ("a-long-name-" * 6) / "photos"
    random = np.random.default_rng(0)
    for label in ("dark", "light"):
        folder = root / label
        folder.mkdir(parents=True)
        for number in range(40):
            low = 0 if label == "dark" else 180
            pixels = random.integers(low, low + 70, (32, 32, 3)).astype("uint8")
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


def _run_in_terminal(*words: str, **environment: str) -> str:
    """Return what a command writes to a terminal of 80 columns."""
    leader, follower = pty.openpty()
    named = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "CI")}
    shown = {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "40"}
    command = subprocess.Popen(
        [sys.executable, "-m", "tlkit", *words],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**named, **shown, **environment},
    )
    os.close(follower)
    written = b""
    while True:
        try:
            block = os.read(leader, 65536)
        except OSError:  # Linux raises it at the end
            break
        if not block:
            break
        written += block
    os.close(leader)
    assert command.wait() == 0, written.decode(errors="replace")
    return written.decode(errors="replace")


def test_a_training_shows_bars_and_colours_and_ends_with_what_to_do_next(
    photos: Path, tmp_path: Path
) -> None:
    out = photos.parent / "run"
    how = ("--image-size", "32", "--weights", "starter", "--out", str(out))
    written = _run_in_terminal("train", str(photos), *how)
    lines = _ESCAPE.sub("", written).replace("\r", "").splitlines()
    assert lines[-2] == f"wrote {out}/report.html"
    assert lines[-1].startswith("next: ")
    assert f"tlkit predict {out} IMAGE" in lines[-1]
    assert _COLOUR.search(written)
    assert "reading images" in written  # a bar
    assert "…" not in "\n".join(lines)

    plain = _run_in_terminal("evaluate", str(out), str(photos), NO_COLOR="1")
    assert not _COLOUR.search(plain)
    assert re.search(r"note: the classifier was trained on \d\d of these 80 images", plain)


def _terminal(width: int = 80) -> rich.console.Console:
    return rich.console.Console(
        file=io.StringIO(), force_terminal=True, width=width, soft_wrap=True, highlight=False
    )


def _print(value: object, monkeypatch: pytest.MonkeyPatch, console: rich.console.Console) -> str:
    monkeypatch.setattr(bars, "create_console", lambda **_: console)
    options.DEFAULT_OUTPUT.print(value)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_table_wider_than_the_terminal_keeps_its_names_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = [f"a folder/{'long-' * 20}{number}.jpg" for number in range(12)]
    suspects = tuple(
        tlkit.evaluation.Suspect(
            index=at, path=path, label="a", suggested_label="b", score=at / 100
        )
        for at, path in enumerate(paths)
    )
    found = tlkit.evaluation.Audit(suspects=suspects, outliers=(), scores=np.zeros(50), num_folds=5)
    page = _print(found, monkeypatch, _terminal())
    assert all(path in page for path in paths[:10])
    assert "and 2 more suspicious labels" in page


def test_headings_are_divided_before_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = tuple(
        tlkit.evaluation.ProbedLayer(
            layer=f"block_{number}_expand_relu",
            pooling="flatten",
            num_features=102_400,
            multiply_adds=1_234_567_890,
            num_parameters=123_456,
            accuracy=number / 20,
        )
        for number in range(3)
    )
    probe = tlkit.evaluation.Probe(
        layers=layers, solver="ridge", num_fitted=5, num_scored=5, engine="keras", seconds=1
    )
    page = _ESCAPE.sub("", _print(probe, monkeypatch, _terminal()))
    rows = [line for line in page.splitlines() if "expand_relu" in line]
    assert len(rows) == 3
    assert all("1234.57" in row and "102,400" in row for row in rows)
    assert "million multiply-adds" not in page


@pytest.mark.parametrize(("line", "colour"), [("wrote run/a.png", "32"), ("note: b", "33")])
def test_lines_have_colours_by_what_they_say(
    line: str, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"\x1b[{colour}m{line}" in _print(f"plain\n{line}", monkeypatch, _terminal())
    assert line in _print(line, monkeypatch, rich.console.Console(file=io.StringIO()))


def test_an_error_is_plain_text_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "nothing-here", "photos"]) == 2
    assert capsys.readouterr().err.startswith("tlkit: `--model` must be")
