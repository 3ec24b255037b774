"""Every batch is checked as it passes, through every kind of dataset."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tests.samples import make_noise

import tlkit
from tlkit import Phase, SolvedHead, TwoPhaseTrainer
from tlkit.data import batches, checked_batches
from tlkit.data.checked_batches import raise_data_error
from tlkit.errors import DataError, TlkitError

Batch = tuple[np.ndarray, ...]
WANTED: dict[str, Any] = {
    "name": "data",
    "input_shape": (None, 9, 9, 1),
    "num_classes": 3,
    "value_range": (0, 255),
}


class Sequence(keras.utils.PyDataset):
    def __init__(self, parts: list[Batch]) -> None:
        super().__init__()
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> Batch:
        return self.parts[index]


class Loader:
    """Yields batches, as a torch DataLoader does."""

    def __init__(self, parts: list[Batch]) -> None:
        self.parts = parts

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)


class Endless:
    """Yields the same batches again and again, and does not tell its length."""

    def __init__(self, parts: list[Batch]) -> None:
        self.parts = parts

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield from self.parts


def to_tensors(parts: list[Batch]) -> tf.data.Dataset:
    """Return a dataset with the first batch's dtypes, and the axes that all have in common."""
    dtypes = [each.dtype for each in parts[0]]
    ranks = [each.ndim for each in parts[0]]
    signature = tuple(
        tf.TensorSpec([None] * rank if rank else [], dtype)
        for rank, dtype in zip(ranks, dtypes, strict=True)
    )
    made = [tuple(each.astype(d) for each, d in zip(p, dtypes, strict=True)) for p in parts]
    dataset = tf.data.Dataset.from_generator(lambda: iter(made), output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(parts)))


DOORS: dict[str, Callable[[list[Batch]], Any]] = {
    "tf.data": to_tensors,
    "PyDataset": Sequence,
    "loader": Loader,
}


def wrong_label(parts: list[Batch], at: int) -> None:
    parts[at][1][-1] = -1


def label_too_large(parts: list[Batch], at: int) -> None:
    parts[at][1][0] = 3


def missing_label(parts: list[Batch], at: int) -> None:
    parts[at] = (parts[at][0], parts[at][1][:-1])


def other_size(parts: list[Batch], at: int) -> None:
    parts[at] = (parts[at][0][:, :8], parts[at][1])


def nan_pixel(parts: list[Batch], at: int) -> None:
    parts[at][0][0, 0, 0] = np.nan


def too_bright(parts: list[Batch], at: int) -> None:
    parts[at][0][-1, -1, -1] = 256


def rescaled(parts: list[Batch], at: int) -> None:
    parts[at] = (parts[at][0] / np.float32(255), parts[at][1])


def normalized(parts: list[Batch], at: int) -> None:
    parts[at] = (parts[at][0] / np.float32(127.5) - 1, parts[at][1])


def no_image(parts: list[Batch], at: int) -> None:
    parts[at] = (parts[at][0][:0], parts[at][1][:0])


FAULTS = {
    wrong_label: "labels must be from 0 to 2 for 3 classes, got -1",
    label_too_large: "labels must be from 0 to 2 for 3 classes, got 3",
    missing_label: "must have one label for each of the 4 images",
    other_size: r"images must have shape \(batch, 9, 9, 1\)",
    nan_pixel: "images must be finite, got NaN",
    too_bright: r"pixels must lie in \[0, 255\], got \[.*256\]",
    rescaled: r"pixels lie in \[0, 1\], but the model rescales pixels",
    normalized: r"pixels must lie in \[0, 255\], got \[-",
    no_image: "at least one image, got an empty batch",
}


def make_parts(count: int) -> list[Batch]:
    images, labels = make_noise(4 * count)
    images = images.astype("float32")
    return [(images[at : at + 4], labels[at : at + 4]) for at in range(0, 4 * count, 4)]


