"""Find out after which layer of a backbone a head should read, by what a linear head gets there."""

import itertools
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np

from tlkit._internal import arguments
from tlkit.caching.engines import engine as engines
from tlkit.data import batches, chunks
from tlkit.errors import ConfigError, DataError
from tlkit.evaluation.probing import cross_validation, sites
from tlkit.evaluation.probing.cross_validation import Fit
from tlkit.evaluation.probing.result import Probe, Reading
from tlkit.models.feature_extraction import Pooling
from tlkit.training import solvers
from tlkit.training.inputs import checked

_ROWS = 512  # images run at a time
MOST_TOGETHER = 2048
"""So many features at most does "auto" read of an image."""
_HELPS = 0.5  # standard errors
_MOST_WORK = 1.5  # times the best reading's: a deeper layer is paid for in every epoch


def probe(
    model: keras.Model,
    train: batches.Data,
    *,
    validation: batches.Data | None = None,
    sample: int | None = 5000,
    solver: str = "ridge",
    max_features: int = 1024,
    max_layers: int = 1,
    engine: str = "keras",
    seed: int = 0,
) -> Probe:
    """Fit a linear head to every block of a classifier's backbone, in one pass over the data.

    Linear probes: Alain and Bengio, 2016 (arXiv:1610.01644). Each block's maps are read twice,
    averaged, and as a grid of averages as fine as `max_features` allows.

    Args:
        model: A classifier from build_classifier; it is not changed.
        train: `(images, labels)`, or a dataset of such batches.
        validation: The images to score on; by default the sample itself, in five folds: each is
            scored by heads fitted to the others.
        sample: How many of the training images to use: chosen by chance from arrays, the first of
            a dataset, which must not be sorted by class then. None uses all: with "ridge", memory
            does not grow with their number.
        solver: "ridge" (closed form) or "lbfgs" (logistic regression; slower, and it keeps the
            features of the whole sample in memory).
        max_features: The finest grid has at most so many features.
        max_layers: How many layers to try to read together; with "ridge" alone.
        engine: What runs the backbone, as in `Cache`.
        seed: Chooses the sample.

    Raises:
        ConfigError: An argument is wrong, the model has no graph, or its backbone no layer that
            a head can read.
        DataError: Images or labels don't fit the model, too few are left to score on, or all that
            are used are of one class.
        EngineError: The engine can't run the backbone.

    Examples:
        >>> from tlkit import build_classifier
        >>> inputs = keras.Input((8, 8, 3))
        >>> backbone = keras.Model(inputs, keras.layers.Conv2D(4, 3, name="edges")(inputs))
        >>> model = build_classifier(backbone, 2, pixels=(0, 1))
        >>> images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), "uint8")
        >>> [reading.layer for reading in probe(model, (images, np.arange(60) % 2)).readings]
        ['edges', 'edges']
    """
    started = time.perf_counter()
    _check(solver, sample, max_features, max_layers, validated=validation is not None)
    classes = model.output_shape[-1]
    train = checked(train, model, "train")
    settings = {"rank": len(model.input_shape), "classes": classes, "seed": seed}
    pieces = _sampled(train, sample, "train", **settings)
    first = next(pieces)
    found, readings = sites.find(model, first.images, max_features)
    runs = engines.prepare(engine, readings, first.images[:128])
    fits = [Fit(place.size, classes, solver) for place in found]
    random = np.random.default_rng(seed)
    for piece in itertools.chain([first], pieces):
        folds = random.integers(0, cross_validation.FOLDS, len(piece.labels))
        if validation is not None:
            folds[:] = cross_validation.ALWAYS
        _add(fits, runs, piece, folds)
    if validation is not None:
        fitting = checked(validation, model, "validation")
        for piece in _sampled(fitting, cross_validation.MOST_SCORED, "validation", **settings):
            _add(fits, runs, piece, np.full(len(piece.labels), cross_validation.VALIDATION))
    fitted, scored = fits[0].counts
    if fitted < 2 * max(classes, cross_validation.FOLDS):
        raise DataError(
            f"`train` must hold at least {2 * max(classes, cross_validation.FOLDS)} images to fit "
            f"and score {classes} classes, got {fitted}."
        )
    heads = tuple(
        Reading(
            layer=place.layer,
            pooling=place.pooling,
            size=place.size,
            work=place.work,
            weights=place.weights,
            accuracy=fit.accuracy(),
        )
        for place, fit in zip(found, fits, strict=True)
    )
    together, together_accuracy = _together(heads, fits, max_layers)
    return Probe(
        readings=heads,
        together=together,
        together_accuracy=together_accuracy,
        solver=solver,
        fitted=fitted,
        scored=scored,
        engine=runs.name,
        seconds=time.perf_counter() - started,
    )


