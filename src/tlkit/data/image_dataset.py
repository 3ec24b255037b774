"""Labelled images in one form, wherever they come from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tlkit._internal.text import join_first
from tlkit.data import scanning
from tlkit.data.lazy_images import LazyImages
from tlkit.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong with a file or a folder.

    Attributes:
        path: Which, from the source's folder.
        reason: Why, in words.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageDataset:
    """Labelled images; `print(source)` shows how many of which, and what they take.

    Attributes:
        name: What to call them in a report.
        images: `(count, height, width, channels)`: an array, or files read when they are asked for.
        labels: The class index of each, `(count,)`.
        class_names: The name of each index.
        paths: The file of each, from the source's folder; empty for arrays.
        groups: What each belongs with, such as a patient; images of one group are never split.
        problems: What was left out or replaced, and why.
        value_range: What black and white are.
    """

    name: str
    images: Any
    labels: np.ndarray
    class_names: tuple[str, ...]
    paths: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    value_range: tuple[float, float] = (0, 255)
    known: tuple[scanning.Scanned, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def counts(self) -> dict[str, int]:
        """How many images each class has."""
        found = np.bincount(self.labels, minlength=len(self.class_names)).tolist()
        return dict(zip(self.class_names, found, strict=True))

    @cached_property
    def scanned(self) -> tuple[scanning.Scanned, ...]:
        """What each image is like; arrays are looked through when this is first asked for."""
        return self.known or tuple(scanning.scan_array(self.images, self.value_range))

    def take(self, index: Any) -> "ImageDataset":
        """Return the images of these indices, without reading one."""
        places = np.arange(len(self))[index]
        lazy = isinstance(self.images, LazyImages)
        return replace(
            self,
            images=self.images.take(places) if lazy else self.images[places],
            labels=self.labels[places],
            paths=chosen(self.paths, places),
            groups=chosen(self.groups, places),
            known=chosen(self.known or vars(self).get("scanned", ()), places),
        )

    def reorder(self, class_names: Sequence[str]) -> "ImageDataset":
        """Return the same images with labels that are indices into these class names.

        Args:
            class_names: A classifier's; it may have classes without an image.

        Raises:
            DataError: A class of these images is missing.
        """
        unknown = sorted(set(self.class_names) - set(class_names))
        if unknown:
            raise DataError(
                f"{self.name} must have classes that the classifier knows, "
                f"{list(class_names)}, got {unknown}."
            )
        order = np.asarray([list(class_names).index(name) for name in self.class_names])
        return replace(self, labels=order[self.labels], class_names=tuple(class_names))

    def __str__(self) -> str:
        each = int(np.prod(self.images.shape[1:])) * self.images.dtype.itemsize
        how = "read as needed" if isinstance(self.images, LazyImages) else "in memory"
        lines = [
            f"{self.name}: {len(self):,} images of {' x '.join(map(str, self.images.shape[1:]))}, "
            f"{how}: {each / 1e3:,.0f} kB each, {len(self) * each / 1e6:,.1f} MB all together",
            ", ".join(f"{name} {count:,}" for name, count in self.counts.items()),
        ]
        if self.problems:
            named = join_first(self.problems, limit=10, separator="; ")
            lines.append(f"{len(self.problems):,} left out or replaced: {named}")
        return "\n".join(lines)


def chosen(values: tuple[Any, ...], places: Iterable[int]) -> tuple[Any, ...]:
    """Return the values of these places; nothing where there are none at all."""
    return tuple(values[place] for place in places) if values else ()


def checked_labels(labels: Any, class_names: Sequence[str]) -> np.ndarray:
    """Return labels as class indices that all have a name.

    Raises:
        DataError: There is none, one is no whole number, or has no name.
    """
    given = np.asarray(labels).reshape(-1)
    if given.dtype.kind not in "iub":
        raise DataError(f"`labels` must be whole numbers, got {given.dtype}.")
    if len(given) == 0 or given.min() < 0 or given.max() >= len(class_names):
        raise DataError(
            f"`labels` must be from 0 to {len(class_names) - 1}, one of `class_names`, got "
            f"{sorted(set(given.tolist()))[:10]}."
        )
    return given.astype("int64")
