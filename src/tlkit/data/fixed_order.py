"""Read a shuffled dataset once and undo the shuffling, so that every image has an index."""

import hashlib
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit._internal import arguments
from tlkit.data import batches, chunks
from tlkit.data.checked_batches import CheckedBatches
from tlkit.data.disk_images import store_images
from tlkit.data.lazy_images import LazyImages
from tlkit.errors import DataError, StoreError

_CHECKED_BATCHES = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedOrder:
    """The images of a shuffled dataset, in an order that does not depend on the shuffling.

    Attributes:
        images: The images, in a temporary file.
        labels: Their labels, in the dataset's form.
        batch_size: The number of images in the dataset's first batch.
    """

    images: LazyImages
    labels: np.ndarray
    batch_size: int


def fix_order(data: batches.Inputs, *, folder: str | Path | None = None) -> FixedOrder:
    """Read a shuffled dataset once, and return its images in a fixed order.

    A dataset that shuffles yields the same images in every epoch; one that augments yields others.
    No attribute of a dataset states which it does, so its images are compared. The first pass
    is written to a temporary file, with a digest of each image; then a few batches of a second pass
    must contain only images of the first. The images are sorted by their digests, so that any
    shuffling of the same images has the same result, and features stored on disk are found again.

    Args:
        data: A dataset of batches that has a length.
        folder: Where to write the temporary file; the default is the system's folder of temporary
            files.

    Raises:
        DataError: The order can't be fixed; the message states why, and how to change the dataset
            so that it can be cached.
    """
    count = chunks.max_images(data)
    if not count:
        raise DataError(
            "it shuffles or augments and has no length. Leave out repeat(), and give a "
            "tf.data.Dataset without a length one by assert_cardinality"
        )
    digests: list[bytes] = []
    sizes: list[int] = []

    def first_pass() -> Iterator[tuple[Any, Any]]:
        for images, labels, weights in batches.weighted_batches(data, 1):
            if weights is not None:
                raise DataError(
                    "it shuffles and has image weights. Use a dataset that does not shuffle, or "
                    "`class_weight` in place of the weights"
                )
            digests.extend(map(_digest, images))
            sizes.append(len(images))
            yield images, labels

    where = arguments.path("folder", tempfile.gettempdir() if folder is None else folder)
    where.mkdir(parents=True, exist_ok=True)
    try:
        images, labels = store_images(first_pass(), folder=where, max_images=count)
    except StoreError as error:
        raise DataError(f"it shuffles, and reading it once needs room on disk: {error}") from error
    _start_epoch(data)
    again = itertools.islice(batches.batches(data, 1), _CHECKED_BATCHES)
    if not {_digest(image) for batch, _ in again for image in batch} <= set(digests):
        raise DataError(
            "its images are different in each epoch, as those of a dataset that augments. Leave "
            "augmentation out of the dataset, and set Phase(augmentation=...) and Cache(views=4)"
        )
    order = sorted(range(len(digests)), key=digests.__getitem__)
    return FixedOrder(images=images.take(order), labels=labels[order], batch_size=sizes[0])


def has_fixed_order(data: batches.Inputs) -> bool:
    """Return whether the data begins with the same batch in each epoch."""
    if batches.is_arrays(data):
        return True
    first = next(batches.batches(data, 1))
    _start_epoch(data)
    again = next(batches.batches(data, 1))
    return all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))


def _start_epoch(data: batches.Inputs) -> None:
    """Let a dataset change its order, as Keras does between epochs."""
    if isinstance(data, CheckedBatches | keras.utils.PyDataset):
        data.on_epoch_end()


def _digest(image: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
