"""Detect a run that diverges, and restore its best weights."""

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from typing_extensions import override

from tlkit._internal import user_warnings
from tlkit.data import batches
from tlkit.models import freezing
from tlkit.models.inspection import is_multi_label
from tlkit.models.own_predictions import predict_on_batch
from tlkit.training.losses import choose_loss, find_form
from tlkit.training.phase import Phase

# Divergence is either a loss that is not finite, or a collapse: steps that are too large destroy
# the weights, and the model predicts nearly the same for every image. Such a model's loss is
# about the prior loss, the cross-entropy of always predicting the class frequencies. So an epoch
# counts as collapsed if its training loss is at least 0.95 of the prior loss, provided that the
# model was clearly better before the phase (below 0.8 of it). One collapsed epoch may be a rough
# start, for example while BatchNormalization's statistics are replaced, so two in a row are needed,
# or the last epoch. An epoch does not count if its loss fell by 5 %, and its loss is below the
# prior loss or its accuracy is clearly above that of the priors: then the model is recovering.
_COLLAPSED = 0.95  # of the prior loss
_LEARNED = 0.8  # of the prior loss
_RECOVERING = 0.95  # of the previous epoch's loss
_USEFUL = 0.25  # of the way from the accuracy of the largest class to 1
_IMPROVED = 1 - 1e-6  # of the best loss; a smaller change is rounding

