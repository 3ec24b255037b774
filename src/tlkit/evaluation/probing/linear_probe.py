"""Find the layer of a backbone after which a head should read, by linear probes."""

import itertools
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, get_args

import keras
import numpy as np

from tlkit._internal import arguments
from tlkit.caching import cost
from tlkit.caching.cache import Cache
from tlkit.caching.engines import selection
from tlkit.caching.stored_trunk import StoredTrunk
from tlkit.data import batches, chunks, splits
from tlkit.data.batches import Data
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.lazy_images import LazyImages
from tlkit.errors import ConfigError, DataError
from tlkit.evaluation.probing import cross_validation, sites
from tlkit.evaluation.probing.cross_validation import CrossValidation
from tlkit.evaluation.probing.result import Probe, ProbedLayer
from tlkit.evaluation.probing.sites import FeatureReader, Site
from tlkit.models.feature_extraction import Pooling
from tlkit.models.inspection import is_multi_label
from tlkit.training import solvers
from tlkit.training.inputs import true_labels, validate

_ROWS = 512  # images run at a time
MAX_JOINT_FEATURES = 2048
"""Features of an image that a head of several layers reads at most."""
_MIN_GAIN = 0.5  # standard errors that a further layer must add to the accuracy
_MAX_DEEPER = 1.5  # times the best layer's multiply-adds, which every epoch has to pay


