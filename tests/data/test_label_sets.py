"""Tables and arrays of images that can have several classes, or none."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkit import sources
from tlkit.data import assign_folds, naming
from tlkit.errors import ConfigError, DataError
from tlkit.splits import split

LABELS = ["cat|dog", "dog", "", "eel | cat|", "dog|dog"]
NAMES = ("cat", "dog", "eel")
ROWS = [[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1], [0, 1, 0]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for index in range(len(LABELS)):
        pixels = random.integers(0, 256, (12, 12, 3), "uint8")
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    return tmp_path


def write(folder: Path, columns: dict[str, list[object]]) -> Path:
    table = folder / "table.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *columns])
        for index, row in enumerate(zip(*columns.values(), strict=True)):
            writer.writerow([f"{index}.png", *row])
    return table


def read(table: Path, **settings: object) -> sources.ImageDataset:
    return sources.from_manifest(table, image_size=8, **settings)


@pytest.mark.parametrize("sign", ["|", ";", ",", "+"])
def test_a_column_of_labels_joined_by_a_sign(folder: Path, sign: str) -> None:
    table = write(folder, {"label": [each.replace("|", sign) for each in LABELS]})
    found = read(table, label_separator=sign)
    assert found.class_names == NAMES
    np.testing.assert_array_equal(found.labels, ROWS)
    assert found.is_multi_label
    assert found.counts == {"cat": 2, "dog": 3, "eel": 1}
    assert "2 images have several classes, 1 have none" in str(found)


def test_lists_in_parquet(folder: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    lists = [[each.strip() for each in label.split("|") if each.strip()] for label in LABELS]
    paths = [f"{index}.png" for index in range(len(LABELS))]
    parquet.write_table(arrow.table({"path": paths, "label": lists}), folder / "t.parquet")
    np.testing.assert_array_equal(read(folder / "t.parquet", label_separator="|").labels, ROWS)


@pytest.mark.parametrize(
    "words", [("0", "1"), ("0.0", "1.0"), ("False", "True"), ("false", "TRUE")]
)
def test_a_column_of_0_and_1_for_each_class(folder: Path, words: tuple[str, str]) -> None:
    columns = {
        name: [words[row[at]] for row in ROWS] for name, at in zip("zyx", (2, 1, 0), strict=True)
    }
    found = read(write(folder, columns), label_columns=("z", "y", "x"))
    assert found.class_names == ("z", "y", "x")  # in the order that was given
    np.testing.assert_array_equal(found.labels, np.array(ROWS)[:, ::-1])
    other = read(write(folder, columns), label_columns=("x", "y", "z"), class_names=("z", "y", "x"))
    np.testing.assert_array_equal(other.labels, found.labels)  # a classifier's order


@pytest.mark.parametrize(("cell", "shown"), [("", "empty"), ("-1", "-1"), ("2", "2")])
def test_unknown_labels_are_problems(folder: Path, cell: str, shown: str) -> None:
    table = write(folder, {"a": ["1", cell, "0", "1", "1"], "b": ["0", "1", "1", "0", "0"]})
    with pytest.raises(DataError, match=f"1.png: its label 'a' is {shown}, not 0 or 1"):
        read(table, label_columns=("a", "b"))
    found = read(table, label_columns=("a", "b"), unreadable="skip", max_unreadable=0.3)
    assert len(found) == 4


def test_without_a_separator_several_labels_are_refused_with_advice(folder: Path) -> None:
    with pytest.raises(DataError, match=r"several, such as 'cat\|dog'.* `label_separator`"):
        read(write(folder, {"label": LABELS}))


def test_another_separator_than_the_given_one_is_noticed(folder: Path) -> None:
    table = write(folder, {"label": [each.replace("|", ";") for each in LABELS]})
    with pytest.raises(
        DataError, match="must have '|' between the labels of an image, got 'cat;dog'"
    ):
        read(table, label_separator="|")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"label_columns": ("a",)}, "must be the columns of at least 2 classes"),
        ({"label_columns": ("a", "a")}, "must be different names"),
        ({"label_columns": ("a", "b"), "label_separator": "|"}, "without `label_separator`"),
        ({"label_columns": ("a", "b"), "label_column": "a"}, "without `label_column`"),
        ({"label_columns": ("a", "c")}, "must have a column 'c'"),
        ({"label_columns": ("a", "b"), "class_names": ("a", "c")}, r"the classes \['a', 'c'\]"),
        ({"label_separator": ""}, "must be a sign such as"),
    ],
)
def test_settings_that_do_not_fit_together(
    folder: Path, settings: dict[str, object], words: str
) -> None:
    table = write(folder, {"a": [1, 0, 1, 0, 1], "b": [0, 0, 1, 1, 1], "label": LABELS})
    with pytest.raises(ConfigError, match=words):
        read(table, **settings)


def test_arrays_and_batches(folder: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), "uint8")
    found = sources.from_arrays(images, np.array(ROWS, bool), class_names=NAMES, multi_label=True)
    np.testing.assert_array_equal(found.labels, ROWS)
    batches = [(images[:3], np.array(ROWS[:3])), (images[3:], np.array(ROWS[3:]))]
    other = sources.from_batches(batches, class_names=NAMES, multi_label=True)
    np.testing.assert_array_equal(other.labels, ROWS)
    with pytest.raises(DataError, match="multi_label=True"):
        sources.from_arrays(images, ROWS, class_names=NAMES)
    for wrong in ([0, 1, 2, 0, 1], np.array(ROWS) * 2, np.array(ROWS)[:, :2]):
        with pytest.raises(DataError, match="`labels` for multi-label must"):
            sources.from_arrays(images, wrong, class_names=NAMES, multi_label=True)


def test_columns_follow_the_classifiers_order() -> None:
    images = np.zeros((5, 4, 4), "uint8")
    data = sources.from_arrays(images, ROWS, class_names=NAMES, multi_label=True)
    np.testing.assert_array_equal(
        data.reorder(("eel", "cat", "dog")).labels, np.array(ROWS)[:, [2, 0, 1]]
    )
    with pytest.raises(DataError, match="must have labels for each of the classes"):
        data.reorder((*NAMES, "fox"))


def test_a_split_keeps_rows_with_their_images_and_refuses_to_stratify() -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (100, 8, 8), "uint8")
    rows = random.integers(0, 2, (100, 3))
    images[:, 0, :3] = rows
    data = sources.from_arrays(images, rows, class_names=NAMES, multi_label=True)
    parts = split(data, test=0.3, duplicates="together")
    for part in (parts.train, parts.test):
        np.testing.assert_array_equal(part.images[:, 0, :3], part.labels)
    with pytest.raises(ConfigError, match="`stratify` must be False where images can have several"):
        split(data, stratify=True)


def test_a_class_may_lack_test_images_but_not_training_images() -> None:
    random = np.random.default_rng(0)
    images, rows = random.integers(0, 256, (60, 8, 8), "uint8"), np.ones((60, 3), int)
    rows[1:, 2] = 0
    data = sources.from_arrays(images, rows, class_names=NAMES, multi_label=True)
    outcomes = set()
    for seed in range(12):
        try:
            outcomes.add(split(data, test=0.5, seed=seed, duplicates="allow").test.counts["eel"])
        except DataError as error:
            outcomes.add(str(error)[:62])
    assert outcomes == {0, "Every part must have images of every class, got none of 'eel' "}


def test_identical_images_with_different_labels_are_refused() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), "uint8")
    images[1] = images[0]
    rows = np.tile([[1, 1, 0], [1, 0, 1]], (20, 1))
    data = sources.from_arrays(images, rows, class_names=NAMES, multi_label=True)
    with pytest.raises(DataError, match="one pair of identical images with different labels"):
        split(data, duplicates="together")


@pytest.mark.parametrize("known", [None, ("cat", "dog", "eel")])
def test_lists_of_another_librarys_data_set(known: tuple[str, ...] | None) -> None:
    lists = [[0, 1], [1], [], None, np.array([2])]
    if known is None:
        lists = [None if own is None else [NAMES[at] for at in own] for own in lists]
    found = naming.from_lists(lists, known, column="tags")
    assert found == [("cat", "dog"), ("dog",), (), (), ("eel",)]
    with pytest.raises(DataError, match="'tags' must hold a list of labels for each image, got 3"):
        naming.from_lists([3], known, column="tags")


def test_indices_must_have_a_name() -> None:
    with pytest.raises(DataError, match=r"indices of its 2 classes, got \[0, 2\]"):
        naming.from_lists([[0, 2]], ("a", "b"), column="tags")


def test_names_with_a_comma_are_no_joined_labels() -> None:
    cells = ["castle, ruined|castle", "boat", "castle"]
    found = naming.from_joined_labels(cells, separator="|", column="label")
    assert found == [("castle, ruined", "castle"), ("boat",), ("castle",)]


def test_parts_of_the_users_own_split_are_compared_by_single_classes(folder: Path) -> None:
    table = write(folder, {"label": LABELS, "part": ["train", "train", "train", "test", "test"]})
    with pytest.raises(DataError, match="class 'eel'.*no training image to learn it from"):
        read(table, label_separator="|", split_column="part")
    labels = ["cat|dog", "dog|eel", "", "eel", ""]
    table = write(folder, {"label": labels, "part": ["train", "train", "train", "test", "test"]})
    found = read(table, label_separator="|", split_column="part")
    assert "no test images of 2 of 3 classes: cat and dog" in str(found)
    parts = split(found)
    assert (len(parts.train), len(parts.test)) == (3, 2)


def test_folds_are_refused() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), "uint8")
    data = sources.from_arrays(images, ROWS, class_names=NAMES, multi_label=True)
    with pytest.raises(ConfigError, match="`folds` must be left out where images can have several"):
        assign_folds(data)
