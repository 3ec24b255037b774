"""Metrics, thresholds and calibration where an image can have several classes, or none."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn import metrics as reference

import tlkit
from tlkit.errors import ConfigError, DataError
from tlkit.evaluation import compute_metrics, metrics, multi_label, thresholds
from tlkit.evaluation.probing.cross_validation import CrossValidation
from tlkit.models.inspection import probabilities_of

NAMES = ["cat", "dog", "eel"]


def sample(count: int = 200, *, sharpness: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    logits = random.normal(size=(count, 3)) * sharpness - 1
    rows = (random.random((count, 3)) < 1 / (1 + np.exp(-logits / 2))).astype(int)
    return rows, 1 / (1 + np.exp(-logits))


def test_metrics_are_those_of_scikit_learn() -> None:
    rows, probabilities = sample()
    decided = np.array([0.3, 0.5, 0.7])
    found = compute_metrics(rows, probabilities, class_names=NAMES, thresholds=decided)
    predicted = probabilities >= decided
    assert found.mean_average_precision == pytest.approx(
        reference.average_precision_score(rows, probabilities)
    )
    assert found.mean_auc == pytest.approx(reference.roc_auc_score(rows, probabilities))
    for average in ("macro", "micro"):
        expected = reference.f1_score(rows, predicted, average=average)
        assert getattr(found, f"{average}_f1") == pytest.approx(expected)
    assert found.hamming_loss == pytest.approx(reference.hamming_loss(rows, predicted))
    assert found.accuracy == pytest.approx(reference.accuracy_score(rows, predicted))
    assert found.correct.mean() == found.accuracy
    one_by_one = [reference.log_loss(rows[:, at], probabilities[:, at]) for at in range(3)]
    assert found.loss == pytest.approx(np.mean(one_by_one))
    each = [reference.balanced_accuracy_score(rows[:, at], predicted[:, at]) for at in range(3)]
    assert found.balanced_accuracy == pytest.approx(np.mean(each))
    assert found.thresholds.tolist() == decided.tolist()
    for name, (low, high) in found.intervals.items():
        assert low < getattr(found, name) < high, name
    assert "mean average precision" in str(found)
    stored = json.loads(json.dumps(found.to_dict()))
    assert stored["classes"][0]["threshold"] == 0.3
    images = {"labels": found.labels, "probabilities": found.probabilities}
    assert metrics.Evaluation.from_dict(stored, **images).to_dict() == found.to_dict()


def test_weighted_rankings_are_those_of_scikit_learn_with_ties() -> None:
    random = np.random.default_rng(0)
    labels, scores = random.integers(0, 2, 90), np.round(random.random(90), 1)
    weights = random.integers(0, 4, (3, 90)).astype("float64")
    precisions, areas = multi_label.ranking(labels, scores, weights)
    for at, row in enumerate(weights):
        options = {"sample_weight": row}
        expected = reference.average_precision_score(labels, scores, **options)
        assert precisions[at] == pytest.approx(expected)
        assert areas[at] == pytest.approx(reference.roc_auc_score(labels, scores, **options))


def test_a_class_without_images_is_said_and_left_out_of_means() -> None:
    rows, probabilities = sample()
    rows[:, 1] = 0
    found = compute_metrics(rows, probabilities, class_names=NAMES)
    assert (found.classes[1].average_precision, found.classes[1].auc) == (None, None)
    others = [0, 2]
    assert found.mean_average_precision == pytest.approx(
        reference.average_precision_score(rows[:, others], probabilities[:, others])
    )
    assert "no test image has dog" in str(found)
    assert np.isfinite(list(found.intervals.values())).all()
    assert "NaN" not in json.dumps(found.to_dict())


def test_images_without_any_label_are_evaluated() -> None:
    found = compute_metrics(np.zeros((5, 3), int), np.full((5, 3), 0.2), class_names=NAMES)
    assert (found.accuracy, found.hamming_loss) == (1, 0)
    assert found.mean_average_precision is None
    assert "mean average precision undefined" in str(found)


def test_rows_must_fit_the_probabilities() -> None:
    rows, probabilities = sample(20)
    with pytest.raises(DataError, match=r"`labels` .* 0 or 1 and of the shape \(20, 3\)"):
        compute_metrics(rows[:, :2], probabilities, class_names=NAMES)
    with pytest.raises(DataError, match="`probabilities` must be from 0 to 1"):
        compute_metrics(rows, probabilities * 3, class_names=NAMES)


def test_pairs_of_confused_classes_are_refused() -> None:
    rows, probabilities = sample(20)
    found = compute_metrics(rows, probabilities, class_names=NAMES)
    with pytest.raises(DataError, match="classes that exclude each other"):
        found.most_confused()


def test_thresholds_have_the_highest_f1_that_any_has() -> None:
    rows, probabilities = sample(120)
    probabilities = np.round(probabilities, 1)  # many are equal
    found = thresholds.choose(rows, probabilities)
    assert found.chosen.all()
    for at, own in enumerate(found.values):
        scores = [
            reference.f1_score(rows[:, at], probabilities[:, at] >= each, zero_division=0)
            for each in np.linspace(0.001, 1, 200)
        ]
        assert reference.f1_score(rows[:, at], probabilities[:, at] >= own) == max(scores)


def test_classes_with_few_images_keep_a_threshold_of_a_half() -> None:
    rows, probabilities = sample(120)
    rows[:, 0] = 0
    rows[:9, 0] = 1
    rows[:, 1] = 1
    rows[:9, 1] = 0
    found = thresholds.choose(rows, probabilities)
    assert found.chosen.tolist() == [False, False, True]
    assert found.values[:2].tolist() == [0.5, 0.5]


def echo_classifier() -> keras.Model:
    """Return a classifier whose logits are the pixels."""
    backbone = keras.Sequential([keras.Input((1, 1, 3)), keras.layers.Activation("linear")])
    model = tlkit.build_classifier(
        backbone, 3, input_shape=(1, 1, 3), value_range=(-30, 30), pixels=(-30, 30),
        class_names=NAMES, multi_label=True,
    )  # fmt: skip
    model.get_layer("logits").set_weights([np.eye(3), np.zeros(3)])
    return model


def test_calibration_fits_temperature_and_thresholds_which_are_saved(tmp_path: Path) -> None:
    model = echo_classifier()
    rows, probabilities = sample(300)
    logits = np.log(probabilities / (1 - probabilities))
    images = logits.reshape(-1, 1, 1, 3).astype("float32")
    found = tlkit.calibrate(model, (images, rows))
    assert found.temperature == pytest.approx(2, rel=0.15)  # how the sample was drawn
    assert found.loss[1] < found.loss[0]
    calibrated = tlkit.predict(model, images)
    np.testing.assert_allclose(
        calibrated, 1 / (1 + np.exp(-logits / found.temperature)), rtol=1e-4, atol=1e-6
    )
    expected = thresholds.choose(rows, calibrated).values
    np.testing.assert_array_equal(tlkit.models.thresholds(model), expected)
    assert dict(zip(NAMES, expected, strict=True)) == found.thresholds
    assert "thresholds of 3 of 3 classes chosen" in str(found)
    tlkit.save(model, tmp_path / "model.keras")
    again = tlkit.load(tmp_path / "model.keras")
    assert tlkit.models.is_multi_label(again)
    np.testing.assert_array_equal(tlkit.models.thresholds(again), expected)
    evaluation = tlkit.evaluate(again, (images, rows))
    np.testing.assert_array_equal(evaluation.thresholds, expected)
    tlkit.training.train_phase(
        again, tlkit.SolvedHead(solver="ridge"), (images, rows), verbose=False
    )
    assert probabilities_of(again).thresholds is None


def test_few_validation_images_are_said() -> None:
    model = echo_classifier()
    images = np.random.default_rng(0).normal(size=(12, 1, 1, 3)).astype("float32") * 5
    found = tlkit.calibrate(model, (images, np.eye(3)[np.arange(12) % 3]))
    assert found.defaulted == tuple(NAMES)
    assert "threshold 0.5, because fewer than 10 validation images have the class" in str(found)


def test_thresholds_are_of_multi_label_classifiers() -> None:
    backbone = keras.Sequential([keras.Input((1, 1, 3)), keras.layers.Activation("linear")])
    model = tlkit.build_classifier(backbone, 3, pixels=(0, 1))
    with pytest.raises(ConfigError, match="must be a multi-label classifier to have thresholds"):
        tlkit.models.thresholds(model)
    with pytest.raises(ConfigError, match="`thresholds` must be from 0 to 1, one for each of the"):
        tlkit.models.ClassProbabilities(NAMES, multi_label=True, thresholds=[0.5, 2])
    with pytest.raises(ConfigError, match="`thresholds` must be None where classes exclude"):
        tlkit.models.ClassProbabilities(NAMES, thresholds=[0.5] * 3)


def test_an_audit_is_refused() -> None:
    with pytest.raises(ConfigError, match="classes that exclude each other for an audit"):
        tlkit.audit(echo_classifier(), (np.zeros((5, 1, 1, 3)), np.zeros((5, 3))))


@pytest.mark.parametrize("solver", ["ridge", "lbfgs"])
def test_a_probe_measures_the_mean_average_precision_of_held_out_images(solver: str) -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(100, 4)).astype("float32")
    rows = (features[:, :3] + random.normal(size=(100, 3)) > 0).astype(int)
    fit = CrossValidation(4, 3, solver)
    fit.add(features, rows, np.arange(100) % 5)
    found = fit.measure().accuracy
    expected = reference.average_precision_score(fit.truth, fit.logits)
    assert found == pytest.approx(expected) and 0.7 < found < 0.95
    assert 0.005 < fit.standard_error(found) < 0.1


def test_mcnemar_compares_images_with_every_class_right() -> None:
    rows, probabilities = sample(50)
    good = compute_metrics(rows, rows * 0.8 + 0.1, class_names=NAMES)
    other = compute_metrics(rows, probabilities, class_names=NAMES)
    assert tlkit.evaluation.mcnemar(good, other).only_first == (~other.correct).sum()
