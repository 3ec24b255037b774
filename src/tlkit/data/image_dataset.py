"""Images and labels with their metadata, whatever their source."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from tlkit._internal import arguments, arrays
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import join_first, percent, shorten, show
from tlkit.data import naming, scanning
from tlkit.data.lazy_images import LazyImages
from tlkit.errors import Argument, ConfigError, DataError

_MAX_NAMED = 30  # classes in a printed line
_MAX_PICTURES = 10  # in a notebook


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A file or folder that can't be used.

    Attributes:
        path: The path, relative to the dataset's folder.
        reason: Why it can't be used.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{shorten(self.path)}: {self.reason}"


def describe_treatment(num_problems: int, num_replaced: int) -> str:
    """Return what was done with files that can't be used.

    Examples:
        >>> describe_treatment(3, 0), describe_treatment(3, 3), describe_treatment(3, 1)
        ('left out', 'replaced by grey images', 'left out or replaced by grey images')
    """
    left_out = ["left out"] if num_replaced < num_problems else []
    return " or ".join([*left_out, *(["replaced by grey images"] if num_replaced else [])])


@check_arguments
@dataclass(frozen=True, kw_only=True, eq=False)
class ImageDataset:
    """Images and labels; `print(dataset)` shows the number of images per class, and their size.

    Attributes:
        name: The name of the dataset in a report.
        images: `(count, height, width, channels)`: an array, or files that are read when indexed.
        labels: The class index of each image, `(count,)`; or for multi-label, where an image can
            have several classes or none, rows of 0 and 1, `(count, classes)`.
        class_names: The name of each class.
        paths: The file of each image, relative to the dataset's folder; empty for arrays.
        groups: The group of each image, such as a patient; a split keeps groups together. Empty if
            there are no groups.
        parts: The part of each image in the user's own split, "train", "validation" or "test",
            which `tlkit.splits.split` uses; empty if there is no such split.
        added: Whether each image was added to the original dataset; empty if none was.
        problems: Files that were skipped or replaced, and why.
        num_replaced: How many of these files were replaced by grey images.
        notices: Assumptions about the files, and files that were passed over.
        value_range: The values of black and white.
        white: The value that is read as white in files of more than 8 bits; None without them.
        known_scans: A scan of each image if the images were scanned; otherwise empty, and `scans`
            computes them.
    """

    name: str
    images: Any = field(repr=False)
    labels: np.ndarray = field(repr=False)
    class_names: tuple[str, ...]
    paths: tuple[str, ...] = field(default=(), repr=False)
    groups: tuple[str, ...] = field(default=(), repr=False)
    parts: tuple[str, ...] = field(default=(), repr=False)
    added: tuple[bool, ...] = field(default=(), repr=False)
    problems: tuple[Problem, ...] = ()
    num_replaced: int = 0
    notices: tuple[str, ...] = ()
    value_range: tuple[float, float] = (0, 255)
    white: int | None = None
    known_scans: tuple[scanning.Scan, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", naming.check(self.class_names))
        if naming.find_fault(self.name):
            raise DataError(
                f"`name` must be a name that can be written, got {show(self.name)}: "
                f"{naming.find_fault(self.name)}."
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def is_multi_label(self) -> bool:
        """Whether an image can have several classes, or none."""
        return self.labels.ndim == 2

    @property
    def counts(self) -> dict[str, int]:
        """The number of images of each class."""
        labels, classes = self.labels, len(self.class_names)
        found = labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=classes)
        return dict(zip(self.class_names, found.astype(int).tolist(), strict=True))

    @cached_property
    def scans(self) -> tuple[scanning.Scan, ...]:
        """A scan of each image, with hashes to find duplicates; computed on first use."""
        return self.known_scans or tuple(scanning.scan_images(self.images, self.value_range))

    @check_arguments
    def take(self, index: Any) -> "ImageDataset":
        """Return the images at these indices without reading them.

        Args:
            index: A slice, a mask or indices.

        Raises:
            ConfigError: The index is out of range or of another type.
        """
        indices = arrays.take("index", index, len(self))
        lazy = isinstance(self.images, LazyImages)
        return replace(
            self,
            images=self.images.take(indices) if lazy else self.images[indices],
            labels=self.labels[indices],
            paths=pick(self.paths, indices),
            groups=pick(self.groups, indices),
            parts=pick(self.parts, indices),
            added=pick(self.added, indices),
            known_scans=pick(self.known_scans or vars(self).get("scans", ()), indices),
        )

    @check_arguments
    def at_size(self, image_size: int | tuple[int, int]) -> "ImageDataset":
        """Return the same images, read from their files at another height and width.

        Images that are not files stay unchanged, because a classifier resizes its images.

        Args:
            image_size: Height and width in pixels, or one number for both.

        Raises:
            ConfigError: The size is invalid.
        """
        size = arguments.size("image_size", image_size)
        lazy = isinstance(self.images, LazyImages)
        return replace(self, images=self.images.resize(size)) if lazy else self

    @check_arguments
    def reorder(self, class_names: Sequence[str]) -> "ImageDataset":
        """Return the same images with labels that are indices into other class names.

        Args:
            class_names: A classifier's class names; there may be classes without an image.

        Raises:
            DataError: A class of these images is missing.
        """
        known = {naming.normalize(name): index for index, name in enumerate(class_names)}
        unknown = [name for name in self.class_names if name not in known]
        if unknown:
            raise DataError(
                f"{self.name} must have classes that the classifier knows, "
                f"{show(list(class_names))}, got {show(unknown)}."
            )
        order = np.asarray([known[name] for name in self.class_names])
        if self.is_multi_label and len(order) < len(class_names):
            raise DataError(
                f"{self.name} must have labels for each of the classes of a multi-label "
                f"classifier, {show(list(class_names))}, got only {show(self.class_names)}."
            )
        labels = self.labels[:, np.argsort(order)] if self.is_multi_label else order[self.labels]
        return replace(self, labels=labels, class_names=tuple(class_names))

    @check_arguments
    def name_image(self, index: int) -> str:
        """Return the path of an image, or its index if the images are not files.

        Raises:
            ConfigError: The index is out of range.
        """
        if not -len(self) <= index < len(self):
            raise ConfigError(Argument("index"), f" must be below {len(self):,}, got {index}.")
        return self.paths[index] if self.paths else f"image {index}"

    def __str__(self) -> str:
        each = int(np.prod(self.images.shape[1:])) * self.images.dtype.itemsize
        named = [f"{name} ({count:,})" for name, count in self.counts.items()]
        how = "read as needed" if isinstance(self.images, LazyImages) else "in memory"
        lines = [
            f"{self.name}: {len(self):,} images of {' x '.join(map(str, self.images.shape[1:]))}, "
            f"{how}: {each / 1e3:,.0f} kB each, {len(self) * each / 1e6:,.1f} MB all together",
            f"images of each class: {', '.join(named[:_MAX_NAMED])}"
            + f" and {len(named) - _MAX_NAMED:,} more classes" * (len(named) > _MAX_NAMED),
        ]
        if self.is_multi_label:
            several, without = (self.labels.sum(axis=1) > 1).sum(), (~self.labels.any(axis=1)).sum()
            lines.append(f"{several:,} images have several classes, {without:,} have none")
        lines += self.notices
        if self.problems:
            shown = join_first(self.problems, limit=10, separator="; ")
            treated = describe_treatment(len(self.problems), self.num_replaced)
            lines.append(f"{len(self.problems):,} {treated}: {shown}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from tlkit._internal import html  # an exported file runs without rich
        from tlkit._internal.tables import build_table

        counts = list(self.counts.items())
        rows = [
            (name, f"{count:,}", percent(count / max(len(self), 1), of=len(self)))
            for name, count in counts[:_MAX_NAMED]
        ]
        first, _, *more = str(self).split("\n")
        if len(counts) > _MAX_NAMED:
            more.append(f"and {len(counts) - _MAX_NAMED:,} more classes")
        table = build_table(("class", "images", "share"), rows, align="lrr", bars=("share",))
        pictures = html.pictures(self._read_examples(), self.value_range)
        return html.join(html.render_html(first, table, *more), pictures)

    def _read_examples(self) -> dict[str, np.ndarray]:
        """Return an image of each of the first classes; empty if the files can't be read now."""
        several = self.is_multi_label
        found = {}
        for at, name in enumerate(self.class_names[:_MAX_PICTURES]):
            of_class = self.labels[:, at] > 0 if several else self.labels == at
            if of_class.any():
                found[name] = int(of_class.argmax())
        try:
            return {name: np.asarray(self.images[index]) for name, index in found.items()}
        except (OSError, DataError):
            return {}


