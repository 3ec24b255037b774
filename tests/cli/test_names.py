"""Names that would change a terminal: its title, its colours, the direction of its text."""

import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.samples import small_classifier

import tlkit
from tlkit.cli import app

EVIL = "e\x1b]0;owned\x07\x1b[2J\u202e"


def _read(capsys: pytest.CaptureFixture[str]) -> str:
    shown = "".join(capsys.readouterr())
    assert not set(shown) & {"\x1b", "\x07", "\u202e", "\x9b"}, shown
    return shown


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    for name in ("a/1.png", "b/1.png", f"a/{EVIL}.png", f"b/{EVIL}.txt"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(draw.integers(0, 256, (9, 9, 3), "uint8"))
        picture.save(tmp_path / "photos" / name, format="PNG")
    (tmp_path / "photos" / "b" / f"{EVIL}.txt").write_text("no image")
    return tmp_path / "photos"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_of_files_reach_the_terminal_escaped(
    folder: Path, small_backbone: object, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tlkit.save(
        small_classifier(small_backbone, class_names=(EVIL, "b", "c")), folder.parent / "m.keras"
    )
    evil = folder.parent / EVIL
    for words, code in (
        (["inspect", str(folder), "--image-size", "32"], app.WRONG_DATA),
        (["predict", str(model), str(folder / "a" / "1.png"), str(folder / "b")], app.DONE),
        (["predict", str(model), str(folder)], app.DONE),
        (["predict", f"{evil}.keras", str(folder)], app.WRONG_ARGUMENTS),
        (["evaluate", str(model), str(folder)], app.WRONG_DATA),
        (["train", str(evil), "--out", "x"], app.WRONG_ARGUMENTS),
        (["train", str(folder), "--out", str(evil)], app.WRONG_ARGUMENTS),
        (["inspect", str(folder), "--backbone", f"{evil}.keras"], app.WRONG_ARGUMENTS),
        (["inspect", str(folder), "--config", str(evil)], app.WRONG_ARGUMENTS),
        (["inspect", str(folder), f"--{EVIL}"], app.WRONG_ARGUMENTS),
        (["verify", str(evil)], app.WRONG_ARGUMENTS),
        (["report", str(evil)], app.WRONG_ARGUMENTS),
        (["cache", "list", "--folder", str(evil)], app.DONE),
    ):
        assert app.main(words) == code, (words, _read(capsys))
        assert "owned" in _read(capsys), words


def test_warnings_reach_the_terminal_escaped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warn(*arguments: object) -> int:
        sys.stderr.write(warnings.formatwarning(EVIL, UserWarning, "file.py", 1))
        return app.DONE

    monkeypatch.setattr(app, "_run", warn)
    assert app.main(["verify"]) == app.DONE
    assert "UserWarning: e" in _read(capsys)
    assert EVIL in warnings.formatwarning(EVIL, UserWarning, "file.py", 1)
