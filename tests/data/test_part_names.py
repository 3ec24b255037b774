from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkit import sources
from tlkit.errors import ConfigError


def _picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), "uint8")
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    "folders",
    [
        ["train", "test", "unlabeled"],
        ["seg_train", "seg_test"],
        ["seg_train/seg_train", "seg_test/seg_test", "seg_pred/seg_pred"],
        ["train", "val", "test", "labels"],
        ["trainset", "testset"],
        ["Training", "Validation", "cat"],
        ["trainA", "testA"],
        ["images", "masks"],
        ["images/train", "labels/train"],
        ["JPEGImages", "Annotations"],
        ["train"],
        ["query", "gallery"],
        ["inputs", "targets"],
        ["test/cat", "cat", "dog"],
        ["fold1/cat", "fold1/dog", "fold2/cat", "fold2/dog"],
    ],
)
def test_a_folder_of_parts_is_refused(folders: list[str], tmp_path: Path) -> None:
    for number, folder in enumerate(folders):
        _picture(tmp_path / folder / f"{number}.png", number)
    for unreadable in ("fail", "skip"):
        with pytest.raises(ConfigError, match="with the parts .* Use each by itself"):
            sources.from_folder(tmp_path, image_size=8, unreadable=unreadable)


@pytest.mark.parametrize(
    "names",
    [
        ["train", "bus"],
        ["mask", "no mask"],
        ["label 0", "label 1"],
        ["test", "control"],
        ["part_1", "part_2"],
        ["valid", "invalid"],
    ],
)
def test_classes_with_such_names_are_classes(names: list[str], tmp_path: Path) -> None:
    for number, name in enumerate(names):
        _picture(tmp_path / name / f"{number}.png", number)
    assert sources.from_folder(tmp_path, image_size=8).class_names == tuple(sorted(names))


def test_the_error_names_the_folder_to_read(tmp_path: Path) -> None:
    for folder in ("labels/train", "images/train/cat", "images/train/dog", "images/val/cat"):
        _picture(tmp_path / folder / "1.png")
    with pytest.raises(ConfigError, match=r"Use each by itself, such as '.*/images/train'"):
        sources.from_folder(tmp_path, image_size=8)


@pytest.mark.parametrize("inner", ["photos", "photos/photos", "set/train"])
def test_a_single_folder_around_the_classes_is_named(inner: str, tmp_path: Path) -> None:
    for number, label in enumerate("ab"):
        _picture(tmp_path / inner / label / f"{number}.png", number)
    with pytest.raises(ConfigError, match=rf"are in '.*/{inner}': use that folder"):
        sources.from_folder(tmp_path, image_size=8)
    _picture(tmp_path / "more" / "1.png")
    assert len(sources.from_folder(tmp_path, image_size=8).class_names) == 2
