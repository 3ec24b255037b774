"""Find images whose label is probably wrong, and images unlike all others."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import rich.console
from scipy.special import softmax

from tlkit._internal import arguments, optional
from tlkit._internal.html import render_html
from tlkit._internal.signatures import check_arguments
from tlkit._internal.tables import build_table, render_text
from tlkit._internal.text import join_first, plural
from tlkit.caching.cache import Cache
from tlkit.caching.progress import CacheProgress
from tlkit.data import batches, chunks, splits
from tlkit.data.batches import Data
from tlkit.data.fixed_order import has_fixed_order
from tlkit.data.image_dataset import ImageDataset
from tlkit.errors import Argument, ConfigError, DataError
from tlkit.evaluation.head_features import HeadFeatures
from tlkit.models.inspection import class_names, head_of, is_multi_label
from tlkit.models.own_predictions import run_on_batch
from tlkit.training import feature_arrays, solvers
from tlkit.training.inputs import validate

_MAX_ROWS = 10  # of a printed table
_MAX_NEIGHBOURS = 10
_FENCE = 1.7  # interquartile ranges above the upper quartile, as in cleanlab's Datalab
_MIN_NEARNESS = 1e-12


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """An image whose label is probably wrong.

    Attributes:
        index: Its index in the data.
        path: Its file, if the data has files.
        label: The class that it is labelled as.
        suggested_label: The most probable class, judged by the other images.
        score: The probability of its label; the lower, the more suspicious.
    """

    index: int
    path: str | None
    label: str
    suggested_label: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Outlier:
    """An image that is far from all others, whatever its label.

    Attributes:
        index: Its index in the data.
        path: Its file, if the data has files.
        score: How near its neighbours are, 0 to 1; the lower, the further away.
    """

    index: int
    path: str | None
    score: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Audit:
    """The images that a person should check; `print(audit)` shows the first of them.

    Attributes:
        suspects: The images whose label is probably wrong, the most suspicious first.
        outliers: The images unlike all others, the furthest first.
        scores: The probability of the label of each image, `(count,)`: to check more images than
            the suspects, continue in the order of `scores.argsort()`.
        num_folds: The number of folds; each image was judged by a head fitted to the other folds.
    """

    suspects: tuple[Suspect, ...]
    outliers: tuple[Outlier, ...]
    scores: np.ndarray = field(repr=False)
    num_folds: int

    def __rich__(self) -> rich.console.RenderableType:
        parts: list[rich.console.RenderableType] = [
            f"{plural(len(self.scores), 'image')}: {len(self.suspects):,} with a suspicious "
            f"label, {len(self.outliers):,} unlike the others"
        ]
        if self.suspects:
            rows = [
                (each.label, each.suggested_label, f"{each.score:.3f}", image_name(each))
                for each in self.suspects[:_MAX_ROWS]
            ]
            columns = ("label", "suggested", "probability of label", "image")
            parts.append(build_table(columns, rows, align="llrl", bars=("probability of label",)))
            parts += _count_more(len(self.suspects), "suspicious label")
        if self.outliers:
            found = [(f"{each.score:.3f}", image_name(each)) for each in self.outliers[:_MAX_ROWS]]
            parts.append(build_table(("nearness", "image"), found, align="rl", bars=("nearness",)))
            parts += _count_more(len(self.outliers), "image")
            parts.append("nearness: how close the most similar other images are, from 0 to 1")
        return rich.console.Group(*parts)

    def __str__(self) -> str:
        return render_text(self)

    def _repr_html_(self) -> str:
        return render_html(self)


@check_arguments
def audit(
    model: keras.Model,
    data: Data,
    *,
    paths: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    num_folds: int = 5,
    seed: int = 0,
    batch_size: int = 128,
    cache: Cache | None = None,
    verbose: bool = False,
) -> Audit:
    """Find probably wrong labels and outliers by the features of a classifier's backbone.

    Logistic regressions are fitted to the features that the classifier's head reads, and each
    image is judged by one that was not fitted to it. cleanlab decides which labels are suspicious
    (confident learning, Northcutt et al., 2021) and measures how far the nearest neighbours of each
    image are. The model is not changed. Look at the images before you change a label.

    Take a backbone that was not trained on these images, since it would have learned their wrong
    labels. Duplicates of an image would confirm its wrong label, so no image is judged by a head
    that was fitted to another image of its group. The groups of an `ImageDataset` are used, and its
    duplicates and near-duplicates are added to them.

    Args:
        model: A classifier from build_classifier; only its backbone matters.
        data: Images and labels in any form; a dataset of batches must not shuffle. Images are
            read in batches, while the features of all of them are kept in memory.
        paths: The file of each image; by default those of an `ImageDataset`.
        groups: The name of each image's group, the same for images that belong together; empty if
            no images do. By default the groups that `tlkit.splits.find_groups` finds in an
            `ImageDataset`.
        num_folds: The number of folds, at least 2.
        seed: The seed of the folds.
        batch_size: Images per batch.
        cache: Where features are stored, so that each image passes through the backbone only once.
        verbose: Whether to show progress bars.

    Raises:
        ConfigError: A number is wrong, the head is more than one dense layer, or the classifier is
            multi-label.
        DataError: The data doesn't fit the model, a class has fewer images than there are folds,
            or all images of a class are in one or two groups.
        MissingExtraError: cleanlab is not installed.
    """
    _check_arguments(model, num_folds=num_folds, seed=seed, batch_size=batch_size)
    rank = optional.require("cleanlab.rank", extra="audit")
    names = class_names(model)
    if isinstance(data, ImageDataset):
        paths = data.paths if paths is None else paths
        groups = splits.find_groups(data) if groups is None else groups
    paths, groups = list(paths or ()), list(groups or ())
    inputs = _validate_in_order(data, model)
    with closing(CacheProgress(verbose=verbose, title="features")) as progress:
        features, labels = read_features(model, inputs, batch_size, cache, progress)
    _check(labels, names, num_folds)
    _check_lengths(len(labels), paths=paths, groups=groups)
    # cleanlab needs an image of every class, so classes without images are left out
    present, indices = np.unique(labels, return_inverse=True)
    how: dict[str, Any] = {"num_folds": num_folds, "seed": seed, "verbose": verbose}
    probabilities = _out_of_fold(features, indices, groups, **how)
    scores = rank.get_label_quality_scores(indices, probabilities)
    predicted = present[probabilities.argmax(axis=1)]
    suspects = _label_issues(indices, probabilities)
    nearness = _nearness(features)
    return Audit(
        suspects=tuple(
            Suspect(
                index=at,
                path=paths[at] if paths else None,
                label=names[labels[at]],
                suggested_label=names[predicted[at]],
                score=float(scores[at]),
            )
            for at in suspects[np.argsort(scores[suspects], kind="stable")].tolist()
        ),
        outliers=tuple(
            Outlier(index=at, path=paths[at] if paths else None, score=float(nearness[at]))
            for at in _outliers(nearness)
        ),
        scores=scores,
        num_folds=num_folds,
    )


def _check_arguments(model: keras.Model, *, num_folds: int, seed: int, batch_size: int) -> None:
    arguments.at_least("num_folds", num_folds, 2)
    arguments.seed("seed", seed)
    arguments.at_least("batch_size", batch_size, 1)
    if is_multi_label(model):
        raise ConfigError(
            "`model` must have classes that exclude each other for an audit, got a multi-label "
            "classifier. To find wrong labels, look at the images with the highest loss: "
            "tlkit.plotting.prediction_grid(model, data, which='worst')."
        )


def _validate_in_order(data: Data, model: keras.Model) -> batches.Inputs:
    """Return images and labels in one form that has the same order each time it is read."""
    inputs = validate(data, model)
    if not has_fixed_order(inputs):
        raise DataError(
            "`data` must have a fixed order, got a dataset that shuffles or augments. Pass one "
            "that does not, such as image_dataset_from_directory(..., shuffle=False)."
        )
    return inputs


def _check_lengths(count: int, **entries: Sequence[str]) -> None:
    for name, values in entries.items():
        if values and len(values) != count:
            raise DataError(
                f"`{name}` must have one entry for each of the {count:,} images, got "
                f"{len(values):,}."
            )


def read_features(
    model: keras.Model,
    data: batches.Inputs,
    batch_size: int,
    cache: Cache | None = None,
    progress: CacheProgress | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of every image that the head reads, and their class indices.

    They are of shape `(count, features)` and `(count,)`.
    """
    if cache is not None and batches.is_arrays(data):
        indices = batches.label_indices(data[1]).astype("int64")
        return HeadFeatures(model, cache, progress=progress).read(data[0]), indices
    reader = keras.Model(model.inputs[0], head_of(model).input)
    features, labels = [], []
    for chunk in chunks.read_chunks(data, rows=batch_size, rank=len(model.input_shape)):
        features.append(np.asarray(run_on_batch(reader, chunk.images)))
        labels.append(batches.label_indices(chunk.labels))
        if progress is not None:
            total = len(data[0]) if batches.is_arrays(data) else None
            progress.update(sum(map(len, labels)), total)
    indices = np.concatenate(labels).astype("int64")
    return feature_arrays.stack_batches(features, len(indices)), indices


