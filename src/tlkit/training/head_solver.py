"""Solve a linear head on the features of its frozen backbone, instead of training it."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import numpy as np

from tlkit._internal import system
from tlkit.caching import partition
from tlkit.caching import plan as caching_plan
from tlkit.caching.batching import FeatureDataset
from tlkit.caching.cache import Cache
from tlkit.caching.engines import selection
from tlkit.caching.plan import FrozenPart
from tlkit.caching.progress import show_waiting
from tlkit.caching.rows import Rows
from tlkit.data import batches, chunks
from tlkit.data.checks import is_one_hot
from tlkit.errors import ConfigError, DataError
from tlkit.models import flat_graph, freezing
from tlkit.models.flat_graph import Part
from tlkit.models.inspection import head_of, is_multi_label, probabilities_of
from tlkit.training import feature_arrays, finished_epochs, losses, ood_detector, solvers
from tlkit.training.inputs import true_labels
from tlkit.training.linear import Features, Linear
from tlkit.training.phase import SolvedHead

_ROWS = 1024  # images at a time


def compile_head(model: keras.Model, plan: freezing.FreezePlan, data: batches.Inputs) -> None:
    """Freeze the backbone and compile, so that Keras can evaluate the solved classifier."""
    caching_plan.set_trainable(model, plan)
    form = losses.find_form(model, data)
    model.compile(optimizer="adam", loss=losses.crossentropy(form), metrics=[_accuracy_of(model)])


def _accuracy_of(model: keras.Model) -> str:
    return "binary_accuracy" if is_multi_label(model) else "accuracy"


# Idea: with the backbone frozen, the input of the head is always equal for an image. So the network
# before the head runs once for every image, and a solver finds the best weights for the features
# and labels in seconds. With a cache, the frozen part up to its cut has been run and stored. If the
# cut is right before the head, the stored features are used without a copy; otherwise the layers
# between cut and head run on them. With several augmented copies of each image, the solver uses all
# copies. Without a cache, the network runs on the images.
def fit_head(
    model: keras.Model,
    phase: SolvedHead,
    data: batches.Inputs,
    *,
    validation_data: batches.Inputs | None,
    part: FrozenPart | None,
    seed: int | None,
    is_last: bool = True,
    verbose: bool = False,
) -> tuple[dict[str, float], ...]:
    """Set the head to the solution of its phase's solver, and return the metrics of one epoch.

    After the last phase, an out-of-distribution detector of the training images' features is stored
    in the model. With `verbose`, a terminal shows that the head is being solved.

    Raises:
        ConfigError: The head is not one dense layer before the probabilities, or `augmentation`
            has no `Cache(views=...)`.
        DataError: A label is not of a single class, or images have weights.
    """
    head = head_of(model)
    if phase.augmentation and part is None:
        raise ConfigError(
            "`augmentation` of a SolvedHead needs stored copies of the images to solve for: "
            "cache=tlkit.Cache(views=4), for example."
        )
    read = partial(_read_features, model, head, part=part, batch_size=phase.batch_size)
    features, labels = read("data", data)
    by_class = phase.weigh_classes(head.units)
    weights = None if by_class is None else np.array(list(by_class.values()))[labels]
    solver = solver_of(model, phase)
    with show_waiting(f"solving by {solver}", verbose=verbose):
        solution = getattr(solvers, solver)(
            features, labels, classes=head.units, weights=weights, seed=seed
        )
    head.kernel.assign(solution.kernel)
    head.bias.assign(solution.bias)
    single_view = part is None or part.cache.views == 1
    if is_last and single_view and labels.ndim == 1 and len(labels) >= ood_detector.MIN_IMAGES:
        probabilities_of(model).stored |= ood_detector.fit(features, labels).to_arrays()
    measure = partial(_measure, solution, _accuracy_of(model))
    metrics = measure(features, labels)
    if validation_data is not None:
        held_out = measure(*read("validation_data", validation_data))
        metrics |= {f"val_{name}": value for name, value in held_out.items()}
    metrics["penalty"] = solution.penalty
    finished_epochs.notify(phase.callbacks, model, [metrics])
    return (metrics,)


def solver_of(model: keras.Model, phase: SolvedHead) -> solvers.Solver:
    """Return the solver that solves the head of a classifier in this phase."""
    return solvers.choose_solver(phase.solver, math.prod(head_of(model).kernel.shape))


def _read_features(
    model: keras.Model,
    head: keras.layers.Dense,
    name: str,
    data: batches.Inputs,
    *,
    part: FrozenPart | None,
    batch_size: int,
) -> tuple[Features, np.ndarray]:
    """Return the head's input for every image, and the class indices or rows of 0 and 1."""
    whole = flat_graph.flatten(model) if part is None else part.cut.graph
    step = next(step for step in whole.steps if step.operation is head)
    features: Features
    if part is None:
        features, labels = _run_images(model, data, whole, step.inputs)
    else:
        pass_name = "train" if name == "data" else "validation"
        dataset = part.extraction.extract(part.cut, pass_name, data, batch_size=batch_size)
        features, labels = _run_cached(dataset, part, step.inputs)
    _check_whole(labels, name)
    return features, true_labels(model, labels).astype("int64")


