import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tlkit import sources
from tlkit.cli import app
from tlkit.data import naming
from tlkit.data.class_names import order_class_names
from tlkit.data.image_dataset import ImageDataset
from tlkit.errors import DataError

NFC, NFD = "caf\u00e9", "cafe\u0301"


def _picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), "uint8")
    Image.fromarray(pixels).save(path)
    return path


def _folder(root: Path, labels: list[Any]) -> ImageDataset:
    for number, label in enumerate(labels):
        _picture(root / str(label) / f"{number}.png", number)
    return sources.from_folder(root, image_size=8)


def _table(root: Path, labels: list[Any], **settings: Any) -> ImageDataset:
    rows = ["path\tlabel"]
    for number, label in enumerate(labels):
        _picture(root / f"{number}.png", number)
        rows.append(f'{number}.png\t"{label}"')
    (root / "all.csv").write_text("\n".join(rows), encoding="utf-8")
    return sources.from_manifest(root / "all.csv", image_size=8, **settings)


def _parquet(root: Path, labels: list[Any], **settings: Any) -> ImageDataset:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    paths = [_picture(root / f"{number}.png", number).name for number in range(len(labels))]
    parquet.write_table(pyarrow.table({"path": paths, "label": labels}), root / "all.parquet")
    return sources.from_manifest(root / "all.parquet", image_size=8, **settings)


def _huggingface(root: Path, labels: list[Any], **settings: Any) -> ImageDataset:
    datasets = pytest.importorskip("datasets")
    paths = [str(_picture(root / f"{number}.png", number)) for number in range(len(labels))]
    rows = datasets.Dataset.from_dict({"image": paths, "label": labels})
    return sources.from_huggingface(rows, image_size=8, **settings)


DOORS = [_folder, _table, _parquet, _huggingface]
TABLES = DOORS[1:]


@pytest.mark.parametrize("door", DOORS)
def test_whole_numbers_as_labels_stay_the_indices_of_classes(door: Any, tmp_path: Path) -> None:
    labels = [*range(11, -1, -1), 10, 2]
    made = door(tmp_path, labels)
    assert made.class_names == tuple(map(str, range(12)))
    assert sorted(made.labels.tolist()) == sorted(labels)
    if door is not _folder:  # which is read class after class
        assert made.labels.tolist() == labels


@pytest.mark.parametrize("door", DOORS)
def test_names_that_look_the_same_are_one_class(door: Any, tmp_path: Path) -> None:
    made = door(tmp_path, [NFC, NFD, f"{NFC}\u200b", f" {NFD}", "tea  pot", "tea\u00a0pot"])
    assert made.counts == {NFC: 4, "tea pot": 2}
    made = made.reorder(["tea pot", NFD])
    assert sorted(made.labels.tolist()) == [0, 0, 1, 1, 1, 1]


def test_capitals_make_classes_and_are_said(tmp_path: Path) -> None:
    made = _table(tmp_path, ["Dog", "dog", "a", "A"])
    assert len(made.class_names) == 4
    assert "the classes 'Dog' and 'dog' differ in capitals only" in str(made)
    assert str(made).count("capitals") == 1


@pytest.mark.parametrize("door", TABLES)
@pytest.mark.parametrize("missing", ["", "nan", " "])
def test_an_image_without_a_label_is_refused_or_left_out(
    door: Any, missing: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"One problem found: .*: it has no label"):
        door(tmp_path, ["a", "b", missing])
    made = door(tmp_path, ["a", missing, "b"], unreadable="skip", max_unreadable=0.5)
    assert made.counts == {"a": 1, "b": 1}
    assert len(made.problems) == 1
    np.testing.assert_array_equal(
        made.images[1], np.asarray(Image.open(tmp_path / "2.png"))
    )  # the label of the third image stays its own


