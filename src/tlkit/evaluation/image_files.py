"""Predict the classes of image files, or compute their features: many files in little memory.

Modules that import Keras are imported when a Keras model needs them, since that takes seconds and
an exported file does not.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit.data import file_stream, unlabelled
from tlkit.data.decoding import Fit
from tlkit.data.image_files import find_images
from tlkit.errors import Argument, ConfigError, DataError
from tlkit.evaluation.file_classifier import FileClassifier
from tlkit.training.ood_detector import KEPT

if TYPE_CHECKING:
    import keras

Meter = Callable[[int, int], None]
"""A function that is called with the number of files done, and of all files."""


@dataclass(frozen=True, kw_only=True)
class FilePrediction:
    """The most probable classes of an image file.

    Attributes:
        path: The file.
        classes: Names and probabilities, the most probable class first; empty if it is unreadable.
        ood_score: The share of held-out training images that are more like the training images
            than this one, 0 to 1; None if the classifier has no such score. See `tlkit.ood_scores`.
        prediction_set: The classes of the prediction set; None without a coverage.
        labels: For multi-label, the classes whose probability is at least their threshold, in the
            order of the classifier's classes; None otherwise.
        problem: Why it is unreadable; empty otherwise.
    """

    path: Path
    classes: tuple[tuple[str, float], ...] = ()
    ood_score: float | None = None
    prediction_set: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    problem: str = ""

    @property
    def is_unlike(self) -> bool | None:
        """Whether the score is above 0.95: the image probably shows none of the classes."""
        return None if self.ood_score is None else self.ood_score > KEPT

    def __str__(self) -> str:
        shown = [f"{name} ({100 * probability:.1f} %)" for name, probability in self.classes]
        text = f"{self.path}: {', '.join(shown) or f'unreadable: {self.problem}'}"
        if self.labels is not None:
            found = ", ".join(self.labels) or "no class"
            text = f"{self.path}: {found}; most probable: {', '.join(shown)}"
        if self.prediction_set is not None:
            text += f"; set: {', '.join(self.prediction_set)}"
        if self.ood_score is not None and self.is_unlike:
            share = f"{100 * self.ood_score:.0f} %" if self.ood_score < 1 else "all"
            text += (
                f"; none of these? score {self.ood_score:.2f}: more unlike than {share} of the "
                "training images"
            )
        return text

    def to_dict(self) -> dict[str, Any]:
        """Return path, and classes or problem, as values that JSON can hold."""
        if self.problem:
            return {"path": str(self.path), "problem": self.problem}
        classes = [{"class": name, "probability": share} for name, share in self.classes]
        found: dict[str, Any] = {} if self.labels is None else {"labels": list(self.labels)}
        row: dict[str, Any] = {"path": str(self.path), **found, "classes": classes}
        if self.prediction_set is not None:
            row["set"] = list(self.prediction_set)
        if self.ood_score is not None:
            row |= {"ood_score": self.ood_score, "is_unlike": self.is_unlike}
        return row


@dataclass(frozen=True, kw_only=True, eq=False)
class FileFeatures:
    """The features of an image file.

    Attributes:
        path: The file.
        features: The features that the classifier's head reads, `(features,)`, in float32; None if
            the file is unreadable.
        problem: Why it is unreadable; empty otherwise.
    """

    path: Path
    features: np.ndarray | None = None
    problem: str = ""


@check_arguments
def predict_files(
    model: "keras.Model | FileClassifier",
    files: str | Path | Iterable[str | Path],
    *,
    top: int = 1,
    coverage: float | None = None,
    fit: Fit = "squash",
    white: int | None = None,
    batch_size: int = 128,
    on_progress: Meter = lambda done, total: None,
) -> Iterator[FilePrediction]:
    """Yield the most probable classes of each image file, or the reason why it is unreadable.

    Threads read files while the model runs. Memory holds two batches, however many files there are.

    Args:
        model: A classifier, or the `FileClassifier` of an exported file, which
            `tlkit.experiments.load_exported` returns.
        files: A file, a folder, or several of them. A folder means all images in it and its
            subfolders, in the order of their paths.
        top: Number of classes to name for each file.
        coverage: Share of images whose prediction set is to contain their class, as for
            `tlkit.predict_sets`; None predicts no sets.
        fit: As for `tlkit.sources.from_folder`.
        white: As for `tlkit.sources.from_folder`.
        batch_size: Images per batch.
        on_progress: Is called after each batch with the number of files done, and of all files.

    Raises:
        ConfigError: A number is wrong, or the model can't promise a coverage.
        DataError: There are no images, or no image can be read, or there were too few validation
            images for the coverage.
    """
    arguments.at_least("top", top, 1)
    find_set = None if coverage is None else _find_sets(model, coverage)
    known = describe(model)
    names, least = known.class_names, known.thresholds
    settings: dict[str, Any] = {"fit": fit, "white": white, "batch_size": batch_size}
    for path, row, problem in _run(known, files, on_progress, **settings):
        if row is None:
            yield FilePrediction(path=path, problem=problem)
            continue
        shares = row[: len(names)]
        order = np.argsort(-shares, kind="stable")
        chosen = labels = None
        if find_set is not None:
            [inside] = find_set(shares[None])
            chosen = tuple(names[index] for index in order if inside[index])
        if least is not None:
            labels = tuple(names[index] for index in np.flatnonzero(shares >= least))
        yield FilePrediction(
            path=path,
            classes=tuple((names[index], float(shares[index])) for index in order[:top]),
            ood_score=float(row[-1]) if known.has_ood_score else None,
            prediction_set=chosen,
            labels=labels,
        )


@check_arguments
def embed_files(
    model: "keras.Model",
    files: str | Path | Iterable[str | Path],
    *,
    fit: Fit = "squash",
    white: int | None = None,
    batch_size: int = 128,
    on_progress: Meter = lambda done, total: None,
) -> Iterator[FileFeatures]:
    """Yield the features of each image file, or the reason why it is unreadable.

    Args:
        model: A classifier.
        files: As for `predict_files`.
        fit: As for `predict_files`.
        white: As for `predict_files`.
        batch_size: As for `predict_files`.
        on_progress: As for `predict_files`.

    Raises:
        ConfigError: A number is wrong, or the head is not one linear layer.
        DataError: There are no images, or no image can be read.
    """
    from tlkit.evaluation.keras_classifier import checked, from_model
    from tlkit.models import own_predictions
    from tlkit.models.inspection import features_of

    settings: dict[str, Any] = {"fit": fit, "white": white, "batch_size": batch_size}
    reader = checked(model, partial(own_predictions.run_on_batch, features_of(model)))
    known = replace(from_model(model), run=reader)
    for path, row, problem in _run(known, files, on_progress, **settings):
        yield FileFeatures(path=path, features=row, problem=problem)


def describe(model: "keras.Model | FileClassifier") -> FileClassifier:
    """Return the parts of a classifier that predicting image files needs."""
    if isinstance(model, FileClassifier):
        return model
    from tlkit.evaluation.keras_classifier import from_model

    return from_model(model)


def _find_sets(
    model: "keras.Model | FileClassifier", coverage: float
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of probabilities that tells which classes are in the prediction set."""
    if isinstance(model, FileClassifier):
        raise ConfigError(
            Argument("coverage"),
            " must be left out for an exported file, which does not hold the validation images' "
            "probabilities. Name the run's folder in place of the file.",
        )
    from tlkit.evaluation import prediction_sets

    threshold = prediction_sets.find_threshold(prediction_sets.scores_of(model), coverage)
    return partial(prediction_sets.select_classes, threshold=threshold)


