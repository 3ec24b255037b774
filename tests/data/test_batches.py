from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tlkit.data import batches, checks
from tlkit.errors import ConfigError, DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 9), dtype="uint8")
LABELS = np.array([0, 1, 2, 0, 1, 2])
ONE_HOT = np.eye(3, dtype="float32")[LABELS]


def checked(images: Any, labels: Any, **changed: Any) -> Any:
    return batches.validate((images, labels), **{**WANTED, **changed})


WANTED: dict[str, Any] = {
    "name": "train",
    "input_shape": (None, 8, 9, 1),
    "num_classes": 3,
    "value_range": (0, 255),
}


class Batches(keras.utils.PyDataset):
    """Three batches of two, as Keras' own data sets come."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return IMAGES[2 * index : 2 * index + 2], LABELS[2 * index : 2 * index + 2]


def as_tf_data(images: np.ndarray = IMAGES, labels: np.ndarray = LABELS) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(2)


@pytest.mark.parametrize("labels", [LABELS, LABELS.astype("uint8"), LABELS[:, None], ONE_HOT])
@pytest.mark.parametrize("images", [IMAGES, IMAGES[..., None], IMAGES.astype("float32")])
def test_arrays_that_fit_come_back_unchanged(images: np.ndarray, labels: np.ndarray) -> None:
    same_images, same_labels = checked(images, labels)
    np.testing.assert_array_equal(same_images, images)
    np.testing.assert_array_equal(same_labels, labels)
    assert same_images.dtype == images.dtype


def test_lists_come_back_as_arrays() -> None:
    images, labels = checked(IMAGES.tolist(), LABELS.tolist())
    assert isinstance(images, np.ndarray)
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize(
    ("shape", "input_shape"),
    [
        ((6, 5, 7), (None, None, None, 1)),
        ((6, 5, 7, 1), (None, None, None, 1)),
        ((6, 5, 7, 1), (None, None, None)),
        ((6, 5, 7, 3), (None, None, 7, 3)),
        ((6, 5, 7), (None, 5, None)),
    ],
)
def test_unknown_sizes_and_a_lone_channel_axis_fit(
    shape: tuple[int, ...], input_shape: tuple[int | None, ...]
) -> None:
    images = np.zeros(shape, "uint8")
    assert checked(images, LABELS, input_shape=input_shape)[0].shape == shape


@pytest.mark.parametrize("make", [as_tf_data, Batches])
def test_a_dataset_that_fits_comes_back_whole(make: Callable[[], Any]) -> None:
    dataset = batches.validate(make(), **WANTED)
    images, labels = zip(*batches.batches(dataset, 99), strict=True)
    np.testing.assert_array_equal(np.concatenate(images), IMAGES)
    np.testing.assert_array_equal(np.concatenate(labels), LABELS)


WRONG_IMAGES = [
    (IMAGES[:0], "must hold at least one image, got an empty batch"),
    (IMAGES[:, :7], "images must have shape (batch, 8, 9, 1) for this model, got (6, 7, 9)"),
    (IMAGES[:, :, :8], "images must have shape (batch, 8, 9, 1) for this model, got (6, 8, 8)"),
    (np.repeat(IMAGES[..., None], 3, -1), "for this model, got (6, 8, 9, 3)"),
    (IMAGES[0], "for this model, got (8, 9)"),
    (np.where(IMAGES > 99, np.nan, IMAGES), "images must be finite, got NaN or infinite pixels"),
    (np.where(IMAGES > 99, np.inf, IMAGES), "images must be finite, got NaN or infinite pixels"),
    (IMAGES.astype("int16") * 257, "pixels must lie in [0, 255], got ["),
    (IMAGES.clip(0, 99) - 1.0, "pixels must lie in [0, 255], got [-1, 98]"),
    (IMAGES / 255, "pixels lie in [0, 1], but the model rescales pixels from [0, 255]"),
]


@pytest.mark.parametrize(("images", "words"), WRONG_IMAGES)
def test_images_that_do_not_fit_are_refused_with_the_reason(images: Any, words: str) -> None:
    with pytest.raises(DataError) as caught:
        checked(images, LABELS[: len(images)])
    assert "`train`" in str(caught.value)
    assert words in str(caught.value)


def test_the_shape_wanted_says_which_axes_may_be_anything() -> None:
    with pytest.raises(DataError, match=r"shape \(batch, any, 9, 3\) for this model"):
        checked(IMAGES, LABELS, input_shape=(None, None, 9, 3))


def test_pixels_go_unchecked_where_the_model_does_not_tell_its_range() -> None:
    images = np.where(IMAGES > 99, np.nan, 1e6)
    np.testing.assert_array_equal(checked(images, LABELS, value_range=None)[0], images)


@pytest.mark.parametrize(
    ("images", "value_range"),
    [
        (IMAGES / 255, (0, 1)),
        (IMAGES / 127.5 - 1, (-1, 1)),
        (IMAGES % 2, (0, 255)),  # whole numbers 0 and 1: a very dark image, not a rescaled one
        (np.zeros((6, 8, 9)), (0, 255)),
        (IMAGES / 255 * 1.5, (0, 255)),
    ],
)
def test_pixels_inside_their_range_are_accepted(
    images: np.ndarray, value_range: tuple[float, float]
) -> None:
    assert checked(images, LABELS, value_range=value_range)[0] is images


WRONG_LABELS = [
    (LABELS[:5], "must have one label for each of the 6 images, got labels of shape (5,)"),
    (
        ONE_HOT[:, :, None],
        "must have one label for each of the 6 images, got labels of shape (6, 3, 1)",
    ),
    (np.int64(1), "must have one label for each of the 6 images, got labels of shape ()"),
    (LABELS - 1, "labels must be from 0 to 2 for 3 classes, got -1"),
    (LABELS + 1, "labels must be from 0 to 2 for 3 classes, got 3"),
    (LABELS.astype("float32"), "must be whole numbers or one-hot rows, got float32"),
    (LABELS == 1, "must be whole numbers or one-hot rows, got bool"),
    (np.array(list("abcabc")), "must be whole numbers or one-hot rows, got <U1. Turn names into"),
    (ONE_HOT[:, :2], "one-hot labels must have 3 columns, one for each class, got 2"),
    (ONE_HOT * 0.5, "that add up to 1, got a row that adds up to 0.5"),
    (ONE_HOT + np.array([1, -1, 0]), "one-hot labels must be rows of at least 0"),
    (ONE_HOT * np.nan, "that add up to 1, got a row that adds up to nan"),
]


@pytest.mark.parametrize(("labels", "words"), WRONG_LABELS)
def test_labels_that_do_not_fit_are_refused_with_the_reason(labels: Any, words: str) -> None:
    with pytest.raises(DataError) as caught:
        checked(IMAGES, labels)
    assert "`train`" in str(caught.value)
    assert words in str(caught.value)


def test_smoothed_one_hot_labels_are_accepted() -> None:
    smooth = ONE_HOT * 0.9 + 0.1 / 3
    assert checked(IMAGES, smooth)[1] is smooth
    assert checked(IMAGES, ONE_HOT.astype("uint8"))[1].dtype == "uint8"


@pytest.mark.parametrize("thing", [IMAGES, None, 3, "train.csv", [], iter([(IMAGES, IMAGES)])])
def test_what_is_no_data_is_called_by_its_type(thing: Any) -> None:
    words = rf"must be an ImageDataset, a pair .* got {type(thing).__name__}"
    with pytest.raises(DataError, match=words):
        batches.validate(thing, **WANTED)


@pytest.mark.parametrize("empty", [as_tf_data().take(0)])
def test_an_empty_dataset_is_refused(empty: Any) -> None:
    with pytest.raises(DataError, match="at least one batch, got an empty dataset"):
        batches.validate(empty, **WANTED)


def test_the_first_batch_of_a_dataset_is_checked() -> None:
    with pytest.raises(DataError, match=r"pixels lie in \[0, 1\]"):
        batches.validate(as_tf_data(IMAGES / 255), **WANTED)
    with pytest.raises(DataError, match="from 0 to 2 for 3 classes, got 4"):
        batches.validate(as_tf_data(labels=LABELS + 3), **WANTED)


@given(st.integers(1, 30), st.integers(1, 12))
def test_batches_are_in_order_complete_and_full(count: int, batch_size: int) -> None:
    images, labels = np.arange(count * 2).reshape(count, 2), np.arange(count)
    pairs = list(batches.batches((images, labels), batch_size))
    sizes = [len(batch) for batch, _ in pairs]
    assert sizes[:-1] == [batch_size] * (len(pairs) - 1)
    assert 1 <= sizes[-1] <= batch_size
    np.testing.assert_array_equal(np.concatenate([batch for batch, _ in pairs]), images)
    np.testing.assert_array_equal(np.concatenate([batch for _, batch in pairs]), labels)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_one_hot_labels_are_those_of_keras_and_decode_to_themselves(labels: list[int]) -> None:
    indices = np.array(labels)
    one_hot = batches.one_hot(indices, 5)
    np.testing.assert_array_equal(one_hot, keras.utils.to_categorical(indices, 5))
    assert one_hot.dtype == "float32"
    assert checks.is_one_hot(one_hot)
    assert not checks.is_one_hot(indices)
    for form in (one_hot, indices, indices[:, None], tf.constant(indices), tf.constant(one_hot)):
        np.testing.assert_array_equal(batches.label_indices(form), indices)


def test_encoding_refuses_what_it_cannot_encode() -> None:
    with pytest.raises(ConfigError, match="`num_classes` must be a whole number of at least 2"):
        batches.one_hot(LABELS, 1)
    with pytest.raises(DataError, match="`labels` labels must be from 0 to 1 for 2 classes, got 2"):
        batches.one_hot(LABELS, 2)


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ((None, None), "must be a pair of arrays of numbers"),
        (([[[1, 2]], [[1]]], [0, 1]), "must all have one shape"),
        ((np.full((3, 8, 8, 1), "a"), [0, 1, 2]), "images must be numbers"),
        ((IMAGES, np.full((len(IMAGES), 3), "a")), "whole numbers or one-hot rows"),
        ([(IMAGES, IMAGES), (IMAGES, IMAGES)], "for this model"),
    ],
)
def test_a_strange_pair_is_refused_in_our_words(pair: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        batches.validate(pair, **WANTED)


def test_a_dataset_without_labels_is_refused() -> None:
    for size in (1, 2, 4):
        unlabelled = tf.data.Dataset.from_tensor_slices(IMAGES).batch(size)
        with pytest.raises(DataError, match=r"must yield \(images, labels\) batches"):
            batches.validate(unlabelled, **WANTED)


def test_encoding_takes_a_column_of_labels_and_nothing_odd() -> None:
    column = np.array([[1], [0]])
    np.testing.assert_array_equal(batches.one_hot(column, 2), keras.utils.to_categorical(column, 2))
    assert batches.one_hot(np.zeros(0, int), 2).shape == (0, 2)
    with pytest.raises(DataError, match="one-hot already"):
        batches.one_hot(np.eye(2), 2)
    with pytest.raises(DataError, match=r"got labels of shape \(\)"):
        batches.one_hot(np.int64(1), 2)
