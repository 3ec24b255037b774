import keras
import numpy as np
import pytest
from scipy.optimize import minimize
from tests.samples import make_noise, make_stripes, small_classifier

import tlkit
from tlkit import Phase, SolvedHead, TwoPhaseTrainer, freezing, train_phase
from tlkit.data.batches import one_hot
from tlkit.training.divergence import Baseline, StopOnDivergence, measure_baseline

DATA = make_stripes(96, contrast=120)
UNEQUAL = make_noise(90)[0], np.minimum(np.arange(90) % 4, 2)  # half of the images are of class 2


class _Model:
    """Stands for a model whose one weight is the number of the epoch."""

    def __init__(self) -> None:
        self.weights, self.stop_training = [0], False

    def get_weights(self) -> list[int]:
        return list(self.weights)

    def set_weights(self, weights: list[int]) -> None:
        self.weights = list(weights)


def _train(
    losses: list[float],
    *,
    start: float | None,
    priors: list[float] | None,
    accuracies: list[float] | None = None,
) -> tuple:
    baseline = None
    if priors is not None:
        entropy = -sum(prior * np.log(prior) for prior in priors)
        baseline = Baseline(loss=start, prior_loss=entropy, majority_share=max(priors))
    callback, model = StopOnDivergence(baseline), _Model()
    callback.set_params({"epochs": len(losses)})
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, loss in enumerate(losses):
        model.weights = [epoch + 1]
        logs = {} if accuracies is None else {"accuracy": accuracies[epoch]}
        callback.on_epoch_end(epoch, {"loss": loss, **logs})
        if model.stop_training:
            break
    callback.on_train_end()
    return callback.diverged, callback.best_epoch, model.weights


EVEN = [0.5, 0.5]  # the prior loss is 0.693


@pytest.mark.parametrize(
    ("losses", "start", "priors", "expected"),
    [
        ([0.4, 0.3], 0.5, EVEN, (None, 2, [2])),
        ([0.4, np.nan, 0.2], 0.5, EVEN, (2, 1, [1])),
        ([np.inf], 0.5, EVEN, (1, 0, [0])),
        ([0.3, 0.69, 0.69, 0.1], 0.5, EVEN, (3, 1, [1])),
        ([0.69], 0.5, EVEN, (1, 0, [0])),  # the last epoch
        ([0.69, 0.4], 0.5, EVEN, (None, 2, [2])),  # it recovered
        ([2.0, 0.68, 0.3], 0.5, EVEN, (None, 3, [3])),  # it is recovering
        ([2.0, 0.68], 0.5, EVEN, (None, 0, [2])),
        ([2.0, 0.7, 0.3], 0.5, EVEN, (2, 0, [0])),  # not below the prior loss
        ([0.69, 0.69], 0.65, EVEN, (None, 0, [2])),  # it was no better before
        ([0.9, 0.9], None, None, (None, 2, [2])),  # nothing to compare with
    ],
)
def test_a_collapse_is_detected_and_undone(
    losses: list[float], start: float | None, priors: list[float] | None, expected: tuple
) -> None:
    diverged, best, weights = _train(losses, start=start, priors=priors)
    assert (diverged, weights) == (expected[0], expected[2])
    if expected[0] is not None:
        assert best == expected[1]


@pytest.mark.parametrize(("accuracy", "diverged"), [(0.7, None), (0.55, 2)])
def test_a_falling_loss_is_a_recovery_if_the_accuracy_agrees(
    accuracy: float, diverged: int | None
) -> None:
    losses, accuracies = [2.0, 0.9, 0.3], [0.5, accuracy, 0.9]
    assert _train(losses, start=0.5, priors=EVEN, accuracies=accuracies)[0] == diverged


def _smoothed(truth: object, rows: object) -> object:
    """A user's loss: a function of class indices."""
    one_hot = keras.ops.one_hot(keras.ops.cast(keras.ops.reshape(truth, (-1,)), "int32"), 3)
    return keras.losses.categorical_crossentropy(one_hot, rows, label_smoothing=0.05)


