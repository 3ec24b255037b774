import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tlkit._internal import regular_files
from tlkit.cli import app
from tlkit.experiments.classifiers import load_classifier


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "run", "data": "x", "unreadible": "skip"}, "Did you mean --unreadable?"),
        ({"data": "photos"}, "`tlkit evaluate` needs `MODEL`"),
        ({"model": "run", "data": "x", "assert_accuracy": "high"}, "must be a number, got 'high'"),
        ({"model": "run", "data": "x", "unreadable": "skipp"}, 'Did you mean "skip"?'),
        ({"model": "run", "data": "x", "json": "perhaps"}, "must be true or false, got 'perhaps'"),
    ],
)
def test_a_config_with_wrong_names_or_types_is_refused(
    tmp_path: Path, values: dict, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(values))
    assert app.main(["evaluate", "--config", str(path)]) == app.WRONG_ARGUMENTS
    shown = capsys.readouterr().err
    assert message in shown
    assert ("`--" in shown) == ("must be " in shown)  # named as an option


@pytest.mark.parametrize(
    "content",
    ["data: [", "- a list", "experiment: 5", "{experiment: {seed: x}, making: {data: x}}"],
)
def test_a_file_that_holds_no_options_is_refused(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("yaml")
    path = tmp_path / "c.yaml"
    path.write_text(content)
    assert app.main(["inspect", "--config", str(path)]) == app.WRONG_ARGUMENTS
    assert capsys.readouterr().err.startswith("tlkit: ")


def test_a_classifier_reads_images_as_its_run_did(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "model.keras").symlink_to(trained / "model.keras")
    config = json.loads((trained / "config.json").read_text())
    config["experiment"]["fit"] = "crop"
    (run / "config.json").write_text(json.dumps(config))
    for model in (run, run / "model.keras"):
        experiment = load_classifier(str(model), data="elsewhere")[1]
        assert (experiment.fit, experiment.image_size) == ("crop", 32)
    (run / "config.json").write_text('{"about": "a script of mine"}')
    assert load_classifier(str(run), data="elsewhere")[1].fit == "squash"


LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


def _refuse(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert app.main(["inspect", "--config", str(path)]) == app.WRONG_ARGUMENTS
    message = capsys.readouterr().err
    assert message.startswith("tlkit: `--config` must ") and len(message) < 600
    return message


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("c.yaml", f"data: x\nseed: {LAUGHS}".encode(), "mapping values are not allowed"),
        ("c.yaml", LAUGHS.encode(), r"it has the alias \*a: write its value"),
        ("c.yaml", b"a: &a\n  b: *a", r"it has the alias \*a"),
        ("c.yaml", b"[" * 100_000, "must not be nested deeply"),
        ("c.yaml", b"{a: " * 30 + b"}" * 30, "must not be nested deeply"),
        ("c.yaml", b"data: a\nseed: 1\ndata: b", "'data' is there twice"),
        ("c.yaml", b"data: " + b"x" * 2**20, "it is larger than 1.0 MB"),
        ("c.yaml", b"data: !!python/object/apply:os.system [ls]", "could not determine a constr"),
        ("c.yaml", b"data: \xff", "it is not UTF-8: byte 6 is 0xff"),
        ("c.json", b"[" * 100_000, "must not be nested deeply"),
        ("c.json", b'{"data": "a", "data": "b"}', "'data' is there twice"),
        ("c.json", b'{"data": "\xff"}', "it is not UTF-8: byte 10 is 0xff"),
        ("c.json", b'{"seed": ' + b"1" * 5000 + b"}", "Exceeds the limit"),
        ("c.json", b"", "Expecting value"),
        ("c.json", b"null", "must hold names and values, got NoneType"),
    ],
)
def test_a_config_that_is_none_is_refused_at_once(
    tmp_path: Path, name: str, content: bytes, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if name.endswith(".yaml"):
        pytest.importorskip("yaml")
    (tmp_path / name).write_bytes(content)
    assert re.search(reason, _refuse(tmp_path / name, capsys))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_a_config_that_is_no_file_is_refused_at_once(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"c{suffix}"
    makers: list[tuple[Callable[[], object], str]] = [
        (path.mkdir, "it is a folder"),
        (lambda: os.mkfifo(path), "it is a pipe"),
        (lambda: path.symlink_to("/dev/zero"), "it is a device"),
    ]
    for make, reason in makers:
        make()
        assert reason in _refuse(path, capsys)
        path.rmdir() if path.is_dir() else path.unlink()
    assert "no such file" in _refuse(path, capsys)
    assert "its name has a NUL character" in _refuse(Path(f"a\0b{suffix}"), capsys)


def test_a_config_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.json").write_text("{}")
    (tmp_path / "c.json").chmod(0)
    if os.access(tmp_path / "c.json", os.R_OK):  # root may read all

        def refuse(*arguments: object) -> int:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "c.json")

        monkeypatch.setattr(regular_files.os, "open", refuse)
    assert "Permission denied" in _refuse(tmp_path / "c.json", capsys)
