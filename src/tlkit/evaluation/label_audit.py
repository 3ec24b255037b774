"""Which labels are probably wrong, and which images are like no other: a list to look through."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import rich.console
from scipy.special import softmax

from tlkit._internal import arguments, optional
from tlkit._internal.tables import build_table, render_text
from tlkit._internal.text import join_first
from tlkit.data import batches, chunks, splits
from tlkit.data.batches import Data
from tlkit.data.fixed_order import has_fixed_order
from tlkit.data.image_dataset import ImageDataset
from tlkit.errors import DataError
from tlkit.models.inspection import class_names, head_of
from tlkit.training import solvers
from tlkit.training.inputs import validate

_SAID = 10
_FENCE = 1.7  # times the middle half's width beyond it, as cleanlab's Datalab takes outliers
_LEAST = 1e-12


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """An image whose label is probably wrong.

    Attributes:
        index: Its place in the data.
        path: Its file; None where the data has none.
        given: The class it is labelled as.
        suggested: The class that the other images make likeliest.
        score: The probability of the given class; the lower, the more suspicious.
    """

    index: int
    path: str | None
    given: str
    suggested: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Outlier:
    """An image that is far from all others, whatever its label.

    Attributes:
        index: Its place in the data.
        path: Its file; None where the data has none.
        score: How near its neighbours are, 0 to 1; the lower, the further away.
    """

    index: int
    path: str | None
    score: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Audit:
    """What is to be looked at by a person; `print(audit)` shows the first of it.

    Attributes:
        suspects: Probably mislabelled, the most suspicious first.
        outliers: Unlike all others, the furthest first.
        scores: The probability of each image's given label, `(count,)`: to look further than the
            suspects, go through `scores.argsort()`.
        folds: Each image was judged by a head that was fitted to the other folds.
    """

    suspects: tuple[Suspect, ...]
    outliers: tuple[Outlier, ...]
    scores: np.ndarray
    folds: int

    def __rich__(self) -> rich.console.RenderableType:
        parts: list[rich.console.RenderableType] = [
            f"{len(self.scores):,} images: {len(self.suspects):,} labels to look at, "
            f"{len(self.outliers):,} images unlike the others"
        ]
        if self.suspects:
            rows = [
                (each.given, each.suggested, f"{each.score:.3f}", place(each))
                for each in self.suspects[:_SAID]
            ]
            columns = ("label", "suggested", "probability", "image")
            parts.append(build_table(columns, rows, align="llrl"))
        if self.outliers:
            found = [(f"{each.score:.3f}", place(each)) for each in self.outliers[:_SAID]]
            parts.append(build_table(("nearness", "image"), found, align="rl"))
        return rich.console.Group(*parts)

    def __str__(self) -> str:
        return render_text(self)


def audit(
    model: keras.Model,
    data: Data,
    *,
    paths: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    folds: int = 5,
    seed: int = 0,
    batch_size: int = 128,
) -> Audit:
    """Look for wrong labels and outliers in what a classifier's backbone sees of the images.

    Fits logistic regressions to the features that the classifier's head reads, and judges each
    image by one that has not seen it. cleanlab decides which labels are suspicious (Northcutt et
    al., 2021, confident learning) and measures how far each image's nearest neighbours are. The
    model is not changed. Nothing is right or wrong by this list alone: look at the images.

    A backbone that was trained on these images has learned their wrong labels: take one that was
    not. Duplicates of an image vouch for each other: images of one group are never judged by a
    head that was fitted to another of them. An `ImageDataset` brings its groups along, joined with
    its duplicates and near-duplicates.

    Args:
        model: A classifier from build_classifier; only its backbone matters.
        data: Images and labels in any form; a dataset of batches must not shuffle. Images
            are read a few at a time; their features are kept in memory, 4 bytes a number.
        paths: The file of each image, for the list; by default those of an `ImageDataset`.
        groups: A name for each image that it shares with those it belongs to; empty where each is
            alone. By default what `tlkit.splits.find_groups` finds in an `ImageDataset`.
        folds: In how many parts the images are judged.
        seed: Chooses the folds.
        batch_size: Images a step.

    Raises:
        ConfigError: A number is wrong, or the head is more than one dense layer.
        DataError: The data doesn't fit the model, holds one class alone, or fewer images of a
            class than folds, or groups hold all of a class.
        MissingExtraError: cleanlab is not installed.
    """
    arguments.at_least("folds", folds, 2)
    arguments.at_least("seed", seed, 0)
    arguments.at_least("batch_size", batch_size, 1)
    rank = optional.require("cleanlab.rank", extra="audit")
    names = class_names(model)
    if isinstance(data, ImageDataset):
        paths = data.paths if paths is None else paths
        groups = splits.find_groups(data) if groups is None else groups
    paths, groups = list(paths or ()), list(groups or ())
    inputs = validate(data, model)
    if not has_fixed_order(inputs):
        raise DataError(
            "`data` must have a fixed order, got a dataset that shuffles or augments. Pass one "
            "that does not, such as image_dataset_from_directory(..., shuffle=False)."
        )
    features, labels = _features(model, inputs, batch_size)
    _check(labels, names, folds)
    for name, given in {"paths": paths, "groups": groups}.items():
        if given and len(given) != len(labels):
            raise DataError(
                f"`{name}` must be one for each of the {len(labels):,} images, got {len(given):,}."
            )
    there, present = np.unique(labels, return_inverse=True)  # cleanlab wants every class it counts
    probabilities = _out_of_fold(features, present, groups, folds=folds, seed=seed)
    scores = rank.get_label_quality_scores(present, probabilities)
    called = there[probabilities.argmax(axis=1)]
    suspects = _issues(present, probabilities)
    order = suspects[np.argsort(scores[suspects], kind="stable")].tolist()
    nearness = _nearness(features)
    return Audit(
        suspects=tuple(
            Suspect(
                index=at,
                path=paths[at] if paths else None,
                given=names[labels[at]],
                suggested=names[called[at]],
                score=float(scores[at]),
            )
            for at in order
        ),
        outliers=tuple(
            Outlier(index=at, path=paths[at] if paths else None, score=float(nearness[at]))
            for at in _far(nearness)
        ),
        scores=scores,
        folds=folds,
    )


def _features(
    model: keras.Model, data: batches.Inputs, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return what the head reads of every image, and the class indices."""
    reader = keras.Model(model.inputs, head_of(model).input)
    found, labels = [], []
    for chunk in chunks.read_chunks(data, rows=batch_size, rank=len(model.input_shape)):
        found.append(np.asarray(reader.predict_on_batch(chunk.images)))
        labels.append(batches.label_indices(chunk.labels))
    places = np.concatenate(labels).astype("int64")
    return solvers.stack_batches(found, len(places)), places