@given(
    door=st.sampled_from(list(DOORS)),
    fault=st.sampled_from(list(FAULTS)),
    count=st.integers(1, 5),
    data=st.data(),
    by_keras=st.booleans(),
)
def test_a_fault_in_any_batch_is_found_through_any_door(
    door: str, fault: Callable[..., None], count: int, data: Any, *, by_keras: bool
) -> None:
    parts = make_parts(count)
    at = data.draw(st.integers(0, count - 1))
    fault(parts, at)
    with pytest.raises(DataError, match=f"`data` .*{FAULTS[fault]}.* This is in batch {at + 1}"):
        read(DOORS[door](parts), by_keras=by_keras)


def read(dataset: Any, *, by_keras: bool = False, **wanted: Any) -> list[Batch]:
    """Read a dataset as tlkit does, or as Keras' fit does."""
    checked = batches.validate(dataset, **{**WANTED, **wanted})
    if not by_keras:
        return list(batches.weighted_batches(checked, 1))
    given = checked.for_keras()
    try:
        source = (
            given if hasattr(given, "element_spec") else map(given.__getitem__, range(len(given)))
        )
        return [tuple(map(np.asarray, batch)) for batch in source]
    except Exception as error:
        raise_data_error(error)
        raise


@pytest.mark.parametrize("by_keras", [False, True])
@pytest.mark.parametrize("door", DOORS)
def test_batches_without_a_fault_pass_unchanged(door: str, *, by_keras: bool) -> None:
    parts = [(*part, np.ones(4, "float32")) for part in make_parts(3)]
    for batch, part in zip(read(DOORS[door](parts), by_keras=by_keras), parts, strict=True):
        for array, expected in zip(batch, part, strict=True):
            np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1, 1, 1, -1], "image weights must be finite and at least 0"),
        ([1, np.nan, 1, 1], "image weights must be finite and at least 0"),
        ([1, 1], "one weight, a number, for each of the 4 images"),
    ],
)
def test_weights_are_checked_in_each_batch(door: str, weights: list[float], words: str) -> None:
    parts = [(*part, np.ones(4, "float32")) for part in make_parts(3)]
    parts[2] = (*parts[2][:2], np.array(weights, "float32"))
    with pytest.raises(DataError, match=f"{words}.* This is in batch 3"):
        read(DOORS[door](parts))


def test_labels_keep_one_form() -> None:
    parts = make_parts(3)
    parts[1] = (parts[1][0], np.eye(3, dtype="float32")[parts[1][1]])
    with pytest.raises(DataError, match="labels must have one form"):
        read(Loader(parts))


