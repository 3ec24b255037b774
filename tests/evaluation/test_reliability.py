import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.calibration import calibration_curve as sklearn_curve

from tlkit.evaluation.reliability import calibration_curve, calibration_error, fit_temperature


def _predictions(confidence: float, num_correct: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.array([0] * num_correct + [1] * (count - num_correct))
    return labels, np.tile([confidence, 1 - confidence], (count, 1))


def test_a_bin_has_the_confidence_and_the_accuracy_of_the_predictions_in_it() -> None:
    parts = _predictions(0.55, 2, 10), _predictions(0.95, 9, 10)
    labels, rows = (np.concatenate(pair) for pair in zip(*parts, strict=True))
    low, high = (each for each in calibration_curve(labels, rows, num_bins=10) if each.count)
    assert [(each.low, each.high, each.count) for each in (low, high)] == [
        (0.5, 0.6, 10),
        (0.9, 1.0, 10),
    ]
    assert (low.confidence, low.accuracy) == pytest.approx((0.55, 0.2))
    assert (high.confidence, high.accuracy) == pytest.approx((0.95, 0.9))
    expected = (0.35 + 0.05) / 2
    assert calibration_error(labels, rows, num_bins=10) == pytest.approx(expected)


def test_a_bin_includes_its_upper_bound() -> None:
    curve = calibration_curve(np.array([0, 0]), np.array([[0.5, 0.5], [1.0, 0.0]]), num_bins=2)
    assert [each.count for each in curve] == [1, 1]


@given(st.integers(0, 1000), st.integers(1, 20))
def test_the_bins_are_those_of_scikit_learn(seed: int, num_bins: int) -> None:
    random = np.random.default_rng(seed)
    labels, rows = random.integers(0, 3, 50), random.dirichlet([1, 1, 1], 50)
    curve = calibration_curve(labels, rows, num_bins=num_bins)
    assert sum(each.count for each in curve) == 50
    correct = rows.argmax(axis=1) == labels
    accuracy, confidence = sklearn_curve(correct, rows.max(axis=1), n_bins=num_bins)
    filled = [each for each in curve if each.count]
    assert [each.accuracy for each in filled] == pytest.approx(accuracy)
    assert [each.confidence for each in filled] == pytest.approx(confidence)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_fitted(temperature: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(20000, 4)) * 2
    drawn = random.random((20000, 1)) < softmax(logits, axis=1).cumsum(axis=1)
    labels = drawn.argmax(axis=1)  # distributed as the logits say
    found = fit_temperature(labels, softmax(logits * temperature, axis=1))
    assert found == pytest.approx(temperature, rel=0.05)
