"""Predict with an exported file, without Keras: with NumPy, Pillow and the format's runtime."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlkit._internal import arguments, arrays, system
from tlkit._internal.signatures import check_arguments
from tlkit.data import unlabelled
from tlkit.data.checks import Requirements
from tlkit.data.decoding import Fit
from tlkit.data.unlabelled import Images
from tlkit.deployment import metadata, runtimes
from tlkit.deployment.metadata import OUTPUT, SCORE
from tlkit.errors import DataError

MAX_PIXELS = 50_000_000
"""The default of the maximum height times width of an image file that a `Predictor` reads."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        classes: Names and probabilities of all classes, the most probable first.
        labels: For multi-label, the classes whose probability is at least their threshold, in the
            order of the file's classes; None if classes exclude each other.
        ood_score: The share of held-out training images that are more like the training images than
            this one, 0 to 1; None if the file has no such score.
        is_unlike: Whether the score is above the threshold, 0.95; None without a score.
    """

    classes: tuple[tuple[str, float], ...]
    labels: tuple[str, ...] | None = None
    ood_score: float | None = None
    is_unlike: bool | None = None

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[0][0]

    @property
    def probability(self) -> float:
        """The probability of the most probable class."""
        return self.classes[0][1]

    @check_arguments
    def top(self, count: int) -> tuple[tuple[str, float], ...]:
        """Return the names and probabilities of the most probable classes."""
        return self.classes[: arguments.at_least("count", count, 1)]

    @check_arguments
    def to_dict(self, top: int = 1) -> dict[str, Any]:
        """Return the most probable classes and the score as values that JSON can hold."""
        found: dict[str, Any] = {} if self.labels is None else {"labels": list(self.labels)}
        found["classes"] = [{"class": name, "probability": share} for name, share in self.top(top)]
        if self.ood_score is None:
            return found
        return {**found, "ood_score": self.ood_score, "is_unlike": self.is_unlike}


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """The predictions for several images; `predictions[0]` is that for the first.

    Attributes:
        metadata: The metadata of the file.
        probabilities: `(count, classes)`, in float32.
        ood_scores: `(count,)`; None if the file has no such score.
    """

    metadata: metadata.Metadata
    probabilities: np.ndarray
    ood_scores: np.ndarray | None

    def __len__(self) -> int:
        return len(self.probabilities)

    def __iter__(self) -> Iterator[Prediction]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Prediction:
        about, row = self.metadata, self.probabilities[index]
        order = np.argsort(-row, kind="stable")
        names, labels = about.class_names, None
        if about.multi_label:
            least = np.asarray(about.thresholds)
            labels = tuple(names[at] for at in np.flatnonzero(row >= least))
        score = None if self.ood_scores is None else float(self.ood_scores[index])
        return Prediction(
            classes=tuple((names[at], float(row[at])) for at in order),
            labels=labels,
            ood_score=score,
            is_unlike=None if score is None else score > about.ood_threshold,
        )

    @property
    def labels(self) -> list[str]:
        """The most probable class of each image."""
        names = self.metadata.class_names
        return [names[at] for at in self.probabilities.argmax(axis=1)]


@check_arguments
class Predictor:
    """A classifier from an exported file, for use in other software.

    It needs only NumPy, Pillow and the runtime of the file's format: onnxruntime for `.onnx`,
    ai-edge-litert for `.tflite`, openvino for `.xml`. Several threads may use one predictor.

    Args:
        path: A `.tflite`, `.onnx`, `.xml` or `.keras` file, or the folder of a SavedModel, that
            `tlkit.export` wrote.
        num_threads: How many threads compute a batch; by default as many as there are cores.
        max_pixels: The maximum height times width of an image file.

    Attributes:
        metadata: The metadata of the file.

    Raises:
        ConfigError: There is no such file, or tlkit did not write it.
        MissingExtraError: The runtime of its format is not installed.

    Examples:
        >>> import tempfile, keras
        >>> from tlkit import build_classifier, export
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> model = build_classifier(backbone, 2, input_shape=(8, 8, 3), pixels=(0, 1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     predictor = Predictor(export(model, Path(folder) / "model.tflite").path)
        >>> predictor.predict(np.zeros((5, 8, 8, 3), "uint8")).probabilities.shape
        (5, 2)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        num_threads: int | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        file = arguments.path("path", path)
        count = system.count_cores() if num_threads is None else num_threads
        self.max_pixels = arguments.at_least("max_pixels", max_pixels, 1)
        started = runtimes.start(file, num_threads=arguments.at_least("num_threads", count, 1))
        self.metadata = metadata.parse(started.metadata, file)
        self._run = started.run
        self._requirements = Requirements(
            name="images",
            input_shape=self.metadata.input_shape,
            num_classes=len(self.metadata.class_names),
            value_range=self.metadata.value_range,
            lenient=True,
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class, in the order of the probabilities."""
        return self.metadata.class_names

    @check_arguments
    def predict(
        self, images: Images, *, fit: Fit | None = None, batch_size: int = 32
    ) -> Predictions:
        """Return the classes, probabilities and scores of images.

        Args:
            images: As for `tlkit.predict`: an array of one image or of many, a path, a folder, a
                Pillow image, the bytes of a file, or a list of any of these. Files and Pillow
                images of any size are resized as in training; arrays must have the file's size.
            fit: As for `tlkit.predict`; by default as in training.
            batch_size: Images per batch.

        Raises:
            ConfigError: A number is wrong.
            DataError: An image can't be read, or does not fit.
        """
        arguments.at_least("batch_size", batch_size, 1)
        blocks = unlabelled.read_blocks(
            images,
            input_shape=self.metadata.input_shape,
            value_range=self.metadata.value_range,
            batch_size=batch_size,
            fit=fit or self.metadata.fit,
            white=self.metadata.white,
            max_pixels=self.max_pixels,
        )
        order: list[np.ndarray] = []
        rows: list[np.ndarray] = []
        for indices, block in blocks:
            order.append(indices)
            pieces = range(0, len(block), batch_size)
            rows += [self.run(block[at : at + batch_size]) for at in pieces]
        return self.to_predictions(np.concatenate(rows)[np.argsort(np.concatenate(order))])

    @check_arguments
    def run(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities of a batch, with the score as last column if there is one.

        Args:
            images: Raw images of the file's shape, whole numbers or floats; the axis of a single
                channel may be left out.

        Raises:
            DataError: The shape or the pixel values don't fit.
        """
        images = arrays.check_numbers("images", images, 2, 3, 4)
        wanted = self.metadata.input_shape
        images = unlabelled.match_rank(images, wanted)
        if not unlabelled.fits(images.shape[1:], wanted[1:]):
            raise DataError(f"`images` must have shape {wanted}, got {images.shape}.")
        self._requirements.check_pixels(images)
        outputs = self._run(_convert(images, self.metadata.input_dtype))
        columns = [outputs[OUTPUT]]
        if self.metadata.has_ood_score:
            columns.append(outputs[SCORE][:, None])
        return np.concatenate(columns, axis=1)

    @check_arguments
    def to_predictions(self, rows: np.ndarray) -> Predictions:
        """Return the rows of `run` as predictions with the names of the classes.

        Args:
            rows: `(count, classes)`, with a further column if there is a score.
        """
        count = len(self.class_names)
        rows = arrays.check_numbers("rows", rows, 2)
        return Predictions(
            metadata=self.metadata,
            probabilities=rows[:, :count],
            ood_scores=rows[:, count] if self.metadata.has_ood_score else None,
        )


def _convert(images: np.ndarray, dtype: str) -> np.ndarray:
    """Return images in the dtype of the file; DataError if it can't hold their values exactly."""
    if images.dtype == dtype:
        return np.ascontiguousarray(images)
    if dtype == "uint8" and images.dtype.kind == "f" and bool((images % 1).any()):
        raise DataError(
            "`images` must hold whole numbers from 0 to 255 for this file, which takes 8-bit "
            f"images, got fractions in {images.dtype}. Round them, or export the classifier with "
            "input_dtype='float32'."
        )
    return images.astype(dtype)