def _run(
    classifier: FileClassifier,
    files: str | Path | Iterable[str | Path],
    on_progress: Meter,
    *,
    fit: Fit,
    white: int | None,
    batch_size: int,
) -> Iterator[tuple[Path, Any, str]]:
    """Yield each file with its row of the classifier's results, or with its problem."""
    arguments.at_least("batch_size", batch_size, 1)
    found, passed_over = find_images([files] if isinstance(files, str | Path) else files)
    if not found:
        raise DataError(f"`files` must name at least one image, got none. {passed_over}".strip())
    read = partial(
        unlabelled.read_file,
        input_shape=classifier.input_shape,
        value_range=classifier.value_range,
        fit=fit,
        white=file_stream.find_white(found) if white is None else white,
    )

    done = num_read = 0
    for batch in file_stream.read_batches(found, read, batch_size=batch_size):
        pixels = {at: each for at, (_, each) in enumerate(batch) if not isinstance(each, str)}
        blocks = unlabelled.group(list(pixels), list(pixels.values()))
        rows: dict[int, Any] = {}
        for indices, block in blocks:
            rows |= dict(zip(indices.tolist(), classifier.run(block), strict=True))
        done, num_read = done + len(batch), num_read + len(rows)
        on_progress(done, len(found))
        for at, (path, outcome) in enumerate(batch):
            yield path, rows.get(at), outcome if isinstance(outcome, str) else ""
    if not num_read:
        several = f"None of the {len(found):,} files could"
        which = several if len(found) > 1 else f"The file {str(found[0])!r} could not"
        raise DataError(f"{which} be read as an image.")
