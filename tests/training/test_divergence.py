import keras
import numpy as np
import pytest

import tlkit
from tlkit import Phase, SolvedHead, TwoPhaseTrainer, train_phase
from tlkit.training.divergence import Guard, Known


class _Model:
    """Stands for a model whose one weight is the number of the epoch."""

    def __init__(self) -> None:
        self.weights, self.stop_training = [0], False

    def get_weights(self) -> list[int]:
        return list(self.weights)

    def set_weights(self, weights: list[int]) -> None:
        self.weights = list(weights)


def _watched(
    losses: list[float],
    *,
    start: float | None,
    shares: list[float] | None,
    accuracies: list[float] | None = None,
) -> tuple:
    known = None
    if shares is not None:
        ignorant = -sum(share * np.log(share) for share in shares)
        known = Known(loss=start, ignorant=ignorant, commonest=max(shares))
    guard, model = Guard(known), _Model()
    guard.set_params({"epochs": len(losses)})
    guard.set_model(model)
    guard.on_train_begin()
    for epoch, loss in enumerate(losses):
        model.weights = [epoch + 1]
        named = {} if accuracies is None else {"accuracy": accuracies[epoch]}
        guard.on_epoch_end(epoch, {"loss": loss, **named})
        if model.stop_training:
            break
    guard.on_train_end()
    return guard.diverged, guard.best_epoch, model.weights


EVEN = [0.5, 0.5]  # who knows only this has a loss of 0.693


@pytest.mark.parametrize(
    ("losses", "start", "shares", "expected"),
    [
        ([0.4, 0.3], 0.5, EVEN, (None, 2, [2])),
        ([0.4, np.nan, 0.2], 0.5, EVEN, (2, 1, [1])),
        ([np.inf], 0.5, EVEN, (1, 0, [0])),
        ([0.3, 0.69, 0.69, 0.1], 0.5, EVEN, (3, 1, [1])),
        ([0.69], 0.5, EVEN, (1, 0, [0])),  # the last epoch
        ([0.69, 0.4], 0.5, EVEN, (None, 2, [2])),  # it recovered
        ([2.0, 0.68, 0.3], 0.5, EVEN, (None, 3, [3])),  # it is recovering
        ([2.0, 0.68], 0.5, EVEN, (None, 0, [2])),
        ([2.0, 0.7, 0.3], 0.5, EVEN, (2, 0, [0])),  # to no more than knowing nothing
        ([0.69, 0.69], 0.65, EVEN, (None, 0, [2])),  # it knew nothing before either
        ([0.9, 0.9], None, None, (None, 2, [2])),  # nothing to compare with
    ],
)
def test_a_collapse_is_seen_and_undone(
    losses: list[float], start: float | None, shares: list[float] | None, expected: tuple
) -> None:
    diverged, best, weights = _watched(losses, start=start, shares=shares)
    assert (diverged, weights) == (expected[0], expected[2])
    if expected[0] is not None:
        assert best == expected[1]


@pytest.mark.parametrize(("accuracy", "diverged"), [(0.7, None), (0.55, 2)])
def test_a_loss_that_falls_is_no_collapse_where_the_accuracy_says_so(
    accuracy: float, diverged: int | None
) -> None:
    losses, accuracies = [2.0, 0.9, 0.3], [0.5, accuracy, 0.9]
    assert _watched(losses, start=0.5, shares=EVEN, accuracies=accuracies)[0] == diverged


def _data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 96)
    images = random.integers(0, 80, (96, 9, 9, 1), "uint8")
    for image, label in zip(images, labels, strict=True):
        image[3 * label : 3 * label + 3] += 120
    return images, labels


def _smoothed(truth: object, rows: object) -> object:
    """A user's own loss: a function, of class indices."""
    one_hot = keras.ops.one_hot(keras.ops.cast(keras.ops.reshape(truth, (-1,)), "int32"), 3)
    return keras.losses.categorical_crossentropy(one_hot, rows, label_smoothing=0.05)


@pytest.mark.parametrize(
    ("cache", "settings"),
    [
        (None, {}),
        (tlkit.Cache(), {}),
        (None, {"patience": 3}),
        (tlkit.Cache(), {"patience": 1}),
        (tlkit.Cache(), {"patience": 2, "monitor": "loss", "learning_rate": 1e30}),
        (None, {"label_smoothing": 0.1}),
        (tlkit.Cache(), {"class_weight": {0: 1.0, 1: 1.0, 2: 1.0}}),
        (tlkit.Cache(), {"loss": "sparse_categorical_crossentropy"}),
        (None, {"loss": keras.losses.SparseCategoricalCrossentropy()}),
        (None, {"loss": _smoothed}),
    ],
)
def test_a_training_that_forgets_goes_back_to_the_weights_before_it(
    small_backbone: keras.Model, cache: tlkit.Cache | None, settings: dict
) -> None:
    model = tlkit.build_classifier(
        small_backbone, 3, input_shape=(9, 9, 1), pixels=(0, 1), pooling="flatten"
    )
    train_phase(model, SolvedHead(), _data(), seed=0, verbose=False)
    good = tlkit.evaluate(model, _data()).accuracy
    assert good > 0.9
    before = model.get_weights()
    settings = {"learning_rate": 1.0, **settings}
    wild = Phase(epochs=2, freeze=tlkit.freezing.first(3), **settings)
    with pytest.warns(UserWarning, match=r"The phase 'phase' diverged.*from before it"):
        run = train_phase(
            model, wild, _data(), validation=_data(), cache=cache, seed=0, verbose=False
        )
    assert run.diverged in (1, 2)
    assert run.best_epoch == 0
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_diverged_phase_is_part_of_the_run(small_backbone: keras.Model) -> None:
    model = tlkit.build_classifier(small_backbone, 3, input_shape=(9, 9, 1), pixels=(0, 1))
    trainer = TwoPhaseTrainer(
        head=Phase(epochs=1),
        fine_tune=Phase(epochs=1, learning_rate=1e30, freeze=tlkit.freezing.first(3)),
        seed=0,
    )
    with pytest.warns(UserWarning, match="diverged"):
        run = trainer.fit(model, _data(), verbose=False)
    assert [phase.diverged for phase in run.phases] == [None, 1]
    assert np.isfinite(tlkit.evaluate(model, _data()).loss)