@pytest.mark.parametrize(
    ("door", "labels"),
    [
        (_table, [0, 1, -1, 1]),
        (_parquet, [0, 1, -1, 1]),
        (_parquet, [0.0, 1.0, float("nan"), 1.0]),
        (_parquet, [0, 1, None, 1]),
        (_huggingface, [0, 1, -1, 1]),
        (_huggingface, [0.0, 1.0, None, 1.0]),
    ],
)
def test_missing_numbers_are_no_class(door: Any, labels: list[Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it has no label"):
        door(tmp_path, labels)
    made = door(tmp_path, labels, unreadable="replace", max_unreadable=0.5)
    assert made.class_names == ("0", "1")
    assert made.labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("door", "labels"),
    [
        (_table, ["['cat', 'dog']", "['cat']"]),
        (_table, ["cat|dog", "cat|owl", "owl|dog"]),
        (_table, ["cat, dog", "dog", "cat"]),
        (_table, ["16 0", "0", "7 16"]),
        (_parquet, [["cat", "dog"], ["cat"]]),
        (_huggingface, [[0, 1], [1]]),
        (_huggingface, [{"a": 1}, {"a": 2}]),
    ],
)
def test_several_labels_of_an_image_are_refused(
    door: Any, labels: list[Any], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="must have one label for each image, got several"):
        door(tmp_path, labels)


def test_names_with_signs_are_no_lists() -> None:
    names = ["castle, ruined", "castle, old", "sea lion", "lion", "sea", "(other)", "salt & pepper"]
    assert naming.from_labels(names, column="label") == names
    for labels in ([[0], [0, 1]], [[0, 1], [1, 0]], [[[0]], [[1]]]):
        with pytest.raises(DataError, match="one whole number for each image"):
            sources.from_arrays(np.zeros((2, 4, 4)), labels, class_names="ab")


@pytest.mark.parametrize("door", TABLES)
def test_a_column_of_parts_is_no_column_of_classes(door: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the parts of a data set: \['test', 'train'\]. Choose"):
        door(tmp_path, ["train", "test", "train"])
    assert door(tmp_path, ["train", "bus", "train"]).counts == {"bus": 1, "train": 2}


@pytest.mark.parametrize("name", ["caf\udce9", "new\nline", "bell\x07"])
def test_names_that_cannot_be_written_are_refused_at_the_start(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _folder(tmp_path / "all", ["a", "b"])
    bad = _picture(tmp_path / "all" / "a" / f"{name}.png", 9)
    with pytest.raises(DataError, match=r"One problem found: a/.*its name (is not UTF-8|has a)"):
        sources.from_folder(tmp_path / "all", image_size=8)
    left = sources.from_folder(
        tmp_path / "all", image_size=8, unreadable="replace", max_unreadable=0.5
    )
    assert left.paths == ("a/0.png", "b/1.png")
    str(left).encode()
    out = tmp_path / "run"
    words = ["train", str(tmp_path / "all"), "--out", str(out), "--weights", "starter"]
    assert app.main([*words, "--image-size", "32"]) == app.WRONG_DATA
    assert "its name" in capsys.readouterr().err
    assert not out.exists()
    bad.unlink()
    _picture(tmp_path / "all" / name / "1.png")
    with pytest.raises(DataError, match="A folder must have a name that can be written"):
        sources.from_folder(tmp_path / "all", image_size=8, unreadable="skip")
    with pytest.raises(DataError, match="A class must have a name that can be written"):
        sources.from_arrays(np.zeros((2, 4, 4)), [0, 1], class_names=["a", name])


@pytest.mark.parametrize("name", ["caf\udce9", "new\nline"])
def test_the_folders_of_images_and_of_a_run_have_names_that_can_be_written(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, label in enumerate("ab"):
        _picture(tmp_path / name / label / f"{number}.png", number)
        _picture(tmp_path / "all" / label / f"{number}.png", number)
    with pytest.raises(DataError, match="A folder must have a name that can be written"):
        sources.from_folder(tmp_path / name, image_size=8)
    good, bad = str(tmp_path / "all"), str(tmp_path / name)
    words = ["--weights", "starter", "--image-size", "32"]
    assert app.main(["train", bad, "--out", str(tmp_path / "run"), *words]) == app.WRONG_ARGUMENTS
    assert app.main(["train", good, "--out", f"{bad}/run", *words]) == app.WRONG_ARGUMENTS
    assert "must be a path that can be written" in capsys.readouterr().err


def test_a_table_with_such_names_is_refused(tmp_path: Path) -> None:
    _picture(tmp_path / "a.png")
    rows = 'path,label\na.png,"new\nline"\n"b\n.png",a\n'
    (tmp_path / "all.csv").write_text(rows)
    with pytest.raises(DataError, match=r"b\\n\.png: its name has a line break"):
        sources.from_manifest(tmp_path / "all.csv", image_size=8)
    (tmp_path / "all.csv").write_text('path,label\na.png,"new\nline"\na.png,b\n')
    with pytest.raises(DataError, match="A class must have a name that can be written"):
        sources.from_manifest(tmp_path / "all.csv", image_size=8)


def test_a_classifier_and_its_data_may_spell_a_class_differently() -> None:
    order = order_class_names([NFC, "tea"], ["tea ", NFD], "data")
    assert order is not None
    assert order.tolist() == [1, 0]
    assert order_class_names([NFC, "tea"], [NFD, "tea"], "data") is None


def test_class_names_differ() -> None:
    images = np.zeros((2, 4, 4))
    with pytest.raises(DataError, match="Every class must have a name of its own, got 'café'"):
        sources.from_arrays(images, [0, 1], class_names=[NFC, NFD])
    with pytest.raises(DataError, match="it is empty"):
        sources.from_arrays(images, [0, 1], class_names=["a", " "])


@given(st.text("caf\u00e9e\u0301 \u00a0\u200b\u200dA\n\udce9"))
def test_a_name_has_one_spelling_that_stays(name: str) -> None:
    once = naming.normalize(name)
    assert naming.normalize(once) == once
    assert naming.normalize(unicodedata.normalize("NFD", name)) == once
    assert not naming.find_fault(naming.escape(name))
