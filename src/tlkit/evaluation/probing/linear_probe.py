"""Find the layer of a backbone after which a head should read, by linear probes."""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import get_args

import keras
import numpy as np

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit.caching.cache import Cache
from tlkit.caching.progress import CacheProgress
from tlkit.data.batches import Data
from tlkit.errors import ConfigError
from tlkit.evaluation.probing import sites, stored_scores
from tlkit.evaluation.probing.cross_validation import CrossValidation, Score
from tlkit.evaluation.probing.fitted_sites import fit_sites
from tlkit.evaluation.probing.result import Probe, ProbedLayer
from tlkit.models.feature_extraction import Pooling
from tlkit.models.inspection import is_multi_label
from tlkit.training import solvers

MAX_FEATURES = 1024
"""The default of the maximum number of features per image of a layer's finest grid."""
MAX_JOINT_FEATURES = 2048
"""The maximum number of features per image that a head of several layers reads."""
_MAX_TRIED = 8  # layers whose joint heads are fitted, to choose the layer to add
_MIN_GAIN = 0.5  # standard errors by which a further layer must raise a mean average precision
_MAX_DEEPER = 1.5  # times the best layer's multiply-adds, because every epoch computes them

SAMPLE = 5000
"""The default number of images that are probed."""


@check_arguments
def probe(
    model: keras.Model,
    data: Data,
    *,
    validation_data: Data | None = None,
    sample: int | None = SAMPLE,
    solver: solvers.Solver = "ridge",
    max_features: int = MAX_FEATURES,
    max_layers: int = 1,
    engine: str = "auto",
    seed: int = 0,
    cache: Cache | None = None,
    also: Sequence[Data] = (),
    verbose: bool = False,
) -> Probe:
    """Fit a linear head to every block of a classifier's backbone, in one pass over the data.

    Linear probes: Alain and Bengio, 2016 (arXiv:1610.01644). For a multi-label classifier, the mean
    average precision is measured in place of the accuracy. The maps of each block are pooled in
    two ways: averaged, and as a grid of averages as fine as `max_features` allows.

    The line that it prints with `verbose` has the best accuracy ± one standard error.

    Args:
        model: A classifier from build_classifier; it is not changed.
        data: Images and labels in any form. Images of one group of an `ImageDataset` are in one
            fold, and so are duplicates among files.
        validation_data: Images and labels to score on, in any form; by default the sample itself,
            in five folds, each of which is scored by heads fitted to the others.
        sample: How many training images to use: of arrays a random choice, of a dataset the first,
            so that a dataset must not be sorted by class. None uses all; with "ridge", memory does
            not grow with their number.
        solver: "ridge" (closed form) or "lbfgs" (logistic regression; slower, and it keeps the
            features of the whole sample in memory).
        max_features: The maximum number of features per image of the finest grid.
        max_layers: The maximum number of layers that a head reads together; above 1 with "ridge"
            only.
        engine: The engine that runs the backbone, as in `Cache`.
        seed: The seed of the sample and the folds.
        cache: Where the features of arrays and files are stored, so that each image passes through
            the backbone only once.
        also: More images whose features to store in the folder of `cache`, such as those that
            training needs later. They are stored only if they are not more than `sample`.
        verbose: Whether to print the engine and the result, and show a progress bar.

    Raises:
        ConfigError: An argument is wrong, the model has no graph, or its backbone has no layer
            that a head can read. Several backbones are compared by `tlkit.probe_backbones`.
        DataError: Images or labels don't fit the model, there are too few images, or all images
            that are used are of one class.
        EngineError: The engine can't run the backbone.

    Examples:
        >>> import numpy as np
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
    progress = CacheProgress(verbose=verbose, title="running the backbone")
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
        progress=progress,
    )
    create_measure = partial(stored_scores.create_measure, cache=cache, verbose=verbose)
    scores = create_measure("scoring layers")([[fit] for fit in fitted.fits])
    layers = tuple(map(partial(_to_layer, min(scores, key=_rank)), fitted.sites, scores))
    measure = create_measure("scoring layers together")
    joint, joint_accuracy = _select_joint(layers, scores, fitted.fits, max_layers, measure)
    num_fitted, num_scored = fitted.fits[0].counts
    best = max(range(len(layers)), key=lambda at: layers[at].accuracy)
    several = is_multi_label(model)
    error = fitted.fits[best].standard_error(layers[best].accuracy) if several else None
    found = Probe(
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
    progress.print(f"probe: {found.explain()}")
    return found


def _to_layer(best: Score, site: sites.Site, score: Score) -> ProbedLayer:
    return ProbedLayer(
        layer=site.layer,
        pooling=site.pooling,
        num_features=site.num_features,
        multiply_adds=site.multiply_adds,
        num_parameters=site.num_parameters,
        accuracy=score.accuracy,
        loss=score.loss,
        loss_error=score.difference_error(best),
    )


@check_arguments
def select_features(
    data: Data,
    *,
    max_layers: int = 1,
    sample: int | None = SAMPLE,
    cache: Cache | None = None,
    also: Sequence[Data] = (),
    verbose: bool = False,
) -> Callable[[keras.Model], tuple[list[str], list[Pooling]]]:
    """Return a function for `build_classifier` that selects the layers that a head reads.

    It probes the backbone, and selects the cheapest layer whose loss is the lowest up to chance, or
    with `max_layers` above 1 the layers with the lowest loss together.

    Args:
        data: The training images and labels, in any form.
        max_layers: The maximum number of layers that the head reads.
        sample: As for `probe`.
        cache: As for `probe`.
        also: As for `probe`.
        verbose: As for `probe`.

    Raises:
        ConfigError: `max_layers` is below 1.

    Examples:
        >>> import numpy as np
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
        engine = "auto" if cache is None else cache.engine
        found = probe(
            model,
            data,
            max_layers=max_layers,
            sample=sample,
            engine=engine,
            cache=cache,
            also=also,
            verbose=verbose,
        )
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
        raise ConfigError(
            f"`solver` must be 'ridge' if `max_layers` is above 1, got {show(solver)}."
        )
    if max_layers > 1 and has_validation:
        raise ConfigError(
            "`validation_data` must be None if `max_layers` is above 1: layers are combined by the "
            "folds of the sample."
        )
    if sample is not None:
        arguments.at_least("sample", sample, 10)


