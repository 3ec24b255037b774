"""Split images into parts that stay apart: by content, by group, and without look-alikes across."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tlkit._internal import arguments
from tlkit._internal.text import join_first
from tlkit.data.duplicates import Pair, look_alikes
from tlkit.data.image_dataset import ImageDataset
from tlkit.errors import Argument, DataError

__all__ = ["DUPLICATES", "Pair", "Split", "groups", "look_alikes", "split"]

DUPLICATES = ("allow", "refuse", "together")


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """A dataset in three parts.

    Attributes:
        train: Images to train on.
        validation: Images to choose and calibrate by; may be empty.
        test: Images to measure on.
        pairs: The duplicates and near-duplicates that were found in the whole dataset.
    """

    train: ImageDataset
    validation: ImageDataset
    test: ImageDataset
    pairs: tuple[Pair, ...] = ()

    def limited(self, count: int) -> "Split":
        """Return the same split with only the first `count` training images."""
        wanted = arguments.at_least("count", count, 1)
        return replace(self, train=self.train.take(slice(wanted)))


def split(
    source: ImageDataset,
    *,
    test: float = 0.2,
    validation: float = 0.0,
    duplicates: str = "refuse",
    stratify: bool = False,
    seed: int = 0,
) -> Split:
    """Split a source by its images' content, each class alike.

    A hash of an image, or of its group's name, says which part it goes to. So a part holds about
    its share of every class, the same on every machine, and files that are added later move none
    that were there; but where look-alikes are kept together, a new one may take those it is like
    to another part. With `stratify` a part holds its share of every class to the image, or to the
    group; then files that are added later move those few that lie at the border.

    Args:
        source: The images.
        test: The share of the test, 0 to below 1.
        validation: The share for validation.
        duplicates: What happens to images that are the same or look it in different parts:
            "refuse" raises, "together" moves them into one part, "allow" leaves them. The same
            image with two labels is refused but for "allow".
        stratify: Whether each class is dealt out by the order of the hashes, not by their size. A
            group counts as of its commonest class.
        seed: Another seed, another split.

    Raises:
        ConfigError: The shares leave nothing to train on.
        DataError: Duplicates are refused, or a class has no image in a part.

    Examples:
        >>> from tlkit import sources
        >>> images = np.random.default_rng(0).integers(0, 256, (200, 8, 8), "uint8")
        >>> made = split(
        ...     sources.from_arrays(images, np.arange(200) % 2, class_names=["a", "b"]),
        ...     duplicates="allow",
        ... )
        >>> len(made.train) + len(made.test)
        200
    """
    shares = {
        "test": arguments.fraction("test", test),
        "validation": arguments.fraction("validation", validation),
    }
    arguments.fraction("test + validation", test + validation)
    arguments.one_of("duplicates", duplicates, DUPLICATES)
    pairs = tuple(look_alikes(source))
    keys = _joined(_keys(source), pairs) if duplicates == "together" else _keys(source)
    numbers = _numbers(keys, seed)
    parts = _parts(_even(numbers, source.labels) if stratify else numbers, shares)
    if duplicates != "allow":
        _refuse(source, pairs, parts)
    _require_all_classes(source, parts, shares)
    made = {name: source.take(parts == name) for name in ("train", "validation", "test")}
    return Split(pairs=pairs, **made)


def groups(source: ImageDataset) -> list[str]:
    """Return a name for each image that those it belongs with share: its group's and look-alikes'.

    Args:
        source: The images.

    Examples:
        >>> from tlkit import sources
        >>> images = np.random.default_rng(0).integers(0, 256, (3, 8, 8), "uint8")
        >>> images[2] = images[0]
        >>> first, second, third = groups(sources.from_arrays(images, [0, 1, 0], class_names="ab"))
        >>> first == third, first == second
        (True, False)
    """
    return _joined(_keys(source), look_alikes(source))


def _keys(source: ImageDataset) -> list[str]:
    return list(source.groups) or [scanned.digest for scanned in source.scanned]


def _joined(keys: Sequence[str], pairs: Iterable[Pair]) -> list[str]:
    """Return keys that are one for all that are paired, or share a key."""
    parent = {key: key for key in keys}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for pair in pairs:
        one, other = sorted((root(keys[pair.first]), root(keys[pair.second])))
        parent[other] = one
    return [root(key) for key in keys]


def _numbers(keys: Sequence[str], seed: int) -> np.ndarray:
    """Return a number from 0 to 1 for each key: its hash."""
    digests = (hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest() for key in keys)
    return np.asarray([int.from_bytes(digest, "big") / 2**64 for digest in digests])


def _even(numbers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return numbers in the same order within each class, spread evenly from 0 to 1.

    Images of one number, which belong together, keep one, and count as of their commonest class.
    """
    _, group, sizes = np.unique(numbers, return_inverse=True, return_counts=True)
    votes = np.zeros((len(sizes), labels.max() + 1), "int64")
    np.add.at(votes, (group, labels), 1)
    home = votes.argmax(axis=1)
    spread = np.empty(len(sizes))
    for each in np.unique(home):
        own = home == each  # in the order of their numbers, as np.unique sorts
        spread[own] = (np.cumsum(sizes[own]) - sizes[own] / 2) / sizes[own].sum()
    return np.asarray(spread[group])


def _parts(numbers: np.ndarray, shares: Mapping[str, float]) -> np.ndarray:
    """Return the part of each, by a number from 0 to 1."""
    in_test = numbers < shares["test"]
    in_validation = numbers < shares["test"] + shares["validation"]
    return np.where(in_test, "test", np.where(in_validation, "validation", "train"))


def _refuse(source: ImageDataset, pairs: Sequence[Pair], parts: np.ndarray) -> None:
    across = [pair for pair in pairs if parts[pair.first] != parts[pair.second]]
    twice = [
        pair
        for pair in pairs
        if pair.exact and source.labels[pair.first] != source.labels[pair.second]
    ]
    if not across and not twice:
        return
    told = [*twice, *(pair for pair in across if pair not in twice)]
    together = Argument("duplicates", "together")
    apart = ("Look at them, then keep each pair in one part with ", together)
    named = [
        f"{_said(source, pair.first)} ({parts[pair.first]}) and "
        f"{_said(source, pair.second)} ({parts[pair.second]})"
        for pair in told
    ]
    raise DataError(
        f"{len(across):,} pairs of duplicate or near-duplicate images would lie in different "
        f"parts, and {len(twice):,} images have two labels: {join_first(named, separator='; ')}. ",
        *(("Keep one label of each",) if twice else apart),
        ", or accept them with ",
        Argument("duplicates", "allow"),
        ".",
    )


def _said(source: ImageDataset, place: int) -> str:
    return source.paths[place] if source.paths else f"image {place}"


def _require_all_classes(
    source: ImageDataset, parts: np.ndarray, shares: Mapping[str, float]
) -> None:
    wanted = ["train", *(name for name, share in shares.items() if share)]
    for part in wanted:
        there = set(source.labels[parts == part].tolist())
        missing = [name for index, name in enumerate(source.class_names) if index not in there]
        if missing:
            raise DataError(
                f"Every class must have images in each part, got none for {missing} in {part}. "
                "Give more images, a larger share, or ",
                Argument("stratify", True),
                ".",
            )
