"""Split images into parts by content and by group, without duplicates in different parts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import join_first, plural
from tlkit.data import class_coverage
from tlkit.data.drawing import draw_images
from tlkit.data.duplicates import DuplicatePair, find_duplicates
from tlkit.data.groups import find_groups, join_keys, list_keys, single_labels
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.listings import PARTS
from tlkit.data.split_positions import assign_parts, hash_to_unit, spread_evenly
from tlkit.errors import Argument, ConfigError, DataError

__all__ = [
    "DuplicatePair",
    "Duplicates",
    "Split",
    "find_duplicates",
    "find_groups",
    "hold_out",
    "split",
]

Duplicates = Literal["allow", "refuse", "together"]
_MAX_ROWS = 30  # classes in a notebook's table


@check_arguments
@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """A dataset in three parts.

    Attributes:
        train: The images to train on.
        validation: The images for model selection and calibration; may be empty.
        test: The images to measure on.
        duplicates: The pairs of duplicates and near-duplicates in the whole dataset, those in
            different parts first.
        largest_group: The number of images in the largest group of duplicates; 1 without any.
        num_apart: How many of these pairs are in different parts.
        num_in_test: How many of these pairs are both test images.
        own_parts: The parts of the user's own split; the others are taken from its training images.
        num_groups_apart: How many groups, such as patients, have images in different parts.
        dealt_out: The classes whose few images were moved so that every part has one.
    """

    train: ImageDataset
    validation: ImageDataset
    test: ImageDataset
    duplicates: tuple[DuplicatePair, ...] = field(default=(), repr=False)
    largest_group: int = 1
    num_apart: int = 0
    num_in_test: int = 0
    own_parts: tuple[str, ...] = ()
    num_groups_apart: int = 0
    dealt_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        lines = [", ".join(f"{name} {len(part):,}" for name, part in parts.items() if len(part))]
        if self.own_parts:
            taken = [
                name for name, part in parts.items() if len(part) and name not in self.own_parts
            ]
            lines[0] += f" ({join_first(self.own_parts)} as given" + (
                f", {join_first(taken)} taken from train)" if taken else ")"
            )
        if self.dealt_out:
            names = join_first([*map(repr, self.dealt_out)])
            lines.append(f"few images of {names}: some moved so that every part has one")
        if self.num_groups_apart:
            lines.append(f"{plural(self.num_groups_apart, 'group')} with images in different parts")
        if self.duplicates:
            tested = (
                f", {self.num_in_test:,} within the test images, where both images of a pair count"
            )
            lines.append(
                f"{plural(len(self.duplicates), 'pair')} of duplicate or near-duplicate images, in "
                f"groups of up to {self.largest_group:,}: {self.num_apart:,} in different parts"
                f"{tested if self.num_in_test else ''}"
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from tlkit._internal.html import render_html  # an exported file runs without rich
        from tlkit._internal.tables import build_table

        counts = {name: getattr(self, name).counts for name in PARTS}
        rows = [
            (name, *(f"{counts[part][name]:,}" for part in PARTS))
            for name in self.train.class_names[:_MAX_ROWS]
        ]
        more = len(self.train.class_names) - len(rows)
        lines = [f"and {more:,} more classes"] if more else []
        return render_html(str(self), build_table(("class", *PARTS), rows, align="lrrr"), *lines)

    @check_arguments
    def limited(self, count: int, *, seed: int | None = None) -> "Split":
        """Return the same split with at most `count` training images.

        Args:
            count: The number of training images, at least 1; with a seed, at least one for each
                class.
            seed: Draws images at random, with about the same class proportions; None takes the
                first images.

        Raises:
            ConfigError: `count` is too small.

        Examples:
            >>> from tlkit import datasets
            >>> str(datasets.digits().limited(100, seed=0))
            'train 100, test 797'
        """
        wanted = arguments.at_least("count", count, 1)
        if seed is not None:
            return replace(self, train=draw_images(self.train, wanted, seed=seed))
        return replace(self, train=self.train.take(slice(wanted)))


@check_arguments
def split(
    data: ImageDataset,
    *,
    test: float = 0.2,
    validation: float = 0.0,
    duplicates: Duplicates = "refuse",
    stratify: bool = False,
    seed: int = 0,
) -> Split:
    """Split images by their content, with about the same class proportions in every part.

    A hash of an image's content, or of its group's name, decides its part. So the split is the same
    on every machine, and files that are added later do not move the others, unless they are
    near-duplicates of them and duplicates are kept together. With `stratify`, class proportions are
    equal in every part, as far as whole images and groups allow; files that are added later then
    move a few of the others.

    If a part would get no image of a class, a few images of the class are moved to it, provided
    that the class has enough. This applies to classes that only added images have; with `stratify`,
    to all classes.

    Images with `parts` belong to the user's own split, which is used unchanged. A part that it
    lacks is taken from its training images in the same way.

    Args:
        data: The images.
        test: The share of test images, 0 to below 1; in the user's own split, the share of its
            training images.
        validation: The share of validation images, likewise.
        duplicates: What to do with duplicates and near-duplicates in different parts: "refuse"
            raises an error, "together" moves them into one part, "allow" accepts them. Identical
            images with different labels are only accepted by "allow". A chain of near-duplicates
            with more than 10 images and more than 10 % of its class is divided into smaller groups;
            set `groups` for the images of a video or a patient. Pairs in different parts of the
            user's own split are never moved: "together" only counts them.
        stratify: Whether to keep class proportions equal in every part. A group counts as its
            most frequent class.
        seed: The seed of the hashes; another seed gives another split.

    Raises:
        ConfigError: The shares leave no training images, or `stratify` is set and images can have
            several classes.
        DataError: Duplicates are refused, or a part has no image of a class.

    Examples:
        >>> from tlkit import sources
        >>> images = np.random.default_rng(0).integers(0, 256, (200, 8, 8), "uint8")
        >>> parts = split(
        ...     sources.from_arrays(images, np.arange(200) % 2, class_names=["a", "b"]),
        ...     duplicates="allow",
        ... )
        >>> len(parts.train) + len(parts.test)
        200
    """
    shares = {
        "test": arguments.fraction("test", test),
        "validation": arguments.fraction("validation", validation),
    }
    arguments.fraction("test + validation", test + validation)
    arguments.one_of("duplicates", duplicates, get_args(Duplicates))
    own_parts = tuple(name for name in PARTS if name in data.parts)
    shares = {name: 0.0 if name in own_parts else share for name, share in shares.items()}
    pairs = tuple(find_duplicates(data))
    groups = join_keys(data, pairs)
    keys = groups if duplicates == "together" else list_keys(data)
    hashes = hash_to_unit(keys, seed)
    parts = np.asarray(data.parts or ["train"] * len(data), dtype="U10")
    free = parts == "train"  # all images, or those from which other parts are taken
    if stratify and data.is_multi_label:
        raise ConfigError(
            Argument("stratify"),
            " must be False where images can have several classes: their proportions can't all be "
            "equal. Without it they are about equal.",
        )
    positions = spread_evenly(hashes[free], data.labels[free]) if stratify else hashes[free]
    parts[free] = assign_parts(positions, shares)
    classes = np.unique(data.labels) if stratify else class_coverage.find_new(data)
    movable = np.where(free, hashes, -1)
    dealt_out = class_coverage.deal_out(data, parts, movable, shares, classes)
    if duplicates != "allow":
        _check_duplicates(data, pairs, parts, refuse_apart=duplicates == "refuse")
    grouped = bool(pairs) and duplicates == "together"
    class_coverage.check(data, parts, keys, shares, stratify=stratify, grouped=grouped)
    return Split(
        duplicates=tuple(sorted(pairs, key=lambda pair: not _is_apart(pair, parts))),
        largest_group=max(Counter(groups).values()),
        num_apart=sum(_is_apart(pair, parts) for pair in pairs),
        num_in_test=sum(parts[pair.first] == parts[pair.second] == "test" for pair in pairs),
        own_parts=own_parts,
        num_groups_apart=_count_apart(data.groups, parts),
        dealt_out=dealt_out,
        **{name: data.take(parts == name) for name in PARTS},
    )


def _is_apart(pair: DuplicatePair, parts: np.ndarray) -> bool:
    """Return whether the images of a pair are in different parts."""
    return bool(parts[pair.first] != parts[pair.second])


def _count_apart(groups: Sequence[str], parts: np.ndarray) -> int:
    """Return how many groups have images in different parts."""
    found: dict[str, set[str]] = {}
    for group, part in zip(groups, parts.tolist(), strict=False):
        found.setdefault(group, set()).add(part)
    return sum(len(each) > 1 for each in found.values())


@check_arguments
def hold_out(
    data: ImageDataset, share: float, *, seed: int = 0
) -> tuple[ImageDataset, ImageDataset]:
    """Return the images without a share of each class, and that share; groups stay together.

    Duplicates also stay together if the images have been scanned, as files have. A class with too
    few images keeps all of them in the first result.

    Args:
        data: The images.
        share: The share of each class to hold out, 0 to below 1.
        seed: The seed of the choice.

    Raises:
        ConfigError: The share is out of range.

    Examples:
        >>> from tlkit import datasets
        >>> train, validation = hold_out(datasets.digits().train, 0.1)
        >>> len(train), len(validation)
        (900, 100)
    """
    arguments.fraction("share", share)
    keys: Sequence[str] = data.groups or [str(index) for index in range(len(data))]
    if data.known_scans:
        keys = find_groups(data)
    places = spread_evenly(hash_to_unit(keys, seed), single_labels(data))
    return data.take(np.flatnonzero(places >= share)), data.take(np.flatnonzero(places < share))


def _check_duplicates(
    data: ImageDataset, pairs: Sequence[DuplicatePair], parts: np.ndarray, *, refuse_apart: bool
) -> None:
    across = [pair for pair in pairs if refuse_apart and _is_apart(pair, parts)]
    conflicting = [
        pair
        for pair in pairs
        if pair.exact and np.any(data.labels[pair.first] != data.labels[pair.second])
    ]
    if not across and not conflicting:
        return
    shown = [
        f"{data.name_image(pair.first)} ({parts[pair.first]}) and "
        f"{data.name_image(pair.second)} ({parts[pair.second]})"
        for pair in (*conflicting, *(pair for pair in across if pair not in conflicting))
    ]
    reasons = []
    if across:
        found = f"{plural(len(across), 'pair')} of duplicate or near-duplicate images"
        reasons.append(f"{found} in different parts")
    if conflicting:
        reasons.append(
            f"{plural(len(conflicting), 'pair')} of identical images with different labels"
        )
    together = Argument("duplicates", "together")
    apart = ("Look at them, then keep each pair in one part with ", together)
    if data.parts:
        apart = ("Look at them, then remove one image of each, or only count them with ", together)
    relabel = ("Delete or relabel one image of each pair with different labels",)
    raise DataError(
        f"Found {' and '.join(reasons)}: {join_first(shown, separator='; ')}. ",
        *(relabel if conflicting else apart),
        ", or accept them with ",
        Argument("duplicates", "allow"),
        ", which also lets copies be in different parts." if conflicting else ".",
    )
