import csv
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure

import tlkit
from tlkit._internal import system
from tlkit.errors import ConfigError
from tlkit.experiments import run_folder


@pytest.fixture
def finished(small_backbone: keras.Model) -> dict[str, object]:
    model = tlkit.build_classifier(small_backbone, 2, input_shape=(9, 9, 1), pixels=(0, 1))
    random = np.random.default_rng(0)
    pair = random.integers(0, 256, (12, 9, 9, 1), "uint8"), random.integers(0, 2, 12)
    run = tlkit.TwoPhaseTrainer(head=tlkit.Phase(epochs=2), seed=0).fit(model, pair, verbose=False)
    return {
        "model": model,
        "run": run,
        "evaluation": tlkit.evaluate(model, pair),
        "figures": {"empty": Figure(figsize=(1, 1))},
        "about": "a test",
        "config": {"seed": 0},
    }


def test_the_folder_holds_model_metrics_history_and_config(
    finished: dict[str, object], tmp_path: Path
) -> None:
    folder = run_folder.save_run(tmp_path / "new" / "run", **finished)
    names = ["SHA256SUMS", "config.json", "empty.png", "history.csv", "metrics.json", "model.keras"]
    assert sorted(path.name for path in folder.iterdir()) == names
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["accuracy"] == finished["evaluation"].accuracy
    assert metrics["phases"][0]["untouched"] > 0
    assert metrics["phases"][0]["frozen_part"]["num_computed"] > 0
    config = json.loads((folder / "config.json").read_text())
    assert (config["about"], config["seed"]) == ("a test", 0)
    assert config["environment"]["keras"] == keras.__version__
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", config["environment"]["date"])
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == finished["run"].history["loss"]
    assert tlkit.load(folder / "model.keras").output_shape == (None, 2)


def test_a_folder_that_is_not_empty_is_refused_and_unchanged(
    finished: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(ConfigError, match="`folder` must be new or empty, got .*is not empty"):
        run_folder.save_run(tmp_path, **finished)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]
    assert run_folder.require_empty(tmp_path / "new") == tmp_path / "new"


def test_a_folder_that_cannot_be_written_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="`folder` must be where files can be written"):
        run_folder.require_empty(tmp_path / "file" / "run")
    assert run_folder.require_empty(tmp_path / "new" / "run") == tmp_path / "new" / "run"
    assert list((tmp_path / "new").iterdir()) == []


def test_an_empty_folder_is_accepted(finished: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert (run_folder.save_run(tmp_path / "run", **finished) / "model.keras").is_file()


def test_a_failure_while_saving_leaves_no_files(
    finished: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(run_folder, "_write_history", fails)
    with pytest.raises(OSError, match="No space left"):
        run_folder.save_run(tmp_path / "run", **finished)
    assert list(tmp_path.iterdir()) == []


def test_a_figure_that_fails_does_not_cost_the_run(
    finished: dict[str, object], tmp_path: Path
) -> None:
    class Broken(Figure):
        def draw(self, *arguments: object, **settings: object) -> None:
            assert (tmp_path / "run" / "model.keras").is_file()  # written before anything is drawn
            raise MemoryError

    figures = {"broken": Broken(), "empty": Figure(figsize=(1, 1))}
    with pytest.warns(UserWarning, match="broken.png was not drawn: there is not enough memory"):
        folder = run_folder.save_run(tmp_path / "run", **{**finished, "figures": figures})
    names = ["SHA256SUMS", "config.json", "empty.png", "history.csv", "metrics.json", "model.keras"]
    assert sorted(path.name for path in folder.iterdir()) == names


@pytest.mark.parametrize(
    ("processor", "memory", "recorded"),
    [
        ("AMD EPYC", 24 * 2**30, {"processor": "AMD EPYC", "memory": "24.0 GiB"}),
        (None, None, {}),
    ],
)
def test_processor_and_memory_are_recorded_if_the_system_reports_them(
    monkeypatch: pytest.MonkeyPatch,
    processor: str | None,
    memory: int | None,
    recorded: dict[str, str],
) -> None:
    monkeypatch.setattr(system, "processor", lambda: processor)
    monkeypatch.setattr(system, "known_memory", lambda: memory)
    monkeypatch.setattr(run_folder.joblib, "cpu_count", lambda: 3)
    found = run_folder.environment()
    assert {name: found[name] for name in ("processor", "memory") if name in found} == recorded
    assert found["machine"].endswith(", 3 cores")
