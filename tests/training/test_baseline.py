import keras
import numpy as np
import pytest
from scipy.optimize import minimize

import tlkit
from tlkit import Phase, freezing
from tlkit.data.batches import encoded
from tlkit.training import baseline
from tlkit.training.divergence import Known


@pytest.fixture
def model(small_backbone: keras.Model) -> keras.Model:
    return tlkit.build_classifier(small_backbone, 3, pixels=(0, 1), seed=0)


def _data(count: int = 90) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, 16, 16, 3), "uint8"), np.minimum(np.arange(count) % 4, 2)


def _known(model: keras.Model, train: object, **settings: object) -> Known | None:
    phase = Phase(freeze=freezing.first(3), **settings)
    plan = freezing.plan(tlkit.models.backbone_of(model), phase.freeze, batchnorm=phase.batchnorm)
    return baseline.at_the_start(model, phase, plan, train)


def _fitted_loss(model: keras.Model, train: tuple, **settings: object) -> float:
    """What Keras' own evaluation says."""
    weights = settings.pop("class_weight", None)
    model.compile(loss=settings.get("loss", "sparse_categorical_crossentropy"))
    images, labels = train
    of_each = None if weights is None else np.array([weights.get(each, 1.0) for each in labels])
    return model.evaluate(images, labels, sample_weight=of_each, batch_size=len(images), verbose=0)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"loss": keras.losses.SparseCategoricalCrossentropy()},
        {"class_weight": {0: 3.0}},
        {"class_weight": {1: 0.1}, "loss": keras.losses.SparseCategoricalCrossentropy()},
    ],
)
def test_the_loss_is_what_keras_measures(model: keras.Model, settings: dict) -> None:
    found = _known(model, _data(), **settings)
    assert found.loss == pytest.approx(_fitted_loss(model, _data(), **settings), rel=1e-4)
    assert found.commonest == pytest.approx(44 / 90)


def test_knowing_only_the_shares_costs_their_entropy(model: keras.Model) -> None:
    shares = np.bincount(_data()[1]) / 90
    entropy = -(shares * np.log(shares)).sum()
    images, labels = _data()
    for train in (_data(), (images, encoded(labels, 3))):
        assert _known(model, train).ignorant == pytest.approx(entropy, rel=1e-5)


def test_a_dataset_is_judged_by_more_than_its_first_batch(model: keras.Model) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    train = tensorflow.data.Dataset.from_tensor_slices(_data()).batch(2)
    assert _known(model, train).ignorant == pytest.approx(_known(model, _data()).ignorant, rel=0.02)


def test_nothing_is_known_where_nothing_can_be_compared(model: keras.Model) -> None:
    summed = keras.losses.SparseCategoricalCrossentropy(reduction="sum")
    assert _known(model, _data(), loss=summed) is None
    plan = freezing.plan(tlkit.models.backbone_of(model), freezing.everything, batchnorm="frozen")
    assert baseline.at_the_start(model, Phase(), plan, _data()) is None


def test_weighted_classes_count_for_more_in_what_the_ignorant_say(model: keras.Model) -> None:
    weights = np.array([3.0, 1.0, 0.2])
    counts = np.bincount(_data()[1])
    found = _known(model, _data(), class_weight=dict(enumerate(weights))).ignorant

    def loss(logits: np.ndarray) -> float:
        said = logits - np.log(np.exp(logits).sum())
        return float(-(counts * weights * said).sum() / counts.sum())

    least = minimize(loss, np.zeros(3)).fun  # nobody who sees no image does better
    assert found == pytest.approx(least, rel=1e-4)
