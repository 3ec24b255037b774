import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkit import sources
from tlkit.data.lazy_images import LazyImages
from tlkit.errors import ConfigError, DataError


def _picture(path: Path, value: int = 100, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 256, (24, 20, 3), "uint8")
    pixels[0, 0] = value
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of two images each, some of them in folders within."""
    for number, name in enumerate(("dog/1.png", "dog/more/deep/2.PNG", "cat/3.bmp", "cat/4.webp")):
        _picture(tmp_path / "photos" / name, number)
    return tmp_path / "photos"


@pytest.fixture
def messy(photos: Path) -> Path:
    """The same, with everything in it that real folders have."""
    cut = _picture(photos / "cat" / "cut.jpg", 7)
    cut.write_bytes(cut.read_bytes()[:600])
    (photos / "cat" / "text.jpg").write_text("not an image")
    (photos / "dog" / "empty.png").write_bytes(b"")
    (photos / "dog" / "notes.txt").write_text("passed over: its name says it is no image")
    (photos / "dog" / ".hidden.png").write_bytes(b"")
    (photos / "no images here").mkdir()
    _picture(photos / "stray.png", 8)
    values = np.arange(65536, dtype="uint16").reshape(256, 256)
    Image.fromarray(values).save(photos / "dog" / "sixteen bits.png")
    Image.new("CMYK", (30, 20), (0, 255, 255, 0)).save(photos / "cat" / "print.jpg")
    Image.new("P", (9, 9)).save(
        photos / "cat" / "film.gif", save_all=True, append_images=[Image.new("P", (9, 9), 3)]
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    _picture(photos / "cat" / "aus dem Käfig 猫.jpg", 9, exif=exif)
    (photos / "dog" / "circle").symlink_to(photos / "dog", target_is_directory=True)
    (photos / "dog" / "gone.png").symlink_to(photos / "dog" / "nowhere.png")
    return photos


_WRONG = {
    "cat/cut.jpg": "truncated",
    "cat/text.jpg": "unknown",
    "dog/empty.png": "it is empty",
    "dog/gone.png": "no such file",
    "no images here/": "contains no image",
    "stray.png": "not in the folder of a class",
}
_RIGHT = {
    "cat/3.bmp",
    "cat/4.webp",
    "cat/aus dem Käfig 猫.jpg",
    "cat/film.gif",
    "cat/print.jpg",
    "dog/1.png",
    "dog/more/deep/2.PNG",
    "dog/sixteen bits.png",
}


def test_a_folder_for_each_class_becomes_images_that_are_read_when_needed(photos: Path) -> None:
    source = sources.from_folder(photos, image_size=(12, 10))
    assert source.class_names == ("cat", "dog")
    assert source.paths == ("cat/3.bmp", "cat/4.webp", "dog/1.png", "dog/more/deep/2.PNG")
    assert source.labels.tolist() == [0, 0, 1, 1]
    assert source.counts == {"cat": 2, "dog": 2}
    assert isinstance(source.images, LazyImages)
    images = source.images[1:]
    assert (images.shape, images.dtype) == ((3, 12, 10, 3), "uint8")
    wanted = Image.open(photos / "dog" / "1.png").resize((10, 12), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(images[1], np.asarray(wanted), atol=1)
    assert "4 images of 12 x 10 x 3, read as needed: 0 kB each" in str(source)
    assert source.take([3, 0]).paths == ("dog/more/deep/2.PNG", "cat/3.bmp")


def test_what_is_wrong_is_refused_whole_and_listed(messy: Path) -> None:
    with pytest.raises(DataError, match="6 problems found") as told:
        sources.from_folder(messy, image_size=8)
    for path, reason in _WRONG.items():
        assert path in str(told.value)
        assert reason in str(told.value).lower()
    assert "unreadable='skip'" in str(told.value)


def test_what_is_wrong_is_left_out_and_listed(messy: Path) -> None:
    source = sources.from_folder(messy, image_size=8, unreadable="skip", max_unreadable=0.5)
    assert {problem.path for problem in source.problems} == set(_WRONG)
    for problem in source.problems:
        assert _WRONG[problem.path] in problem.reason.lower()
    assert set(source.paths) == _RIGHT
    assert source.class_names == ("cat", "dog")
    assert source.images[:].shape == (8, 8, 8, 3)
    assert "6 left out: " in str(source)


def test_damaged_files_are_replaced_by_grey_and_listed(messy: Path) -> None:
    source = sources.from_folder(messy, image_size=8, unreadable="replace", max_unreadable=0.5)
    damaged = {path for path in _WRONG if "/" in path and not path.endswith("/")}
    assert set(source.paths) == _RIGHT | damaged
    assert {problem.path for problem in source.problems} == set(_WRONG)
    assert source.num_replaced == len(damaged) == 4
    assert "6 left out or replaced by grey images: " in str(source)
    for place, path in enumerate(source.paths):
        assert (source.images[place] == 128).all() == (path in damaged)


def test_no_more_may_be_left_out_than_is_said(messy: Path) -> None:
    with pytest.raises(DataError, match="At most 10 % of the images may be unreadable, got 4 of"):
        sources.from_folder(messy, image_size=8, unreadable="skip")


def test_no_file_is_changed_or_deleted(messy: Path) -> None:
    def listing() -> list[tuple[str, int, float]]:
        found = [Path(at, name) for at, _, names in os.walk(messy) for name in names]
        return sorted((str(p), p.lstat().st_size, p.lstat().st_mtime) for p in found)

    before = listing()
    sources.from_folder(messy, image_size=8, unreadable="replace", max_unreadable=0.5)
    assert listing() == before


def test_a_folder_of_parts_is_no_folder_of_classes(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "all" / "train").mkdir(parents=True)
    (tmp_path / "all" / "Test").mkdir()
    with pytest.raises(ConfigError, match=r"with the parts \['Test', 'train'\]. Use each by"):
        sources.from_folder(tmp_path / "all", image_size=8)
    with pytest.raises(ConfigError, match="no such folder"):
        sources.from_folder(tmp_path / "nowhere", image_size=8)
    with pytest.raises(ConfigError, match="with no folder and 2 images. Move each image into"):
        sources.from_folder(photos / "cat", image_size=8, unreadable="skip")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_names_images_labels_and_groups(photos: Path, tmp_path: Path, kind: str) -> None:
    rows = {
        "file": ["dog/1.png", "cat/3.bmp", "cat/4.webp"],
        "species": ["hund", "katze", "katze"],
        "owner": ["a", "b", "b"],
    }
    path = tmp_path / f"all.{kind}"
    if kind == "csv":
        lines = [",".join(row) for row in [rows, *zip(*rows.values(), strict=True)]]
        path.write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    else:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.table(rows), path)
    columns = {"path_column": "file", "label_column": "species"}
    source = sources.from_manifest(
        path, image_size=8, folder=photos, group_column="owner", **columns
    )
    assert source.class_names == ("hund", "katze")
    assert source.labels.tolist() == [0, 1, 1]
    assert source.groups == ("a", "b", "b")
    np.testing.assert_array_equal(
        source.images[:], sources.from_folder(photos, image_size=8).images[[2, 0, 1]]
    )
    with pytest.raises(ConfigError, match=r"a column 'speces', got .* Did you mean 'species'"):
        sources.from_manifest(path, image_size=8, path_column="file", label_column="speces")


def test_a_table_that_names_a_missing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("path,label\nnowhere.png,a\n")
    with pytest.raises(DataError, match=r"nowhere\.png: No such file"):
        sources.from_manifest(path, image_size=8)
    path.write_text("path,label\n,a\n")
    with pytest.raises(DataError, match="row 1: column 'path' is empty"):
        sources.from_manifest(path, image_size=8)
    with pytest.raises(ConfigError, match=r"must end in \.csv or \.parquet"):
        sources.from_manifest(Path(__file__), image_size=8)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path,label\na.png,K\xe4fer\n".encode("latin-1"), "in UTF-8"),
        ("path,label\na.png,cat\n".encode("utf-16"), "in UTF-8"),
        (b"path,label\na.png,cat,dog\n", "more cells than columns in row 1"),
    ],
)
def test_a_table_that_is_none_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "all.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        sources.from_manifest(path, image_size=8)


def test_a_damaged_parquet_file_is_told(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "all.parquet"
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DataError, match="must be a parquet table, got"):
        sources.from_manifest(path, image_size=8)


def test_spaces_and_capitals_make_no_other_classes(photos: Path) -> None:
    path = photos / "ALL.CSV"
    path.write_text("path,label\ncat/3.bmp,cat \ncat/4.webp, cat\ndog/1.png,dog\n")
    source = sources.from_manifest(path, image_size=8)
    assert source.counts == {"cat": 2, "dog": 1}
    assert source.name == "ALL"


def test_a_folder_is_called_by_its_name_from_within(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    assert sources.from_folder(".", image_size=8).name == "photos"


@pytest.mark.parametrize("target", ["..", "../..", "."])
def test_a_link_that_leads_back_brings_no_other_class_in(photos: Path, target: str) -> None:
    (photos / "dog" / "back").symlink_to(target, target_is_directory=True)
    source = sources.from_folder(photos, image_size=8)
    assert source.paths == ("cat/3.bmp", "cat/4.webp", "dog/1.png", "dog/more/deep/2.PNG")


def test_class_names_may_be_given(photos: Path) -> None:
    source = sources.from_folder(photos, image_size=8, class_names=["dog", "owl", "cat"])
    assert source.labels.tolist() == [2, 2, 0, 0]
    assert source.counts == {"dog": 2, "owl": 0, "cat": 2}
    with pytest.raises(DataError, match=r"of the classes \['dog', 'owl'\], got \['cat'\]"):
        sources.from_folder(photos, image_size=8, class_names=["dog", "owl"])


def test_the_limit_tells_of_damaged_files_alone(messy: Path) -> None:
    with pytest.raises(DataError, match=r"got 4 of 12: .*") as caught:
        sources.from_folder(messy, image_size=8, unreadable="skip", max_unreadable=0.1)
    assert "stray.png" not in str(caught.value)
