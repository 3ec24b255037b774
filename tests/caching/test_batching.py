from typing import Any

import keras
import numpy as np
import pytest

from tlkit.caching.batching import FeatureBatches, FeatureDataset, NextView, make_dataset
from tlkit.caching.rows import Rows

COUNT = 10


def _features(*, views: int = 1, weights: bool = False, shuffle: bool = False) -> FeatureDataset:
    rows = np.arange(COUNT, dtype="float32")[:, None]
    return FeatureDataset(
        views=tuple(Rows([[rows + 100 * view, -rows]]) for view in range(views)),
        labels=np.arange(COUNT) * 10,
        weights=np.linspace(0, 1, COUNT) if weights else None,
        batch_size=4,
        shuffle=shuffle,
    )


def _flat(dataset: object) -> list[list[np.ndarray]]:
    count = len(dataset)  # type: ignore[arg-type]
    batches = (
        dataset
        if not isinstance(dataset, FeatureBatches)
        else map(dataset.__getitem__, range(count))
    )
    return [[np.asarray(part) for part in keras.tree.flatten(batch)] for batch in batches]


@pytest.mark.parametrize("make", [make_dataset, FeatureBatches], ids=["fit", "PyDataset"])
@pytest.mark.parametrize("weights", [False, True])
def test_batches_hold_rows_and_labels_that_belong_together(make: Any, weights: bool) -> None:
    features = _features(weights=weights, shuffle=True)
    assert (features.count, features.steps) == (10, 3)
    batches = _flat(make(features, NextView(1)))
    assert [len(batch[0]) for batch in batches] == [4, 4, 2]
    first, second, labels, *rest = (np.concatenate(part) for part in zip(*batches, strict=True))
    order = labels // 10
    assert sorted(order) == list(range(COUNT))
    np.testing.assert_array_equal(first[:, 0], order)
    np.testing.assert_array_equal(second[:, 0], -order)
    if weights:
        np.testing.assert_allclose(rest[0], np.linspace(0, 1, COUNT)[order])
    assert len(rest) == weights


@pytest.mark.parametrize("make", [make_dataset, FeatureBatches], ids=["fit", "PyDataset"])
def test_each_epoch_takes_the_next_view(make: Any) -> None:
    turn = NextView(2)
    dataset = make(_features(views=2), turn)
    for epoch, first in enumerate((0, 100, 0)):
        turn.on_epoch_begin(epoch)
        assert _flat(dataset)[0][0][0, 0] == first


def test_without_shuffling_rows_come_in_order() -> None:
    features = _features(shuffle=True)
    np.random.seed(0)
    shuffled = FeatureBatches(features, NextView(1))
    before = _flat(shuffled)
    shuffled.on_epoch_end()
    assert any(
        not np.array_equal(one[0], other[0])
        for one, other in zip(before, _flat(shuffled), strict=True)
    )
    batches = _flat(FeatureBatches(features.in_order(), NextView(1)))
    np.testing.assert_array_equal(np.concatenate([each[0] for each in batches])[:, 0], range(COUNT))