@pytest.mark.parametrize(
    ("images", "value_range"),
    [
        (make_noise(16)[0] > 128, (0, 255)),
        ((make_noise(16)[0] > 128).astype("uint8"), (0, 255)),
        (make_noise(16)[0] // 16, (0, 255)),
        (make_noise(16)[0].astype("uint16") * 16, (0, 65535)),
        (make_noise(16)[0] / 2000, (-1, 1)),
    ],
)
@pytest.mark.parametrize("door", ["arrays", *DOORS])
def test_pixels_that_fill_a_little_of_the_range_are_refused(
    door: str, images: np.ndarray, value_range: tuple[float, float]
) -> None:
    data = (images, np.arange(16) % 3)
    with pytest.raises(DataError, match="pixels must span more than 12.5 % of the model's"):
        if door == "arrays":
            batches.validate(data, **{**WANTED, "value_range": value_range})
        else:
            read(DOORS[door]([data]), value_range=value_range)


def test_a_dark_image_of_a_few_is_no_fault() -> None:
    images, labels = make_noise(8)
    parts = [(images, labels), (images[:1] // 200, labels[:1])]
    assert len(read(Loader(parts))) == 2
    assert len(read(Loader(parts[::-1]))) == 2


def test_images_read_when_they_are_indexed_are_checked_when_they_are_read() -> None:
    images, labels = make_noise(40)
    images = images.astype("float32")
    images[33, 0, 0] = np.nan
    lazy = tlkit.data.LazyImages(images.__getitem__, range(40), shape=(9, 9, 1), dtype="float32")
    checked, _ = batches.validate((lazy, labels), **WANTED)
    np.testing.assert_array_equal(checked[:32], images[:32])
    with pytest.raises(DataError, match="images must be finite, got NaN"):
        checked.take(range(30, 36))[2:]


@pytest.mark.parametrize("endless", [lambda p: to_tensors(p).repeat(), Endless])
def test_data_without_an_end_is_refused(
    endless: Callable[[list[Batch]], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked_batches, "_MAX_IMAGES", 100)
    with pytest.raises(DataError, match=r"`data` must (be finite|have a known length).*repeat\(\)"):
        read(endless(make_parts(2)))


def test_a_pydataset_without_an_end_is_refused() -> None:
    class Forever(keras.utils.PyDataset):
        def __getitem__(self, index: int) -> Batch:
            return make_parts(1)[0]

    with pytest.raises(DataError, match="`data` must be finite, got a Forever"):
        read(Forever())


HEADS = {"fit": (Phase(), None), "cached": (Phase(), tlkit.Cache()), "solved": (SolvedHead(), None)}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("head", HEADS)
def test_a_training_stops_at_a_fault(model: keras.Model, door: str, head: str) -> None:
    parts = make_parts(4)
    wrong_label(parts, 2)
    phase, cache = HEADS[head]
    with pytest.raises(DataError, match=r"`data` labels must be from 0 to 2 .* in batch 3"):
        TwoPhaseTrainer(head=phase, cache=cache).fit(model, DOORS[door](parts), verbose=False)


@pytest.mark.parametrize("head", HEADS)
def test_a_training_stops_at_a_fault_of_the_validation_data(model: keras.Model, head: str) -> None:
    parts = make_parts(4)
    rescaled(parts, 3)
    phase, cache = HEADS[head]
    with pytest.raises(DataError, match=r"`validation_data` pixels lie in \[0, 1\].* in batch 4"):
        TwoPhaseTrainer(head=phase, cache=cache).fit(
            model, Loader(make_parts(2)), validation_data=to_tensors(parts), verbose=False
        )


USES: dict[str, Callable[[keras.Model, Any], Any]] = {
    "evaluate": tlkit.evaluate,
    "calibrate": tlkit.calibrate,
    "audit": tlkit.evaluation.audit,
    "probe": tlkit.probe,
}


def _use(name: str, *arguments: object) -> object:
    """Call one of them, or skip the test if it needs an extra that is not installed."""
    if name == "audit":
        pytest.importorskip("cleanlab")
    return USES[name](*arguments)


@pytest.mark.parametrize("use", USES)
def test_what_measures_stops_at_a_fault(model: keras.Model, use: str) -> None:
    parts = make_parts(3)
    nan_pixel(parts, 2)
    with pytest.raises(DataError, match=r"`data` images must be finite.* in batch 3"):
        _use(use, model, Loader(parts))


@pytest.mark.parametrize("use", USES)
def test_what_does_not_use_weights_says_so(model: keras.Model, use: str) -> None:
    parts = [(*part, np.ones(4, "float32")) for part in make_parts(6)]
    with pytest.warns(UserWarning, match="`data` has a weight for each image, which is not used"):
        _use(use, model, Loader(parts))


def test_a_training_uses_weights_without_a_warning(model: keras.Model) -> None:
    parts = [(*part, np.ones(4, "float32")) for part in make_parts(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        TwoPhaseTrainer(head=Phase(), cache=None).fit(model, Loader(parts), verbose=False)


def test_class_weights_and_image_weights_exclude_each_other(model: keras.Model) -> None:
    parts = [(*part, np.ones(4, "float32")) for part in make_parts(2)]
    trainer = TwoPhaseTrainer(head=Phase(class_weight={0: 2.0}))
    with pytest.raises(TlkitError, match="`class_weight` must be left out where `data` has image"):
        trainer.fit(model, Loader(parts), verbose=False)


def test_dark_images_are_predicted_with_a_warning(model: keras.Model) -> None:
    dark = make_noise(16)[0] // 16
    with pytest.warns(UserWarning, match="`images` pixels must span more than 12.5 %"):
        assert tlkit.predict(model, dark).shape == (16, 3)
    with pytest.raises(DataError, match="`data` pixels must span more than 12.5 %"):
        tlkit.evaluate(model, (dark, np.arange(16) % 3))
