"""Check that images and labels fit a classifier; all data passes these checks, batch by batch.

Arrays are checked as a whole. A dataset of batches, and images that are read when they are indexed,
are checked batch by batch when they are read, up to the last batch. The check of the pixels' range
is skipped if it can't fail, as for 8-bit images and a classifier of values from 0 to 255, so that
it costs nothing for most data.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tlkit._internal import user_warnings
from tlkit.data.lazy_images import LazyImages
from tlkit.errors import DataError

_MIN_JUDGED = 8  # images; the pixels of fewer images may all have similar values
MIN_SPREAD = 1 / 8
"""The smallest share of the range of values that the pixels' own range must exceed."""
LabelForm = Literal["integers", "one-hot", "multi-hot"]
"""Class indices, rows with one 1, or, for a multi-label classifier, rows with any number of 1s."""


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """The form of images and labels that a classifier needs.

    Attributes:
        name: The caller's name of the data, for error messages.
        input_shape: The model's input shape, with the batch axis.
        num_classes: The number of classes of the labels.
        value_range: The values of black and white; None skips the check of pixels.
        lenient: Whether images that fill too little of the range cause a warning instead of an
            error: the images that a classifier is used on may be dark.
        multi_label: Whether an image can have several classes, or none.
    """

    name: str
    input_shape: tuple[int | None, ...]
    num_classes: int
    value_range: tuple[float, float] | None
    lenient: bool = False
    multi_label: bool = False

    def check(self, images: Any, labels: Any, weights: Any = None, *, judge: bool = True) -> None:
        """Check images, their labels and their weights.

        Args:
            images: An array, or images that are read when they are indexed.
            labels: Class indices or one-hot rows; for multi-label, rows of 0 and 1.
            weights: A weight for each image, or None.
            judge: Whether these images are enough to decide that they fill too little of the range.

        Raises:
            DataError: The images, labels or weights do not fit the classifier.
        """
        self._check_images(images)
        self.check_pixels(images, judge=judge)
        self.check_labels(labels, len(images))
        if weights is not None:
            self._check_weights(weights, len(images))

    def may_fail(self, dtype: np.dtype[Any]) -> bool:
        """Return whether pixels of this dtype can lie outside the range."""
        if self.value_range is None:
            return False
        low, high = self.value_range
        if dtype.kind not in "iu":
            return True
        kind = np.iinfo(dtype)
        return bool(kind.min < low or kind.max > high)

    def _check_images(self, images: Any) -> None:
        if not hasattr(images, "shape") or not hasattr(images, "dtype"):
            raise DataError(
                f"`{self.name}` images must be one array in each batch, got "
                f"{type(images).__name__}."
            )
        if images.dtype.kind not in "biuf":
            raise DataError(f"`{self.name}` images must be numbers, got {images.dtype}.")
        if images.size == 0:
            raise DataError(f"`{self.name}` must hold at least one image, got an empty batch.")
        if may_be_one_image(images.shape, self.input_shape):
            raise DataError(explain_missing_axis(self.name, images.shape))
        if not fits(images.shape, self.input_shape):
            wanted = ", ".join(
                "any" if size is None else str(size) for size in self.input_shape[1:]
            )
            raise DataError(
                f"`{self.name}` images must have shape (batch, {wanted}) for this model, got "
                f"{images.shape}. The model's shape is `input_shape` of build_classifier."
                f"{offer_channels_last(images.shape, self.input_shape)}"
            )

    def check_pixels(self, images: Any, *, judge: bool = True) -> None:
        """Check that pixels lie in the range of values, and fill more than 1/8 of it.

        Args:
            images: An array, or images that are read when they are indexed.
            judge: Whether these images are enough to decide that they fill too little of the range.

        Raises:
            DataError: They don't.
        """
        if self.value_range is None or not (judge or self.may_fail(images.dtype)):
            return
        low, high = self.value_range
        images = images[:_MIN_JUDGED] if isinstance(images, LazyImages) else images
        darkest, brightest = float(images.min()), float(images.max())
        if not (np.isfinite(darkest) and np.isfinite(brightest)):
            raise DataError(f"`{self.name}` images must be finite, got NaN or infinite pixels.")
        if darkest < low or brightest > high:
            raise DataError(
                f"`{self.name}` pixels must lie in [{low:g}, {high:g}], got [{darkest:g}, "
                f"{brightest:g}]. Set build_classifier(..., value_range=(low, high)) to the range "
                "of your pixels."
            )
        if not darkest < brightest:
            return
        if high > 2 and darkest >= 0 and brightest <= 1 and _has_fractions(images, judge=judge):
            raise DataError(
                f"`{self.name}` pixels lie in [0, 1], but the model rescales pixels from "
                f"[{low:g}, {high:g}] itself: all images would be black. Pass raw images, or set "
                "build_classifier(..., value_range=(0, 1))."
            )
        enough = judge and len(images) >= _MIN_JUDGED
        if enough and brightest - darkest <= MIN_SPREAD * (high - low):
            message = (
                f"`{self.name}` pixels must span more than 12.5 % of the model's range "
                f"[{low:g}, {high:g}], got only [{darkest:g}, {brightest:g}]: all images would "
                "look alike. Set build_classifier(..., value_range=(low, high)) to the range of "
                "your pixels, such as (0, 1) for booleans and (0, 4095) for 12 bits."
            )
            if not self.lenient:
                raise DataError(message)
            user_warnings.warn(message)

    def check_labels(self, labels: Any, count: int) -> None:
        """Check that each image has a class index or a one-hot row.

        For multi-label, each image needs a row of 0 and 1 with a column for each class.

        Args:
            labels: The labels.
            count: The number of images.

        Raises:
            DataError: The labels have another form, or their number differs.
        """
        if len(labels.shape) not in (1, 2) or len(labels) != count:
            raise DataError(
                f"`{self.name}` must have one label for each of the {count} images, got labels of "
                f"shape {labels.shape}."
            )
        if self.multi_label:
            self._check_multi_hot(labels)
            return
        if is_one_hot(labels) and labels.dtype.kind in "biuf":
            self._check_one_hot(labels)
            return
        if labels.dtype.kind not in "iu":
            raise DataError(
                f"`{self.name}` labels must be whole numbers or one-hot rows, got {labels.dtype}. "
                "Turn names into indices first: numpy.unique(names, return_inverse=True)."
            )
        if len(labels) == 0:
            return
        if labels.min() < 0 or labels.max() >= self.num_classes:
            wrong = labels.min() if labels.min() < 0 else labels.max()
            raise DataError(
                f"`{self.name}` labels must be from 0 to {self.num_classes - 1} for "
                f"{self.num_classes} classes, got {wrong}."
            )

    def _check_one_hot(self, labels: np.ndarray) -> None:
        if labels.shape[1] != self.num_classes:
            raise DataError(
                f"`{self.name}` one-hot labels must have {self.num_classes} columns, one for each "
                f"class, got {labels.shape[1]}."
            )
        total = labels.astype("float32").sum(axis=1)
        if labels.min() < 0 or not np.allclose(total, 1, atol=1e-3):
            raise DataError(
                f"`{self.name}` one-hot labels must be rows of at least 0 that add up to 1, "
                f"got a row that adds up to {total[np.abs(total - 1).argmax()]:g}. For images with "
                "several classes, or none: build_classifier(..., multi_label=True)."
            )

    def _check_multi_hot(self, labels: np.ndarray) -> None:
        if labels.ndim != 2 or labels.shape[1] != self.num_classes:
            raise DataError(
                f"`{self.name}` labels must be rows of 0 and 1 with a column for each of the "
                f"{self.num_classes} classes of a multi-label classifier, got the shape "
                f"{labels.shape}. tlkit.data.one_hot makes such rows of class indices."
            )
        if labels.dtype.kind not in "biuf" or not np.isin(labels, (0, 1)).all():
            wrong = labels[~np.isin(labels, (0, 1))][:1].tolist() or [str(labels.dtype)]
            raise DataError(
                f"`{self.name}` labels of a multi-label classifier must each be 0 or 1, got "
                f"{wrong[0]}. Leave out images of which a label is not known."
            )

    def _check_weights(self, weights: Any, count: int) -> None:
        shape = getattr(weights, "shape", ())
        if shape not in ((count,), (count, 1)) or weights.dtype.kind not in "biuf":
            raise DataError(
                f"`{self.name}` must have one weight, a number, for each of the {count} images, "
                f"got weights of shape {shape}."
            )
        if not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise DataError(f"`{self.name}` image weights must be finite and at least 0.")


