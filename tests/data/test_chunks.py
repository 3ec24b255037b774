from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tlkit.data import chunks
from tlkit.data.chunks import Chunk


def _dataset(sizes: list[int], *, shapes: tuple[int, ...] = (4,)) -> list[tuple[np.ndarray, ...]]:
    starts = np.cumsum([0, *sizes])
    return [
        (np.full((size, shapes[i % len(shapes)], 3, 1), start), np.arange(start, start + size))
        for i, (size, start) in enumerate(zip(sizes, starts, strict=False))
    ]


@given(st.lists(st.integers(1, 7), min_size=1, max_size=8), st.integers(1, 12))
def test_every_image_comes_once_and_in_order(sizes: list[int], rows: int) -> None:
    found = list(chunks.read_chunks(_dataset(sizes), rows=rows, rank=4))
    labels = np.concatenate([chunk.labels for chunk in found])
    np.testing.assert_array_equal(labels, np.arange(sum(sizes)))
    assert [size for chunk in found for size in chunk.sizes] == sizes
    assert all(len(chunk.images) >= rows for chunk in found[:-1])
    assert all(len(chunk.images) == len(chunk.labels) for chunk in found)


def test_another_shape_begins_another_chunk() -> None:
    found = list(chunks.read_chunks(_dataset([2, 2, 2], shapes=(4, 5)), rows=100, rank=4))
    assert [chunk.images.shape[1] for chunk in found] == [4, 5, 4]


def test_a_lone_channel_axis_is_as_the_model_has_it() -> None:
    grey = np.zeros((5, 4, 3)), np.arange(5)
    assert next(chunks.read_chunks(grey, rows=9, rank=4)).images.shape == (5, 4, 3, 1)
    one = np.zeros((5, 4, 3, 1)), np.arange(5)
    assert next(chunks.read_chunks(one, rows=9, rank=3)).images.shape == (5, 4, 3)


def test_how_many_there_are_at_most() -> None:
    assert chunks.max_images((np.zeros(7), np.zeros(7))) == 7
    dataset = tf.data.Dataset.from_tensor_slices((np.zeros((7, 1)), np.zeros(7)))
    assert chunks.max_images(dataset.batch(4)) == 8
    assert chunks.max_images(dataset.batch(4).filter(lambda *_: True)) is None


def test_reading_ahead_changes_nothing_and_hands_errors_on() -> None:
    plain = chunks.read_chunks(_dataset([2, 3, 1]), rows=2, rank=4)
    ahead = chunks.read_ahead(chunks.read_chunks(_dataset([2, 3, 1]), rows=2, rank=4))
    for one, other in zip(plain, ahead, strict=True):
        np.testing.assert_array_equal(one.images, other.images)

    def failing() -> Iterator[Chunk]:
        yield next(chunks.read_chunks(_dataset([2]), rows=2, rank=4))
        raise OSError("the disk is gone")

    reading = chunks.read_ahead(failing())
    assert len(next(reading).images) == 2
    with pytest.raises(OSError, match="the disk is gone"):
        next(reading)


def test_a_reader_that_leaves_early_leaves_no_thread_behind() -> None:
    import threading

    reading = chunks.read_ahead(chunks.read_chunks(_dataset([1] * 50), rows=1, rank=4))
    next(reading)
    reading.close()
    assert "tlkit-read-ahead" not in [thread.name for thread in threading.enumerate()]
