"""What a model knows before a phase, by the phase's own loss: what a divergence would lose."""

from typing import Any

import keras
import numpy as np

from tlkit.data import batches
from tlkit.models import freezing
from tlkit.training import fit
from tlkit.training.divergence import Known
from tlkit.training.phase import Phase

_SOME = 512  # images on which it is measured
_FEW_BATCHES = 4  # of a dataset, which may take long to make each
_MEANS = ("mean", "mean_with_sample_weight", "sum_over_batch_size")


def at_the_start(
    model: keras.Model, phase: Phase, plan: freezing.FreezePlan, train: batches.Data
) -> Known | None:
    """Return what the model knows of some training images.

    None where there is nothing to forget, as where the backbone is frozen whole, or where losses of
    more and of fewer images can't be compared.

    Args:
        model: The classifier.
        phase: What is about to train it.
        plan: What the phase freezes.
        train: What it will be trained on.
    """
    loss = keras.losses.get(fit.loss_of(phase, train))
    summed = isinstance(loss, keras.Loss) and loss.reduction not in _MEANS
    if not plan.trained or summed:
        return None
    called, labels, counts = _calls(model, train)
    weights = np.ones(len(counts))
    for each, weight in (phase.class_weight or {}).items():
        weights[each] = weight
    shares = counts * weights / (counts * weights).sum()
    of_each = weights[batches.label_indices(labels)]
    return Known(
        loss=_measured(loss, labels, called, of_each),
        ignorant=_measured(loss, labels, np.tile(shares, (len(labels), 1)), of_each),
        commonest=float(counts.max() / counts.sum()),
    )


def _calls(model: keras.Model, train: batches.Data) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probabilities and labels of some images, and how many images each class has.

    A dataset is not gone over whole for that: its first images speak for it.
    """
    called: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for images, given in batches.batches(train, _SOME):
        called.append(np.asarray(model.predict_on_batch(images)))
        labels.append(given)
        if sum(map(len, labels)) >= _SOME or len(labels) == _FEW_BATCHES:
            break
    seen = np.concatenate(labels)
    counted = train[1] if batches.is_arrays(train) else seen  # type: ignore[index]  # a pair
    counts = np.bincount(batches.label_indices(counted), minlength=model.output_shape[-1])
    return np.concatenate(called), seen, counts


def _measured(loss: Any, labels: np.ndarray, rows: np.ndarray, weights: np.ndarray) -> float:
    """Return the mean loss of these probabilities as Keras has it, weights and all."""
    predicted = keras.ops.convert_to_tensor(rows.astype("float32"))
    weight = weights.astype("float32")
    if isinstance(loss, keras.Loss):
        return float(loss(labels, predicted, sample_weight=weight))
    values = np.asarray(keras.ops.convert_to_numpy(loss(labels, predicted)))
    return float(np.mean(values.reshape(len(labels), -1).mean(axis=1) * weight))
