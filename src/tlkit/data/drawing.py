"""Draw some images of a dataset at random, with about the same class proportions."""

import numpy as np

from tlkit._internal import arguments
from tlkit.data.groups import single_labels
from tlkit.data.image_dataset import ImageDataset
from tlkit.errors import Argument, ConfigError


# Idea: the images of each class, in random order, get positions at equal distances between 0 and 1,
# and the first images by position are drawn. So every class gives its share, exact to one image.
# The first image of each class has position 0, so that no class is left out. With the same seed, a
# smaller draw is a part of a larger one.
def draw_images(data: ImageDataset, count: int, *, seed: int) -> ImageDataset:
    """Return at most `count` images, in their order, with at least one of each class.

    Args:
        data: The images; if they can have several classes, they are drawn without regard to these.
        count: The number of images; all are returned if there are not more.
        seed: The seed of the choice.

    Raises:
        ConfigError: `count` is less than the number of classes.

    Examples:
        >>> from tlkit import datasets
        >>> len(draw_images(datasets.digits().train, 100, seed=0))
        100
    """
    wanted = arguments.at_least("count", count, 1)
    labels = single_labels(data)
    num_classes = len(np.unique(labels))
    if wanted < num_classes:
        raise ConfigError(
            Argument("count"),
            f" must be at least {num_classes:,}, one image for each class, got {wanted:,}.",
        )
    if wanted >= len(data):
        return data
    order = np.random.default_rng(seed).permutation(len(data))
    positions = np.empty(len(data))
    for label in np.unique(labels):
        own = order[labels[order] == label]
        positions[own] = np.arange(len(own)) / len(own)
    first = order[np.argsort(positions[order], kind="stable")[:wanted]]
    return data.take(np.sort(first))
