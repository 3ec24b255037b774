"""The images of an experiment on arrays with their own split: MNIST by name, or an .npz file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tlkit.data import datasets, splits
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.splits import Split
from tlkit.errors import Argument, ConfigError
from tlkit.experiments.experiment import Experiment

_IMAGE_SIZE = 32  # pixels
_VALIDATION = 0.1
_FORBIDDEN = ("add", "test_data", "validation_data", "folds", "split_column", "group_column")
_DIGITS = 6  # in the name of an image


def is_arrays(place: str) -> bool:
    """Return whether an experiment's `data` is the name of a data set, or an .npz file."""
    return is_name(place) or Path(place).suffix.lower() == ".npz"


def is_name(place: str) -> bool:
    """Return whether `data` is the name of a data set, and not a file or folder."""
    return place in datasets.names() and not Path(place).exists()


def resolve(experiment: Experiment) -> Experiment:
    """Return an experiment with settings for such a data set, where the user set none.

    Images are resized to 32 pixels, and a tenth of the training images is held out as validation
    images, so that test images are used for the results only.

    Raises:
        ConfigError: The user set an option that is for folders or tables.
    """
    for name in _FORBIDDEN:
        if getattr(experiment, name):
            raise ConfigError(
                Argument(name),
                f" must be left out with {experiment.data!r}, which has its own split.",
            )
    grey = _read(experiment.data).train.images.shape[-1] not in (3, 4)
    return replace(
        experiment,
        image_size=_IMAGE_SIZE if experiment.image_size is None else experiment.image_size,
        channels=1 if grey else 3,
        validation=experiment.validation or _VALIDATION,
    )


def load(experiment: Experiment, class_names: Sequence[str] | None) -> ImageDataset:
    """Return all images of a data set, each with its part and a name such as train/000012.

    Raises:
        DataError: The file is damaged, or the classes differ.
        DownloadError: The data set is not on disk and can't be downloaded.
    """
    parts = _read(experiment.data)
    images = np.concatenate([parts.train.images, parts.test.images])
    counts = {"train": len(parts.train), "test": len(parts.test)}
    found = replace(
        parts.train,
        images=images if images.ndim == 4 else images[..., None],
        labels=np.concatenate([parts.train.labels, parts.test.labels]),
        parts=tuple(name for name, count in counts.items() for _ in range(count)),
        paths=tuple(
            f"{name}/{at:0{_DIGITS}}" for name, count in counts.items() for at in range(count)
        ),
    )
    return found if class_names is None else found.reorder(class_names)


def split(experiment: Experiment, dataset: ImageDataset) -> Split:
    """Return the data set's own split, with validation images held out from its training images.

    There is no search for duplicates: the test images of these benchmarks are fixed, and small grey
    digits resemble each other.
    """
    parts = np.asarray(dataset.parts)
    train, validation = splits.hold_out(
        dataset.take(parts == "train"), experiment.validation, seed=experiment.seed
    )
    test = dataset.take(parts == "test")
    return Split(train=train, validation=validation, test=test, own_parts=("train", "test"))


def _read(place: str) -> Split:
    return datasets.get(place) if is_name(place) else datasets.mnist(place)