def _check(labels: np.ndarray, names: Sequence[str], folds: int) -> None:
    counts = np.bincount(labels, minlength=len(names))
    if (counts > 0).sum() < 2:
        raise DataError("`data` must hold images of at least 2 classes, got one alone.")
    rare = np.flatnonzero((counts > 0) & (counts < folds)).tolist()
    few = [f"{names[at]!r} ({counts[at]})" for at in rare]
    if few:
        raise DataError(
            f"`data` must hold at least {folds} images of a class, one for each fold, got "
            f"fewer of {join_first(few)}. Take fewer folds, at least 2, or leave them out."
        )


def _out_of_fold(
    features: np.ndarray, labels: np.ndarray, groups: Sequence[str], *, folds: int, seed: int
) -> np.ndarray:
    """Return the probabilities of each image by a head that was fitted without it and its group."""
    from sklearn import model_selection  # costs most of a second

    classes = int(labels.max()) + 1
    penalty = solvers.lbfgs(features, labels, classes=classes, seed=seed).penalty
    made = np.empty((len(labels), classes))
    alone = len(set(groups)) in (0, len(labels))
    kind = model_selection.StratifiedKFold if alone else model_selection.StratifiedGroupKFold
    splits = kind(folds, shuffle=True, random_state=seed).split(features, labels, groups or None)
    for fitted, held_out in splits:
        if len(np.unique(labels[fitted])) < classes:
            raise DataError(
                "`groups` must leave images of every class to fit on, got a class that a group or "
                "two hold all of. Leave it out, or audit without groups."
            )
        linear = solvers.lbfgs(features[fitted], labels[fitted], classes=classes, penalty=penalty)
        made[held_out] = softmax(linear.logits(features[held_out]).astype("float64"), axis=1)
    return made


def _issues(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    filtering = optional.require("cleanlab.filter", extra="audit")
    return np.flatnonzero(filtering.find_label_issues(labels, probabilities, n_jobs=1))


def _nearness(features: np.ndarray) -> np.ndarray:
    """Return how near each image's ten nearest are, 0 to 1, as cleanlab has it."""
    outlier = optional.require("cleanlab.outlier", extra="audit")
    near = min(10, len(features) - 1)
    scorer = outlier.OutOfDistribution(params={"k": near})
    return np.asarray(scorer.fit_score(features=features, verbose=False), dtype="float64")


def _far(nearness: np.ndarray) -> list[int]:
    """Return those beyond the fence, the furthest first; distance is minus nearness' logarithm."""
    distance = -np.log(np.maximum(nearness, _LEAST))
    low, high = np.percentile(distance, [25, 75])
    beyond = np.flatnonzero(distance > high + _FENCE * (high - low))
    found: list[int] = beyond[np.argsort(-distance[beyond], kind="stable")].tolist()
    return found


def place(each: Suspect | Outlier) -> str:
    """Return where an image is, in words."""
    return f"image {each.index}" if each.path is None else each.path
