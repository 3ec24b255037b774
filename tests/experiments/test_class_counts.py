"""Unusual numbers of classes and images: each trains, or an error says what to do."""

import io
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from tests.samples import small_classifier

from tlkit import sources
from tlkit.cli import app
from tlkit.data import class_coverage, splits
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.scanning import Scan
from tlkit.errors import DataError
from tlkit.evaluation import calibrate, compute_metrics, cross_validate, evaluate
from tlkit.experiments.reporting import plan
from tlkit.plotting import confusion_matrix, reliability_diagram
from tlkit.training import SolvedHead, solvers, train_phase

Write = Callable[..., Path]
WORDS = ("--image-size", "32", "--weights", "starter")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write so many random pictures of each class to a folder."""
    random = np.random.default_rng(0)

    def make(name: str, counts: dict[str, int]) -> Path:
        for label, count in counts.items():
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (8, 8, 3), "uint8")
                Image.fromarray(pixels).save(folder / f"{number}.png")
        return tmp_path / name

    return make


def _dataset(counts: list[int], *, seed: int = 0) -> ImageDataset:
    """Return images whose brightness tells their class, with some noise."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    images = random.integers(0, 100, (len(labels), 9, 9), "uint8")
    images += (100 * labels / len(counts)).astype("uint8")[:, None, None]
    return sources.from_arrays(images, labels, class_names=[f"c{n}" for n in range(len(counts))])


