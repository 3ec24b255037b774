from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.distributed.conftest import NAMES

from tlkit import freezing
from tlkit.distributed import feature_files, tail_rows
from tlkit.distributed.drawn_split import DrawnSplit
from tlkit.distributed.feature_files import FeatureRows
from tlkit.distributed.lanes import Lanes
from tlkit.distributed.storage import Location
from tlkit.distributed.tail import Frozen
from tlkit.distributed.tail_rows import TailJob, TailRows
from tlkit.errors import DataError
from tlkit.training import Phase

pytest.importorskip("pyarrow", reason="the extra 'ray' is not installed")

SPLIT = DrawnSplit(test=0.2, validation=0.2, seed=1)
SHAPES = ((2, 3), (6,))


@pytest.fixture
def job(tmp_path: Path) -> tuple[TailJob, np.ndarray, np.ndarray, np.ndarray]:
    """Files of 30, 30 and 7 images, with features, labels and parts of all of them."""
    draw = np.random.default_rng(0)
    features = draw.normal(size=(67, 12)).astype("float16")
    labels = draw.integers(0, 3, 67)
    contents = draw.integers(0, 2**64, (67, 2), "uint64")
    drawn = SPLIT.divide(contents)
    files = []
    for start in (0, 30, 60):
        rows = slice(start, min(start + 30, 67))
        paths = [f"{at}.jpg" for at in range(rows.start, rows.stop)]
        part = FeatureRows.empty(paths, [NAMES[at] for at in labels[rows]], 12, "float16")
        part.features[:], part.contents[:] = features[rows], contents[rows]
        files.append(Location(str(tmp_path / f"{start}.parquet")))
        feature_files.write(files[-1], part)
    counts = {
        part: np.array([(drawn[start : start + 30] == number).sum() for start in (0, 30, 60)])
        for number, part in enumerate(("train", "validation", "test"))
    }
    made = TailJob(
        model=Location("/none"),
        states=Location("/none"),
        files=tuple(files),
        counts=counts,
        split=SPLIT,
        names=NAMES,
        frozen=Frozen(indices=(), batchnorm="frozen"),
        image=(2, 2, 3),
        image_dtype="uint8",
        num_features=12,
        dtype="float16",
        phase=Phase(freeze=freezing.nothing),
        class_weight=np.ones(3),
        seed=0,
    )
    return made, features, labels, drawn


def _find_lanes(job: TailJob, part: str, rank: int) -> Lanes:
    return Lanes(count=int(job.counts[part].sum()), batch_size=15, workers=3, rank=rank)


def _read(job: TailJob, part: str, rank: int, max_part_bytes: int = 10**9) -> TailRows:
    lanes = {part: _find_lanes(job, part, rank)}
    return tail_rows.read(job, lanes, shapes=SHAPES, max_part_bytes=max_part_bytes)[part]


@pytest.mark.parametrize("max_bytes", [10**9, 0])
def test_workers_share_the_training_images(max_bytes: int, job: Any) -> None:
    made, features, labels, drawn = job
    shares = [_read(made, "train", rank, max_bytes) for rank in range(3)]
    assert len({len(share.labels) for share in shares}) > 1  # unequal shares
    assert isinstance(shares[0].features, np.memmap) is (max_bytes == 0)
    found = np.concatenate([share.features for share in shares])
    np.testing.assert_array_equal(found, features[drawn == 0])
    np.testing.assert_array_equal(
        np.concatenate([share.labels for share in shares]), labels[drawn == 0]
    )
    first, second = next(iter(shares[1].batches(None)))[0]
    assert (first.shape, second.shape) == ((5, 2, 3), (5, 6))
    rows = shares[1].lanes.take(None)[0][0]
    expected = shares[1].features[rows].astype("float32")
    np.testing.assert_array_equal(np.concatenate([first.reshape(5, 6), second], axis=1), expected)


def test_a_worker_without_images_fills_its_batches(job: Any) -> None:
    made, *_ = job
    made = TailJob(**{**vars(made), "counts": {"validation": np.zeros(3, "int64")}})
    rows = _read(made, "validation", 2)
    assert rows.features.shape == (1, 12)
    assert not rows.features.any()


def test_files_that_have_changed_are_refused(job: Any) -> None:
    made, *_ = job
    counts = {"train": made.counts["train"] + 1}
    with pytest.raises(DataError, match="has changed since the training started"):
        _read(TailJob(**{**vars(made), "counts": counts}), "train", 0)


def test_each_file_is_read_once_for_both_parts(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made, *_ = job
    files: list[str] = []
    read = tail_rows.read_file
    monkeypatch.setattr(
        tail_rows, "read_file", lambda file: [files.append(file.name), read(file)][1]
    )
    lanes = {part: _find_lanes(made, part, 0) for part in ("train", "validation")}
    found = tail_rows.read(made, lanes, shapes=SHAPES, max_part_bytes=10**9)
    assert files == ["0.parquet"]
    for part, rows in found.items():
        alone = _read(made, part, 0)
        np.testing.assert_array_equal(rows.features, alone.features)
        np.testing.assert_array_equal(rows.labels, alone.labels)
