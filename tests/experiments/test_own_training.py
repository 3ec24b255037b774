import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from tests.samples import small_classifier

import tlkit
from tlkit.errors import ConfigError, DataError
from tlkit.evaluation.metrics import compute_metrics
from tlkit.experiments import (
    Experiment,
    Trained,
    compare_runs,
    load_split,
    report,
    run_images,
    save_training,
)


@pytest.fixture
def training(small_backbone: keras.Model) -> dict[str, Any]:
    """A head that a program solved on the digits, as `save_training` takes it."""
    experiment = Experiment("digits", recipe="fast", weights="starter", limit=60, seed=4)
    images = load_split(experiment)
    images = replace(images, test=images.test.take(range(50)))
    model = small_classifier(
        small_backbone,
        classes=10,
        input_shape=(8, 8, 1),
        value_range=(0, 16),
        class_names=images.train.class_names,
    )
    run = tlkit.TwoPhaseTrainer(head=tlkit.SolvedHead()).fit(model, images.train, verbose=False)
    return {
        "experiment": experiment,
        "images": images,
        "trained": Trained(recipe="fast", model=model, run=run, seconds=run.seconds),
        "evaluation": tlkit.evaluate(model, images.test),
    }


def _guess(evaluation: tlkit.evaluation.Evaluation) -> tlkit.evaluation.Evaluation:
    """Return the evaluation of a classifier that always predicts the first class."""
    names = evaluation.class_names
    rows = np.tile(np.eye(len(names))[0] * 0.5 + 0.05, (evaluation.count, 1))
    return compute_metrics(evaluation.labels, rows, class_names=names)


def test_a_training_of_a_program_is_a_run_that_can_be_compared_and_reported_again(
    training: dict[str, Any], tmp_path: Path
) -> None:
    experiment, own = training.pop("experiment"), training["evaluation"]
    others = {"always 0": _guess(own)}
    folder = save_training(experiment, tmp_path / "run", command="mine", others=others, **training)
    other = shutil.copytree(folder, tmp_path / "other")
    for part in ("train", "validation", "test"):
        found = getattr(run_images.read_split(folder), part)
        np.testing.assert_array_equal(found.images, getattr(training["images"], part).images)
    first, second = compare_runs([folder, other]).runs
    assert first.evaluation.accuracy == second.evaluation.accuracy == own.accuracy
    gain = own.accuracy - others["always 0"].accuracy
    row = f"| always 0 | {100 * others['always 0'].accuracy:.1f} % |"
    before = (folder / "report.md").read_text("utf-8")
    report(folder)
    for text in (before, (folder / "report.md").read_text("utf-8")):
        assert "### Compared with other classifiers" in text
        [line] = [each for each in text.splitlines() if each.startswith(row)]
        assert f"| {100 * gain:+.2f} ± " in line
        assert "could not be drawn" not in text
    model = tlkit.load(folder / "model.keras")
    assert model.predict(np.zeros((1, 40, 30, 1)), verbose=0).shape == (1, 10)


def test_white_of_files_of_16_bits_is_kept_for_predictions(
    small_backbone: keras.Model, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    for number in range(40):
        folder = tmp_path / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 4096, (16, 16)).astype("uint16")
        Image.fromarray(pixels).save(folder / f"{number}.png")
    experiment = Experiment(
        tmp_path / "photos", recipe="fast", weights="starter", image_size=32, channels=1
    )
    images = load_split(experiment)
    model = small_classifier(
        small_backbone, classes=2, input_shape=(32, 32, 1), class_names=images.train.class_names
    )
    run = tlkit.TwoPhaseTrainer(head=tlkit.SolvedHead()).fit(model, images.train, verbose=False)
    folder = save_training(
        experiment,
        tmp_path / "run",
        images=images,
        trained=Trained(recipe="fast", model=model, run=run, seconds=run.seconds),
        evaluation=tlkit.evaluate(model, images.test),
    )
    saved = json.loads((folder / "config.json").read_text())["experiment"]["white"]
    assert saved == images.train.white == 4095


def test_a_report_without_other_classifiers_compares_with_none(
    training: dict[str, Any], tmp_path: Path
) -> None:
    folder = save_training(training.pop("experiment"), tmp_path / "run", **training)
    assert "Compared with" not in (folder / "report.md").read_text("utf-8")


def test_nothing_is_written_for_wrong_arguments(training: dict[str, Any], tmp_path: Path) -> None:
    experiment, own = training.pop("experiment"), training["evaluation"]
    turned = compute_metrics(own.labels[::-1], own.probabilities, class_names=own.class_names)
    with pytest.raises(DataError, match="measured on the same images in the same order"):
        save_training(experiment, tmp_path / "run", others={"turned": turned}, **training)
    assert not (tmp_path / "run").exists()
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ConfigError, match="`folder` must be new or empty"):
        save_training(experiment, tmp_path, **training)
