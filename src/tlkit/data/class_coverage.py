"""Ensure images of every class in every part: move a few, or report which class has too few."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tlkit._internal.text import join_first, plural
from tlkit.data.image_dataset import ImageDataset
from tlkit.errors import Argument, DataError


def find_new(data: ImageDataset) -> np.ndarray:
    """Return the classes that only added images have."""
    added = np.asarray(data.added, bool)
    if not added.any():
        return np.empty(0, "int64")
    return np.setdiff1d(data.labels[added], data.labels[~added])


# Idea: a hash decides the part of an image, so a part may get no image of a rare class. The groups
# of such a class are then dealt out in the order of their hashes. The first become test images, as
# many as their share but at least one; the next become validation images; the rest stay training
# images. A group that also has images of other classes stays where it is.
def deal_out(
    data: ImageDataset,
    parts: np.ndarray,
    groups: np.ndarray,
    shares: Mapping[str, float],
    classes: Iterable[int],
) -> tuple[str, ...]:
    """Move images of classes that a part lacks, and return the names of these classes.

    Args:
        data: The images.
        parts: The part of each image, `(count,)`; this array is changed.
        groups: A number for the group of each image; below 0 for an image that may not move.
        shares: The share of the training images that each other part takes, from 0 to below 1.
        classes: The indices of the classes that every part must have.
    """
    wanted = [name for name, share in shares.items() if share]
    moved = []
    for index in classes:
        own = data.labels == index
        if {"train", *wanted} <= set(parts[own].tolist()):
            continue
        movable = own & (groups >= 0) & ~np.isin(groups, groups[~own])
        found, group = np.unique(groups[movable], return_inverse=True)
        if len(found) > len(wanted):
            parts[movable] = _deal(len(found), [(name, shares[name]) for name in wanted])[group]
            moved.append(data.class_names[index])
    return tuple(moved)


def _deal(count: int, wanted: Sequence[tuple[str, float]]) -> np.ndarray:
    """Return the part of each of `count` groups; every part gets at least one group."""
    dealt, start = np.full(count, "train", "U10"), 0
    for number, (name, share) in enumerate(wanted):
        others = len(wanted) - number  # parts that still need one, with the training images
        end = start + min(max(1, round(share * count)), count - start - others)
        dealt[start:end], start = name, end
    return dealt


def check(
    data: ImageDataset,
    parts: np.ndarray,
    keys: Sequence[str],
    shares: Mapping[str, float],
    *,
    stratify: bool,
    grouped: bool,
) -> None:
    """Check that every part has images of every class.

    If images can have several classes, only the training images must have every class.

    Args:
        data: The images.
        parts: The part of each image.
        keys: The group of each image.
        shares: As for `deal_out`.
        stratify: Whether class proportions are kept equal already; the advice depends on it.
        grouped: Whether duplicates are kept in one part; the advice depends on it.

    Raises:
        DataError: A part lacks a class; the message states what to do, and which classes have too
            few images.
    """
    several = data.is_multi_label  # the metrics report which classes the test images lack
    wanted = ["train", *(name for name, share in shares.items() if share and not several)]
    for part in wanted:
        missing = [
            name
            for index, name in enumerate(data.class_names)
            if not _have(data, index)[parts == part].any()
        ]
        if missing:
            few = _find_few(data, np.isin(parts, wanted), keys, len(wanted))
            lacking = join_first([*map(repr, missing)])
            raise DataError(
                f"Every part must have images of every class, got none of {lacking} in {part}. ",
                *_advise(few, missing, len(wanted), stratify=stratify, grouped=grouped),
            )


def find_uneven(whole: ImageDataset, part: ImageDataset) -> tuple[str, int, int] | None:
    """Return the class whose share in a part differs most from that of all images.

    Args:
        whole: All images, each of one class.
        part: Some of them.

    Returns:
        The class, how many of its images are in the part, and how many there are. None if each
        class is about even: off by at most one image, or by half of the expected number.

    Examples:
        >>> from tlkit import datasets
        >>> digits = datasets.digits().train
        >>> find_uneven(digits, digits.take(slice(0, None, 4)))
    """
    share = len(part) / len(whole)
    classes = range(len(whole.class_names))
    counts = np.bincount(part.labels, minlength=len(classes))
    totals = np.bincount(whole.labels, minlength=len(classes))
    off = np.abs(counts - share * totals) / np.maximum(share * totals / 2, 1.0)
    worst = int(off.argmax())
    if off[worst] <= 1:
        return None
    return whole.class_names[worst], int(counts[worst]), int(totals[worst])


def _have(data: ImageDataset, index: int) -> np.ndarray:
    """Return which images have a class."""
    return data.labels[:, index] > 0 if data.is_multi_label else data.labels == index


def _find_few(
    data: ImageDataset, usable: np.ndarray, keys: Sequence[str], needed: int
) -> dict[str, str]:
    """Return the classes with fewer than `needed` groups, and how many images each has."""
    few = {}
    for index, name in enumerate(data.class_names):
        own = np.asarray(keys)[_have(data, index) & usable]
        groups = len(np.unique(own))
        if groups < needed:
            few[name] = f"{len(own)}" + f" in {plural(groups, 'group')}" * (groups < len(own))
    return few


def _advise(
    few: Mapping[str, str], missing: Sequence[str], needed: int, *, stratify: bool, grouped: bool
) -> tuple[str | Argument, ...]:
    """Return advice for parts that lack some classes."""
    apart = Argument("duplicates", "allow")
    allowed = (", or let duplicates be in different parts with ", apart) if grouped else ()
    if few.keys() >= set(missing):
        named = join_first([f"{name!r} ({count})" for name, count in few.items()])
        return (
            f"Too few images of {named}: a class needs at least {needed}, one for each part. Add "
            "images, leave the class out or test on other images with ",
            Argument("test_data"),
            *allowed,
            ".",
        )
    stratified = () if stratify else (", or set ", Argument("stratify", True))
    return ("Add images or increase the share", *stratified, *allowed, ".")
