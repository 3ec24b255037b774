import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit.errors import ConfigError, DataError
from tlkit.evaluation import evaluator


def _probabilities(count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    rows = random.dirichlet([1, 1, 1], count).astype("float32")
    return random.integers(0, 3, count), rows


def test_figures_equal_plain_counting() -> None:
    labels, rows = _probabilities()
    result = evaluator.score(labels, rows, class_names=["a", "b", "c"])
    called = rows.argmax(axis=1)
    assert result.accuracy == np.mean(called == labels)
    assert result.loss == pytest.approx(-np.log(rows[np.arange(200), labels]).mean(), rel=1e-5)
    for index, score in enumerate(result.classes):
        hit = np.sum((called == index) & (labels == index))
        assert score.precision == pytest.approx(hit / np.sum(called == index))
        assert score.recall == pytest.approx(hit / np.sum(labels == index))
        assert score.support == np.sum(labels == index)
        assert result.confusion[index, index] == hit
    assert result.confusion.sum() == 200


def test_the_interval_is_wilsons() -> None:
    labels = np.zeros(100, int)
    rows = np.tile([0.9, 0.1], (100, 1))
    rows[90:] = [0.1, 0.9]
    low, high = evaluator.score(labels, rows, class_names=["a", "b"]).accuracy_interval
    z, share, count = 1.959964, 0.9, 100
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(share * 0.1 / count + z * z / (4 * count**2)) / (1 + z * z / count)
    assert (low, high) == pytest.approx((middle - half, middle + half), abs=1e-6)


def test_a_class_nobody_tested_counts_nothing() -> None:
    result = evaluator.score(np.zeros(4, int), np.tile([0.9, 0.1], (4, 1)), class_names=["a", "b"])
    assert result.classes[1].support == 0
    assert result.classes[1].recall == 0


def test_it_prints_and_goes_into_json() -> None:
    labels, rows = _probabilities()
    result = evaluator.score(labels, rows, class_names=["cat", "dog", "long name"])
    first, more, heading, *lines = str(result).splitlines()
    assert more.startswith("balanced accuracy ")
    assert first.startswith(f"accuracy {100 * result.accuracy:.2f} % (95 % interval ")
    assert heading.split() == ["class", "precision", "recall", "f1", "images"]
    assert [line[:9].strip() for line in lines] == ["cat", "dog", "long name"]
    assert json.loads(json.dumps(result.figures()))["confusion"] == result.confusion.tolist()


def test_arrays_datasets_and_one_hot_labels_give_the_same(model: keras.Model) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (20, 9, 9, 1), "uint8")
    labels = random.integers(0, 3, 20)
    plain = tlkit.evaluate(model, (images, labels))
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    loss, accuracy = model.evaluate(images, labels, verbose=0)
    assert (plain.loss, plain.accuracy) == pytest.approx((loss, accuracy), rel=1e-5)
    one_hot = tlkit.evaluate(model, (images, np.eye(3)[labels]))
    dataset = tlkit.evaluate(model, tf.data.Dataset.from_tensor_slices((images, labels)).batch(7))
    for other in (one_hot, dataset):
        assert other.confusion.tolist() == plain.confusion.tolist()
        assert other.loss == pytest.approx(plain.loss, rel=1e-5)


def test_bad_probabilities_are_refused() -> None:
    with pytest.raises(DataError, match=r"must have shape \(3, 2\)"):
        evaluator.score(np.zeros(3, int), np.ones((3, 3)) / 3, class_names=["a", "b"])
    with pytest.raises(DataError, match="got NaN: the model has diverged"):
        evaluator.score(np.zeros(1, int), np.full((1, 2), np.nan), class_names=["a", "b"])


def test_labels_out_of_range_and_empty_batches_are_refused(model: keras.Model) -> None:
    with pytest.raises(DataError, match="`labels` must be from 0 to 1, got 0 to 2"):
        evaluator.score([0, 2], [[0.5, 0.5], [0.5, 0.5]], class_names=["a", "b"])
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 1), "uint8")
    with pytest.raises(ConfigError, match="`batch_size` must be a whole number of at least 1"):
        tlkit.evaluate(model, (images, np.array([0, 1])), batch_size=0)
