import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tlkit import experiments
from tlkit.cli import app
from tlkit.errors import ConfigError
from tlkit.experiments.experiment import Experiment

WORDS = ("--image-size", "32", "--weights", "starter")


@pytest.fixture(scope="module")
def few(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty digits of each of three classes."""
    root = tmp_path_factory.mktemp("few") / "digits"
    for folder in photos.iterdir():
        (root / folder.name).mkdir(parents=True)
        for file in sorted(folder.iterdir())[:20]:
            shutil.copy(file, root / folder.name)
    return root


@pytest.fixture(scope="module")
def folded(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is evaluated by folds."""
    out = tmp_path_factory.mktemp("folds") / "run"
    assert app.main(["train", str(few), *WORDS, "--folds", "4", "--out", str(out)]) == app.DONE
    return out


def test_a_run_by_folds_tests_on_all_images_and_says_so(folded: Path) -> None:
    metrics = json.loads((folded / "metrics.json").read_text())
    assert metrics["count"] == 60
    assert metrics["folds"]["mean"] == pytest.approx(np.mean(metrics["folds"]["accuracies"]))
    assert metrics["accuracy"] == pytest.approx(metrics["folds"]["mean"])  # folds of equal size
    rows = (folded / "split.csv").read_text().splitlines()
    assert rows[1].startswith("fold ")
    assert len(rows) == 61
    report = (folded / "report.md").read_text()
    assert "4-fold cross-validation: each image was tested by a classifier" in report
    assert "| all classes | 60 | 60 |" in report


def test_such_a_run_is_reported_evaluated_and_repeated(
    folded: Path, few: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(folded, tmp_path / "copy")
    (copy / "report.md").unlink()
    assert app.main(["report", str(copy)]) == app.DONE
    assert (copy / "report.md").read_text() == (folded / "report.md").read_text()
    assert app.main(["evaluate", str(folded), str(few)]) == app.DONE
    config = str(folded / "config.json")
    assert app.main(["inspect", "--config", config]) == app.DONE


@pytest.mark.slow
def test_every_recipe_can_be_evaluated_by_folds(few: Path) -> None:
    experiment = Experiment(few, recipe="few_images", image_size=32, weights="starter", folds=2)
    data = experiments.load_images(experiment)
    calls = []

    def train(part: object) -> experiments.Trained:
        calls.append(len(part))
        model = experiments.recipes.get("fast").build(part, image_size=32, weights="starter")
        return experiments.Trained(recipe="", model=model, run=None, seconds=0)

    found = experiments.folds.evaluate_folds(experiment, data, None, train=train)
    assert calls == [30, 30]
    assert found.pooled.count == 60


def test_folds_need_all_images(few: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`test_data` must be left out with `folds`, which tests"):
        Experiment(few, folds=5, test_data="x")
    with pytest.raises(ConfigError, match="`folds` must be a whole number of at least 2, got 1"):
        Experiment(few, folds=1)
    shutil.copytree(few, tmp_path / "all" / "train")
    own = Experiment(tmp_path / "all", image_size=32, folds=3)
    with pytest.raises(ConfigError, match="left out for images with a split .*`split='pool'`"):
        experiments.folds.describe(own, experiments.load_images(own))
    pooled = Experiment(tmp_path / "all", image_size=32, folds=3, split="pool")
    line = experiments.folds.describe(pooled, experiments.load_images(pooled))
    assert line.startswith("evaluated by 3 folds of 20 to 20 images; the classifier that is saved")
