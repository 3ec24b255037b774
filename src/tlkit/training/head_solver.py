"""A head that is solved on its frozen backbone's features, instead of trained."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import numpy as np

from tlkit.caching import partition
from tlkit.caching import plan as frozen
from tlkit.caching.batching import Feed
from tlkit.caching.engines import engine
from tlkit.caching.plan import FrozenPart
from tlkit.caching.rows import Rows
from tlkit.data import batches, chunks
from tlkit.errors import ConfigError, DataError
from tlkit.models import flat_graph, freezing
from tlkit.models.flat_graph import Part
from tlkit.models.inspection import head_of
from tlkit.training import losses, solvers
from tlkit.training.linear import Linear
from tlkit.training.phase import SolvedHead

_ROWS = 1024


def compile_head(model: keras.Model, plan: freezing.FreezePlan, data: batches.Inputs) -> None:
    """Freeze the backbone and compile, so that the solved classifier can be evaluated by Keras."""
    frozen.apply(model, plan)
    loss = losses.crossentropy(one_hot=losses.has_one_hot(data))
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])


def fit_head(
    model: keras.Model,
    phase: SolvedHead,
    data: batches.Inputs,
    *,
    validation_data: batches.Inputs | None,
    part: FrozenPart | None,
    seed: int | None,
) -> tuple[dict[str, float], ...]:
    """Set the head to what its phase's solver finds, and return the one epoch's figures.

    Raises:
        ConfigError: The head is not one dense layer before the probabilities, or `augmentation`
            has no `Cache(views=...)`.
        DataError: Labels are shared between classes, or images are weighted.
    """
    head = head_of(model)
    if phase.augmentation and part is None:
        raise ConfigError(
            "`augmentation` of a SolvedHead needs kept copies of the images to solve for: "
            "cache=tlkit.Cache(views=4), for example."
        )
    features_of = partial(_features, model, head, part=part, batch_size=phase.batch_size)
    features, labels = features_of("train", data)
    solve = getattr(solvers, phase.solver)
    found = solve(features, labels, classes=head.units, seed=seed)
    head.kernel.assign(found.kernel)
    head.bias.assign(found.bias)
    figures = _figures(found, features, labels)
    if validation_data is not None:
        held_out = features_of("validation", validation_data)
        figures |= {f"val_{key}": value for key, value in _figures(found, *held_out).items()}
    figures["penalty"] = found.penalty
    _tell(model, phase, figures)
    return (figures,)


def _tell(model: keras.Model, phase: SolvedHead, figures: dict[str, float]) -> None:
    told = keras.callbacks.CallbackList(
        list(phase.callbacks), model=model, epochs=1, steps=0, verbose=0
    )
    told.on_train_begin()
    told.on_epoch_begin(0)
    told.on_epoch_end(0, dict(figures))
    told.on_train_end(dict(figures))


def _features(
    model: keras.Model,
    head: keras.layers.Dense,
    name: str,
    source: batches.Inputs,
    *,
    part: FrozenPart | None,
    batch_size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the head's input for every image, and the class indices."""
    whole = flat_graph.flatten(model) if part is None else part.cut.graph
    step = next(step for step in whole.steps if step.operation is head)
    if part is None:
        found, labels = _of_images(model, source, whole, step.inputs)
    else:
        feed = part.once.feed(part.cut, name, source, batch_size=batch_size)
        found, labels = _of_feed(feed, part, step.inputs)
    return found, _indices(labels, name)


def _of_images(
    model: keras.Model, source: batches.Inputs, whole: flat_graph.Graph, wanted: Any
) -> tuple[np.ndarray, np.ndarray]:
    steps = partition.needed(whole.steps, wanted)
    before = Part(
        steps, whole.inputs, wanted, input_dtype=model.inputs[0].dtype, name="before_the_head"
    )
    made: dict[Any, engine.Engine] = {}
    found, labels = [], []
    for chunk in chunks.read(source, rows=_ROWS, rank=len(model.input_shape)):
        key = (chunk.images.shape[1:], chunk.images.dtype)
        if key not in made:
            made[key] = engine.prepare("keras", before, chunk.images[:128])
        found.append(made[key].run(chunk.images)[0])
        labels.append(chunk.labels)
        _refuse_weights(chunk.weights)
    return solvers.stack_batches(found, sum(map(len, labels))), np.concatenate(labels)


def _of_feed(feed: Feed, part: FrozenPart, wanted: Any) -> tuple[np.ndarray, np.ndarray]:
    _refuse_weights(feed.weights)
    kept = feed.views[0]
    if part.cut.tensors == tuple(wanted) and len(feed.views) == 1 and isinstance(kept, Rows):
        [whole] = kept.arrays()  # what is kept, and no copy of it
        return whole.reshape(len(whole), -1).astype("float32", copy=False), feed.labels
    steps = partition.needed(part.cut.tail, wanted)
    rest = Part(steps, part.cut.tensors, wanted, name="between_cut_and_head")
    starts = range(0, feed.count, _ROWS)

    def pieces() -> Iterator[np.ndarray]:
        for view in range(len(feed.views)):
            for start in starts:
                rows = np.arange(start, min(start + _ROWS, feed.count))
                kept = feed.take(rows, view)[0]
                given = [
                    each.astype(dtype) for each, dtype in zip(kept, part.cut.dtypes, strict=True)
                ]
                yield np.asarray(keras.ops.convert_to_numpy(rest(given, training=False)[0]))

    labels = np.concatenate([feed.labels] * len(feed.views))
    return solvers.stack_batches(pieces(), len(labels)), labels


def _refuse_weights(weights: np.ndarray | None) -> None:
    if weights is not None:
        raise DataError(
            "`data` must have no image weights for a SolvedHead, which would ignore them."
        )


def _indices(labels: np.ndarray, name: str) -> np.ndarray:
    if batches.is_one_hot(labels) and not np.isin(labels, (0, 1)).all():
        raise DataError(
            f"`{name}` labels must each name one class for a SolvedHead, got shares between 0 "
            "and 1."
        )
    return np.asarray(batches.label_indices(labels).astype("int64"))


def _figures(found: Linear, features: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {"loss": found.loss(features, labels), "accuracy": found.accuracy(features, labels)}