def probe(
    model: keras.Model,
    data: Data,
    *,
    validation_data: Data | None = None,
    sample: int | None = 5000,
    solver: solvers.Solver = "ridge",
    max_features: int = 1024,
    max_layers: int = 1,
    engine: str = "keras",
    seed: int = 0,
    cache: Cache | None = None,
    also: Sequence[Data] = (),
) -> Probe:
    """Fit a linear head to every block of a classifier's backbone, in one pass over the data.

    Linear probes: Alain and Bengio, 2016 (arXiv:1610.01644). Of a multi-label classifier, the mean
    average precision is measured in place of the accuracy. The maps of each block are pooled in
    two ways: averaged, and as a grid of averages as fine as `max_features` allows.

    Args:
        model: A classifier from build_classifier; it is not changed.
        data: Images and labels in any form. Images of one group of an `ImageDataset` are in one
            fold, and so are duplicates among files.
        validation_data: Images and labels to score on, in any form; by default the sample itself,
            in five folds, each of which is scored by heads fitted to the others.
        sample: How many training images to use: of arrays a random choice, of a dataset the first,
            so that it must not be sorted by class. None uses all; with "ridge", memory does not
            grow with their number.
        solver: "ridge" (closed form) or "lbfgs" (logistic regression; slower, and it keeps the
            features of the whole sample in memory).
        max_features: The finest grid has at most so many features.
        max_layers: How many layers to read together at most; above 1 with "ridge" only.
        engine: The engine that runs the backbone, as in `Cache`.
        seed: The seed of the sample and the folds.
        cache: Where the features of arrays and files are stored, so that images that were run
            before need not run again.
        also: More images whose features to store in the folder of `cache`, such as those of other
            parts, which another split will train on; only where all are no more than `sample`.

    Raises:
        ConfigError: An argument is wrong, the model has no graph, or its backbone has no layer
            that a head can read. Several backbones are compared by `tlkit.probe_backbones`.
        DataError: Images or labels don't fit the model, there are too few images, or all images
            that are used are of one class.
        EngineError: The engine can't run the backbone.

    Examples:
        >>> from tlkit import build_classifier
        >>> inputs = keras.Input((8, 8, 3))
        >>> backbone = keras.Model(inputs, keras.layers.Conv2D(4, 3, name="edges")(inputs))
        >>> model = build_classifier(backbone, 2, pixels=(0, 1))
        >>> images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), "uint8")
        >>> [probed.layer for probed in probe(model, (images, np.arange(60) % 2)).layers]
        ['edges', 'edges']
    """
    started = time.perf_counter()
    _check(solver, sample, max_features, max_layers, has_validation=validation_data is not None)
    fitted = fit_sites(
        model,
        data,
        validation_data=validation_data,
        sample=sample,
        solver=solver,
        max_features=max_features,
        engine=engine,
        seed=seed,
        cache=cache,
        also=also,
    )
    layers = tuple(map(_measure_layer, fitted.sites, fitted.fits))
    joint, joint_accuracy = _select_joint(layers, fitted.fits, max_layers)
    num_fitted, num_scored = fitted.fits[0].counts
    best = max(range(len(layers)), key=lambda at: layers[at].accuracy)
    several = is_multi_label(model)
    error = fitted.fits[best].standard_error(layers[best].accuracy) if several else None
    return Probe(
        layers=layers,
        joint=joint,
        joint_accuracy=joint_accuracy,
        bootstrap_error=error,
        measure="mean average precision" if several else "accuracy",
        solver=solver,
        num_fitted=num_fitted,
        num_scored=num_scored,
        engine=fitted.engine,
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedSites:
    """The sites of a backbone, and the cross-validation of a head at each.

    Attributes:
        sites: The sites.
        fits: The cross-validation at each site.
        reader: The model that returns the features of all sites.
        engine: The engine that ran it.
        groups: The group of each sampled image; empty if the data has no groups.
    """

    sites: list[Site]
    fits: list[CrossValidation]
    reader: FeatureReader
    engine: str
    groups: list[str]


def fit_sites(
    model: keras.Model,
    data: Data,
    *,
    validation_data: Data | None = None,
    sample: int | None,
    solver: solvers.Solver = "ridge",
    max_features: int,
    engine: str,
    seed: int,
    cache: Cache | None = None,
    also: Sequence[Data] = (),
) -> FittedSites:
    """Run a backbone once over a sample, and collect the features of every site by folds.

    Args and errors are those of `probe`.
    """
    classes = model.output_shape[-1]
    inputs = validate(data, model)
    truth_of = partial(true_labels, model)
    settings: dict[str, Any] = {"rank": len(model.input_shape), "classes": classes, "seed": seed}
    settings["truth_of"] = truth_of
    pieces = _sample(inputs, sample, "data", **settings)
    first = next(pieces)
    found_sites, reader = sites.find_sites(model, first.images, max_features)
    runner = _prepare(engine, reader, found_sites, first.images, cache)
    fits = [CrossValidation(site.num_features, classes, solver) for site in found_sites]
    groups = _sampled_groups(data, sample, seed)
    draw_folds = _fold_drawer(groups, seed)
    for piece in itertools.chain([first], pieces):
        folds = draw_folds(len(piece.labels))
        if validation_data is not None:
            folds[:] = cross_validation.FIT_ONLY
        _add(fits, runner, piece, folds, truth_of=truth_of)
    if validation_data is not None:
        held_out = validate(validation_data, model, "validation_data")
        for piece in _sample(held_out, cross_validation.MAX_SCORED, "validation_data", **settings):
            folds = np.full(len(piece.labels), cross_validation.SCORE_ONLY)
            _add(fits, runner, piece, folds, truth_of=truth_of)
    _store_more(runner, model, also, sample)
    num_fitted, _ = fits[0].counts
    min_fitted = min_images(classes)
    if num_fitted < min_fitted:
        raise DataError(
            f"`data` must hold at least {min_fitted} images to fit and score {classes} classes, "
            f"got {num_fitted}."
        )
    return FittedSites(
        sites=found_sites, fits=fits, reader=reader, engine=runner.name, groups=groups
    )


def min_images(classes: int) -> int:
    """Return how many images a probe needs to fit and score heads of so many classes."""
    return 2 * max(classes, cross_validation.NUM_FOLDS)


def _prepare(
    engine: str,
    reader: sites.FeatureReader,
    found_sites: Sequence[sites.Site],
    images: Any,
    cache: Cache | None,
) -> selection.Engine | StoredTrunk:
    """Return what runs the reader; with a folder, only images that are not stored there."""
    if cache is None or cache.folder is None:
        return selection.prepare(engine, reader, images[:128])
    return StoredTrunk(
        reader,
        reader.digest_features(),
        last_layer=found_sites[-1].layer,
        row_bytes=cost.FEATURE_BYTES * sum(site.num_features for site in found_sites),
        rank=len(images.shape),
        engine=engine,
        cache=replace(cache, dtype="float32"),
    )


def _store_more(
    runner: selection.Engine | StoredTrunk,
    model: keras.Model,
    also: Sequence[Data],
    sample: int | None,
) -> None:
    """Store the features of more images, if they are no more than a sample."""
    if not isinstance(runner, StoredTrunk):
        return
    images = [
        data[0] for data in (validate(each, model) for each in also) if batches.is_arrays(data)
    ]
    if sample is None or sum(map(len, images)) <= sample:
        for each in images:
            runner.run(each)


def _fold_drawer(groups: Iterable[str], seed: int) -> Callable[[int], np.ndarray]:
    """Return a function that draws the folds of the next images; those of a group have one fold."""
    random, remaining = np.random.default_rng(seed), iter(groups)
    fold_of_group: dict[str, int] = {}

    def draw(count: int) -> np.ndarray:
        folds = random.integers(0, cross_validation.NUM_FOLDS, count)
        for row, group in zip(range(count), remaining, strict=False):
            folds[row] = fold_of_group.setdefault(group, int(folds[row]))
        return folds

    return draw


def _measure_layer(site: sites.Site, fit: CrossValidation) -> ProbedLayer:
    return ProbedLayer(
        layer=site.layer,
        pooling=site.pooling,
        num_features=site.num_features,
        multiply_adds=site.multiply_adds,
        num_parameters=site.num_parameters,
        accuracy=fit.accuracy(),
    )


def select_features(
    data: Data, *, max_layers: int = 1, cache: Cache | None = None, also: Sequence[Data] = ()
) -> Callable[[keras.Model], tuple[list[str], list[Pooling]]]:
    """Return a function that selects the layers a head reads by a probe, for `build_classifier`.

    It selects the cheapest layer within one standard error of the best, or with `max_layers` above
    1 the layers with the best joint accuracy.

    Args:
        data: The training images and labels, in any form.
        max_layers: How many layers the head may read at most.
        cache: As for `probe`.
        also: As for `probe`.

    Raises:
        ConfigError: `max_layers` is below 1.

    Examples:
        >>> from tlkit import build_classifier
        >>> inputs = keras.Input((8, 8, 3))
        >>> backbone = keras.Model(inputs, keras.layers.Conv2D(4, 3, name="edges")(inputs))
        >>> images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), "uint8")
        >>> features = select_features((images, np.arange(60) % 2))
        >>> build_classifier(backbone, 2, pixels=(0, 1), features=features).output_shape
        (None, 2)
    """
    arguments.at_least("max_layers", max_layers, 1)

    def select(model: keras.Model) -> tuple[list[str], list[Pooling]]:
        found = probe(model, data, max_layers=max_layers, cache=cache, also=also)
        selected = (found.chosen,) if max_layers == 1 else found.joint
        return [each.layer for each in selected], [each.pooling for each in selected]

    return select


def _check(
    solver: solvers.Solver,
    sample: int | None,
    max_features: int,
    max_layers: int,
    *,
    has_validation: bool,
) -> None:
    arguments.one_of("solver", solver, get_args(solvers.Solver))
    arguments.at_least("max_features", max_features, 1)
    if arguments.at_least("max_layers", max_layers, 1) > 1 and solver != "ridge":
        raise ConfigError(f"`solver` must be 'ridge' if `max_layers` is above 1, got {solver!r}.")
    if max_layers > 1 and has_validation:
        raise ConfigError(
            "`validation_data` must be None if `max_layers` is above 1: layers are combined by the "
            "folds of the sample."
        )
    if sample is not None:
        arguments.at_least("sample", sample, 10)


def _add(
    fits: Sequence[CrossValidation],
    runner: selection.Engine | StoredTrunk,
    piece: chunks.Chunk,
    folds: np.ndarray,
    *,
    truth_of: Callable[[np.ndarray], np.ndarray],
) -> None:
    labels = truth_of(piece.labels)
    for fit, values in zip(fits, runner.run(piece.images), strict=True):
        fit.add(values, labels, folds)


# Which layers should a head read together? There are too many sets to try, so layers are added
# greedily: first the best one, then each time the one with the highest joint accuracy, as long as
# the gain is above half a standard error, below which it may be chance. Of each layer only the
# better pooling is tried. Layers much deeper than the best are left out, because every epoch would
# run the backbone up to there, and so are layers that would bring the head above
# `MAX_JOINT_FEATURES`.
def _select_joint(
    layers: Sequence[ProbedLayer], fits: Sequence[CrossValidation], max_layers: int
) -> tuple[tuple[ProbedLayer, ...], float]:
    """Return the layers to read together, in the backbone's order, and their joint accuracy."""
    order = sorted(range(len(layers)), key=lambda index: -layers[index].accuracy)
    best_pooling = {layers[index].layer: index for index in reversed(order)}
    selected, accuracy = [order[0]], layers[order[0]].accuracy
    max_work = _MAX_DEEPER * layers[order[0]].multiply_adds
    while len(selected) < max_layers:
        names = {layers[index].layer for index in selected}
        num_features = sum(layers[index].num_features for index in selected)
        tried = [
            (cross_validation.joint_accuracy([fits[each] for each in (*selected, index)]), -index)
            for name, index in best_pooling.items()
            if name not in names
            and layers[index].multiply_adds <= max_work
            and num_features + layers[index].num_features <= MAX_JOINT_FEATURES
        ]
        error = fits[order[0]].standard_error(accuracy)
        if not tried or max(tried)[0] <= accuracy + _MIN_GAIN * error:
            break
        accuracy, index = max(tried)
        selected.append(-index)
    return tuple(layers[index] for index in sorted(selected)), accuracy


def _sample(
    inputs: batches.Inputs,
    count: int | None,
    name: str,
    *,
    rank: int,
    classes: int,
    seed: int,
    truth_of: Callable[[np.ndarray], np.ndarray],
) -> Iterator[chunks.Chunk]:
    """Yield about `count` images, and check that they are of several classes."""
    seen, labels, partial = 0, set[int](), False
    for chunk in _sampled_chunks(inputs, count, rank=rank, seed=seed):
        if partial := count is not None and seen >= count:
            break
        seen += len(chunk.labels)
        truth = truth_of(chunk.labels)
        labels.update(np.nonzero(truth.any(axis=0))[0] if truth.ndim == 2 else truth.tolist())
        yield chunk
    _check_classes(name, seen, len(labels), classes, partial=partial)


def _sampled_chunks(
    inputs: batches.Inputs, count: int | None, *, rank: int, seed: int
) -> Iterator[chunks.Chunk]:
    if not batches.is_arrays(inputs):
        yield from chunks.read_chunks(inputs, rows=_ROWS, rank=rank)
        return
    images, labels = inputs
    chosen = _sample_indices(len(images), count, seed)
    for start in range(0, len(chosen), _ROWS):
        piece = chosen[start : start + _ROWS]
        if isinstance(images, LazyImages) and images.ndim == rank:  # read as far as needed
            some: Any = images.take(piece)
            yield chunks.Chunk(images=some, labels=labels[piece], weights=None, sizes=())
            continue
        yield from chunks.read_chunks((images[piece], labels[piece]), rows=_ROWS, rank=rank)


def _sample_indices(count: int, sample: int | None, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(count)[:sample]


def _sampled_groups(data: Data, sample: int | None, seed: int) -> list[str]:
    """Return the group of each sampled image; empty if the data has no groups.

    Duplicates form a group if the images have been scanned already, as files have.
    """
    if not isinstance(data, ImageDataset) or not (data.groups or data.known_scans):
        return []
    groups = splits.find_groups(data) if data.known_scans else data.groups
    return [groups[index] for index in _sample_indices(len(data), sample, seed)]


def _check_classes(name: str, seen: int, found: int, classes: int, *, partial: bool) -> None:
    """Refuse a sample of one class; warn if classes may be in a part that was not read."""
    got = f"the first {seen:,} images of a dataset" if partial else f"{seen:,} images"
    advice = "If the dataset is sorted by class, shuffle it first, or pass arrays."
    if found < 2:
        raise DataError(
            f"`{name}` must contain at least 2 of the model's {classes} classes, got {got}, all of "
            f"{'one class' if found else 'no class'}.{f' {advice}' if partial else ''}"
        )
    if partial and found < classes:
        warnings.warn(
            f"`{name}` contains {found} of the model's {classes} classes in {got}, and the probe "
            f"uses no others. {advice}",
            stacklevel=5,  # the caller of `probe`
        )
