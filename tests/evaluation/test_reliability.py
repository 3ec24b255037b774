import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from tlkit.evaluation import reliability


def _calls(confidence: float, right: int, of: int) -> tuple[np.ndarray, np.ndarray]:
    rows = np.tile([confidence, 1 - confidence], (of, 1))
    return rows, np.array([0] * right + [1] * (of - right))


def test_bins_hold_what_lies_within_them() -> None:
    low, high = _calls(0.55, 2, 10), _calls(0.95, 9, 10)
    rows, labels = (np.concatenate(pair) for pair in zip(low, high, strict=True))
    found = [each for each in reliability.reliability(rows, labels, bins=10) if each.count]
    assert [(each.low, each.high, each.count) for each in found] == [(0.5, 0.6, 10), (0.9, 1.0, 10)]
    assert [each.confidence for each in found] == pytest.approx([0.55, 0.95])
    assert [each.accuracy for each in found] == pytest.approx([0.2, 0.9])
    wanted = (0.35 + 0.05) / 2
    assert reliability.calibration_error(rows, labels, bins=10) == pytest.approx(wanted)


def test_a_bin_holds_its_upper_bound() -> None:
    rows, labels = np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0, 0])
    found = reliability.reliability(rows, labels, bins=2)
    assert [each.count for each in found] == [1, 1]


@given(st.integers(0, 1000), st.integers(1, 20))
def test_the_bins_hold_every_call_once(seed: int, bins: int) -> None:
    random = np.random.default_rng(seed)
    rows, labels = random.dirichlet([1, 1, 1], 50), random.integers(0, 3, 50)
    found = reliability.reliability(rows, labels, bins=bins)
    assert sum(each.count for each in found) == 50
    right = sum(each.count * each.accuracy for each in found)
    assert right == pytest.approx((rows.argmax(axis=1) == labels).sum())
    for each in found:
        assert not each.count or each.low <= each.confidence <= each.high + 1e-12


@pytest.mark.parametrize("wanted", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(wanted: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(20000, 4)) * 2
    drawn = random.random((20000, 1)) < softmax(logits, axis=1).cumsum(axis=1)
    labels = drawn.argmax(axis=1)  # drawn with the probabilities that the logits say
    found = reliability.fit_temperature(softmax(logits * wanted, axis=1), labels)
    assert found == pytest.approx(wanted, rel=0.05)
