import numpy as np
import pytest
from sklearn import metrics

from tlkit.errors import ConfigError
from tlkit.evaluation import metrics as scores


def _evaluation(count: int = 300, classes: int = 7) -> scores.Evaluation:
    random = np.random.default_rng(0)
    labels = random.integers(0, classes - 1, count)  # the last class is never tested
    rows = random.dirichlet(np.ones(classes), count)
    rows[np.arange(count), labels] += 0.3
    rows /= rows.sum(axis=1, keepdims=True)
    return scores.score(labels, rows, class_names=[f"class {n}" for n in range(classes)])


def test_the_figures_are_scikit_learns() -> None:
    found = _evaluation()
    labels, called = found.labels, found.probabilities.argmax(axis=1)
    assert found.macro_f1 == pytest.approx(metrics.f1_score(labels, called, average="macro"))
    there = list(range(6))
    recalls = metrics.recall_score(labels, called, labels=there, average=None)
    assert found.balanced_accuracy == pytest.approx(recalls.mean())
    assert list(found.top_k) == [1, 3, 5]
    assert found.top_k[1] == found.accuracy
    order = np.argsort(-found.probabilities, axis=1)
    assert found.top_k[3] == np.mean(
        [label in row[:3] for label, row in zip(labels, order, strict=True)]
    )
    assert scores.score(labels % 2, np.tile([0.4, 0.6], (300, 1)), class_names="ab").top_k == {
        1: np.mean(labels % 2)
    }


def test_the_most_confused_pairs_come_first() -> None:
    labels = np.array([0] * 10 + [1] * 10 + [2] * 10)
    called = np.array([0] * 5 + [2] * 4 + [1] + [1] * 10 + [1] * 6 + [2] * 4)
    found = scores.score(labels, np.eye(3)[called] * 0.7 + 0.1, class_names="abc")
    pairs = [(each.true, each.called, each.count, each.share) for each in found.confused()]
    assert pairs == [("c", "b", 6, 0.6), ("a", "c", 4, 0.4), ("a", "b", 1, 0.1)]
    assert [each.count for each in found.confused(1)] == [6]
    with pytest.raises(ConfigError, match="`count`"):
        found.confused(0)


def test_the_intervals_hold_the_figure_and_shrink_with_more_images() -> None:
    few, many = _evaluation(200), _evaluation(5000)
    for name in ("loss", "balanced_accuracy", "macro_f1"):
        low, high = few.intervals[name]
        assert low < getattr(few, name) < high
        wide, narrow = (high - low for low, high in (few.intervals[name], many.intervals[name]))
        assert narrow == pytest.approx(wide / 5, rel=0.3)  # 25 times the images
    assert few.intervals == _evaluation(200).intervals
    low, high = few.intervals["calibration_error"]
    assert 0 <= low < high


def test_the_intervals_hold_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(1)
    held = []
    for _ in range(40):
        labels = random.integers(0, 2, 100)
        right = random.random(100) < 0.8
        rows = np.where((right == labels)[:, None], [[0.1, 0.9]], [[0.9, 0.1]])
        low, high = scores.score(labels, rows, class_names="ab").intervals["balanced_accuracy"]
        held.append(low <= 0.8 <= high)
    assert 0.8 <= np.mean(held) <= 1.0


def test_a_constant_classifier_is_as_good_in_every_resample() -> None:
    labels = np.array([0] * 20 + [1] * 2 + [2])  # in many a resample of all, 1 or 2 is missing
    found = scores.score(labels, np.tile([0.8, 0.1, 0.1], (23, 1)), class_names="abc")
    assert found.intervals["balanced_accuracy"] == pytest.approx((1 / 3, 1 / 3))
    assert found.intervals["macro_f1"] == pytest.approx((found.macro_f1, found.macro_f1))


def test_the_intervals_are_those_of_resamples_within_each_class() -> None:
    found = _evaluation(120, classes=4)
    random = np.random.default_rng(5)
    called = found.probabilities.argmax(axis=1)
    places = [np.flatnonzero(found.labels == label) for label in range(3)]
    means = [
        np.mean(
            [
                (called[random.choice(one, len(one))] == label).mean()
                for label, one in enumerate(places)
            ]
        )
        for _ in range(1000)
    ]
    np.testing.assert_allclose(
        found.intervals["balanced_accuracy"], np.percentile(means, [2.5, 97.5]), atol=0.02
    )


def test_what_is_undefined_is_a_dash_and_not_in_the_means() -> None:
    labels, called = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 3])
    found = scores.score(labels, np.eye(5)[called] * 0.9 + 0.02, class_names="abcde")
    rows = {line.split()[0]: line.split()[1:] for line in str(found).splitlines()[-5:]}
    assert rows["b"] == ["1.000", "0.500", "0.667", "2"]
    assert rows["c"] == rows["e"] == ["-", "-", "-", "0"]
    assert rows["d"] == ["0.000", "-", "0.000", "0"]
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        expected = metrics.balanced_accuracy_score(labels, called)
    assert found.balanced_accuracy == expected == 0.75
    assert found.macro_f1 == pytest.approx(metrics.f1_score(labels, called, average="macro"))
    assert found.figures()["classes"][2]["recall"] == 0  # JSON has no NaN
