import numpy as np
import pytest

from tlkit import datasets
from tlkit.data.drawing import draw_images
from tlkit.data.image_dataset import ImageDataset
from tlkit.errors import ConfigError


def make(counts: dict[str, int]) -> ImageDataset:
    """Images of these classes, sorted by class; each pixel is the image's number."""
    labels = np.repeat(np.arange(len(counts)), list(counts.values()))
    return ImageDataset(
        name="made",
        images=np.arange(len(labels), dtype="uint16").reshape(-1, 1, 1),
        labels=labels,
        class_names=tuple(counts),
    )


@pytest.mark.parametrize("count", [3, 10, 59, 60, 61, 599])
def test_every_class_gives_its_share_and_at_least_one_image(count: int) -> None:
    data = make({"a": 400, "b": 198, "c": 2})
    drawn = draw_images(data, count, seed=0)
    assert len(drawn) == count
    for name, total in data.counts.items():
        assert drawn.counts[name] >= 1
        assert drawn.counts[name] == pytest.approx(count * total / len(data), abs=1.5)


def test_the_choice_is_random_in_order_and_part_of_a_larger_one() -> None:
    data = make({"a": 300, "b": 300})
    numbers = {
        (count, seed): draw_images(data, count, seed=seed).images.ravel().tolist()
        for count, seed in ((50, 0), (100, 0), (50, 1))
    }
    first = numbers[50, 0]
    assert first == sorted(first)
    assert first[-1] > 550
    assert {*first} < {*numbers[100, 0]}
    assert {*first} != {*numbers[50, 1]}


def test_no_more_images_than_there_are_are_all_of_them() -> None:
    data = make({"a": 3, "b": 2})
    assert draw_images(data, 5, seed=0) is data
    assert draw_images(data, 500, seed=0) is data


def test_fewer_images_than_classes_are_refused() -> None:
    data = make({"a": 3, "b": 2, "c": 2})
    with pytest.raises(ConfigError, match="`count` must be at least 3, one image for each class"):
        draw_images(data, 2, seed=0)
    with pytest.raises(ConfigError, match="`count` must be a whole number of at least 1"):
        draw_images(data, 0, seed=0)


def test_a_split_is_limited_to_its_first_images_or_with_a_seed_to_random_ones() -> None:
    split = datasets.digits()
    np.testing.assert_array_equal(split.limited(50).train.images, split.train.images[:50])
    drawn = split.limited(50, seed=0)
    assert set(drawn.train.counts.values()) <= {4, 5, 6}
    assert drawn.test is split.test
    assert split.limited(9).train.labels.size == 9
