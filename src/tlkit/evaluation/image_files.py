"""Predict the classes of image files, or compute their features: many files in little memory."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit._internal import arguments
from tlkit.data import file_stream, unlabelled
from tlkit.data.decoding import Fit
from tlkit.data.image_files import find_images
from tlkit.errors import DataError
from tlkit.evaluation.evaluator import run_in_order
from tlkit.models.inspection import class_names, features_of, value_range

Meter = Callable[[int, int], None]
"""Is called with the number of files that are done, and of all."""


@dataclass(frozen=True, kw_only=True)
class FilePrediction:
    """The most probable classes of an image file.

    Attributes:
        path: The file.
        classes: Names and probabilities, the most probable class first; empty if it is unreadable.
        problem: Why it is unreadable; empty otherwise.
    """

    path: Path
    classes: tuple[tuple[str, float], ...] = ()
    problem: str = ""

    def __str__(self) -> str:
        shown = [f"{name} {100 * probability:.1f} %" for name, probability in self.classes]
        return f"{self.path}: {', '.join(shown) or f'unreadable: {self.problem}'}"

    def to_dict(self) -> dict[str, Any]:
        """Return path, and classes or problem, as values that JSON can hold."""
        if self.problem:
            return {"path": str(self.path), "problem": self.problem}
        classes = [{"class": name, "probability": share} for name, share in self.classes]
        return {"path": str(self.path), "classes": classes}


@dataclass(frozen=True, kw_only=True, eq=False)
class FileFeatures:
    """The features of an image file.

    Attributes:
        path: The file.
        features: What the classifier's head reads, in float32; None if it is unreadable.
        problem: Why it is unreadable; empty otherwise.
    """

    path: Path
    features: np.ndarray | None = None
    problem: str = ""


def predict_files(
    model: keras.Model,
    files: str | Path | Iterable[str | Path],
    *,
    top: int = 1,
    fit: Fit = "squash",
    white: int | None = None,
    batch_size: int = 128,
    on_progress: Meter = lambda done, total: None,
) -> Iterator[FilePrediction]:
    """Yield the most probable classes of each image file; unreadable files come with the reason.

    Threads read files while the model runs. Memory holds two batches, however many files there are.

    Args:
        model: A classifier.
        files: A file, a folder, or several of them. A folder means all images in it and its
            subfolders, in the order of their paths.
        top: Number of classes to name for each file.
        fit: As for `tlkit.sources.from_folder`.
        white: As for `tlkit.sources.from_folder`.
        batch_size: Images a step.
        on_progress: Is called after each step with the number of files done, and of all files.

    Raises:
        ConfigError: A number is wrong.
        DataError: There is no image, or none can be read.
    """
    arguments.at_least("top", top, 1)
    names = class_names(model)
    settings: dict[str, Any] = {"fit": fit, "white": white, "batch_size": batch_size}
    for path, row, problem in _run(model, model, files, on_progress, **settings):
        order = () if row is None else np.argsort(-row, kind="stable")[:top]
        classes = tuple((names[index], float(row[index])) for index in order)
        yield FilePrediction(path=path, classes=classes, problem=problem)


def embed_files(
    model: keras.Model,
    files: str | Path | Iterable[str | Path],
    *,
    fit: Fit = "squash",
    white: int | None = None,
    batch_size: int = 128,
    on_progress: Meter = lambda done, total: None,
) -> Iterator[FileFeatures]:
    """Yield the features of each image file; unreadable files come with the reason.

    Args:
        model: A classifier.
        files: As for `predict_files`.
        fit: As for `predict_files`.
        white: As for `predict_files`.
        batch_size: As for `predict_files`.
        on_progress: As for `predict_files`.

    Raises:
        ConfigError: A number is wrong, or the head is not one linear layer.
        DataError: There is no image, or none can be read.
    """
    settings: dict[str, Any] = {"fit": fit, "white": white, "batch_size": batch_size}
    for path, row, problem in _run(model, features_of(model), files, on_progress, **settings):
        yield FileFeatures(path=path, features=row, problem=problem)


def _run(
    model: keras.Model,
    reader: keras.Model,
    files: str | Path | Iterable[str | Path],
    on_progress: Meter,
    *,
    fit: Fit,
    white: int | None,
    batch_size: int,
) -> Iterator[tuple[Path, Any, str]]:
    """Yield each file with its row of the output of `reader`, or with its problem."""
    arguments.at_least("batch_size", batch_size, 1)
    found, passed_over = find_images([files] if isinstance(files, str | Path) else files)
    if not found:
        raise DataError(f"`files` must name at least one image, got none. {passed_over}".strip())
    read = partial(
        unlabelled.read_file,
        input_shape=model.input_shape,
        value_range=value_range(model),
        fit=fit,
        white=file_stream.find_white(found) if white is None else white,
    )

    def run(block: np.ndarray) -> np.ndarray:
        return np.asarray(reader.predict_on_batch(block), "float32")

    done = num_read = 0
    for batch in file_stream.read_batches(found, read, batch_size=batch_size):
        pixels = {at: each for at, (_, each) in enumerate(batch) if not isinstance(each, str)}
        blocks = unlabelled.group(range(len(pixels)), list(pixels.values()))
        rows = dict(zip(pixels, run_in_order(model, blocks, run) if pixels else (), strict=True))
        done, num_read = done + len(batch), num_read + len(rows)
        on_progress(done, len(found))
        for at, (path, outcome) in enumerate(batch):
            yield path, rows.get(at), outcome if isinstance(outcome, str) else ""
    if not num_read:
        raise DataError(f"None of the {len(found):,} files could be read as an image.")
