import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from tests.samples import make_noise

import tlkit
from tlkit import sources, splits
from tlkit.errors import ConfigError, DataError, StoreError

DATA = make_noise(50)


class _Sequence(keras.utils.PyDataset):
    """As a user writes one: batches by number, and a length."""

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        images, labels = DATA
        return images[8 * index : 8 * index + 8], labels[8 * index : 8 * index + 8]


class _Loader:
    """As a torch DataLoader gives them: channels first."""

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for images, labels in (_Sequence()[index] for index in range(7)):
            yield np.moveaxis(images, -1, 1), labels


def _tf_data() -> Any:
    tensorflow = pytest.importorskip("tensorflow")
    images, labels = DATA
    one_hot = tlkit.data.one_hot(labels, 3)
    return tensorflow.data.Dataset.from_tensor_slices((images, one_hot)).batch(8)


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (_tf_data, {}),
        (_Sequence, {}),
        (_Loader, {"channels_first": True}),
        (lambda: [(DATA[0][at : at + 25], DATA[1][at : at + 25]) for at in (0, 25)], {}),
    ],
)
def test_batches_of_any_library_become_the_source_that_arrays_are(
    make: Any, settings: dict
) -> None:
    images, labels = DATA
    source = sources.from_batches(make(), class_names="abc", **settings)
    plain = sources.from_arrays(images, labels, class_names="abc")
    np.testing.assert_array_equal(source.images[:], images)
    assert source.images.dtype == images.dtype
    np.testing.assert_array_equal(source.labels, labels)
    assert source.counts == plain.counts
    made = [splits.split(each, test=0.3, duplicates="allow", seed=2) for each in (source, plain)]
    np.testing.assert_array_equal(made[0].test.images[:], made[1].test.images)
    with pytest.raises(TypeError, match="read when they are indexed"):
        np.asarray(source.images)


def test_a_torch_loader_is_taken(tmp_path: Any) -> None:
    torch = pytest.importorskip("torch")
    images, labels = make_noise(12)
    tensors = torch.from_numpy(np.moveaxis(images, -1, 1).copy()), torch.from_numpy(labels)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*tensors), batch_size=5)
    source = sources.from_batches(
        loader, class_names="abc", channels_first=True, folder=tmp_path, name="mine"
    )
    np.testing.assert_array_equal(source.images[:], images)
    assert source.name == "mine"


def test_the_file_is_gone_with_the_source(tmp_path: Any) -> None:
    source = sources.from_batches(_Sequence(), class_names="abc", folder=tmp_path)
    assert len(source.images[[3, 1]]) == 2
    assert not list(tmp_path.iterdir())


def _batch(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(shape, "uint8"), np.zeros(shape[0], "int64")


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        ([], "must hold at least one image, got none"),
        (
            [_batch(2, 4, 4), _batch(2, 4, 5), _batch(2, 4, 4)],
            r"got \(4, 4\) uint8 and \(4, 5\) uint8",
        ),
        ([(*_batch(2, 4, 4), np.ones(2))] * 3, "got weights too"),
        ([(_batch(2, 4, 4)[0], np.array([0, 3]))] * 3, r"from 0 to 2, one of `class_names`"),
        ([(_batch(2, 4, 4)[0], np.array([0, 0.5]))] * 3, "whole numbers, got float64"),
        ([_batch(2, 4, 4)[0]] * 3, r"must yield \(images, labels\)"),
    ],
)
def test_what_no_source_can_keep_is_refused(batches: list, words: str) -> None:
    with pytest.raises(DataError, match=words):
        sources.from_batches(batches, class_names="abc")


def test_what_has_no_end_is_refused_before_it_is_read() -> None:
    class Endless(_Sequence):
        @property
        def num_batches(self) -> None:
            return None

    for endless in (_tf_data().repeat(), Endless()):
        with pytest.raises(ConfigError, match="must be finite"):
            sources.from_batches(endless, class_names="abc")


def test_a_disk_that_is_too_small_is_told_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    class Huge(_Sequence):
        def __len__(self) -> int:
            return math.floor(2**60)

        def __getitem__(self, index: int) -> Any:
            assert index == 0, "it was read on"
            return super().__getitem__(index)

    with pytest.raises(StoreError, match="not enough space"):
        sources.from_batches(Huge(), class_names="abc")
    with pytest.raises(ConfigError, match="`folder` must be an existing folder"):
        sources.from_batches(_Sequence(), class_names="abc", folder="nowhere")
