from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from tests.distributed.conftest import NAMES

from tlkit.distributed import feature_files, head
from tlkit.distributed.drawn_split import DrawnSplit
from tlkit.distributed.feature_files import FeatureRows
from tlkit.distributed.shards import Shard, Shards
from tlkit.distributed.storage import Location
from tlkit.errors import DataError
from tlkit.evaluation import compute_metrics
from tlkit.training import logistic_regression, solvers
from tlkit.training.solvers import Solver


def _write(
    folder: Path, count: int, rows: int, *, mean: float = 1, unreadable: bool = True
) -> tuple[list[Location], np.ndarray, np.ndarray]:
    """Write features in files of some rows; each fifth image of the first file is unreadable."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, count)
    noise = 2 * draw.normal(size=(count, 12)) + mean
    features = (draw.normal(size=(3, 12))[labels] + noise).astype("float16")
    files, kept = [], np.ones(count, bool)
    for start in range(0, count, rows):
        stop = min(start + rows, count)
        part = FeatureRows.empty(
            [f"{at}.jpg" for at in range(start, stop)],
            [NAMES[at] for at in labels[start:stop]],
            12,
            "float16",
        )
        part.features[:] = features[start:stop]
        part.contents[:] = _contents(count)[start:stop]
        if start == 0 and unreadable:
            for at in range(0, stop, 5):
                part.problems[at], kept[at] = "it is empty", False
        files.append(Location(str(folder / f"{start}.parquet")))
        feature_files.write(files[-1], part)
    return files, features[kept], labels[kept]


def _contents(count: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 2**64, (count, 2), "uint64")


def _make_shards(
    files: Sequence[Location], count: int, *, room: int = 10**9, split: DrawnSplit | None = None
) -> Shards:
    """Return shards in this process."""
    shares = [tuple(range(first, len(files), count)) for first in range(count)]
    made = [Shard([files[at] for at in share], NAMES, room, split) for share in shares]

    def call_all(
        method: str, *given: Any, each: Sequence[Mapping[int, np.ndarray]] | None = None
    ) -> list[Any]:
        own = [given] * count if each is None else [(one, *given) for one in each]
        return [getattr(shard, method)(*words) for shard, words in zip(made, own, strict=True)]

    return Shards(call_all=call_all, files=tuple(shares))


@pytest.mark.parametrize("solver", ["ridge", "lbfgs"])
@pytest.mark.parametrize(("count", "room"), [(500, 10**9), (3000, 0)])
def test_a_head_over_shards_is_that_of_one_machine(
    solver: Solver, count: int, room: int, tmp_path: Path
) -> None:
    files, features, labels = _write(tmp_path, count, 170)
    shards = _make_shards(files, 3, room=room)
    found = head.solve(shards, solver, classes=3, seed=1)
    expected = getattr(solvers, solver)(features.astype("float32"), labels, classes=3, seed=1)
    assert found.penalty == expected.penalty
    np.testing.assert_allclose(found.kernel, expected.kernel, atol=1e-5)
    np.testing.assert_allclose(found.bias, expected.bias, atol=1e-5)
    loss, correct = shards.add_up("measure", found) / len(labels)
    assert loss == pytest.approx(expected.loss(features.astype("float32"), labels), abs=1e-5)
    assert correct == pytest.approx(expected.accuracy(features.astype("float32"), labels))


@pytest.mark.parametrize("room", [10**9, 0])
def test_with_a_split_training_images_are_solved_and_others_evaluated(
    room: int, tmp_path: Path
) -> None:
    files, features, labels = _write(tmp_path, 1500, 170, unreadable=False)
    split = DrawnSplit(test=0.3, validation=0.1, seed=2)
    drawn = split.divide(_contents(1500))
    x, y = features[drawn == 0].astype("float32"), labels[drawn == 0]
    shards = _make_shards(files, 3, room=room, split=split)
    found = head.solve(shards, "lbfgs", classes=3, seed=1)
    expected = solvers.lbfgs(x, y, classes=3, seed=1)
    np.testing.assert_allclose(found.kernel, expected.kernel, atol=1e-5)

    tested, truth = features[drawn == 2].astype("float32"), labels[drawn == 2]
    probabilities = softmax(found.logits(tested) / 1.5, axis=1)
    metrics = compute_metrics(truth, probabilities, class_names=NAMES)
    totals = shards.add_up("evaluate", found, 1.5, "test")
    np.testing.assert_array_equal(totals.confusion, metrics.confusion)
    assert totals.losses[0] / totals.count == pytest.approx(metrics.loss, rel=1e-5)
    starts = range(0, 1500, 170)
    counts = np.array([(drawn[start : start + 170] == 2).sum() for start in starts])
    rows = np.array([0, 5, len(truth) - 1])
    taken, classes = shards.take(rows, part="test", counts=counts)
    np.testing.assert_array_equal(taken, tested[rows])
    np.testing.assert_array_equal(classes, truth[rows])


def test_rows_are_taken_in_the_order_of_the_manifest(tmp_path: Path) -> None:
    files, features, labels = _write(tmp_path, 100, 30)
    rows = np.array([93, 5, 41, 5, 0])
    found, classes = _make_shards(files, 2).take(rows)
    np.testing.assert_array_equal(found, features[rows].astype("float32"))
    np.testing.assert_array_equal(classes, labels[rows])


def test_a_label_that_the_classifier_does_not_know_is_named(tmp_path: Path) -> None:
    files, _, _ = _write(tmp_path, 20, 20)
    with pytest.raises(DataError, match=r"must have labels that the classifier knows.*'eel'"):
        Shard(files, NAMES[:2], 0).count()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it is missing or damaged"):
        Shard([Location(str(tmp_path / "none.parquet"))], NAMES, 0).count()


def test_ridge_keeps_its_digits_where_means_are_far_above_deviations(tmp_path: Path) -> None:
    files, features, labels = _write(tmp_path, 60, 9, mean=100)
    found = head.solve(_make_shards(files, 2), "ridge", classes=3, seed=1)
    expected = solvers.ridge(features.astype("float64"), labels, classes=3, seed=1)
    np.testing.assert_allclose(found.kernel, expected.kernel, atol=1e-5)


def test_sums_over_files_are_those_over_blocks_of_the_same_images(tmp_path: Path) -> None:
    files, features, labels = _write(tmp_path, 3000, 20, unreadable=False)
    draw = np.random.default_rng(0)
    kernel, bias = (draw.normal(size=size).astype("float32") for size in ((12, 3), (3,)))
    shift, scale = np.float32(1), np.float32(2)
    found = _make_shards(files, 3).call_all("measure_errors", kernel, bias, shift, scale)
    standard = (features.astype("float32") - shift) / scale
    blocks = [
        logistic_regression.measure_errors((standard[at], labels[at], None), kernel, bias)[0]
        for at in (slice(start, start + 20) for start in range(0, 3000, 20))
    ]
    expected = np.sum(blocks, axis=0, dtype="float64")
    np.testing.assert_allclose(sum(each[0] for each in found), expected, rtol=1e-12)