_MAX_IMAGES = 512  # on which the baseline is measured
_BATCH_SIZE = 64  # a single batch of all images would take gigabytes
_MAX_BATCHES = 4  # of a dataset, whose batches may be slow to load
_STATE = (
    "diverged",
    "best_epoch",
    "_best_loss",
    "_best_weights",
    "_collapsed",
    "_last_loss",
    "_start",
    "_prior",
    "_had_learned",
    "_useful",
)  # of the callback
_MEANS = ("mean", "mean_with_sample_weight", "sum_over_batch_size")


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The losses of a model before a phase, and of a model that ignores the images.

    Attributes:
        loss: The model's loss on training images, by the phase's loss function.
        prior_loss: Cross-entropy of always predicting the class frequencies.
        majority_share: The share of the largest class; for multi-label, the accuracy over single
            labels of predicting for each class its more frequent label.
    """

    loss: float
    prior_loss: float
    majority_share: float


def measure_baseline(
    model: keras.Model, phase: Phase, plan: freezing.FreezePlan, data: batches.Inputs
) -> Baseline | None:
    """Return the baseline of a phase, measured on some training images.

    The result is None if the backbone is frozen, so that a collapse does little harm, or if the
    loss is a sum, which depends on the batch size.

    Args:
        model: The classifier.
        phase: The phase that is about to start.
        plan: The freeze plan of the phase.
        data: The training data of the phase.
    """
    form = find_form(model, data)
    loss = keras.losses.get(choose_loss(phase, form))
    summed = isinstance(loss, keras.Loss) and loss.reduction not in _MEANS
    if not plan.trained or summed:
        return None
    if form == "multi-hot":
        return _measure_multi_label(model, loss, data)
    predicted, labels, counts = _predict_some(model, data)
    by_class = phase.weigh_classes(len(counts))
    weights = np.ones(len(counts)) if by_class is None else np.array(list(by_class.values()))
    priors = counts * weights / (counts * weights).sum()
    image_weights = weights[batches.label_indices(labels)]
    return Baseline(
        loss=_mean_loss(loss, labels, predicted, image_weights),
        prior_loss=_mean_loss(loss, labels, np.tile(priors, (len(labels), 1)), image_weights),
        majority_share=float(counts.max() / counts.sum()),
    )


def _measure_multi_label(model: keras.Model, loss: Any, data: batches.Inputs) -> Baseline:
    """Return the baseline for rows of 0 and 1; each class has its own prior."""
    predicted, labels, counts = _predict_some(model, data)
    priors = counts / len(data[1] if batches.is_arrays(data) else labels)
    weights = np.ones(len(labels))
    return Baseline(
        loss=_mean_loss(loss, labels, predicted, weights),
        prior_loss=_mean_loss(loss, labels, np.tile(priors, (len(labels), 1)), weights),
        majority_share=float(np.maximum(priors, 1 - priors).mean()),
    )


class StopOnDivergence(keras.callbacks.Callback):
    """Stops a run that diverges, and restores the weights of its best epoch.

    Args:
        baseline: The baseline of the phase; None detects only a loss that is not finite.

    Attributes:
        diverged: The epoch, from 1, in which divergence was detected; None without divergence.
        best_epoch: The epoch, from 1, with the best weights; 0 means before the phase.
    """

    def __init__(self, baseline: Baseline | None) -> None:
        super().__init__()
        found = baseline or Baseline(loss=math.inf, prior_loss=math.inf, majority_share=1.0)
        self._start, self._prior = found.loss, found.prior_loss
        self._had_learned = baseline is not None and self._start < _LEARNED * self._prior
        self._useful = found.majority_share + _USEFUL * (1 - found.majority_share)

    def get_state(self) -> dict[str, Any]:
        """Return the state and the baseline, which a resumed phase can't measure again."""
        return {"guard": {name: getattr(self, name) for name in _STATE}}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a state of `get_state`."""
        for name, value in state["guard"].items():
            setattr(self, name, value)

    @override
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Save the weights from before the phase."""
        self.diverged: int | None = None
        self.best_epoch = 0
        self._best_loss = self._start
        self._best_weights = self.model.get_weights()
        self._collapsed, self._last_loss = False, 0.0

    @override
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Check the epoch's training loss for divergence."""
        loss = float((logs or {}).get("loss", math.nan))
        accuracies = [(logs or {}).get(name, 0) for name in ("accuracy", "binary_accuracy")]
        useful = loss < self._prior or max(accuracies) > self._useful
        recovering = useful and loss < _RECOVERING * self._last_loss
        collapsed = self._had_learned and loss >= _COLLAPSED * self._prior and not recovering
        last = epoch == self.params["epochs"] - 1 or self.model.stop_training
        if not math.isfinite(loss) or (collapsed and (last or self._collapsed)):
            self.diverged = epoch + 1
            self.model.stop_training = True
        elif loss < _IMPROVED * self._best_loss:
            self._best_loss, self.best_epoch = loss, epoch + 1
            self._best_weights = self.model.get_weights()
        self._collapsed, self._last_loss = collapsed, loss

    @override
    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Restore the best weights after a divergence."""
        if self.diverged is not None:
            self.model.set_weights(self._best_weights)
        self._best_weights = []


def warn_of_divergence(name: str, epoch: int, *, loss: float, best_epoch: int) -> None:
    """Warn that a phase diverged, and say which weights were restored.

    Args:
        name: The name of the phase.
        epoch: The epoch, from 1, in which divergence was detected.
        loss: The loss of this epoch.
        best_epoch: The epoch, from 1, whose weights were restored; 0 means before the phase.

    Warns:
        UserWarning: Always.
    """
    where = f"those of epoch {best_epoch}" if best_epoch else "those from before the phase"
    user_warnings.warn(
        f"The phase {name!r} diverged: its loss was {loss:.4g} in epoch {epoch}. The best weights "
        f"were restored, {where}. Lower the phase's learning_rate, or set warmup and "
        "global_clipnorm."
    )


def _predict_some(
    model: keras.Model, data: batches.Inputs
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probabilities and labels of some images, and the number of images of each class.

    The classes of a dataset are counted in these batches only, so that it need not be read whole.
    """
    predicted: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    is_dataset = not batches.is_arrays(data)
    for images, batch_labels in batches.batches(data, _BATCH_SIZE):
        tensor = keras.ops.convert_to_tensor(images)  # for arrays, Keras warns on torch
        predicted.append(predict_on_batch(model, tensor))
        labels.append(batch_labels)
        if sum(map(len, labels)) >= _MAX_IMAGES or (is_dataset and len(labels) == _MAX_BATCHES):
            break
    seen = np.concatenate(labels)
    counted = data[1] if batches.is_arrays(data) else seen
    if is_multi_label(model):
        counts = counted.sum(axis=0)
    else:
        counts = np.bincount(batches.label_indices(counted), minlength=model.output_shape[-1])
    return np.concatenate(predicted), seen, counts


def _mean_loss(
    loss: Any, labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> float:
    """Return the mean loss of these probabilities, weighted by image, as Keras computes it."""
    predicted = keras.ops.convert_to_tensor(probabilities.astype("float32"))
    sample_weight = weights.astype("float32")
    if isinstance(loss, keras.Loss):
        return float(loss(labels, predicted, sample_weight=sample_weight))
    values = np.asarray(keras.ops.convert_to_numpy(loss(labels, predicted)))
    return float(np.mean(values.reshape(len(labels), -1).mean(axis=1) * sample_weight))