def _run_images(
    model: keras.Model, data: batches.Inputs, whole: flat_graph.Graph, outputs: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return the head's input and the labels, by running the network before the head."""
    steps = partition.select_needed(whole.steps, outputs)
    before = Part(
        steps, whole.inputs, outputs, input_dtype=model.inputs[0].dtype, name="before_the_head"
    )
    labels = []

    def run() -> Iterator[np.ndarray]:
        engines: dict[Any, selection.Engine] = {}
        for chunk in chunks.read_chunks(data, rows=_ROWS, rank=len(model.input_shape)):
            key = (chunk.images.shape[1:], chunk.images.dtype)
            if key not in engines:
                engines[key] = selection.prepare("keras", before, chunk.images[:128])
            labels.append(chunk.labels)
            _check_unweighted(chunk.weights)
            yield engines[key].run(chunk.images)[0]

    if batches.is_arrays(data):
        features = feature_arrays.stack_batches(run(), len(data[0]), max_bytes=_find_limit(None))
    else:  # the number of images is only known at the end
        found = list(run())
        features = feature_arrays.stack_batches(found, sum(map(len, found)))
    return features, np.concatenate(labels)


def _run_cached(
    dataset: FeatureDataset, part: FrozenPart, outputs: Any
) -> tuple[Features, np.ndarray]:
    """Return the head's input and the labels, by running the layers between cut and head."""
    _check_unweighted(dataset.weights)
    stored = dataset.views[0]
    if part.cut.tensors == tuple(outputs) and len(dataset.views) == 1 and isinstance(stored, Rows):
        if not stored.in_memory:  # they are on disk, since there was too little memory
            return _StoredFeatures(stored), dataset.labels
        [features] = stored.arrays()  # without a copy
        return features.reshape(len(features), -1).astype("float32", copy=False), dataset.labels
    steps = partition.select_needed(part.cut.tail, outputs)
    rest = Part(steps, part.cut.tensors, outputs, name="between_cut_and_head")

    def run() -> Iterator[np.ndarray]:
        for view in range(len(dataset.views)):
            for start in range(0, dataset.count, _ROWS):
                rows = np.arange(start, min(start + _ROWS, dataset.count))
                tensors = [
                    tensor.astype(dtype)
                    for tensor, dtype in zip(
                        dataset.take(rows, view)[0], part.cut.dtypes, strict=True
                    )
                ]
                yield np.asarray(keras.ops.convert_to_numpy(rest(tensors, training=False)[0]))

    labels = np.concatenate([dataset.labels] * len(dataset.views))
    return feature_arrays.stack_batches(
        run(), len(labels), max_bytes=_find_limit(part.cache)
    ), labels


class _StoredFeatures:
    """Features on disk in the form that a solver reads: some rows at a time, in float32."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.shape = (len(rows), math.prod(rows.shapes[0]))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        indices = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else rows
        [features] = self._rows.take(indices)
        return features.reshape(len(indices), -1).astype("float32", copy=False)


def _find_limit(cache: Cache | None) -> int:
    """Return the largest number of bytes of features in memory."""
    if cache is not None and cache.memory_limit is not None:
        return cache.memory_limit
    return system.free_memory() // 2


def _check_unweighted(weights: np.ndarray | None) -> None:
    if weights is not None:
        raise DataError(
            "`data` must have no image weights for a SolvedHead, which would ignore them."
        )


def _check_whole(labels: np.ndarray, name: str) -> None:
    if is_one_hot(labels) and not np.isin(labels, (0, 1)).all():
        raise DataError(
            f"`{name}` labels must each be of a single class for a SolvedHead, got shares between "
            "0 and 1."
        )


def _measure(
    solution: Linear, accuracy: str, features: Features, labels: np.ndarray
) -> dict[str, float]:
    return {
        "loss": solution.loss(features, labels),
        accuracy: solution.accuracy(features, labels),
    }