def pick(values: tuple[Any, ...], indices: Iterable[int]) -> tuple[Any, ...]:
    """Return the values at these indices; an empty tuple stays empty."""
    return tuple(values[index] for index in indices) if values else ()


def validate_rows(labels: Any, class_names: Sequence[str]) -> np.ndarray:
    """Return labels as rows of 0 and 1 in uint8, with a column for each name.

    Raises:
        DataError: The labels have another form.
    """
    try:
        given = np.asarray(labels)
    except ValueError:
        raise DataError("`labels` must be rows of equal length, got others.") from None
    if given.ndim != 2 or given.shape[1] != len(class_names) or not len(given):
        raise DataError(
            "`labels` for multi-label must be rows of 0 and 1 with a column for each of the "
            f"{len(class_names)} classes, got the shape {given.shape}."
        )
    if given.dtype.kind not in "biuf" or not np.isin(given, (0, 1)).all():
        raise DataError("`labels` for multi-label must each be 0 or 1, got others.")
    return given.astype("uint8")


def validate_labels(labels: Any, class_names: Sequence[str]) -> np.ndarray:
    """Return labels as class indices, `(count,)`, after checking that each has a class name.

    Raises:
        DataError: There is no label, or a label is not a whole number or has no class name.
    """
    try:
        given = np.asarray(labels)
    except ValueError:
        raise DataError("`labels` must be one whole number for each image, got lists.") from None
    if given.ndim > 1 and given.shape[1:] != (1,):
        raise DataError(
            f"`labels` must be one whole number for each image, got the shape {given.shape}. Of "
            "one-hot rows, pass labels.argmax(axis=-1). For images with several classes, or none, "
            "set multi_label=True."
        )
    given = given.reshape(-1)
    if given.dtype.kind not in "iub":
        raise DataError(f"`labels` must be whole numbers, got {given.dtype}.")
    if len(given) == 0 or given.min() < 0 or given.max() >= len(class_names):
        raise DataError(
            f"`labels` must be from 0 to {len(class_names) - 1}, one of `class_names`, got "
            f"{sorted(set(given.tolist()))[:10]}."
        )
    return given.astype("int64")
