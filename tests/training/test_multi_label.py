"""Classifiers whose images can have several classes, or none: labels, loss, fit, solvers."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from tests.samples import make_noise, small_classifier

import tlkit
from tlkit import Phase, SolvedHead
from tlkit.errors import ConfigError, DataError
from tlkit.models import ClassProbabilities
from tlkit.training import losses, solvers
from tlkit.training.linear import cross_entropy

IMAGES, _ = make_noise(48)
ROWS = np.random.default_rng(1).integers(0, 2, (48, 3))


def classifier() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    maps = keras.layers.Conv2D(4, 3, 2, activation="relu")(image)
    maps = keras.layers.Conv2D(4, 3, activation="relu")(maps)
    return small_classifier(keras.Model(image, maps), multi_label=True)


def test_the_loss_is_computed_from_the_logits() -> None:
    logits = np.array([[60.0, -60.0, 3.0]], "float32")
    rows = np.array([[0.0, 1.0, 1.0]], "float32")
    expected = cross_entropy(logits, rows)
    assert expected == pytest.approx((60 + 60 + np.log1p(np.exp(-3))) / 3)
    layer = ClassProbabilities(["a", "b", "c"], multi_label=True)
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile(loss=losses.crossentropy("multi-hot"))
    assert model.test_on_batch(logits, rows) == pytest.approx(expected, rel=1e-6)


def test_cached_training_equals_training_without_a_cache() -> None:
    weights = []
    for cache in (None, tlkit.Cache()):
        model = classifier()
        phase = Phase(epochs=2, learning_rate=0.05)
        train = partial(tlkit.training.train_phase, seed=0, verbose=False)
        run = train(model, phase, (IMAGES, ROWS), validation_data=(IMAGES, ROWS), cache=cache)
        assert {"binary_accuracy", "val_binary_accuracy"} <= run.history.keys()
        weights.append([*model.get_weights(), run.history["loss"]])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("solver", ["lbfgs", "ridge"])
def test_a_solved_head_has_the_loss_that_keras_computes(solver: str) -> None:
    model = classifier()
    phase = SolvedHead(solver=solver)
    run = tlkit.training.train_phase(model, phase, (IMAGES, ROWS), seed=0, verbose=False)
    loss, accuracy = model.evaluate(IMAGES, ROWS, verbose=0)
    assert run.history["loss"] == [pytest.approx(loss, rel=1e-4)]
    assert run.history["binary_accuracy"] == [pytest.approx(accuracy)]
    assert loss < 0.70  # about the entropy of the labels, ln 2


def test_logistic_regression_is_that_of_scikit_learn_for_each_class() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(300, 5))
    features = ((features - features.mean(axis=0)) / features.std(axis=0)).astype("float32")
    rows = (features @ random.normal(size=(5, 3)) + random.normal(size=(300, 3)) > 0.5).astype(int)
    found = solvers.lbfgs(features, rows, classes=3, penalty=0.01)
    for at in range(3):
        own = LogisticRegression(C=1 / (300 * 0.01), tol=1e-8).fit(features, rows[:, at])
        np.testing.assert_allclose(found.kernel[:, at], own.coef_[0], atol=0.02)
        np.testing.assert_allclose(found.bias[at], own.intercept_[0], atol=0.02)


def test_ridge_gives_calibrated_probabilities_for_classes_of_any_frequency() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(1500, 5)).astype("float32")
    logits = features @ random.normal(size=(5, 3)) + [-3, 0, 2]
    rows = (random.random((1500, 3)) < 1 / (1 + np.exp(-logits))).astype(int)
    found = solvers.ridge(features, rows, classes=3, seed=0)
    probabilities = 1 / (1 + np.exp(-found.logits(features)))
    np.testing.assert_allclose(probabilities.mean(axis=0), rows.mean(axis=0), atol=0.02)
    assert found.loss(features, rows) < 1.1 * cross_entropy(logits, rows)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.arange(48) % 3, "rows of 0 and 1 with a column for each of the 3 classes"),
        (ROWS[:, :2], "rows of 0 and 1 with a column for each of the 3 classes"),
        (ROWS * 0.5, "must each be 0 or 1, got 0.5"),
        (ROWS - 1, "must each be 0 or 1, got -1"),
        (np.where(ROWS, np.nan, 0), "must each be 0 or 1, got nan"),
    ],
)
def test_labels_must_be_rows_of_0_and_1(labels: np.ndarray, words: str) -> None:
    model = classifier()
    batches = [(IMAGES[:24], labels[:24]), (IMAGES[24:], labels[24:])]
    for data in ((IMAGES, labels), batches_of(batches)):
        with pytest.raises(DataError, match=words):
            tlkit.evaluate(model, data)


class batches_of(keras.utils.PyDataset):  # noqa: N801
    def __init__(self, batches: list[tuple[np.ndarray, np.ndarray]]) -> None:
        super().__init__()
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.batches[index]


def test_classes_that_exclude_each_other_refuse_several_labels() -> None:
    model = small_classifier(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)]))
    with pytest.raises(DataError, match="build_classifier.*multi_label=True"):
        tlkit.evaluate(model, (IMAGES, np.ones((48, 3))))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32"])
def test_every_form_and_dtype_of_labels_is_evaluated_the_same(dtype: str) -> None:
    model = classifier()
    rows = ROWS.astype(dtype)
    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, rows)).batch(20)
    found = tlkit.evaluate(model, dataset)
    expected = tlkit.evaluate(model, (IMAGES, ROWS))
    assert found.mean_average_precision == pytest.approx(expected.mean_average_precision, rel=1e-6)
    assert found.loss == pytest.approx(model_loss(model), rel=1e-5)
    run = tlkit.training.train_phase(model, Phase(), dataset, seed=0, cache=None, verbose=False)
    assert np.isfinite(run.history["loss"][0])


def model_loss(model: keras.Model) -> float:
    model.compile(loss="binary_crossentropy")
    return float(model.evaluate(IMAGES, ROWS, verbose=0))


EXCLUSIVE = [
    {"loss": "categorical_crossentropy"},
    {"loss": "sparse_categorical_crossentropy"},
    {"loss": keras.losses.KLDivergence()},
    {"metrics": ("categorical_accuracy",)},
    {"metrics": (keras.metrics.TopKCategoricalAccuracy(),)},
    {"metrics": (keras.metrics.F1Score(average="macro"),)},
]


@pytest.mark.parametrize("settings", EXCLUSIVE, ids=range(len(EXCLUSIVE)))
def test_losses_and_metrics_of_one_class_an_image_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"`{next(iter(settings))}` must"):
        losses.check_loss_and_metrics(Phase(**settings), num_classes=3, form="multi-hot")


@pytest.mark.parametrize("given", ["balanced", [1.0, 2.0, 3.0]], ids=["balanced", "numbers"])
def test_class_weights_are_refused(given: object) -> None:
    model, phase = classifier(), Phase(class_weight=given)
    with pytest.raises(ConfigError, match="`class_weight` must be None for a multi-label"):
        tlkit.training.train_phase(model, phase, (IMAGES, ROWS), verbose=False)
    with pytest.raises(ConfigError, match="`class_weight` must be None for a multi-label"):
        tlkit.training.find_learning_rate(model, phase, (IMAGES, ROWS))


BINARY = [
    {"metrics": ("accuracy", "ce")},
    {"metrics": (keras.metrics.AUC(multi_label=True),)},
    {"metrics": (keras.metrics.F1Score(average="macro", threshold=0.5),)},
    {"loss": "binary_focal_crossentropy"},
    {"patience": 1, "monitor": "val_accuracy"},
]


@pytest.mark.parametrize("settings", BINARY, ids=range(len(BINARY)))
def test_losses_and_metrics_of_single_labels_are_taken(settings: dict[str, object]) -> None:
    losses.check_loss_and_metrics(Phase(**settings), num_classes=3, form="multi-hot")


def test_a_cached_phase_stops_by_an_accuracy() -> None:
    model = classifier()
    phase = Phase(epochs=3, patience=1, monitor="val_accuracy", learning_rate=1e-9)
    run = tlkit.training.train_phase(
        model, phase, (IMAGES, ROWS), validation_data=(IMAGES, ROWS), seed=0, verbose=False
    )
    assert (run.best_epoch, run.num_epochs) == (1, 2)


def test_label_smoothing_is_that_of_keras() -> None:
    rows, given = ROWS.astype("float32"), np.full(ROWS.shape, 0.3, "float32")
    loss = losses.crossentropy("multi-hot", label_smoothing=0.2)
    smooth = rows * 0.8 + 0.1
    expected = -(smooth * np.log(0.3) + (1 - smooth) * np.log(0.7)).mean()
    assert float(loss(rows, given)) == pytest.approx(expected, rel=1e-5)
