import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tlkit
from tlkit.cli.app import WRONG_ARGUMENTS, main
from tlkit.evaluation.tuning import Trial, Tuning
from tlkit.experiments import Experiment

TRIAL = Trial(
    name="trial 1",
    settings={"learning_rate": 0.0012, "freeze": 0.3, "epochs": 4},
    augment=("flip",),
    parameters={"learning_rate": 0.0012, "freeze": 0.3, "epochs": 4, "augment": "flip"},
    losses=(0.1, 0.2),
    accuracies=(0.9, 0.95),
)
HEAD = Trial(name="head alone", settings={}, losses=(0.3, 0.3), accuracies=(0.8, 0.8), seconds=30.0)
UNFINISHED = Trial(name="defaults", settings={}, is_complete=False)
DEFAULTS = Trial(name="defaults", settings={}, losses=(0.3, 0.4), accuracies=(0.8, 0.9))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Tuning finds one good trial at once; what it was called with."""
    found: list[dict[str, object]] = []

    def tune(data: tlkit.data.ImageDataset, **how: object) -> Tuning:
        found.append({"data": data, **how})
        how["folder"].mkdir(exist_ok=True)
        return Tuning(
            recipe=how["recipe"],
            measure=how["measure"],
            num_images=len(data),
            num_folds=how["folds"],
            defaults=DEFAULTS,
            trials=(TRIAL,),
        )

    monkeypatch.setattr(tlkit.experiments, "tune", tune)
    return found


def start(photos: Path, out: Path, *options: str) -> int:
    size = ("--image-size", "32", "--weights", "starter")
    return main(["tune", str(photos), *size, "--out", str(out), *options])


def test_the_training_images_are_tuned_on_and_the_best_settings_written(
    photos: Path, tmp_path: Path, calls: list[dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tuned"
    assert start(photos, out, "--augment", "flip", "--trials", "7", "--budget", "3") == 0
    [call] = calls
    assert (call["recipe"], call["folds"], call["trials"], call["budget"]) == ("best", 3, 7, 3.0)
    assert call["space"].augment == ((), ("flip",))
    whole = tlkit.experiments.load_images(Experiment(str(photos)))
    assert 0 < len(call["data"]) < len(whole)  # test images are held out
    printed = capsys.readouterr().out
    assert "test images are not used" in printed
    assert "train with the best settings: tlkit train --config" in printed
    assert (out / "tuning.png").read_bytes().startswith(b"\x89PNG")
    tuning = Tuning.from_dict(json.loads((out / "tuning.json").read_text()))
    assert tuning.best == TRIAL


def test_the_settings_that_were_written_train_the_recipe_that_was_tuned(
    photos: Path, tmp_path: Path, calls: list[dict[str, object]]
) -> None:
    assert start(photos, tmp_path / "tuned", "--augment", "flip") == 0
    kept = Experiment.from_dict(json.loads((tmp_path / "tuned" / "tuned.json").read_text()))
    recipe = tlkit.experiments.recipes.for_experiment(kept)
    assert (recipe.name, recipe.fine_tune.epochs, recipe.held_out) == ("best", 4, 0)
    assert recipe.fine_tune.learning_rate == 0.0012
    assert (kept.augment, kept.weights, kept.budget) == (("flip",), "starter", None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--recipe", "tutorial"),
            "`--recipe` must be best or few_images to be tuned, got tutorial",
        ),
        (("--recipe-options", "epochs=3"), "`--recipe-options` must be left out: they are tuned"),
        (("--max-mb", "3"), "they choose a backbone"),
    ],
)
def test_what_cannot_be_tuned_is_refused(
    options: tuple[str, ...],
    message: str,
    photos: Path,
    tmp_path: Path,
    calls: list[dict[str, object]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert start(photos, tmp_path / "tuned", *options) == WRONG_ARGUMENTS
    assert message in capsys.readouterr().err
    assert calls == []


@pytest.mark.parametrize(
    ("compared", "remedy"),
    [
        # the defaults took more than 90 - 30 s, and they are still to be done
        (
            {"seconds": 90.0, "head_alone": HEAD, "defaults": UNFINISHED},
            "--budget 14, for 5 trials of about 2 min 0 s; it goes on from here",
        ),
        (
            {"seconds": 90.0, "head_alone": HEAD, "defaults": replace(DEFAULTS, seconds=50.0)},
            "--budget 10, for 5 trials of about 1 min 40 s",
        ),
        (
            {"seconds": 0.0, "head_alone": None, "defaults": UNFINISHED},
            "a larger --budget; it goes on from here",
        ),
    ],
)
def test_a_budget_for_no_trial_says_that_nothing_was_tried_and_what_to_give(
    compared: dict[str, Any],
    remedy: str,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def tune(data: tlkit.data.ImageDataset, **how: object) -> Tuning:
        how["folder"].mkdir(exist_ok=True)
        numbers = {"num_images": len(data), "num_folds": 3}
        return Tuning(recipe="best", measure="loss", **numbers, budget_ran_out=True, **compared)

    monkeypatch.setattr(tlkit.experiments, "tune", tune)
    out = tmp_path / "tuned"
    assert start(photos, out, "--trials", "5", "--budget", "1") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "note: no settings were tried, because the time was over before the first" in printed
    assert remedy in printed
    assert "train with the best settings" not in printed
    assert not (out / "tuned.json").exists()
