import re
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from tests.samples import make_noise, small_classifier

import tlkit
from tlkit.errors import ConfigError, DataError
from tlkit.evaluation import prediction_sets


def _draw(count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return overconfident probabilities of four classes, and true classes."""
    true = random.dirichlet(np.ones(4), count)
    labels = np.array([random.choice(4, p=row) for row in true])
    sharp = true**2
    return sharp / sharp.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.95])
def test_the_coverage_holds_on_average_over_many_calibrations(coverage: float) -> None:
    random = np.random.default_rng(0)
    measured = []
    for _ in range(200):
        probabilities, labels = _draw(40, random)
        scores = 1 - probabilities[np.arange(40), labels]
        threshold = prediction_sets.find_threshold(scores, coverage)
        probabilities, labels = _draw(40, random)
        chosen = 1 - probabilities <= threshold
        measured.append(chosen[np.arange(40), labels].mean())
    error = np.std(measured) / np.sqrt(len(measured))
    assert coverage - 3 * error < np.mean(measured) < coverage + 1 / 41 + 3 * error


def test_sets_are_those_of_sorting_by_hand() -> None:
    scores = np.array([0.1, 0.5, 0.3, 0.2, 0.9, 0.4, 0.6, 0.05, 0.7])
    assert prediction_sets.find_threshold(scores, 0.9) == 0.9  # the 9th of 9
    assert prediction_sets.find_threshold(scores, 0.8) == 0.7
    rows = np.array([[0.6, 0.3, 0.1], [0.25, 0.4, 0.35]])
    assert prediction_sets.select_classes(rows, 0.7).tolist() == [
        [True, True, False],
        [False, True, True],
    ]
    assert prediction_sets.select_classes(rows, 0.1).tolist() == [
        [True, False, False],  # never empty
        [False, True, False],
    ]


@pytest.mark.parametrize(("count", "coverage"), [(8, 0.9), (98, 0.99), (0, 0.5)])
def test_too_few_validation_images_are_refused(count: int, coverage: float) -> None:
    needed = {0.9: 9, 0.99: 99, 0.5: 1}[coverage]
    message = f".coverage. of {coverage:g} needs at least {needed} validation images, got {count}"
    with pytest.raises(DataError, match=message):
        prediction_sets.find_threshold(np.zeros(count), coverage)
    prediction_sets.find_threshold(np.zeros(needed), coverage)


@pytest.mark.parametrize("coverage", [0, 1, 1.5, -0.1, "0.9", None])
def test_a_coverage_must_be_between_0_and_1(coverage: object) -> None:
    with pytest.raises(ConfigError, match="`coverage` must be"):
        prediction_sets.find_threshold(np.zeros(50), coverage)


def test_a_calibrated_model_predicts_sets_also_from_its_file(
    model: keras.Model, tmp_path: Path
) -> None:
    images, labels = make_noise(40)
    with pytest.raises(ConfigError, match="must be calibrated to have prediction sets"):
        tlkit.predict_sets(model, images)
    tlkit.calibrate(model, (images, labels))
    expected = tlkit.predict_sets(model, images, coverage=0.9)
    assert expected[np.arange(40), labels].mean() >= 0.9
    again = tlkit.load(tlkit.save(model, tmp_path / "model.keras"))
    np.testing.assert_array_equal(tlkit.predict_sets(again, images), expected)
    Image.fromarray(images[0][..., 0]).save(tmp_path / "one.png")
    [found] = tlkit.evaluation.predict_files(again, tmp_path / "one.png", coverage=0.9)
    names = tlkit.models.class_names(model)
    assert set(found.prediction_set) == {names[at] for at in np.flatnonzero(expected[0])}
    assert found.to_dict()["set"] == list(found.prediction_set)
    assert f"set: {', '.join(found.prediction_set)}" in str(found)


def test_sets_of_test_images_are_measured(model: keras.Model) -> None:
    evaluation = tlkit.evaluate(model, make_noise(60))
    assert prediction_sets.measure_sets(model, evaluation) is None
    tlkit.calibrate(model, make_noise(60))
    found = prediction_sets.measure_sets(model, tlkit.evaluate(model, make_noise(60)))
    assert found is not None
    assert found.measured >= 0.9
    assert 1 <= found.mean_size <= 3
    assert found.num_calibrated == 60


def test_training_forgets_the_calibration(small_backbone: keras.Model) -> None:
    model, data = small_classifier(small_backbone), make_noise(12)
    tlkit.calibrate(model, data)
    tlkit.train_phase(model, tlkit.Phase(), data, verbose=False)
    with pytest.raises(ConfigError, match="must be calibrated"):
        tlkit.predict_sets(model, data[0], coverage=0.5)


@pytest.mark.parametrize(("count", "coverage"), [(28, 0.9), (100, 0.8), (9, 0.9), (20, 0.01)])
def test_the_range_holds_the_coverage_of_95_percent_of_calibrations(
    count: int, coverage: float
) -> None:
    random = np.random.default_rng(0)
    reached = [  # of scores that are uniform, the share below a threshold is the threshold
        prediction_sets.find_threshold(random.random(count), coverage) for _ in range(4000)
    ]
    low, high = tlkit.evaluation.find_coverage_range(count, coverage)
    assert [low, high] == pytest.approx(np.percentile(reached, [2.5, 97.5]), abs=0.01)


def test_after_few_images_the_range_is_said(model: keras.Model) -> None:
    tlkit.calibrate(model, make_noise(40))
    said = prediction_sets.describe_range(model, 0.9)
    low, high = tlkit.evaluation.find_coverage_range(40, 0.9)
    assert said is not None
    assert said.startswith("prediction sets were calibrated on 40 validation images: for 95 %")
    assert f"{100 * low:.1f} to {100 * high:.1f} % of new images" in said
    tlkit.calibrate(model, make_noise(1000))
    assert prediction_sets.describe_range(model, 0.9) is None


def test_the_ranges_of_the_docs_are_right() -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "prediction-sets.md"
    rows = re.findall(r"^\| ([\d,]+) \| ([\d.]+) to ([\d.]+) % \|$", page.read_text("utf-8"), re.M)
    assert len(rows) == 4
    for count, *shares in rows:
        found = tlkit.evaluation.find_coverage_range(int(count.replace(",", "")), 0.9)
        assert [f"{100 * share:.1f}" for share in found] == shares
