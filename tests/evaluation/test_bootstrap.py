import numpy as np
import pytest

from tlkit.evaluation.bootstrap import intervals, mean_over_classes


def _test_set(count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels, rows = random.integers(0, classes, count), random.dirichlet(np.ones(classes), count)
    rows[np.arange(count), labels] += 0.3
    return labels, rows / rows.sum(axis=1, keepdims=True)


def _recalls(labels: np.ndarray, rows: np.ndarray) -> list[float]:
    return [(rows[labels == each].argmax(axis=1) == each).mean() for each in np.unique(labels)]


def test_intervals_contain_the_estimate_and_shrink_with_more_images() -> None:
    few, many = _test_set(200, 6), _test_set(5000, 6)
    found, narrow = intervals(*few), intervals(*many)
    assert found == intervals(*few)
    labels, rows = few
    estimates = {
        "loss": -np.log(rows[np.arange(200), labels]).mean(),
        "balanced_accuracy": np.mean(_recalls(labels, rows)),
    }
    for name, estimate in estimates.items():
        low, high = found[name]
        assert low < estimate < high
        assert np.ptp(narrow[name]) == pytest.approx((high - low) / 5, rel=0.3)  # 25 times as many
    assert 0 <= found["calibration_error"][0] < found["calibration_error"][1]


def test_intervals_contain_the_truth_about_as_often_as_they_claim() -> None:
    random = np.random.default_rng(1)
    contained = []
    for _ in range(40):
        labels = random.integers(0, 2, 100)
        predicted = np.where(random.random(100) < 0.8, labels, 1 - labels)
        low, high = intervals(labels, np.eye(2)[predicted] * 0.8 + 0.1)["balanced_accuracy"]
        contained.append(low <= 0.8 <= high)
    assert 0.8 <= np.mean(contained) <= 1.0


def test_a_constant_classifier_is_as_good_in_every_resample() -> None:
    labels = np.array([0] * 20 + [1] * 2 + [2])  # drawn from all images, a class may be missing
    found = intervals(labels, np.tile([0.8, 0.1, 0.1], (23, 1)))
    assert found["balanced_accuracy"] == pytest.approx((1 / 3, 1 / 3))
    f1 = mean_over_classes(np.array([[20, 0, 0]]), np.bincount(labels), np.array([[23, 0, 0]]))[1]
    assert found["macro_f1"] == pytest.approx((f1[0], f1[0]))


def test_means_over_classes_are_resampled_within_each_class() -> None:
    labels, rows = _test_set(120, 3)
    random = np.random.default_rng(5)
    classes = [np.flatnonzero(labels == each) for each in range(3)]
    predicted = rows.argmax(axis=1)
    means = [
        np.mean(
            [
                (predicted[random.choice(images, len(images))] == each).mean()
                for each, images in enumerate(classes)
            ]
        )
        for _ in range(1000)
    ]
    np.testing.assert_allclose(
        intervals(labels, rows)["balanced_accuracy"], np.percentile(means, [2.5, 97.5]), atol=0.02
    )
