import json

import numpy as np
import pytest
from sklearn import metrics

from tlkit.errors import ConfigError, DataError
from tlkit.evaluation.metrics import Evaluation, compute_metrics


def _evaluation(count: int = 300, classes: int = 7) -> Evaluation:
    random = np.random.default_rng(0)
    labels = random.integers(0, classes - 1, count)  # no image is of the last class
    rows = random.dirichlet(np.ones(classes), count)
    rows[np.arange(count), labels] += 0.3
    rows /= rows.sum(axis=1, keepdims=True)
    return compute_metrics(labels, rows, class_names=[f"class {n}" for n in range(classes)])


def _predicted(labels: list[int], predicted: list[int], class_names: str) -> Evaluation:
    rows = np.eye(len(class_names))[predicted] * 0.7 + 0.1
    return compute_metrics(np.array(labels), rows, class_names=class_names)


def test_the_metrics_are_those_of_scikit_learn_and_of_plain_counting() -> None:
    found = _evaluation()
    labels, predicted = found.labels, found.probabilities.argmax(axis=1)
    assert found.accuracy == np.mean(predicted == labels)
    true = found.probabilities[np.arange(300), labels]
    assert found.loss == pytest.approx(-np.log(true).mean(), rel=1e-5)
    assert found.macro_f1 == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
    recalls = metrics.recall_score(labels, predicted, labels=list(range(6)), average=None)
    assert found.balanced_accuracy == pytest.approx(recalls.mean())
    for index, each in enumerate(found.classes[:-1]):
        correct = np.sum((predicted == index) & (labels == index))
        assert each.precision == pytest.approx(correct / np.sum(predicted == index))
        assert each.recall == pytest.approx(correct / np.sum(labels == index))
        assert each.support == np.sum(labels == index)
        assert found.confusion[index, index] == correct
    assert found.confusion.sum() == 300


def test_top_k_is_measured_for_fewer_than_all_classes() -> None:
    found = _evaluation()
    assert list(found.top_k) == [1, 3, 5]
    assert found.top_k[1] == found.accuracy
    order = np.argsort(-found.probabilities, axis=1)[:, :3]
    assert found.top_k[3] == np.mean((order == found.labels[:, None]).any(axis=1))
    assert _predicted([0, 1], [1, 1], "ab").top_k == {1: 0.5}


def test_the_interval_of_the_accuracy_is_wilsons() -> None:
    low, high = _predicted([0] * 100, [0] * 90 + [1] * 10, "ab").accuracy_interval
    z, share, count = 1.959964, 0.9, 100
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(share * 0.1 / count + z * z / (4 * count**2)) / (1 + z * z / count)
    assert (low, high) == pytest.approx((middle - half, middle + half), abs=1e-6)


def test_the_pairs_confused_most_often_come_first() -> None:
    labels = [0] * 10 + [1] * 10 + [2] * 10
    predicted = [0] * 5 + [2] * 4 + [1] + [1] * 10 + [1] * 6 + [2] * 4
    found = _predicted(labels, predicted, "abc")
    pairs = [(each.true, each.predicted, each.count, each.share) for each in found.most_confused()]
    assert pairs == [("c", "b", 6, 0.6), ("a", "c", 4, 0.4), ("a", "b", 1, 0.1)]
    assert [each.count for each in found.most_confused(1)] == [6]
    assert not found.has_tied_errors
    with pytest.raises(ConfigError, match="`count`"):
        found.most_confused(0)


def test_undefined_metrics_are_a_dash_and_left_out_of_means() -> None:
    labels, predicted = [0, 0, 1, 1], [0, 0, 1, 3]
    found = _predicted(labels, predicted, "abcde")
    rows = {line.split()[0]: line.split()[1:] for line in str(found).splitlines()[-5:]}
    assert rows["b"] == ["1.000", "0.500", "0.667", "2"]
    assert rows["c"] == rows["e"] == ["-", "-", "-", "0"]
    assert rows["d"] == ["0.000", "-", "0.000", "0"]
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        expected = metrics.balanced_accuracy_score(labels, predicted)
    assert found.balanced_accuracy == expected == 0.75
    assert found.macro_f1 == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
    assert found.to_dict()["classes"][2]["recall"] == 0  # JSON has no NaN


def test_an_evaluation_prints_as_a_table_and_converts_to_json() -> None:
    result = _predicted([0, 1, 2], [0, 1, 1], ["cat", "dog", "long name"])
    first, second, heading, *lines = str(result).splitlines()
    assert first.startswith("accuracy 66.67 % (95 % interval ")
    assert second.startswith("balanced accuracy ")
    assert heading.split() == ["class", "precision", "recall", "f1", "images"]
    assert [line[:9].strip() for line in lines] == ["cat", "dog", "long name"]
    assert json.loads(json.dumps(result.to_dict()))["confusion"] == result.confusion.tolist()


@pytest.mark.parametrize(
    ("labels", "rows", "message"),
    [
        ([0, 0, 0], np.ones((3, 3)) / 3, r"must have shape \(3, 2\)"),
        ([0], np.full((1, 2), np.nan), "got NaN: the model has diverged"),
        ([0, 2], np.full((2, 2), 0.5), "`labels` must be from 0 to 1, got 0 to 2"),
    ],
)
def test_wrong_labels_and_probabilities_are_refused(
    labels: list[int], rows: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        compute_metrics(np.array(labels), rows, class_names="ab")


def test_of_equally_frequent_confusions_the_one_with_the_larger_share_is_first() -> None:
    labels = np.repeat([0, 1, 2], [10, 10, 3])
    predicted = labels.copy()
    predicted[[0, 1]] = 1  # 2 of 10
    predicted[[20, 21]] = 0  # 2 of 3
    found = compute_metrics(labels, np.eye(3)[predicted], class_names="abc")
    assert [(each.true, each.predicted) for each in found.most_confused()] == [
        ("c", "a"),
        ("a", "b"),
    ]
    assert found.has_tied_errors
