"""The loss of a phase: cross-entropy for the labels' form, with label smoothing, or the user's."""

from collections.abc import Callable
from typing import Any

import keras
from typing_extensions import override

from tlkit.data import batches
from tlkit.training.phase import Phase


def choose_loss(phase: Phase, data: batches.Inputs) -> Any:
    """Return the phase's loss, by default cross-entropy for the form of the labels."""
    if phase.loss is not None:
        return phase.loss
    return crossentropy(one_hot=has_one_hot(data), label_smoothing=phase.label_smoothing)


def has_one_hot(data: batches.Inputs) -> bool:
    """Tell whether labels are one-hot, by the first image."""
    return batches.is_one_hot(next(iter(batches.batches(data, 1)))[1])


def crossentropy(*, one_hot: bool, label_smoothing: float = 0.0) -> str | Callable[..., Any]:
    """Return the cross-entropy for one-hot labels or for class indices."""
    if not label_smoothing:
        return "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy"
    if one_hot:
        return keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)  # type: ignore[no-any-return]
    return SmoothedCrossentropy(label_smoothing)


@keras.saving.register_keras_serializable(package="tlkit")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy for class indices, with label smoothing: Keras has it for one-hot labels only.

    Label smoothing: Szegedy et al., 2015 (arXiv:1512.00567).

    Args:
        label_smoothing: How much of each label is spread over all the classes.
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