@pytest.mark.parametrize(
    ("cache", "settings"),
    [
        pytest.param(None, {}, marks=pytest.mark.slow),
        (tlkit.Cache(), {}),
        (None, {"patience": 3}),
        pytest.param(tlkit.Cache(), {"patience": 1}, marks=pytest.mark.slow),
        (tlkit.Cache(), {"patience": 2, "monitor": "loss", "learning_rate": 1e30}),
        pytest.param(None, {"label_smoothing": 0.1}, marks=pytest.mark.slow),
        (tlkit.Cache(), {"class_weight": {0: 1.0, 1: 1.0, 2: 1.0}}),
        pytest.param(
            tlkit.Cache(), {"loss": "sparse_categorical_crossentropy"}, marks=pytest.mark.slow
        ),
        (None, {"loss": keras.losses.SparseCategoricalCrossentropy()}),
        (None, {"loss": _smoothed}),
    ],
)
def test_a_collapsed_phase_gets_the_weights_from_before_it(
    small_backbone: keras.Model, cache: tlkit.Cache | None, settings: dict
) -> None:
    model = small_classifier(small_backbone, pooling="flatten")
    train_phase(model, SolvedHead(), DATA, seed=0, verbose=False)
    good = tlkit.evaluate(model, DATA).accuracy
    assert good > 0.9
    before = model.get_weights()
    settings = {"learning_rate": 10.0, **settings}
    wild = Phase(epochs=2, freeze=freezing.first(3), **settings)
    with pytest.warns(UserWarning, match=r"The phase 'phase' diverged.*from before the phase"):
        run = train_phase(
            model, wild, DATA, validation_data=DATA, cache=cache, seed=0, verbose=False
        )
    assert run.diverged in (1, 2)
    assert run.best_epoch == 0
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_run_contains_a_phase_that_diverged(small_backbone: keras.Model) -> None:
    model = small_classifier(small_backbone)
    trainer = TwoPhaseTrainer(
        head=Phase(epochs=1),
        fine_tune=Phase(epochs=1, learning_rate=1e30, freeze=freezing.first(3)),
        seed=0,
    )
    with pytest.warns(UserWarning, match="diverged"):
        run = trainer.fit(model, DATA, verbose=False)
    assert [phase.diverged for phase in run.phases] == [None, 1]
    assert np.isfinite(tlkit.evaluate(model, DATA).loss)


def _baseline(model: keras.Model, train: object, **settings: object) -> Baseline | None:
    phase = Phase(freeze=freezing.first(3), **settings)
    plan = freezing.plan(tlkit.models.backbone_of(model), phase.freeze, batchnorm=phase.batchnorm)
    return measure_baseline(model, phase, plan, train)


def _evaluated_loss(model: keras.Model, train: tuple, **settings: object) -> float:
    """What Keras' evaluation returns."""
    weights = settings.pop("class_weight", None)
    model.compile(loss=settings.get("loss", "sparse_categorical_crossentropy"))
    images, labels = train
    sample_weight = (
        None if weights is None else np.array([weights.get(each, 1.0) for each in labels])
    )
    return model.evaluate(
        images, labels, sample_weight=sample_weight, batch_size=len(images), verbose=0
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"loss": keras.losses.SparseCategoricalCrossentropy()},
        {"class_weight": {0: 3.0}},
        {"class_weight": {1: 0.1}, "loss": keras.losses.SparseCategoricalCrossentropy()},
    ],
)
def test_the_baseline_loss_is_what_keras_measures(model: keras.Model, settings: dict) -> None:
    found = _baseline(model, UNEQUAL, **settings)
    assert found.loss == pytest.approx(_evaluated_loss(model, UNEQUAL, **settings), rel=1e-4)
    assert found.majority_share == pytest.approx(44 / 90)


def test_the_prior_loss_is_the_entropy_of_the_class_frequencies(model: keras.Model) -> None:
    shares = np.bincount(UNEQUAL[1]) / 90
    entropy = -(shares * np.log(shares)).sum()
    images, labels = UNEQUAL
    for train in (UNEQUAL, (images, one_hot(labels, 3))):
        assert _baseline(model, train).prior_loss == pytest.approx(entropy, rel=1e-5)


def test_the_baseline_of_a_dataset_needs_more_than_its_first_batch(model: keras.Model) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    train = tensorflow.data.Dataset.from_tensor_slices(UNEQUAL).batch(2)
    assert _baseline(model, train).prior_loss == pytest.approx(
        _baseline(model, UNEQUAL).prior_loss, rel=0.02
    )


def test_a_summed_loss_and_a_frozen_backbone_have_no_baseline(model: keras.Model) -> None:
    summed = keras.losses.SparseCategoricalCrossentropy(reduction="sum")
    assert _baseline(model, UNEQUAL, loss=summed) is None
    plan = freezing.plan(tlkit.models.backbone_of(model), freezing.everything, batchnorm="frozen")
    assert measure_baseline(model, Phase(), plan, UNEQUAL) is None


def test_class_weights_weigh_the_frequencies_of_the_prior_loss(model: keras.Model) -> None:
    weights = np.array([3.0, 1.0, 0.2])
    counts = np.bincount(UNEQUAL[1])
    found = _baseline(model, UNEQUAL, class_weight=dict(enumerate(weights))).prior_loss

    def loss(logits: np.ndarray) -> float:
        log_probabilities = logits - np.log(np.exp(logits).sum())
        return float(-(counts * weights * log_probabilities).sum() / counts.sum())

    least = minimize(loss, np.zeros(3)).fun  # the best of all constant predictions
    assert found == pytest.approx(least, rel=1e-4)


def test_a_phase_that_goes_on_is_judged_by_the_baseline_from_before_it(model: keras.Model) -> None:
    learned = StopOnDivergence(Baseline(loss=0.1, prior_loss=2.0, majority_share=0.5))
    learned.set_model(model)
    learned.on_train_begin()
    again = StopOnDivergence(Baseline(loss=1.9, prior_loss=2.0, majority_share=0.5))
    again.set_model(model)
    again.set_params({"epochs": 1})
    again.on_train_begin()
    again.set_state(learned.get_state())
    again.on_epoch_end(0, {"loss": 2.1, "accuracy": 0.5})
    assert again.diverged == 1
