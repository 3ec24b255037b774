import dataclasses
import json

import numpy as np
import pytest

from tlkit.errors import DataError
from tlkit.evaluation import compute_metrics
from tlkit.evaluation.metrics import Evaluation
from tlkit.evaluation.summed_metrics import Totals, to_evaluation

NAMES = [f"class {number}" for number in range(7)]


def _predict(count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and probabilities, some of them wrong; one class has no images."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, classes - 1, count)
    logits = draw.normal(size=(count, classes))
    logits[np.arange(count), labels] += 1.5
    rows = np.exp(2 * logits)
    return labels, (rows / rows.sum(axis=1, keepdims=True)).astype("float32")


def _add_up(labels: np.ndarray, probabilities: np.ndarray, pieces: int) -> Evaluation:
    classes = probabilities.shape[1]
    total = Totals.empty(classes)
    for rows in np.array_split(np.arange(len(labels)), pieces):
        piece = Totals.empty(classes)
        piece.add(labels[rows], probabilities[rows])
        total = total + piece
    sample = {"labels": labels[:9], "probabilities": probabilities[:9]}
    return to_evaluation(total, NAMES[:classes], **sample)


@pytest.mark.parametrize("classes", [2, 4, 7])
def test_metrics_from_sums_are_those_of_all_images(classes: int) -> None:
    labels, probabilities = _predict(2000, classes)
    expected = compute_metrics(labels, probabilities, class_names=NAMES[:classes])
    found = _add_up(labels, probabilities, 3)
    for name in ("count", "accuracy", "accuracy_interval", "top_k", "balanced_accuracy"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name)), name
    for name in ("macro_f1", "loss", "calibration_error"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name)), name
    np.testing.assert_array_equal(found.confusion, expected.confusion)
    for one, other in zip(found.classes, expected.classes, strict=True):
        assert dataclasses.asdict(one) == pytest.approx(dataclasses.asdict(other))
    np.testing.assert_array_equal(found.probabilities, probabilities[:9])
    for name, bounds in expected.intervals.items():  # both are drawn: a tenth of their width
        width = bounds[1] - bounds[0]
        assert found.intervals[name] == pytest.approx(bounds, abs=0.15 * width), name


def test_a_probability_of_0_has_a_finite_loss() -> None:
    labels, probabilities = np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]])
    found = _add_up(labels, probabilities, 1)
    assert found.loss == pytest.approx(
        compute_metrics(labels, probabilities, class_names=NAMES[:2]).loss
    )


def test_metrics_of_all_images_come_back_from_json_with_a_sample() -> None:
    labels, probabilities = _predict(200, 4)
    whole = _add_up(labels, probabilities, 2)
    stored = json.loads(json.dumps(whole.to_dict()))
    sample = {"labels": labels[:9], "probabilities": probabilities[:9]}
    found = Evaluation.from_dict(stored, **sample)
    assert found.to_dict() == whole.to_dict()
    assert (found.count, found.top_k) == (200, whole.top_k)
    np.testing.assert_array_equal(found.probabilities, probabilities[:9])


def test_no_images_have_no_metrics() -> None:
    empty = np.zeros((0, 2))
    with pytest.raises(DataError, match="There must be test images"):
        to_evaluation(Totals.empty(2), NAMES[:2], labels=empty[:, 0], probabilities=empty)