def _check(labels: np.ndarray, names: Sequence[str], num_folds: int) -> None:
    counts = np.bincount(labels, minlength=len(names))
    if (counts > 0).sum() < 2:
        raise DataError("`data` must contain images of at least 2 classes, got only one.")
    rare = np.flatnonzero((counts > 0) & (counts < num_folds)).tolist()
    if rare:
        few = join_first([f"{names[at]!r} ({counts[at]})" for at in rare])
        raise DataError(
            f"`data` must contain at least {num_folds} images of each class, one for each fold, "
            f"got fewer of {few}. Use fewer folds, at least 2, with ",
            Argument("num_folds"),
            ", or leave these classes out.",
        )


def _out_of_fold(
    features: np.ndarray,
    labels: np.ndarray,
    groups: Sequence[str],
    *,
    num_folds: int,
    seed: int,
    verbose: bool,
) -> np.ndarray:
    """Return the probabilities of each image by a head not fitted to it or to its group."""
    from sklearn import model_selection  # importing it takes most of a second

    classes = int(labels.max()) + 1
    penalty = solvers.lbfgs(features, labels, classes=classes, seed=seed).penalty
    probabilities = np.empty((len(labels), classes))
    grouped = len(set(groups)) not in (0, len(labels))
    kind = model_selection.StratifiedGroupKFold if grouped else model_selection.StratifiedKFold
    folds = kind(num_folds, shuffle=True, random_state=seed)
    parts, done = folds.split(features, labels, groups if grouped else None), 0
    with closing(CacheProgress(verbose=verbose, title="judging labels")) as progress:
        for fitted, held_out in parts:
            _require_all_classes(labels[fitted], classes)
            x, y = features[fitted], labels[fitted]
            linear = solvers.lbfgs(x, y, classes=classes, penalty=penalty)
            logits = linear.logits(features[held_out]).astype("float64")
            probabilities[held_out] = softmax(logits, axis=1)
            done += len(held_out)
            progress.update(done, len(labels))
    return probabilities