def select_features(
    train: batches.Data, *, max_layers: int = 1
) -> Callable[[keras.Model], tuple[list[str], list[Pooling]]]:
    """Return a function that chooses what a head reads by a probe, for `build_classifier`.

    It takes the cheapest layer within one standard error of the best, or with `max_layers` above 1
    the layers that probe best together, whatever they cost.

    Args:
        train: The training data: `(images, labels)`, or a dataset of such batches.
        max_layers: How many layers the head may read together.

    Raises:
        ConfigError: `max_layers` is below 1.

    Examples:
        >>> from tlkit import build_classifier
        >>> inputs = keras.Input((8, 8, 3))
        >>> backbone = keras.Model(inputs, keras.layers.Conv2D(4, 3, name="edges")(inputs))
        >>> images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), "uint8")
        >>> chosen = select_features((images, np.arange(60) % 2))
        >>> build_classifier(backbone, 2, pixels=(0, 1), features=chosen).output_shape
        (None, 2)
    """
    arguments.at_least("max_layers", max_layers, 1)

    def select(model: keras.Model) -> tuple[list[str], list[Pooling]]:
        found = probe(model, train, max_layers=max_layers)
        read = (found.chosen,) if max_layers == 1 else found.together
        return [each.layer for each in read], [each.pooling for each in read]

    return select


def _check(
    solver: str, sample: int | None, max_features: int, max_layers: int, *, validated: bool
) -> None:
    arguments.one_of("solver", solver, solvers.SOLVERS)
    arguments.at_least("max_features", max_features, 1)
    if arguments.at_least("max_layers", max_layers, 1) > 1 and solver != "ridge":
        raise ConfigError(f"`solver` must be 'ridge' where `max_layers` is {max_layers}.")
    if max_layers > 1 and validated:
        raise ConfigError(
            f"`validation` must be left out where `max_layers` is {max_layers}: layers are "
            "joined on the sample's own folds."
        )
    if sample is not None:
        arguments.at_least("sample", sample, 10)


def _add(fits: Sequence[Fit], runs: engines.Engine, piece: chunks.Chunk, folds: np.ndarray) -> None:
    labels = batches.label_indices(piece.labels)
    for fit, values in zip(fits, runs.run(piece.images), strict=True):
        fit.add(values, labels, folds)


def _together(
    readings: Sequence[Reading], fits: Sequence[Fit], max_layers: int
) -> tuple[tuple[Reading, ...], float]:
    """Add to the best reading the one that helps most, as long as one helps by half an error."""
    order = sorted(range(len(readings)), key=lambda index: -readings[index].accuracy)
    chosen, accuracy = [order[0]], readings[order[0]].accuracy
    most_work = _MOST_WORK * readings[order[0]].work
    while len(chosen) < max_layers:
        layers = {readings[index].layer for index in chosen}
        # of each layer only its better reading
        others = {readings[index].layer: index for index in reversed(order)}
        tried = [
            (cross_validation.joint_accuracy([fits[each] for each in (*chosen, index)]), -index)
            for layer, index in others.items()
            if layer not in layers
            and readings[index].work <= most_work
            and sum(readings[each].size for each in (*chosen, index)) <= MOST_TOGETHER
        ]
        count = fits[0].counts[1]
        needed = accuracy + _HELPS * math.sqrt(accuracy * (1 - accuracy) / count)
        if not tried or max(tried)[0] <= needed:
            break
        accuracy = max(tried)[0]
        chosen.append(-max(tried)[1])
    return tuple(readings[index] for index in sorted(chosen)), accuracy


def _sampled(
    source: batches.Data, count: int | None, name: str, *, rank: int, classes: int, seed: int
) -> Iterator[chunks.Chunk]:
    """Yield about so many images: some by chance of arrays, the first of a dataset."""
    seen, labels, cut = 0, set[int](), False
    for chunk in _read(source, count, rank=rank, seed=seed):
        if cut := count is not None and seen >= count:
            break
        seen += len(chunk.labels)
        labels.update(batches.label_indices(chunk.labels).tolist())
        yield chunk
    _check_classes(name, seen, len(labels), classes, cut=cut)


def _read(
    source: batches.Data, count: int | None, *, rank: int, seed: int
) -> Iterator[chunks.Chunk]:
    if not batches.is_arrays(source):
        yield from chunks.read(source, rows=_ROWS, rank=rank)
        return
    images, labels = source
    chosen = np.random.default_rng(seed).permutation(len(images))[:count]
    for start in range(0, len(chosen), _ROWS):
        piece = chosen[start : start + _ROWS]
        yield from chunks.read((images[piece], labels[piece]), rows=_ROWS, rank=rank)


def _check_classes(name: str, seen: int, found: int, classes: int, *, cut: bool) -> None:
    """Refuse a sample of one class; warn where others may be in the part that was not read."""
    got = f"the first {seen:,} images of a dataset" if cut else f"{seen:,} images"
    advice = "Shuffle it once before, or give arrays, if it is sorted by class." if cut else ""
    if found == 1:
        raise DataError(
            f"`{name}` must show at least 2 of the model's {classes} classes, got {got}, all of "
            f"one class. {advice}".rstrip()
        )
    if cut and found < classes:
        warnings.warn(
            f"`{name}` shows {found} of the model's {classes} classes in {got}, and the probe "
            f"judges by these alone. {advice}",
            stacklevel=4,  # whoever called `probe`
        )
