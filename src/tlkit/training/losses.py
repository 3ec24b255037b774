"""The loss of a phase: cross-entropy for the labels' form, with label smoothing, or the user's."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import keras
import numpy as np
from typing_extensions import override

from tlkit._internal import arguments
from tlkit._internal.text import show
from tlkit.data import batches
from tlkit.data.checked_batches import CheckedBatches
from tlkit.data.checks import LabelForm, is_one_hot
from tlkit.errors import ConfigError
from tlkit.models.inspection import is_multi_label
from tlkit.training.phase import Phase

_FOR_BOTH = ("accuracy", "acc", "crossentropy", "ce")  # Keras chooses their form by the labels
_BINARY = ("binary_accuracy", "binary_accuracy", "binary_crossentropy", "binary_crossentropy")
_EXCLUSIVE = ("categorical", "sparse", "kl_divergence", "kldivergence")  # for one class per image
_WRAPPERS = ("MeanMetricWrapper", "LossFunctionWrapper")  # of a user's function


def choose_loss(phase: Phase, form: LabelForm) -> Any:
    """Return the phase's loss, by default cross-entropy for the form of the labels."""
    if phase.loss is not None:
        return phase.loss
    return crossentropy(form, label_smoothing=phase.label_smoothing)


def fit_metrics(phase: Phase, form: LabelForm) -> Phase:
    """Return the phase with metrics for the form of the labels.

    Keras would infer the form of "accuracy" from the labels' shape, in which rows of several
    classes look one-hot. For multi-hot labels, "accuracy" becomes "binary_accuracy", the share of
    correct single labels.
    """
    if form != "multi-hot":
        return phase
    names = dict(zip(_FOR_BOTH, _BINARY, strict=True))
    metrics = [names.get(each, each) if isinstance(each, str) else each for each in phase.metrics]
    watched = phase.monitor.removeprefix("val_")
    monitor = phase.monitor.replace(watched, names.get(watched, watched))
    return replace(phase, metrics=tuple(metrics), monitor=monitor)


def check_loss_and_metrics(phase: Phase, *, num_classes: int, form: LabelForm) -> None:
    """Check that Keras can compute a phase's loss, metrics and `monitor` from the labels.

    Keras compares arrays of different shapes by broadcasting, and so returns meaningless numbers. A
    built-in loss or metric whose name begins with "sparse" is for class indices, all others are for
    one-hot rows; those with "categorical" in their name are for one class per image. The user's own
    losses and metrics are tried on a few probabilities.

    Args:
        phase: The phase.
        num_classes: The number of classes.
        form: The form of the labels.

    Raises:
        ConfigError: A loss or metric does not fit the labels, a metric is not one number, or
            `monitor` is not one of the metrics.
    """
    phase = fit_metrics(phase, form)
    if phase.loss is not None:
        _check_measure("loss", phase.loss, keras.losses.get, num_classes, form=form)
    for metric in phase.metrics:
        _check_measure("metrics", metric, keras.metrics.get, num_classes, form=form)
    if phase.patience is not None:
        find_mode(phase, num_classes=num_classes, form=form)


def _check_measure(
    name: str, given: Any, get: Callable[[Any], Any], num_classes: int, *, form: LabelForm
) -> None:
    if given in _FOR_BOTH:
        return
    one_hot = form != "integers"
    try:
        measure = get(given)
        kind = measure if hasattr(measure, "__name__") else type(measure)
        own = kind.__name__ in _WRAPPERS or not kind.__module__.startswith("keras.")
        if not own and kind.__name__.lower().startswith("sparse") == one_hot:
            reason = f"Keras has it for {'integer' if one_hot else 'one-hot'} labels"
        elif not own and form == "multi-hot" and _is_exclusive(measure, kind.__name__.lower()):
            reason = "Keras has it for one class in each image"
        else:
            used: dict[str, Any] = {"loss": given} if name == "loss" else {"metrics": [given]}
            _, values = _try_measures(num_classes, one_hot=one_hot, **used)
            sizes = {key: np.size(value) for key, value in values.items()}
            several = next((size for size in sizes.values() if size > 1), None)
            if several is None:
                return
            reason = f"it gives {several} values, not one, for example without an average"
    except Exception as error:  # a loss or metric may raise any error
        reason = str(error).strip().splitlines()[0].rstrip(".")
    advice = {
        "one-hot": 'Use one whose name does not begin with "sparse", and average="macro" for F1.',
        "integers": 'Use one whose name begins with "sparse", or pass the labels to '
        "tlkit.data.one_hot.",
        "multi-hot": 'Use one whose name begins with "binary", and F1Score(average="macro", '
        "threshold=0.5).",
    }[form]
    given_form = form.removesuffix("s")
    raise ConfigError(
        f"`{name}` must fit {given_form} labels, got {show(given)}: {reason}. {advice}"
    )