# Which layers should a head read together? There are too many sets to try, so layers are added
# greedily: first the best one, then each time the one with the lowest joint loss, as long as this
# is lower by more than a standard error of the difference; a smaller difference may be chance. On a
# few hundred images, the loss shows small differences that the accuracy does not. Fitting a joint
# head for each of dozens of layers would take most of the probe. So a joint head is fitted only for
# `_MAX_TRIED` layers: those whose own heads, averaged with the probabilities of the head so far,
# have the lowest loss. Of each layer only the better pooling is tried. Layers much deeper than the
# best are left out, because every epoch would run the backbone up to them, and so are layers that
# would give the head more than `MAX_JOINT_FEATURES`. For multi-label, the mean average precision is
# used in place of the loss, and half a standard error of it.
def _select_joint(
    layers: Sequence[ProbedLayer],
    scores: Sequence[Score],
    fits: Sequence[CrossValidation],
    max_layers: int,
    measure: Callable[[Sequence[Sequence[CrossValidation]]], list[Score]],
) -> tuple[tuple[ProbedLayer, ...], float]:
    """Return the layers to read together, in the backbone's order, and their joint accuracy."""
    order = sorted(range(len(layers)), key=lambda index: _rank(scores[index]))
    best_pooling = {layers[index].layer: index for index in reversed(order)}
    selected, score = [order[0]], scores[order[0]]
    max_work = _MAX_DEEPER * layers[order[0]].multiply_adds
    while len(selected) < max_layers:
        names = {layers[index].layer for index in selected}
        num_features = sum(layers[index].num_features for index in selected)
        others = [
            index
            for name, index in best_pooling.items()
            if name not in names
            and layers[index].multiply_adds <= max_work
            and num_features + layers[index].num_features <= MAX_JOINT_FEATURES
        ]
        others.sort(key=lambda index: _rank_average(score, scores[index]))
        others = sorted(others[:_MAX_TRIED])
        found = measure([[fits[each] for each in (*selected, index)] for index in others])
        if not others:
            break
        at = min(range(len(others)), key=lambda at: (_rank(found[at]), others[at]))
        error = fits[order[0]].standard_error(score.accuracy)
        if not _is_gain(found[at], score, error):
            break
        score = found[at]
        selected.append(others[at])
    return tuple(layers[index] for index in sorted(selected)), score.accuracy


def _rank(score: Score) -> float:
    """Return a number that is lower for a better score."""
    return -score.accuracy if math.isnan(score.loss) else score.loss


def _rank_average(one: Score, other: Score) -> float:
    """Return the mean loss of two heads' average probabilities; for multi-label as `_rank`."""
    if math.isnan(other.loss):
        return _rank(other)
    return float(math.log(2) - np.logaddexp(-one.losses, -other.losses).mean())


def _is_gain(score: Score, before: Score, error: float) -> bool:
    """Return whether a score is better by more than chance.

    Args:
        score: The score.
        before: The score that it is compared with.
        error: The standard error of the accuracy.
    """
    if math.isnan(score.loss):
        return score.accuracy > before.accuracy + _MIN_GAIN * error
    return score.improves(before)
