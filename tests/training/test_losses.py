from functools import partial

import keras
import numpy as np
import pytest

from tlkit import Phase
from tlkit.errors import ConfigError
from tlkit.training import losses


def test_smoothed_labels_cost_what_keras_says_of_one_hot_ones() -> None:
    labels = np.array([2, 0, 1])
    given = np.random.default_rng(0).dirichlet(np.ones(3), 3).astype("float32")
    expected = keras.losses.CategoricalCrossentropy(label_smoothing=0.2)(np.eye(3)[labels], given)
    loss = losses.SmoothedCrossentropy(0.2)
    assert float(loss(labels, given)) == pytest.approx(float(expected), rel=1e-6)
    assert float(loss(labels[:, None], given)) == pytest.approx(float(expected), rel=1e-6)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.label_smoothing == 0.2


def mean_error(labels: object, predicted: object) -> object:
    return keras.ops.mean(keras.ops.abs(labels - predicted))


INTEGER_ONLY = [
    {"loss": "sparse_categorical_crossentropy"},
    {"loss": keras.losses.SparseCategoricalCrossentropy()},
    {"metrics": ("sparse_top_k_categorical_accuracy",)},
    {"metrics": (keras.metrics.SparseCategoricalAccuracy(),)},
]
ONE_HOT_ONLY = [
    {"loss": "categorical_crossentropy"},
    {"loss": "mse"},
    {"loss": keras.losses.CategoricalFocalCrossentropy()},
    {"metrics": ("accuracy", keras.metrics.F1Score(average="macro"))},
    {"metrics": ("categorical_accuracy",)},
    {"metrics": (keras.metrics.AUC(),)},
    {"metrics": (keras.metrics.Precision(),)},
    {"metrics": (mean_error,)},
]
BOTH = [{}, {"metrics": ("accuracy",)}, {"metrics": ("crossentropy",)}, {"label_smoothing": 0.1}]


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("settings", [*INTEGER_ONLY, *ONE_HOT_ONLY, *BOTH])
def test_losses_and_metrics_must_fit_the_labels(
    settings: dict[str, object], *, one_hot: bool
) -> None:
    phase = Phase(**settings)
    check = partial(
        losses.check_loss_and_metrics,
        phase,
        num_classes=3,
        form="one-hot" if one_hot else "integers",
    )
    if settings in BOTH or settings in (ONE_HOT_ONLY if one_hot else INTEGER_ONLY):
        check()
        return
    form = "one-hot" if one_hot else "integer"
    with pytest.raises(ConfigError, match=f"`{next(iter(settings))}` must fit {form} labels, got"):
        check()


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ConfigError, match="`metrics` must fit integer labels, got 'acuracy'"):
        losses.check_loss_and_metrics(Phase(metrics=("acuracy",)), num_classes=3, form="integers")


def test_a_metric_is_as_new_after_the_check() -> None:
    metric = keras.metrics.CategoricalAccuracy()
    losses.check_loss_and_metrics(Phase(metrics=(metric,)), num_classes=3, form="one-hot")
    assert float(metric.result()) == 0.0


@pytest.mark.parametrize("metric", ["f1_score", keras.metrics.FBetaScore()])
def test_a_metric_is_one_number(metric: object) -> None:
    phase = Phase(metrics=("accuracy", metric))
    with pytest.raises(ConfigError, match=r'`metrics` must fit .* it gives 3 values.*"macro"'):
        losses.check_loss_and_metrics(phase, num_classes=3, form="one-hot")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"monitor": "val_acc"}, r"`monitor` must be one of .*Did you mean 'val_accuracy'"),
        ({"monitor": "accuracy", "metrics": ()}, "`monitor` must be one of .'loss', 'val_loss'."),
        (
            {"monitor": "mean_error", "metrics": (mean_error,)},
            "of which Keras knows whether more or less is better, got 'mean_error'",
        ),
    ],
)
def test_a_phase_is_stopped_by_what_is_measured(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        losses.check_loss_and_metrics(Phase(patience=1, **settings), num_classes=3, form="one-hot")


@pytest.mark.parametrize("monitor", ["loss", "val_loss", "val_accuracy"])
def test_the_loss_and_the_accuracy_can_be_watched(monitor: str) -> None:
    phase = Phase(patience=1, monitor=monitor)
    losses.check_loss_and_metrics(phase, num_classes=3, form="integers")