def _is_exclusive(measure: Any, name: str) -> bool:
    """Return whether a measure of Keras assumes that each image has one class."""
    is_f1 = isinstance(measure, keras.metrics.FBetaScore)
    return any(word in name for word in _EXCLUSIVE) or (is_f1 and measure.threshold is None)


def _try_measures(
    num_classes: int, *, one_hot: bool, loss: Any = None, metrics: Sequence[Any] = ()
) -> tuple[keras.Model, dict[str, Any]]:
    """Compute loss and metrics as Keras' fit does, on probabilities that are nearly correct.

    Returns:
        A model in place of the classifier, and the loss and the metrics by name.
    """
    indices = np.arange(2 * num_classes + 1) % num_classes  # a number that does not broadcast
    rows = np.eye(num_classes, dtype="float32")[indices]
    model = keras.Sequential([keras.Input((num_classes,)), keras.layers.Activation("linear")])
    any_loss = loss or (lambda _, predicted: predicted[:, 0])
    model.compile(loss=any_loss, metrics=list(metrics), run_eagerly=True)
    probabilities = rows * 0.9 + 0.1 / num_classes
    values = model.test_on_batch(probabilities, rows if one_hot else indices, return_dict=True)
    for metric in metrics:
        if isinstance(metric, keras.Metric):
            metric.reset_state()
    return model, values


def find_mode(phase: Phase, *, num_classes: int, form: LabelForm) -> Literal["max", "min"]:
    """Return whether a larger ("max") or smaller ("min") value of a phase's `monitor` is better.

    Keras would ask the model's metrics, which is impossible while the tail is trained on features.

    Raises:
        ConfigError: `monitor` is not measured, or Keras does not know which is better.
    """
    one_hot = form != "integers"
    model, values = _try_measures(num_classes, one_hot=one_hot, metrics=phase.metrics)
    known = [*values, *(f"val_{name}" for name in values)]
    if phase.monitor not in known:
        raise ConfigError(
            f"`monitor` must be one of {known}, got {show(phase.monitor)}."
            f"{arguments.nearest(phase.monitor, known)}"
        )
    stopper = keras.callbacks.EarlyStopping(monitor=phase.monitor)
    stopper.set_model(model)
    stopper.on_train_begin()
    try:
        stopper.on_epoch_end(0, {phase.monitor: 0.5})
    except ValueError as error:
        raise ConfigError(
            "`monitor` must be a metric of which Keras knows whether more or less is better, got "
            f"{phase.monitor!r}. Watch the loss or the accuracy, or pass "
            "keras.callbacks.EarlyStopping(mode=...) as one of `callbacks`."
        ) from error
    return "max" if stopper.monitor_op is keras.ops.greater else "min"


def find_form(model: keras.Model, data: batches.Inputs) -> LabelForm:
    """Return the form of the labels: multi-hot if the model is multi-label, else as in the data."""
    if is_multi_label(model):
        return "multi-hot"
    if isinstance(data, CheckedBatches):
        return "one-hot" if data.has_one_hot else "integers"
    return "one-hot" if is_one_hot(next(iter(batches.batches(data, 1)))[1]) else "integers"


# For multi-hot labels, it is the mean over classes of each class's binary cross-entropy. Like the
# other losses, Keras computes it from the logits behind the probabilities, so that a probability
# that is rounded to 0 or 1 is harmless.
def crossentropy(form: LabelForm, *, label_smoothing: float = 0.0) -> str | Callable[..., Any]:
    """Return the cross-entropy for labels of this form."""
    if not label_smoothing:
        name = {"integers": "sparse_categorical", "one-hot": "categorical", "multi-hot": "binary"}
        return f"{name[form]}_crossentropy"
    if form == "multi-hot":
        return keras.losses.BinaryCrossentropy(label_smoothing=label_smoothing)  # type: ignore[no-any-return]
    if form == "one-hot":
        return keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)  # type: ignore[no-any-return]
    return SmoothedCrossentropy(label_smoothing)


@keras.saving.register_keras_serializable(package="tlkit")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy for class indices with label smoothing, which Keras has for one-hot rows only.

    Label smoothing: Szegedy et al., 2015 (arXiv:1512.00567).

    Args:
        label_smoothing: The share of each label that is spread over all classes, from 0 to 1.
        reduction: As in Keras.
        name: The Keras name.
    """

    def __init__(
        self,
        label_smoothing: float = 0.1,
        *,
        reduction: str = "sum_over_batch_size",
        name: str = "smoothed_crossentropy",
        **options: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, **options)
        self.label_smoothing = label_smoothing

    @override
    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each image."""
        classes = y_pred.shape[-1]
        indices = keras.ops.reshape(keras.ops.cast(y_true, "int32"), (-1,))
        return keras.losses.categorical_crossentropy(
            keras.ops.one_hot(indices, classes, dtype=y_pred.dtype),
            y_pred,
            label_smoothing=self.label_smoothing,
        )

    @override
    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing}
