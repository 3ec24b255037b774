"""The user's own split: folders of parts, a column of a table, other folders, a DatasetDict."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlkit import sources
from tlkit.data import folder_listing, splits
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.split_folders import SplitChoice
from tlkit.errors import ConfigError, DataError


def _draw(files: Sequence[str], root: Path) -> Path:
    """Draw another random picture to each of these files; twins have one number before a letter."""
    for name in files:
        number = int("".join(each for each in Path(name).stem if each.isdigit()) or 0)
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), "uint8")
        Image.fromarray(pixels).save(path)
    return root


def _files(part: str, *, classes: str = "ab", start: int, count: int = 4) -> list[str]:
    return [
        f"{part}/{label}/{start + 100 * at + each}.png"
        for at, label in enumerate(classes)
        for each in range(count)
    ]


def _read(root: Path, **settings: Any) -> ImageDataset:
    return sources.from_folder(root, image_size=8, **settings)


def _sizes(split: splits.Split) -> tuple[int, int, int]:
    return len(split.train), len(split.validation), len(split.test)


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("TRAIN", "Valid", "Test"),
        ("training", "validation", "testing"),
        ("seg_train/seg_train", "dev_set", "seg_test/seg_test"),
        ("train_images", "val_images", "test_images"),
    ],
    ids=lambda names: names[0].split("/")[0],
)
def test_folders_of_parts_are_the_split(names: tuple[str, ...], tmp_path: Path) -> None:
    files = [_files(part, start=1000 * at, count=4 - at) for at, part in enumerate(names)]
    data = _read(_draw([*chain(*files)], tmp_path))
    assert sorted(data.paths) == sorted(chain(*files))
    assert data.class_names == ("a", "b")
    first = names[0].split("/")[0]
    assert f"the folder's own split is used: {first}/ for training" in str(data)
    made = splits.split(data, test=0.5, validation=0.2)
    assert [set(part.paths) for part in (made.train, made.validation, made.test)] == [
        set(each) for each in files
    ]
    assert made.own_parts == ("train", "validation", "test")
    assert "train 8, validation 6, test 4 (train, validation and test as given)" in str(made)


def test_a_part_that_is_missing_is_taken_from_the_training_images(tmp_path: Path) -> None:
    files = _files("train", start=0, count=40) + _files("val", start=1000)
    data = _read(_draw(files, tmp_path))
    made = splits.split(data, test=0.25, validation=0.25, stratify=True)
    assert _sizes(made) == (60, 8, 20)
    assert set(made.validation.paths) == set(_files("val", start=1000))
    assert "(train and validation as given, test taken from train)" in str(made)
    assert np.bincount(made.test.labels).tolist() == [10, 10]
    alone = _read(_draw(_files("train", start=0, count=40), tmp_path / "alone"))
    assert _sizes(splits.split(alone, test=0.25, validation=0.25, stratify=True)) == (40, 20, 20)


def test_classes_that_are_missing_in_a_part_are_said(tmp_path: Path) -> None:
    files = _files("train", classes="abc", start=0) + _files("test", classes="ab", start=1000)
    (tmp_path / "test" / "c").mkdir(parents=True)
    data = _read(_draw(files, tmp_path))
    assert "no test images of 1 of 3 classes: c" in str(data)
    assert splits.split(data).test.counts == {"a": 4, "b": 4, "c": 0}


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_class_that_can_not_be_learned_is_refused_or_left_out(part: str, tmp_path: Path) -> None:
    files = ["train/rose/1.png", "train/daisy/2.png", "train/daisy/3.png"]
    files += [f"{part}/rose/4.png", f"{part}/Daisy/5.png", f"{part}/daysi/6.png"]
    root = _draw([*files, f"{part}/tulip/7.png"], tmp_path)
    full = {"val": "validation", "test": "test"}[part]
    with pytest.raises(DataError, match="3 problems found") as caught:
        _read(root)
    said = f": one {full} image, but no training image to learn it from."
    for name, advice in {"Daisy": "'daisy'", "daysi": "'daisy'", "tulip": ""}.items():
        assert f"class {name!r}{said}{f' Did you mean {advice}?' * bool(advice)}" in str(
            caught.value
        )
    left = _read(root, unreadable="skip")
    assert left.class_names == ("daisy", "rose")
    assert [*left.paths] == ["train/daisy/2.png", "train/daisy/3.png", "train/rose/1.png", files[3]]
    assert len(left.problems) == 3
    with pytest.raises(DataError, match="3 problems found"):
        _read(root, class_names=["daisy", "rose"])
    assert len(_read(root, class_names=["daisy", "rose"], unreadable="skip")) == 4
    known = _read(root, class_names=["Daisy", "daisy", "daysi", "rose", "tulip"])
    assert len(known) == 7


def test_a_test_set_without_labels_is_passed_over_and_said(tmp_path: Path) -> None:
    files = [*_files("train", start=0), "test/900.png", "test/901.png", "pred/902.png"]
    data = _read(_draw(files, tmp_path))
    assert set(data.parts) == {"train"}
    assert "passed over the folder test/: it has images, but is no part with a folder" in str(data)
    assert "passed over the folder pred/" in str(data)


def test_two_folders_of_one_part_are_refused(tmp_path: Path) -> None:
    _draw(_files("trainA", start=0) + _files("trainB", start=500), tmp_path)
    with pytest.raises(ConfigError, match="One folder must hold the train images, got trainA and"):
        _read(tmp_path)


def test_trains_are_classes_if_it_is_said(tmp_path: Path) -> None:
    _draw(["train/1.png", "train/2.png", "test/3.png"], tmp_path / "flat")
    with pytest.raises(ConfigError, match=r"the parts .* If they are classes.*`split='random'`"):
        _read(tmp_path / "flat")
    assert _read(tmp_path / "flat", split="random").counts == {"test": 1, "train": 2}
    files = _files("train", start=0) + _files("test", start=500)
    deep = _draw(files, tmp_path / "deep")
    assert _read(deep).counts == {"a": 8, "b": 8}
    assert _read(deep, split="random").counts == {"test": 8, "train": 8}
    with pytest.raises(ConfigError, match="`split` can only be 'folders' for a folder with train"):
        _read(tmp_path / "flat", split="folders")
    with pytest.raises(ConfigError, match="`split` must be one of .* Did you mean 'folders'"):
        _read(deep, split="folder")


def test_a_train_beside_a_bus_is_a_class(tmp_path: Path) -> None:
    files = _files("train", classes=("steam", "diesel"), start=0)
    _draw(["bus/900.png", "car/901.png"], tmp_path)
    data = _read(_draw(files, tmp_path))
    assert data.class_names == ("bus", "car", "train")
    assert not data.parts
    forced = _read(tmp_path, split="folders")
    assert forced.class_names == ("diesel", "steam")
    assert "passed over the folder bus/" in str(forced)


def test_parts_are_pooled_and_split_again(tmp_path: Path) -> None:
    files = _files("train", start=0, count=20) + _files("test", start=1000, count=20)
    data = _read(_draw(files, tmp_path), split="pool")
    assert not data.parts
    assert "the images of train and test are joined, and split again" in str(data)
    made = splits.split(data, test=0.25, stratify=True)
    assert _sizes(made) == (60, 0, 20)
    assert {path.split("/")[0] for path in made.test.paths} == {"train", "test"}


def test_duplicates_across_parts_are_counted_and_never_moved(tmp_path: Path) -> None:
    files = _files("train", start=0) + _files("test", start=1000) + ["test/a/0twin.png"]
    data = _read(_draw(files, tmp_path))
    made = splits.split(data, duplicates="together")
    assert _sizes(made) == (8, 0, 9)
    assert made.num_apart == 1
    assert ": 1 in different parts" in str(made)
    with pytest.raises(DataError, match=r"train/a/0.png \(train\) and test/a/0twin.png \(test\)"):
        splits.split(data)


def test_other_folders_and_tables_are_parts(tmp_path: Path) -> None:
    main = _draw(_files("main", start=0, count=10), tmp_path) / "main"
    other = _draw(_files("other", start=1000), tmp_path) / "other"
    table = tmp_path / "val.csv"
    _draw(["v/2000.png", "v/2001.png"], tmp_path)
    table.write_text("path,label\nv/2000.png,a\nv/2001.png,b\n")
    data = _read(main, test_data=other, validation_data=table)
    made = splits.split(data)
    assert _sizes(made) == (20, 2, 8)
    assert made.test.paths[0] == "test_data/a/1000.png"
    assert f"8 test images are from {other}" in str(data)
    np.testing.assert_array_equal(
        made.test.images[:], sources.from_folder(other, image_size=8).images[:]
    )
    np.testing.assert_array_equal(made.validation.labels, [0, 1])
    reverse = sources.from_manifest(table, image_size=8, test_data=main)
    assert _sizes(splits.split(reverse)) == (2, 0, 20)
    with pytest.raises(ConfigError, match="`test_data` must be a folder .*: no such file"):
        _read(main, test_data=tmp_path / "nowhere")
    parts = _draw(_files("p/train", start=0) + _files("p/test", start=1000), tmp_path) / "p"
    with pytest.raises(ConfigError, match="`test_data` must be left out for data with test images"):
        _read(parts, test_data=other)
    with pytest.raises(ConfigError, match="`test_data` .* has parts of its own: name one of them"):
        _read(main, test_data=parts)


def _table(root: Path, rows: Sequence[str], **settings: Any) -> ImageDataset:
    lines = ["path,label,subset,patient"]
    for number, row in enumerate(rows):
        _draw([f"{number}.png"], root)
        lines.append(f"{number}.png,{row}")
    (root / "all.csv").write_text("\n".join(lines))
    return sources.from_manifest(root / "all.csv", image_size=8, split_column="subset", **settings)


def test_a_column_names_the_part_of_each_row(tmp_path: Path) -> None:
    rows = ["a,Train,x", "b,train,y", "a,VAL,z", "b,valid,z", "a,validation,z", "b,Test,x"]
    made = splits.split(_table(tmp_path, rows, group_column="patient"), duplicates="together")
    assert _sizes(made) == (2, 3, 1)
    assert made.test.paths == ("5.png",)
    assert made.num_groups_apart == 1
    assert "one group with images in different parts" in str(made)
    with pytest.raises(DataError, match=r"'subset' must hold train, .*row 2: 'x' and row 3: ''"):
        _table(tmp_path, ["a,train,x", "b,x,x", "b,,x"])
    with pytest.raises(DataError, match=r"training images, got images of the parts \['test'\]"):
        _table(tmp_path, ["a,test,x", "b,test,x"])


def test_the_splits_of_a_hugging_face_data_set_are_the_split() -> None:
    datasets = pytest.importorskip("datasets")
    classes = datasets.ClassLabel(names=["cat", "dog"])

    def rows(labels: list[int], seed: int) -> Any:
        random = np.random.default_rng(seed)
        images = [Image.fromarray(random.integers(0, 256, (8, 8, 3), "uint8")) for _ in labels]
        features = datasets.Features(image=datasets.Image(), label=classes)
        return datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)

    whole = datasets.DatasetDict(
        train=rows([0, 1, 0, 1], 0), validation=rows([1, 0], 1), test=rows([-1, -1], 2)
    )
    whole["unsupervised"] = rows([-1], 3)
    data = sources.from_huggingface(whole, image_size=8)
    assert "passed over the part test: 2 images without a label" in str(data)
    assert "passed over the split 'unsupervised'" in str(data)
    made = splits.split(data, test=0)
    assert _sizes(made) == (4, 2, 0)
    assert made.validation.labels.tolist() == [1, 0]
    np.testing.assert_array_equal(
        made.validation.images[:],
        sources.from_huggingface(whole["validation"], image_size=8).images[:],
    )
    with pytest.raises(ConfigError, match=r"must have a split named 'train', got \['test'\]"):
        sources.from_huggingface(datasets.DatasetDict(test=rows([0], 4)), image_size=8)


@pytest.mark.parametrize("split", ["random", "pool", "auto"])
def test_a_folder_listed_by_class_is_the_folder(split: SplitChoice, tmp_path: Path) -> None:
    parts = ("",) if split == "random" else ("train", "test")
    for at, part in enumerate(parts):
        _draw(_files(part, start=1000 * at) if part else ["a/1.png", "b/2.png"], tmp_path)
    place = tmp_path / parts[0]
    for name in ("a", "b"):
        (place / name / f"{name}.txt").write_text("no image")
    (place / "stray.png").write_bytes(b"")
    whole = folder_listing.list_folder(tmp_path, split=split)
    found = list(folder_listing.list_by_class(tmp_path, split=split))
    for name in ("paths", "labels", "problems"):
        assert [each for one in found for each in getattr(one, name)] == list(getattr(whole, name))
    assert [each for one in found for each in one.notices] == [*whole.notices]
    assert "passed over 2 files" in whole.notices[-1]
    assert max(map(len, found)) < len(whole)
    expected = (("train/", "train"), ("test/", "test")) if split == "auto" else ()
    assert folder_listing.list_parts(tmp_path, split=split) == expected
