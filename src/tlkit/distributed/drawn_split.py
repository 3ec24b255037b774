"""Draw the part of an image from its content, so that no machine needs a list of all images."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tlkit.data.digests import to_text
from tlkit.data.listings import PARTS
from tlkit.distributed.feature_files import Described
from tlkit.distributed.feature_set import FeatureSet, describe_file
from tlkit.errors import DataError

_THREADS = 16  # for reading descriptions of files; they mostly wait
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_STEP = 0x9E3779B97F4A7C15
_ALL = 2**64
_OF_SAMPLES = 1  # the stream of random numbers that chooses samples; 0 chooses parts


# A digest is evenly distributed already, but is the same for every seed. SplitMix64 (Steele et al.,
# 2014, OOPSLA) turns digest and seed into a number that is as good as drawn at random. The part of
# an image depends on nothing else: other images that are added or left out do not change it, and
# copies of a file are in one part.
@dataclass(frozen=True, kw_only=True)
class DrawnSplit:
    """A split into training, validation and test images by the content of their files.

    Attributes:
        test: The share of test images, 0 to 1.
        validation: The share of validation images, 0 to 1.
        seed: The random seed.
        folders: The parts that the user made, such as ("test/", "test"): paths that begin so are in
            this part. Parts of other images are drawn.

    Examples:
        >>> contents = np.random.default_rng(0).integers(0, 2**63, (1000, 2), "uint64")
        >>> np.bincount(DrawnSplit(test=0.2, validation=0.1, seed=0).divide(contents)).tolist()
        [710, 90, 200]
    """

    test: float
    validation: float
    seed: int
    folders: tuple[tuple[str, str], ...] = ()

    def divide(self, contents: np.ndarray, paths: Sequence[str] = ()) -> np.ndarray:
        """Return the part of each image: its index in `tlkit.data.listings.PARTS`.

        Args:
            contents: The digest of each file's content, `(count, 2)`.
            paths: The path of each image; needed if there are folders of parts.
        """
        drawn = self._draw(contents, stream=0) / _ALL
        parts = np.where(drawn < self.test, 2, np.where(drawn < self.test + self.validation, 1, 0))
        for start, part in self.folders:
            inside = np.array([path.startswith(start) for path in paths], bool)
            parts = np.where(inside, PARTS.index(part), parts)
        return parts

    def rank(self, contents: np.ndarray) -> np.ndarray:
        """Return a random number for each image, `(count,)`; a sample has the smallest ones.

        Args:
            contents: As for `divide`.
        """
        return self._draw(contents, stream=_OF_SAMPLES)

    def _draw(self, contents: np.ndarray, *, stream: int) -> np.ndarray:
        start = _mix(np.array([2 * self.seed + stream], "uint64"))
        return _mix(contents[:, 0] ^ _mix(contents[:, 1] ^ start))


def _mix(values: np.ndarray) -> np.ndarray:
    """Return numbers of 64 bits that are as good as random, the same for the same values."""
    first, second = _MULTIPLIERS
    mixed = values + np.uint64(_STEP)  # sums and products are taken modulo 2**64
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(first)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(second)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Some images of a part, in the order of the manifest.

    Attributes:
        rows: The index of each image among all images of its part.
        paths: The path of each image, as in the manifest.
        labels: The class name of each image.
        contents: The digest of each file's content, `(count, 2)`.
    """

    rows: np.ndarray
    paths: np.ndarray
    labels: np.ndarray
    contents: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, kw_only=True, eq=False)
class Survey:
    """How many images each part has, and a sample of each part.

    Attributes:
        counts: By part, the number of images in each file of features.
        class_counts: By part, the number of images of each class.
        samples: By part, the images with the smallest ranks.
        digest: A digest of all images as they were decoded, with their classes and parts.
    """

    counts: Mapping[str, np.ndarray]
    class_counts: Mapping[str, Mapping[str, int]]
    samples: Mapping[str, Sample]
    digest: str

    def total(self, part: str) -> int:
        """Return the number of images in a part."""
        return int(self.counts[part].sum())