def _fail(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert app.main([*map(str, words)]) == app.WRONG_DATA
    return capsys.readouterr().err


def test_one_image_of_each_class_can_not_be_split(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write("photos", {"a": 1, "b": 1, "c": 1})
    said = _fail(capsys, "train", data, "--out", tmp_path / "run", *WORDS)
    assert "must have images of every class" in said
    assert (
        "Too few images of 'a' (1), 'b' (1) and 'c' (1): a class needs at least 2, one for" in said
    )
    assert "Add images, leave the class out or test on other images with `--test-data`." in said
    said = _fail(capsys, "train", data, "--out", tmp_path / "run", *WORDS, "--folds", "2")
    assert "at least 2 images that are not duplicates" in said
    assert not (tmp_path / "run").exists()


def test_one_image_of_each_class_is_learned_from(small_backbone: keras.Model) -> None:
    data = _dataset([1, 1, 1])
    model = small_classifier(small_backbone, class_names=data.class_names)
    train_phase(model, SolvedHead(), data, seed=0, verbose=False)
    found = evaluate(model, _dataset([2, 2, 0], seed=1).reorder(data.class_names))
    assert np.isfinite(found.loss)
    assert found.classes[2].defined() == (None, None, None) or found.classes[2].num_predicted
    assert "1 of 3 classes have no images to test on" in str(found)
    assert calibrate(model, data).temperature == 1
    features = np.eye(3, dtype="float32")
    assert (
        solvers.ridge(features, data.labels, classes=3, seed=0).accuracy(features, data.labels) == 1
    )


def test_a_rare_class_is_in_every_part_or_it_is_said(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write("photos", {"common": 200, "rare": 1})
    said = _fail(capsys, "train", data, "--out", tmp_path / "run", *WORDS)
    assert "got none of 'rare' in" in said
    assert "Too few images of 'rare' (1): a class needs at least 2, one for each part." in said
    four = _dataset([800, 4])
    made = splits.split(four, stratify=True)
    assert [part.counts["c1"] for part in (made.train, made.test)] == [3, 1]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [2, 3, 7])
def test_a_new_class_of_few_images_is_in_every_part(count: int, seed: int) -> None:
    old, new = _dataset([60, 60]), _dataset([0, 0, count], seed=1)
    data = replace(
        new,
        images=np.concatenate([old.images, new.images]),
        labels=np.concatenate([old.labels, new.labels]),
        added=(False,) * 120 + (True,) * count,
    )
    names = ("train", "test") if count == 2 else ("train", "test", "validation")
    shares = {"test": 0.2, "validation": 0.15 if count > 2 else 0.0}
    made = splits.split(data, **shares, seed=seed, duplicates="together")
    alone = splits.split(old, **shares, seed=seed, duplicates="together")
    for part in names:
        found = getattr(made, part)
        assert found.counts["c2"] >= 1
        np.testing.assert_array_equal(  # the images that there were stay where they were
            found.images[~np.asarray(found.added)], getattr(alone, part).images
        )
    assert sum(getattr(made, part).counts["c2"] for part in names) == count
    again = splits.split(replace(data, added=()), test=0.2, stratify=True, duplicates="together")
    assert again.test.counts["c2"] >= 1
    assert ("few images of 'c2': some moved" in str(made)) == bool(made.dealt_out)


@pytest.mark.parametrize("seed", range(5))
def test_a_group_with_images_of_an_old_class_stays_together(seed: int) -> None:
    data = _dataset([40, 40, 3])
    groups = [f"group {number}" for number in range(83)]
    groups[80] = groups[0]
    data = replace(data, groups=tuple(groups), added=(False,) * 80 + (True,) * 3)
    more = replace(data, added=(True,) + (False,) * 79 + (True,) * 3)  # of an old class too
    assert class_coverage.find_new(more).tolist() == [2]
    made = splits.split(data, duplicates="together", seed=seed)
    assert made.num_groups_apart == 0
    assert {made.train.counts["c2"], made.test.counts["c2"]} <= {1, 2}
    many = splits.split(replace(_dataset([40, 60]), added=(False,) * 40 + (True,) * 60), seed=seed)
    assert not many.dealt_out


def test_large_shares_leave_one_of_three_images_of_a_class_to_train_on() -> None:
    made = splits.split(_dataset([60, 60, 3]), test=0.6, validation=0.3, stratify=True)
    assert [getattr(made, part).counts["c2"] for part in ("train", "validation", "test")] == [1] * 3


def test_the_copies_of_one_photo_are_too_few_for_a_new_class() -> None:
    images = np.random.default_rng(0).integers(0, 256, (43, 8, 8), "uint8")
    images[40:] = images[40]
    labels, added = [0, 1] * 20 + [2] * 3, (False,) * 40 + (True,) * 3
    data = sources.from_arrays(images, labels, class_names=["c0", "c1", "c2"])
    with pytest.raises(
        DataError, match=r"Too few images of 'c2' \(3 in one group\): .* at least 2"
    ):
        splits.split(replace(data, added=added), duplicates="together")


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_new_class_of_few_photos_is_added_or_it_is_said_how_many_it_needs(
    count: int, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, new = write("photos", {"a": 20, "b": 20}), write("new", {"rare": count})
    words = ["train", data, "--add", new, "--out", tmp_path / "run", *WORDS]
    if count == 1:
        said = _fail(capsys, *words)
        assert "Too few images of 'rare' (1): a class needs at least 2, one for each part." in said
        words += ["--test-data", write("other", {"a": 3, "b": 3})]
    assert app.main([*map(str, words)]) == app.DONE
    rows = json.loads((tmp_path / "run" / "config.json").read_text())["making"]["additions"]
    new_rows = [
        (each["num_training"], each["num_test"]) for each in rows if "new" in each["images"]
    ]
    assert new_rows == ([] if count == 1 else [(count - 1, 1)])


def test_a_rare_class_is_trained_and_measured(small_backbone: keras.Model) -> None:
    data = _dataset([100, 2])
    model = small_classifier(small_backbone, classes=2, class_names=data.class_names)
    found = cross_validate(model, data, folds=5)
    assert found.pooled.count == 102
    assert found.pooled.classes[1].support == 2
    assert np.isfinite([found.pooled.loss, found.pooled.balanced_accuracy]).all()
    assert len(found.accuracies) == 5


def test_one_class_is_refused(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write("photos", {"only": 5})
    said = _fail(capsys, "train", data, "--out", tmp_path / "run", *WORDS)
    assert "images of at least 2 classes, got ['only']" in said
    assert "add a class of other images" in said


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_class_without_training_images_is_refused_or_left_out(
    part: str, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("photos/train", {"a": 4, "b": 4})
    data = write(f"photos/{part}", {"a": 2, "b": 2, "new": 1})
    said = _fail(capsys, "train", data.parent, "--out", tmp_path / "run", *WORDS)
    assert "class 'new': one" in said
    assert "but no training image to learn it from" in said
    assert "`--unreadable skip`" in said
    left = sources.from_folder(data.parent, image_size=8, unreadable="skip")
    assert left.class_names == ("a", "b")
    assert len(left) == 12


def test_a_thousand_classes_of_three_images_are_split() -> None:
    random = np.random.default_rng(1)
    hashes = random.integers(1, 2**63, 3000).tolist()
    data = ImageDataset(
        name="many",
        images=np.zeros((3000, 1, 1), "uint8"),
        labels=np.arange(3000) % 1000,
        class_names=[f"class {number}" for number in range(1000)],
        known_scans=tuple(Scan(digest=f"{each}", perceptual_hash=each) for each in hashes),
    )
    assert " and 970 more classes" in str(data)
    with pytest.raises(DataError, match="and [0-9]+ more in train.*, or set `stratify=True`"):
        splits.split(data)
    made = splits.split(data, stratify=True)
    assert (len(made.train), len(made.test)) == (2000, 1000)
    assert set(made.test.counts.values()) == {1}


def test_a_thousand_classes_are_solved_measured_and_drawn() -> None:
    random = np.random.default_rng(0)
    centres, labels = random.normal(size=(1000, 16)), np.arange(3000) % 1000
    features = (centres[labels] + random.normal(scale=0.1, size=(3000, 16))).astype("float32")
    started = time.perf_counter()
    linear = solvers.ridge(features[:2000], labels[:2000], classes=1000, seed=0)
    logits = linear.logits(features[2000:]).astype("float64")
    rows = np.exp(logits - logits.max(axis=1, keepdims=True))
    names = [f"class {number}" for number in range(1000)]
    found = compute_metrics(
        labels[2000:], rows / rows.sum(axis=1, keepdims=True), class_names=names
    )
    assert found.accuracy > 0.5
    figures = [confusion_matrix(found), reliability_diagram(found)]
    for figure in figures:
        figure.savefig(io.BytesIO(), dpi=150)
        assert max(figure.get_size_inches()) < 12
    assert "40 of 1,000 classes, with the most errors" in figures[0].axes[0].get_title()
    assert len(figures[0].axes[0].get_xticklabels()) == 40
    assert "the 30 of 1,000 classes with the lowest F1:" in str(found)
    assert len(str(found).splitlines()) < 40
    assert time.perf_counter() - started < 30


@pytest.mark.slow
def test_one_image_of_each_class_trains_to_a_report(write: Write, tmp_path: Path) -> None:
    data, other = write("photos", {"a": 1, "b": 1, "c": 1}), write("other", {"a": 3, "b": 3})
    out = tmp_path / "run"
    words = ["train", str(data), "--out", str(out), *WORDS, "--test-data", str(other)]
    with pytest.warns(UserWarning, match="too few to choose the layers"):
        assert app.main(words) == app.DONE
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["count"] == 6
    report = (out / "report.md").read_text()
    assert "These classes have no test images" in report
    assert "The split is the user's own: the test images are used as they were given." in report
    assert app.main(["report", str(out)]) == app.DONE
    assert (out / "report.md").read_text() == report


def _divide(counts: list[int], tested: list[int]) -> splits.Split:
    """Return a split with so many test images of each class."""
    data = _dataset(counts)
    starts = np.cumsum([0, *counts[:-1]])
    chosen = np.concatenate([start + np.arange(n) for start, n in zip(starts, tested, strict=True)])
    rest = np.setdiff1d(np.arange(len(data)), chosen)
    empty = data.take(slice(0))
    return splits.Split(train=data.take(rest), validation=empty, test=data.take(chosen))


@pytest.mark.parametrize(
    ("counts", "tested", "found"),
    [
        ([100, 100, 20], [20, 20, 4], None),
        ([100, 100, 20], [21, 21, 2], None),  # half of what is expected
        ([100, 100, 20], [21, 22, 1], ("1 of 20", "20 %")),
        ([100, 100, 20], [18, 18, 8], ("8 of 20", "20 %")),
        ([100, 100, 4], [20, 21, 0], None),  # less than one too few
    ],
)
def test_the_plan_says_where_a_class_is_divided_unevenly(
    counts: list[int], tested: list[int], found: tuple[str, str] | None
) -> None:
    parts = _divide(counts, tested)
    lines = [each for each in plan(_dataset(counts), parts).splitlines() if "uneven" in each]
    assert len(lines) == (found is not None)
    if found is not None:
        start = f"note: classes are divided unevenly, such as 'c2': {found[0]} are test images"
        assert lines[0] == f"{start}, of all {found[1]}; `stratify` keeps proportions equal"
    own = replace(parts, own_parts=("test",))
    assert "uneven" not in plan(_dataset(counts), own)
