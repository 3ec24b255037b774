"""The page on `--json` names exactly the keys that the commands print."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import tlkit
from tlkit.cli import app

_PAGE = Path(__file__).parents[2] / "docs/reference/json.md"
_WORDS = ("--weights", "starter", "--image-size", "32", "--duplicates", "together", "--no-cache")


def _read_page() -> dict[str, dict[str, str]]:
    """Return what each section says of each key."""
    sections: dict[str, dict[str, str]] = {}
    for section in _PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, *lines = section.splitlines()
        rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")]
        name = title.strip("`").removeprefix("tlkit ")
        sections[name] = {key: row[1] for row in rows for key in re.findall(r"`([^`]+)`", row[0])}
    return sections


PAGE = _read_page()


def _print_json(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    capsys.readouterr()
    assert app.main([*map(str, words), "--json"]) == app.DONE
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits 0 to 2 as image files."""
    folder, digits = tmp_path_factory.mktemp("json") / "photos", tlkit.datasets.digits().train
    for number, (image, label) in enumerate(zip(digits.images, digits.labels, strict=True)):
        if label < 3:
            file = folder / str(label) / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image * 255 / 16).astype("uint8")).save(file)
    return folder


def test_the_page_names_the_keys_of_a_run_and_what_is_done_with_it(
    photos: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run, metrics = photos.parent / "run", {*PAGE["Metrics"]}
    trained = _print_json(capsys, "train", photos, *_WORDS, "--validation", "0.2", "--out", run)
    assert {*trained} == metrics | {*PAGE["train"]}
    for key in ("classes", "images"):  # the keys within
        first = trained[key][0] if key == "classes" else trained[key]
        about = PAGE["Metrics" if key == "classes" else "train"][key]
        assert {*re.findall(r"`(\w+)`", about)} == {*first}
    evaluated = _print_json(capsys, "evaluate", run, photos, "--part", "test")
    assert {*evaluated} == metrics | {*PAGE["evaluate"]}
    shutil.copy(run / "model.keras", again := tmp_path / "again.keras")
    compared = _print_json(capsys, "compare", run, again, "--data", photos)
    assert {*compared} == {*PAGE["compare"]}
    assert {*compared["runs"][0]} == metrics | {"name", "trained_on", "against_first"}
    predicted = _print_json(capsys, "predict", run, photos / "0", "--coverage", "0.9")
    assert {"predictions"} == {*predicted}
    keys = {*re.findall(r"`(\w+)`", PAGE["predict"]["predictions"])}
    assert {*predicted["predictions"][0]} == keys - {"problem", "class", "probability"}
    (tmp_path / "broken.png").write_bytes(b"x")
    files = (tmp_path / "broken.png", photos / "0")
    broken = _print_json(capsys, "predict", run, *files)["predictions"][0]
    assert {*broken} == {"path", "problem"}
    written = _print_json(capsys, "embed", run, photos / "0", "--out", tmp_path / "f.npz")
    assert {*written, "predictions"} == {*PAGE["predict"]}
    assert {*_print_json(capsys, "report", run)} == {"report"}
    verified = _print_json(capsys, "verify", run)
    assert {*verified} == {"folder", "num_files", "edited", "unlisted"}
    exported = _print_json(capsys, "export", run, "--format", "keras")
    assert {*exported} >= {"path", "proof"}
    assert {*exported} <= {*PAGE["export"]}
    pytest.importorskip("cleanlab")  # of the extra "audit"
    audited = _print_json(capsys, "audit", run, photos)
    assert {*audited} == {*PAGE["audit"]}


def test_the_page_names_the_keys_before_a_run(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inspected = _print_json(capsys, "inspect", photos, *_WORDS[:-1])
    assert {*inspected} == {*PAGE["inspect"]}
    probed = _print_json(capsys, "probe", photos, *_WORDS)
    assert {*probed} == {*PAGE["probe"]}
    keys = {*re.findall(r"`(\w+)`", PAGE["probe"]["layers"])}
    assert {*probed["layers"][0]} == keys
