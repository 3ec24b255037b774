"""How good a classifier is, in figures: with an interval, class by class, and where it errs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

from tlkit import _checks, augmenting, data
from tlkit.classifier import checked
from tlkit.classifier import class_names as names_of
from tlkit.errors import DataError


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """The figures of one class.

    Attributes:
        name: The class.
        precision: Of the images called this class, the share that are.
        recall: Of the images of this class, the share found.
        f1: The harmonic mean of both.
        support: How many images of this class were tested.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What a classifier did on a test set; `print(evaluation)` shows it.

    Attributes:
        count: How many images were tested.
        accuracy: The share classified rightly, 0 to 1.
        accuracy_interval: The 95 % interval of the accuracy, by Wilson's method.
        loss: Mean cross-entropy, in nats.
        classes: The figures of each class.
        confusion: How many images of each true class (row) were called each class (column).
        probabilities: `(count, classes)`, in the order of the test set.
        labels: The true class index of each image.
    """

    count: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    loss: float
    classes: tuple[ClassScore, ...]
    confusion: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class, in order."""
        return tuple(score.name for score in self.classes)

    def figures(self) -> dict[str, Any]:
        """Return all but the per-image arrays as plain values that JSON keeps."""
        return {
            "count": self.count,
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.accuracy_interval),
            "loss": self.loss,
            "classes": [asdict(score) for score in self.classes],
            "confusion": self.confusion.tolist(),
        }

    def __str__(self) -> str:
        low, high = self.accuracy_interval
        width = max(5, *(len(name) for name in self.class_names))
        lines = [
            f"accuracy {100 * self.accuracy:.2f} % (95 % interval {100 * low:.2f} to "
            f"{100 * high:.2f} %), loss {self.loss:.4f}, {self.count:,} images",
            f"{'class':<{width}}  precision  recall     f1  images",
        ]
        lines += [
            f"{score.name:<{width}}  {score.precision:9.3f}  {score.recall:6.3f}  "
            f"{score.f1:5.3f}  {score.support:6,}"
            for score in self.classes
        ]
        return "\n".join(lines)


def predict(
    model: keras.Model,
    images: np.ndarray,
    *,
    augmentation: Sequence[keras.layers.Layer] = (),
    views: int = 8,
    batch_size: int = 128,
) -> np.ndarray:
    """Return a classifier's probabilities, `(count, classes)`, in the order of the images.

    With augmentation they are the mean over the images as they are and `views` copies changed at
    random: test-time augmentation (Krizhevsky et al., 2012).

    Args:
        model: A classifier from build_classifier.
        images: Raw images.
        augmentation: Keras preprocessing layers such as RandomFlip.
        views: How many changed copies of each image are looked at.
        batch_size: Images a step.

    Raises:
        ConfigError: A number is wrong.
        DataError: The images don't fit the model.
    """
    _checks.at_least("batch_size", batch_size, 1)
    _checks.at_least("views", views, 1)
    images, _ = checked((images, np.zeros(len(images), "int64")), model, "images")
    total = model.predict(images, batch_size=batch_size, verbose=0)
    if not augmentation:
        return np.asarray(total)
    batches = [images[at : at + batch_size] for at in range(0, len(images), batch_size)]
    for _ in range(views):
        total = total + np.concatenate(
            [_changed_predictions(model, batch, augmentation) for batch in batches]
        )
    return np.asarray(total / (views + 1))


def _changed_predictions(
    model: keras.Model, images: np.ndarray, augmentation: Sequence[keras.layers.Layer]
) -> np.ndarray:
    given = images[..., None] if images.ndim == len(model.input_shape) - 1 else images
    return np.asarray(model.predict_on_batch(augmenting.changed(given, augmentation)))


def evaluate(
    model: keras.Model,
    test: data.Data,
    *,
    augmentation: Sequence[keras.layers.Layer] = (),
    views: int = 8,
    batch_size: int = 128,
) -> Evaluation:
    """Measure a classifier on images it has not seen.

    Args:
        model: A classifier from build_classifier.
        test: `(images, labels)`, or a dataset of such batches; labels are integers or one-hot.
        augmentation: As for `predict`: test-time augmentation.
        views: As for `predict`.
        batch_size: Images a step, for arrays.

    Raises:
        DataError: Images or labels don't fit the model.

    Examples:
        >>> from tlkit import build_classifier
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> model = build_classifier(backbone, 2, pixels=(0, 1), class_names=["cat", "dog"])
        >>> evaluate(model, (np.zeros((5, 8, 8, 3), "uint8"), np.array([0, 1, 1, 0, 1]))).count
        5
    """
    names = names_of(model)
    _checks.at_least("batch_size", batch_size, 1)
    test = checked(test, model, "test")
    if data.is_arrays(test):
        images, labels = test
        probabilities = predict(
            model, images, augmentation=augmentation, views=views, batch_size=batch_size
        )
        return score(data.label_indices(labels), probabilities, class_names=names)
    look = partial(predict, model, augmentation=augmentation, views=views, batch_size=batch_size)
    pairs = [
        (
            look(images) if augmentation else model.predict_on_batch(images),
            data.label_indices(labels),
        )
        for images, labels in data.batches(test, batch_size)
    ]
    probabilities, indices = (np.concatenate(part) for part in zip(*pairs, strict=True))
    return score(indices, probabilities, class_names=names)


def score(
    labels: np.ndarray, probabilities: np.ndarray, *, class_names: Sequence[str]
) -> Evaluation:
    """Compare probabilities with the truth.

    Args:
        labels: The true class index of each image, `(count,)`.
        probabilities: `(count, classes)`, each row adding up to 1.
        class_names: The name of each class.

    Raises:
        DataError: The shapes don't agree, a label is out of range, or a probability not finite.

    Examples:
        >>> sure = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
        >>> result = score(np.array([0, 1, 1]), sure, class_names=["cat", "dog"])
        >>> round(result.accuracy, 3), result.confusion.tolist()
        (0.667, [[1, 0], [1, 1]])
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if probabilities.shape != (len(labels), len(class_names)) or len(labels) == 0:
        raise DataError(
            f"`probabilities` must have shape ({len(labels)}, {len(class_names)}), a row for each "
            f"of at least 1 image, got {probabilities.shape}."
        )
    if not np.isfinite(probabilities).all():
        raise DataError("`probabilities` must be finite, got NaN: the model has diverged.")
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise DataError(
            f"`labels` must be from 0 to {len(class_names) - 1}, "
            f"got {labels.min()} to {labels.max()}."
        )
    indices = np.arange(len(class_names))
    called = probabilities.argmax(axis=1)
    right = int((called == labels).sum())
    interval = binomtest(right, len(labels)).proportion_ci(0.95, method="wilson")
    per_class = precision_recall_fscore_support(labels, called, labels=indices, zero_division=0.0)
    rows = zip(class_names, *(figures.tolist() for figures in per_class), strict=True)
    fine = probabilities.astype("float64")  # float32 rows add up to 1 only within 1e-7
    return Evaluation(
        count=len(labels),
        accuracy=right / len(labels),
        accuracy_interval=(float(interval.low), float(interval.high)),
        loss=float(log_loss(labels, fine / fine.sum(axis=1, keepdims=True), labels=indices)),
        classes=tuple(
            ClassScore(name=name, precision=precision, recall=recall, f1=f1, support=support)
            for name, precision, recall, f1, support in rows
        ),
        confusion=confusion_matrix(labels, called, labels=indices),
        probabilities=probabilities,
        labels=np.asarray(labels),
    )
