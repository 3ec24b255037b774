import csv
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkit.deployment.flagging import TABLE, FlagFolder, to_folder_name
from tlkit.deployment.predictor import Prediction
from tlkit.errors import DataError, StoreError

CAT = Prediction(classes=(("cat", 0.75), ("dog", 0.25)), ood_score=0.5, is_unlike=False)
BOTH = Prediction(classes=(("cat", 0.75), ("dog", 0.6)), labels=("cat", "dog"))


def make_image(folder: Path, name: str = "upload.png", *, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), "uint8")
    Image.fromarray(pixels).save(folder / name)
    return folder / name


def read_table(folder: Path) -> list[dict[str, str]]:
    with (folder / TABLE).open(newline="") as file:
        return list(csv.DictReader(file))


def test_an_image_lies_in_the_folder_of_its_right_class(tmp_path: Path) -> None:
    flags = FlagFolder(folder=tmp_path / "flagged", class_names=("cat", "dog"))
    file = make_image(tmp_path)
    kept = flags.add(file, ["dog"], CAT)
    assert kept.parent == tmp_path / "flagged" / "dog"
    assert kept.read_bytes() == file.read_bytes()
    assert read_table(flags.folder) == [
        {
            "path": f"dog/{kept.name}",
            "label": "dog",
            "predicted": "cat",
            "probability": "0.75",
            "ood_score": "0.5",
        }
    ]


def test_an_image_that_is_flagged_again_gets_the_new_class(tmp_path: Path) -> None:
    flags = FlagFolder(folder=tmp_path, class_names=("cat", "dog", "owl"))
    file, other = make_image(tmp_path), make_image(tmp_path, "other.png", seed=1)
    flags.add(other, ["dog"], CAT)
    first = flags.add(file, ["dog"], CAT)
    last = flags.add(file, ["owl"], CAT)
    assert not first.exists() and last.exists()
    assert [row["label"] for row in read_table(tmp_path)] == ["dog", "owl"]


def test_a_name_ends_as_the_content_says(tmp_path: Path) -> None:
    flags = FlagFolder(folder=tmp_path / "flagged", class_names=("cat", "dog"))
    file = make_image(tmp_path, "photo.jpg").rename(tmp_path / "photo.png")
    assert flags.add(file, ["dog"], CAT).suffix == ".jpg"


def test_several_classes_are_written_in_the_way_of_the_training_table(tmp_path: Path) -> None:
    settings = {"class_names": ("cat", "dog", "owl"), "multi_label": True}
    file = make_image(tmp_path)
    joined = FlagFolder(folder=tmp_path / "a", **settings, label_separator=";", path_column="file")
    kept = joined.add(file, ["owl", "cat"], BOTH)
    [row] = read_table(tmp_path / "a")
    assert row["file"] == f"images/{kept.name}"
    assert (row["label"], row["predicted"]) == ("cat;owl", "cat;dog")
    joined.add(file, [], BOTH)
    assert [row["label"] for row in read_table(tmp_path / "a")] == [""]
    columns = FlagFolder(folder=tmp_path / "b", **settings, label_separator=None)
    columns.add(file, ["owl"], BOTH)
    [row] = read_table(tmp_path / "b")
    assert [row[name] for name in ("cat", "dog", "owl")] == ["0", "0", "1"]
    assert "label" not in row


@pytest.mark.parametrize(
    ("right", "message"),
    [
        ([], "Choose the right class first."),
        (["../dog"], "must be one of the classifier's, got '../dog'"),
        (["cat"], "This is what was predicted. Choose another class to flag it as wrong."),
    ],
)
def test_a_wrong_choice_is_refused_and_nothing_is_written(
    tmp_path: Path, right: list[str], message: str
) -> None:
    flags = FlagFolder(folder=tmp_path / "flagged", class_names=("cat", "dog"))
    with pytest.raises(DataError, match=message):
        flags.add(make_image(tmp_path), right, CAT)
    assert not flags.folder.exists()


def test_the_folder_has_a_limit(tmp_path: Path) -> None:
    flags = FlagFolder(folder=tmp_path / "flagged", class_names=("cat", "dog"), max_images=1)
    file = make_image(tmp_path)
    flags.add(file, ["dog"], CAT)
    flags.add(file, ["dog"], CAT)  # the same one
    with pytest.raises(DataError, match="1 images are flagged already, and no more are kept"):
        flags.add(make_image(tmp_path, "other.png", seed=1), ["dog"], CAT)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "flagged").write_text("a file")
    flags = FlagFolder(folder=tmp_path / "flagged", class_names=("cat", "dog"))
    with pytest.raises(StoreError, match="Can't write"):
        flags.add(make_image(tmp_path), ["dog"], CAT)


def test_no_row_is_lost_when_several_flag_at_once(tmp_path: Path) -> None:
    flags = FlagFolder(folder=tmp_path / "flagged", class_names=("cat", "dog"))
    files = [make_image(tmp_path, f"{seed}.png", seed=seed) for seed in range(12)]
    threads = [threading.Thread(target=flags.add, args=(file, ["dog"], CAT)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_table(flags.folder)) == len(list((flags.folder / "dog").iterdir())) == 12


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "a:b", "end.", "100%", "c\\d"])
def test_any_class_name_makes_one_folder_of_its_own(tmp_path: Path, name: str) -> None:
    folder = tmp_path / to_folder_name(name)
    folder.mkdir()
    assert folder.resolve().parent == tmp_path.resolve()
    assert not folder.name.startswith(".")


@pytest.mark.parametrize(
    "content",
    [b"", b"a,b\n1,2\n", b"\xff\xfe", b'path\n"', b"label\n" * 3, None],
)
def test_a_table_that_was_changed_is_one_error(tmp_path: Path, content: bytes | None) -> None:
    flags = FlagFolder(folder=tmp_path, class_names=("cat", "dog"))
    (tmp_path / TABLE).mkdir() if content is None else (tmp_path / TABLE).write_bytes(content)
    if content in (b"", b'path\n"'):  # no rows, or one without an image
        flags.add(make_image(tmp_path), ["dog"], CAT)
        return
    with pytest.raises(DataError, match=r"flagged.csv' must be as the demo wrote it"):
        flags.add(make_image(tmp_path), ["dog"], CAT)
