import numpy as np
import pytest

from tlkit.distributed.lanes import Lanes


def _take(count: int, batch_size: int, workers: int, seed: tuple[int, int]) -> list[list[int]]:
    """Return the images of each step, in the order of the batch; -1 stands for a filled place."""
    parts = []
    for rank in range(workers):
        lanes = Lanes(count=count, batch_size=batch_size, workers=workers, rank=rank)
        rows, counted = lanes.take(seed)
        parts.append(np.where(counted, rows + lanes.rows[0], -1))
    return np.concatenate(parts, axis=1).tolist()


@pytest.mark.parametrize("count", [12, 45, 60, 61, 5])
def test_batches_do_not_depend_on_the_number_of_workers(count: int) -> None:
    batches = _take(count, 12, 1, (3, 0))
    assert len(batches) == -(-count // 12)
    for workers in (2, 3, 4, 12):
        assert _take(count, 12, workers, (3, 0)) == batches
    used = [image for batch in batches for image in batch if image >= 0]
    assert sorted(used) == list(range(count))
    assert all(-1 not in batch for batch in batches[:-1])  # only the last one is filled


def test_each_epoch_and_each_seed_has_another_order() -> None:
    orders = [_take(60, 12, 2, seed) for seed in ((3, 0), (3, 1), (4, 0))]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_a_filled_place_repeats_an_image_of_its_worker() -> None:
    lanes = Lanes(count=45, batch_size=12, workers=2, rank=1)
    rows, counted = lanes.take((0, 0))
    first, stop = lanes.rows
    assert not counted.all()
    assert (rows >= 0).all()
    assert (rows < stop - first).all()
