from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from tlkit.data.digests import to_text
from tlkit.data.listings import PARTS
from tlkit.distributed import feature_files
from tlkit.distributed.drawn_split import DrawnSplit, list_rows, survey
from tlkit.distributed.feature_files import FeatureRows
from tlkit.distributed.feature_set import FeatureSet
from tlkit.distributed.storage import Location
from tlkit.errors import DataError

SPLIT = DrawnSplit(test=0.25, validation=0.15, seed=4)


def _draw_contents(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 2**64, (count, 2), "uint64")


def _write(folder: Path, count: int = 200, rows: int = 60) -> tuple[FeatureSet, np.ndarray]:
    """Write features in files of some rows; the first image of each file is unreadable."""
    contents, files = _draw_contents(count), []
    for start in range(0, count, rows):
        at = range(start, min(start + rows, count))
        part = FeatureRows.empty(
            [f"{each}.jpg" for each in at],
            ["cat" if each % 3 else "dog" for each in at],
            4,
            "float16",
        )
        part.contents[:] = contents[at.start : at.stop]
        part.problems[0] = "it is empty"
        files.append(f"{start}.parquet")
        feature_files.write(Location(str(folder / files[-1])), part)
    counts = {"cat": 0, "dog": 0}
    fields: dict[str, Any] = dict.fromkeys(
        ("num_images", "num_computed", "num_features", "read_bytes", "seconds"), 0
    )
    features = FeatureSet(
        **fields,
        folder=str(folder),
        files=tuple(files),
        dtype="float16",
        engine="keras",
        class_counts=counts,
        problems=(),
        workers=(),
    )
    readable = np.array([number for number in range(count) if number % rows])
    return features, readable


def test_shares_are_those_that_were_asked_for() -> None:
    counts = np.bincount(SPLIT.divide(_draw_contents(20_000)), minlength=3) / 20_000
    assert counts.tolist() == pytest.approx([0.6, 0.15, 0.25], abs=0.015)  # 4 standard errors


def test_a_part_depends_on_the_content_and_the_seed_only() -> None:
    contents = _draw_contents(500)
    drawn = SPLIT.divide(contents)
    np.testing.assert_array_equal(SPLIT.divide(contents[::-7]), drawn[::-7])
    other = DrawnSplit(test=0.25, validation=0.15, seed=5).divide(contents)
    assert 0.3 < (drawn != other).mean() < 0.8
    ranks = SPLIT.rank(contents)
    assert len(np.unique(ranks)) == 500
    low = drawn[ranks < np.median(ranks)]  # the sample of a part is independent of the part
    assert (low == 2).mean() == pytest.approx(0.25, abs=0.08)


def test_parts_that_the_user_made_stay() -> None:
    contents = _draw_contents(300)
    paths = [f"{'test' if number % 3 else 'train'}/cat/{number}.jpg" for number in range(300)]
    own = DrawnSplit(test=0, validation=0.4, seed=1, folders=(("test/", "test"),))
    drawn = own.divide(contents, paths)
    of_test = np.array([path.startswith("test/") for path in paths])
    assert (drawn[of_test] == 2).all()
    assert set(drawn[~of_test].tolist()) == {0, 1}


def test_a_survey_counts_images_and_draws_those_with_the_smallest_ranks(tmp_path: Path) -> None:
    features, readable = _write(tmp_path)
    contents = _draw_contents(200)[readable]
    drawn, ranks = SPLIT.divide(contents), SPLIT.rank(contents)
    found = survey(features, SPLIT, max_sample=10)
    for number, part in enumerate(PARTS):
        mine = readable[drawn == number]
        assert found.total(part) == len(mine)
        assert found.counts[part].tolist() == np.bincount(mine // 60, minlength=4).tolist()
        assert found.class_counts[part] == {
            "cat": int((mine % 3 > 0).sum()),
            "dog": int((mine % 3 == 0).sum()),
        }
        sample = found.samples[part]
        smallest = np.sort(np.argsort(ranks[drawn == number])[:10])
        np.testing.assert_array_equal(sample.rows, smallest)
        assert sample.paths.tolist() == [f"{each}.jpg" for each in mine[smallest]]
        np.testing.assert_array_equal(sample.contents, contents[drawn == number][smallest])
    assert len(found.samples["test"]) == 10
    rows = list(list_rows(features, SPLIT))
    assert [row[0] for row in rows] == [PARTS[part] for part in drawn]
    assert [row[2] for row in rows] == to_text(contents)
    assert rows[0][1::2] == ("1.jpg", "cat")


def test_features_without_digests_of_the_content_are_refused(tmp_path: Path) -> None:
    features, _ = _write(tmp_path)
    for file in features.locations:
        table = pyarrow.parquet.read_table(file.text).drop_columns("content")
        pyarrow.parquet.write_table(table, file.text)
    assert feature_files.read(features.locations[0]) is None  # it is written again
    with pytest.raises(DataError, match="features of an earlier version"):
        survey(features, SPLIT, max_sample=10)


def test_a_survey_tells_other_images_classes_and_parts_apart(tmp_path: Path) -> None:
    features, _ = _write(tmp_path)
    seen = [survey(features, SPLIT, max_sample=1).digest]
    assert survey(features, SPLIT, max_sample=9).digest == seen[0]
    for test in (0.3, 0.25):
        split = DrawnSplit(test=test, validation=0.15, seed=4)
        seen.append(survey(features, split, max_sample=1).digest)
    assert seen[2] == seen[0]
    file = Location(str(tmp_path / features.files[1]))
    rows = feature_files.read(file)
    assert rows is not None
    rows.digests[3] += np.uint64(1)
    feature_files.write(file, rows)
    seen.append(survey(features, SPLIT, max_sample=1).digest)
    rows.labels[3] = {"cat": "dog", "dog": "cat"}[str(rows.labels[3])]
    feature_files.write(file, rows)
    seen.append(survey(features, SPLIT, max_sample=1).digest)
    assert len(set(seen)) == 4
