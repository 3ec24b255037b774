"""Run a backbone over a sample of images, and assign the features of every site to folds."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np

from tlkit._internal import user_warnings
from tlkit.caching import cost
from tlkit.caching.cache import Cache
from tlkit.caching.engines import selection
from tlkit.caching.progress import CacheProgress
from tlkit.caching.stored_trunk import StoredTrunk
from tlkit.caching.trunk_runner import TrunkRunner
from tlkit.data import batches, chunks, splits
from tlkit.data.batches import Data
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.lazy_images import LazyImages
from tlkit.errors import DataError
from tlkit.evaluation.probing import cross_validation, sites
from tlkit.evaluation.probing.cross_validation import CrossValidation
from tlkit.evaluation.probing.sites import FeatureReader, Site
from tlkit.training import solvers
from tlkit.training.inputs import true_labels, validate

_ROWS = 512  # images that a backbone processes at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedSites:
    """The sites of a backbone, and the cross-validation of a head at each.

    Attributes:
        sites: The sites.
        fits: The cross-validation at each site.
        reader: The model that returns the features of all sites.
        engine: The engine that ran the backbone.
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
    progress: CacheProgress | None = None,
) -> FittedSites:
    """Run a backbone once over a sample, and assign the features of every site to folds.

    Arguments and errors are those of `probe`; `progress` shows how many images are done.
    """
    classes = model.output_shape[-1]
    inputs = validate(data, model)
    truth_of = partial(true_labels, model)
    settings: dict[str, Any] = {"rank": len(model.input_shape), "classes": classes, "seed": seed}
    settings["truth_of"] = truth_of
    pieces = _sample(inputs, sample, "data", **settings)
    first = next(pieces)
    found_sites, reader = sites.find_sites(model, first.images, max_features)
    total = _count_images(inputs, sample)
    fits = [CrossValidation(site.num_features, classes, solver) for site in found_sites]
    groups = _sampled_groups(data, sample, seed)
    draw_folds = _fold_drawer(groups, seed)
    progress, done = progress or CacheProgress(verbose=False), 0
    with closing(progress):  # fewer images than the maximum may come
        progress.update(done, total)  # while the engine is prepared, too
        runner = _prepare(engine, reader, found_sites, first.images, cache=cache, num_images=total)
        for piece in itertools.chain([first], pieces):
            folds = draw_folds(len(piece.labels))
            if validation_data is not None:
                folds[:] = cross_validation.FIT_ONLY
            _add(fits, runner, piece, folds, truth_of=truth_of)
            progress.update(done := done + len(folds), total)
    progress.print(f"probe: {len(found_sites)} sites, ran by {runner.describe()}")
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
    """Return how many images a probe needs to fit and score heads of this number of classes."""
    return 2 * max(classes, cross_validation.NUM_FOLDS)


def _prepare(
    engine: str,
    reader: sites.FeatureReader,
    found_sites: Sequence[sites.Site],
    images: Any,
    *,
    cache: Cache | None,
    num_images: int | None,
) -> selection.Engine | StoredTrunk:
    """Return a runner of the reader; with a folder, it reuses features that are stored there."""
    if cache is None or cache.folder is None:
        return selection.prepare(engine, reader, images[:128], num_images=num_images)
    runner = TrunkRunner(
        reader,
        reader.digest_features(),
        last_layer=found_sites[-1].layer,
        row_bytes=cost.FEATURE_BYTES * sum(site.num_features for site in found_sites),
        cache=replace(cache, dtype="float32", engines=None),  # it is large, and used only once
        engine=engine,
    )
    return StoredTrunk(runner, rank=len(images.shape), num_images=num_images)


def _count_images(inputs: batches.Inputs, sample: int | None) -> int | None:
    """Return how many images a sample has; None if this is unknown."""
    count = chunks.max_images(inputs)
    return min((each for each in (count, sample) if each is not None), default=None)


def _store_more(
    runner: selection.Engine | StoredTrunk,
    model: keras.Model,
    also: Sequence[Data],
    sample: int | None,
) -> None:
    """Store the features of more images, if these are not more than a sample."""
    if not isinstance(runner, StoredTrunk):
        return
    images = [
        data[0] for data in (validate(each, model) for each in also) if batches.is_arrays(data)
    ]
    if sample is None or sum(map(len, images)) <= sample:
        for each in images:
            runner.store(each)


def _fold_drawer(groups: Iterable[str], seed: int) -> Callable[[int], np.ndarray]:
    """Return a function that draws the folds of the next images, the same for a whole group."""
    random, remaining = np.random.default_rng(seed), iter(groups)
    fold_of_group: dict[str, int] = {}

    def draw(count: int) -> np.ndarray:
        folds = random.integers(0, cross_validation.NUM_FOLDS, count)
        for row, group in zip(range(count), remaining, strict=False):
            folds[row] = fold_of_group.setdefault(group, int(folds[row]))
        return folds

    return draw


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
    """Refuse a sample of one class; warn if other classes may be in images that were not read."""
    got = f"the first {seen:,} images of a dataset" if partial else f"{seen:,} images"
    advice = "If the dataset is sorted by class, shuffle it first, or pass arrays."
    if found < 2:
        raise DataError(
            f"`{name}` must contain at least 2 of the model's {classes} classes, got {got}, all of "
            f"{'one class' if found else 'no class'}.{f' {advice}' if partial else ''}"
        )
    if partial and found < classes:
        user_warnings.warn(
            f"`{name}` contains {found} of the model's {classes} classes in {got}, and the probe "
            f"uses no others. {advice}"
        )