def is_one_hot(labels: Any) -> bool:
    """Return whether labels are rows with a column for each class."""
    return len(labels.shape) == 2 and labels.shape[1] > 1


def as_array(values: Any, name: str) -> Any:
    """Return values as an array of numbers; images that are read when indexed stay unchanged.

    Raises:
        DataError: The values are not an array of numbers.
    """
    if isinstance(values, LazyImages):
        return values
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"`{name}` images must all have one shape, and so must labels: {error}"
        ) from error
    if array.dtype == object:
        raise DataError(
            f"`{name}` must be a pair of arrays of numbers (images, labels), got a "
            f"{type(values).__name__} of Python objects."
        )
    return array


def may_be_one_image(shape: tuple[int, ...], input_shape: tuple[int | None, ...]) -> bool:
    """Return whether a batch of grey images, of any size, may be one image with channels."""
    height, width, channels = (*input_shape[1:], 1)[:3]
    is_any_size = channels == 1 and None in (height, width)
    return is_any_size and len(shape) == 3 and shape[-1] in (1, 3, 4)


def explain_missing_axis(name: str, shape: tuple[int, ...]) -> str:
    """Return the message for an array that can be one image or a batch."""
    return (
        f"`{name}` of shape {shape} can be one image with {shape[-1]} channels or a batch of grey "
        "images. Add the missing axis: image[None] for one image, images[..., None] for a batch."
    )


def offer_channels_last(shape: tuple[int, ...], input_shape: tuple[int | None, ...]) -> str:
    """Return advice for images that seem to be channels-first; "" for other images."""
    channels = (*input_shape[1:], 1)[2]
    first = len(shape) > 2 and shape[-3] == channels != shape[-1]
    return " They seem to be channels-first: numpy.moveaxis(images, -3, -1)." if first else ""


def fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    """Return whether Keras accepts this shape; the axis of a single channel may be missing."""
    if len(shape) == len(wanted) - 1 and wanted[-1] == 1:
        shape = (*shape, 1)
    elif len(shape) == len(wanted) + 1 and shape[-1] == 1:
        shape = shape[:-1]
    same = (want in (None, have) for have, want in zip(shape[1:], wanted[1:], strict=False))
    return len(shape) == len(wanted) and all(same)


def _has_fractions(images: np.ndarray, *, judge: bool) -> bool:
    """Return whether pixels are floats; if not `judge`, whether at least one has a fraction."""
    return images.dtype.kind == "f" and (judge or bool((images % 1 != 0).any()))