def _require_all_classes(labels: np.ndarray, classes: int) -> None:
    if len(np.unique(labels)) < classes:
        raise DataError(
            "`groups` must leave images of every class to fit to, got a class whose images "
            "are all in one or two groups. Leave this class out, or pass groups=()."
        )


def _label_issues(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    filters = optional.require("cleanlab.filter", extra="audit")
    return np.flatnonzero(filters.find_label_issues(labels, probabilities, n_jobs=1))


def _nearness(features: np.ndarray) -> np.ndarray:
    """Return how near the nearest neighbours of each image are, 0 to 1, as cleanlab defines it."""
    outlier = optional.require("cleanlab.outlier", extra="audit")
    scorer = outlier.OutOfDistribution(params={"k": min(_MAX_NEIGHBOURS, len(features) - 1)})
    return np.asarray(scorer.fit_score(features=features, verbose=False), dtype="float64")


# cleanlab's nearness is exp(-distance) and has no threshold that suits all data. Distances are
# recovered by the logarithm, and an outlier is beyond Tukey's fence: above the upper quartile by
# more than `_FENCE` times the distance between the quartiles.
def _outliers(nearness: np.ndarray) -> list[int]:
    """Return the indices of the outliers, the furthest first."""
    distance = -np.log(np.maximum(nearness, _MIN_NEARNESS))
    low, high = np.percentile(distance, [25, 75])
    beyond = np.flatnonzero(distance > high + _FENCE * (high - low))
    found: list[int] = beyond[np.argsort(-distance[beyond], kind="stable")].tolist()
    return found


def _count_more(count: int, noun: str) -> list[str]:
    """Return a line that says how many rows a table lacks, if it lacks any."""
    more = count - _MAX_ROWS
    return [f"and {plural(more, f'more {noun}')}"] if more > 0 else []


def image_name(image: Suspect | Outlier) -> str:
    """Return the path of an image, or its index where the data has no files."""
    return f"image {image.index}" if image.path is None else image.path