def survey(features: FeatureSet, split: DrawnSplit, *, max_sample: int) -> Survey:
    """Return how many images each part has, and a sample of each part.

    Args:
        features: The features; the memory needed does not depend on how many images they have.
        split: The rule that draws the part of each image.
        max_sample: The maximum number of images in the sample of a part.

    Raises:
        DataError: A file is missing or damaged, or was written by a version that did not store the
            digest of the content.
    """
    names = features.class_names
    counts: dict[str, list[int]] = {part: [] for part in PARTS}
    classes = {part: dict.fromkeys(names, 0) for part in PARTS}
    samples = {part: [_EMPTY] for part in PARTS}
    digest = hashlib.sha256()
    for images in _describe_all(features):
        contents = require_contents(images, features.folder)
        drawn = split.divide(contents, images.paths)
        digest.update(json.dumps([images.labels, drawn.tolist()]).encode())
        digest.update(images.digests.tobytes())
        for number, part in enumerate(PARTS):
            mine = np.flatnonzero(drawn == number)
            labels = [str(images.labels[row]) for row in mine]
            for label, count in Counter(labels).items():
                classes[part][label] += count
            found = Sample(
                rows=sum(counts[part]) + np.arange(len(mine)),
                paths=np.array([images.paths[row] for row in mine], object),
                labels=np.array(labels, object),
                contents=contents[mine],
            )
            counts[part].append(len(mine))
            samples[part] = [_trim([*samples[part], found], split, max_sample)]
    return Survey(
        counts={part: np.array(found, "int64") for part, found in counts.items()},
        class_counts=classes,
        samples={part: found for part, [found] in samples.items()},
        digest=digest.hexdigest(),
    )


_EMPTY = Sample(
    rows=np.zeros(0, "int64"),
    paths=np.zeros(0, object),
    labels=np.zeros(0, object),
    contents=np.zeros((0, 2), "uint64"),
)


def _trim(samples: Sequence[Sample], split: DrawnSplit, count: int) -> Sample:
    """Return the images of several samples with the smallest ranks, in their order."""
    names = ("rows", "paths", "labels", "contents")
    joined = {name: np.concatenate([getattr(each, name) for each in samples]) for name in names}
    ranks = split.rank(joined["contents"])
    kept = np.sort(np.argsort(ranks, kind="stable")[:count])
    return Sample(**{name: values[kept] for name, values in joined.items()})


def list_rows(features: FeatureSet, split: DrawnSplit) -> Iterator[tuple[str, str, str, str]]:
    """Yield part, path, digest of the content and class of each image, in order of the manifest.

    Raises:
        DataError: As for `survey`.
    """
    for images in _describe_all(features):
        contents = require_contents(images, features.folder)
        drawn = split.divide(contents, images.paths)
        columns = (drawn, images.paths, to_text(contents), images.labels)
        for part, path, digest, label in zip(*columns, strict=True):
            yield PARTS[part], path, digest, str(label)


def require_contents(images: Described, place: str) -> np.ndarray:
    """Return the digests of the files' content.

    Args:
        images: The images.
        place: The folder or file of the features, for the message.

    Raises:
        DataError: The features were written by a version that did not store these digests.
    """
    if images.contents is None:
        raise DataError(
            f"{place!r} must hold digests of the images' content to divide them, got features of "
            "an earlier version of tlkit. Extract them again: images are read, but not run again."
        )
    return images.contents


def _describe_all(features: FeatureSet) -> Iterator[Described]:
    """Yield the images of each file; some files are read ahead."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="tlkit-describe") as pool:
        files, step = features.locations, 2 * _THREADS
        for start in range(0, len(files), step):
            yield from pool.map(describe_file, files[start : start + step])
