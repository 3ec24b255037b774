import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlkit import sources
from tlkit.data import decoding, scanning, unlabelled
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.image_files import find_images
from tlkit.errors import ConfigError, DataError
from tlkit.experiments import loading
from tlkit.experiments.experiment import Experiment

Write = Callable[[np.ndarray, Path], object]


def _gradient(white: int) -> np.ndarray:
    return np.linspace(0, white, 64).round().astype("uint16").reshape(8, 8)


def _png(values: np.ndarray, path: Path) -> None:
    Image.fromarray(values).save(path.with_suffix(".png"))


def _tiff(values: np.ndarray, path: Path) -> None:
    Image.fromarray(values).save(path.with_suffix(".tif"))


def _tiff32(values: np.ndarray, path: Path) -> None:
    Image.fromarray(values.astype("int32")).save(path.with_suffix(".tif"))


def _fill(root: Path, images: list[np.ndarray], write: Write = _png) -> Path:
    """Write images of the classes a and b in turns."""
    for number, values in enumerate(images):
        (root / "ab"[number % 2]).mkdir(exist_ok=True, parents=True)
        write(values, root / "ab"[number % 2] / str(number))
    return root


@pytest.mark.parametrize("write", [_png, _tiff, _tiff32])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_depth_of_a_set_is_learned_and_said(write: Write, bits: int, tmp_path: Path) -> None:
    white = 2**bits - 1
    dark = _gradient(white) // 8
    _fill(tmp_path, [_gradient(white), dark, _gradient(white // 2), dark], write)
    made = sources.from_folder(tmp_path, image_size=8, channels=1)
    wanted = np.rint(_gradient(white) * (255 / white))
    np.testing.assert_array_equal(made.images[0][..., 0], wanted)
    darker = made.images[2][..., 0]  # the first of class b: as dark as it was, beside the others
    np.testing.assert_array_equal(darker, np.rint(dark * (255 / white)))
    assert f"4 files of 16 bits with values up to {white:,}: read as {bits} bits" in str(made)
    assert made.white == white


def test_files_of_8_and_of_12_bits_have_a_white_each(tmp_path: Path) -> None:
    eight = (_gradient(255)).astype("uint8")
    _fill(tmp_path, [_gradient(4095), eight])
    made = sources.from_folder(tmp_path, image_size=8, channels=1)
    np.testing.assert_allclose(made.images[0], made.images[1], atol=1)
    _fill(tmp_path, [_gradient(65535), eight, _gradient(4095)])
    made = sources.from_folder(tmp_path, image_size=8)
    assert "read as 16 bits, 65,535 is white; 1 of them use 12 bits or fewer" in str(made)


def test_white_may_be_given_and_is_that_of_predictions(tmp_path: Path) -> None:
    _fill(tmp_path, [_gradient(900), _gradient(800)])
    experiment = Experiment(tmp_path, image_size=8, channels=1, white=4095)
    made = loading.load_images(experiment)
    assert made.images[:].max() == round(900 / 4095 * 255)
    for image, file in zip(made.images, sorted(tmp_path.rglob("*.png")), strict=True):
        read = unlabelled.read_file(file, input_shape=(None, 8, 8, 1), white=experiment.white)
        np.testing.assert_array_equal(read, image)
    with pytest.raises(DataError, match="brightest pixel, 900, is above white, 850"):
        sources.from_folder(tmp_path, image_size=8, white=850)


def _colour_png(values: np.ndarray) -> bytes:
    """Return a PNG of 16 bits and 3 colours, which Pillow can't write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def test_colours_of_12_bits_in_16_are_refused(tmp_path: Path) -> None:
    colours = np.repeat(_gradient(4095)[..., None], 3, axis=-1)

    def write(values: np.ndarray, path: Path) -> None:
        path.with_suffix(".png").write_bytes(_colour_png(values))

    _fill(tmp_path, [colours, colours[::-1]], write)
    with pytest.raises(DataError, match=r"16 bits must use them, got values up to 3,855 of 65,535"):
        sources.from_folder(tmp_path, image_size=8)
    _fill(tmp_path, [colours * 16, colours[::-1]], write)
    assert sources.from_folder(tmp_path, image_size=8).images[0].max() == 255


def test_black_sets_are_said(tmp_path: Path) -> None:
    _fill(tmp_path, [np.full((8, 8), value, "uint8") for value in (3, 16)])
    assert "nearly black: their brightest pixel is 16 of 255" in str(
        sources.from_folder(tmp_path, image_size=8)
    )


@pytest.mark.parametrize("form", ["float32", "int32"])
def test_pixels_without_a_known_white_are_refused_with_the_way_out(
    form: str, tmp_path: Path
) -> None:
    _fill(tmp_path, [np.full((8, 8), 70000, form)] * 2, lambda v, p: _tiff_of(v, p))
    with pytest.raises(DataError, match=r"2 problems .* not known; save it with 8 or 16 bits"):
        sources.from_folder(tmp_path, image_size=8)


def _tiff_of(values: np.ndarray, path: Path) -> None:
    Image.fromarray(values).save(path.with_suffix(".tif"))


def test_all_that_pillow_opens_is_an_image_and_the_rest_is_counted(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), "uint8")
    forms = {".jfif": "JPEG", ".JPG": "JPEG", ".jpe": "JPEG", "": "PNG", ".dog": "PNG"}
    forms |= {".tga": "TGA", ".jp2": "JPEG2000", ".avif": "AVIF"}
    if "AVIF" not in Image.SAVE or not Image.init():
        del forms[".avif"]
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for pixels, (ending, form) in zip(noise, forms.items(), strict=False):
            Image.fromarray(pixels).save(tmp_path / name / f"1{form}{ending}", form)
    for other in ("notes.txt", "Thumbs.db", "more.txt", "film.mp4"):
        (tmp_path / "dog" / other).write_bytes(b"\0 no image")
    made = sources.from_folder(tmp_path, image_size=8)
    assert made.counts == {"cat": len(forms), "dog": len(forms)}
    assert "passed over 4 files that Pillow can't open as an image, such as dog/Thumbs.db" in str(
        made
    )
    assert "2 .txt" in str(made)
    assert len(find_images([tmp_path])[0]) == 2 * len(forms)
    (tmp_path / "dog" / "2.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(DataError, match=r"dog/2\.heic: its image format is unknown"):
        sources.from_folder(tmp_path, image_size=8)


def test_a_class_of_other_files_says_how_many(tmp_path: Path) -> None:
    _fill(tmp_path, [np.zeros((4, 4), "uint8")] * 2)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "1.txt").write_text("1")
    with pytest.raises(DataError, match="c/: contains no image, but one other file"):
        sources.from_folder(tmp_path, image_size=8)


def _rows(images: Any, labels: list[Any], feature: Any) -> Any:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": feature, "label": datasets.Value("int64")})
    return datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)


@pytest.mark.parametrize("form", [None, "numpy", "pandas", "arrow", "python"])
def test_the_format_of_rows_makes_no_difference(form: str | None) -> None:
    datasets = pytest.importorskip("datasets")
    noise = np.random.default_rng(0).integers(0, 256, (3, 6, 8, 3), "uint8")
    rows = _rows([Image.fromarray(each) for each in noise], [0, 1, 0], datasets.Image())
    made = sources.from_huggingface(rows.with_format(form), image_size=(6, 8))
    np.testing.assert_array_equal(made.images[:], noise)
    assert made.labels.tolist() == [0, 1, 0]
    undecoded = rows.cast_column("image", datasets.Image(decode=False))
    made = sources.from_huggingface(undecoded, image_size=(6, 8))
    np.testing.assert_array_equal(made.images[:], noise)


@pytest.mark.parametrize("shape", [(6, 8, 3), (6, 8, 1), (6, 8), (3, 6, 8), (1, 6, 8)])
@pytest.mark.parametrize("form", [None, "numpy"])
def test_columns_of_arrays_are_images(shape: tuple[int, ...], form: str | None) -> None:
    datasets = pytest.importorskip("datasets")
    noise = np.random.default_rng(0).integers(0, 256, (2, *shape), "uint8")
    feature = {2: datasets.Array2D, 3: datasets.Array3D}[len(shape)](shape, "uint8")
    made = sources.from_huggingface(
        _rows(list(noise), [0, 1], feature).with_format(form), image_size=(6, 8)
    )
    last = np.moveaxis(noise, 1, -1) if shape[0] in (1, 3) else noise.reshape(2, 6, 8, -1)
    np.testing.assert_array_equal(made.images[:], np.broadcast_to(last, (2, 6, 8, 3)))
    lists = datasets.Dataset.from_dict({"image": noise.tolist(), "label": [0, 1]})
    again = sources.from_huggingface(lists.with_format(form), image_size=(6, 8))
    np.testing.assert_array_equal(again.images[:], made.images[:])


def test_a_transform_is_applied() -> None:
    datasets = pytest.importorskip("datasets")
    noise = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3), "uint8")
    rows = _rows([Image.fromarray(each) for each in noise], [0, 1], datasets.Image())

    def invert(batch: dict[str, Any]) -> dict[str, Any]:
        return {"image": [255 - np.asarray(each) for each in batch["image"]]}

    made = sources.from_huggingface(rows.with_transform(invert), image_size=(6, 8))
    np.testing.assert_array_equal(made.images[:], 255 - noise)


def test_damaged_rows_are_treated_as_damaged_files(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    values = np.random.default_rng(0).integers(0, 256, (8, 8, 3), "uint8")
    Image.fromarray(values).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    cells = [{"bytes": each, "path": None} for each in (whole, whole[:90], b"", whole)]
    rows = _rows([*cells, None], [0, 1, 0, 1, 1], datasets.Image())
    with pytest.raises(DataError, match=r"3 problems found: row 1: .*row 2: it is empty.*row 4"):
        sources.from_huggingface(rows, image_size=8)
    settings: dict[str, Any] = {"image_size": 8, "max_unreadable": 0.7}
    made = sources.from_huggingface(rows, unreadable="skip", **settings)
    assert made.labels.tolist() == [0, 1]
    assert [problem.path for problem in made.problems] == ["row 1", "row 2", "row 4"]
    made = sources.from_huggingface(rows, unreadable="replace", **settings)
    assert made.labels.tolist() == [0, 1, 0, 1, 1]
    assert [(each == 128).all() for each in made.images] == [False, True, True, False, True]
    with pytest.raises(DataError, match="At most 10 % .* got 3 of 5"):
        sources.from_huggingface(rows, image_size=8, unreadable="skip")


def test_arrays_without_a_known_white_are_refused() -> None:
    datasets = pytest.importorskip("datasets")
    rows = _rows(np.ones((2, 4, 4), "float32"), [0, 1], datasets.Array2D((4, 4), "float32"))
    with pytest.raises(DataError, match="row 0: it is an array of float32, whose black and white"):
        sources.from_huggingface(rows, image_size=8)
    with pytest.raises(decoding.UnreadableImageError, match=r"an array of shape \(4,\) is no"):
        decoding.decode(np.zeros(4, "uint8"), (8, 8))


@pytest.mark.parametrize(
    ("paths", "hint"),
    [
        (["a\\1.png", "b\\2.png"], "with the backslashes of Windows: write / .*: with / the first"),
        (["https://x.org/1.png", "https://x.org/2.png"], "web addresses: download the images"),
        (["C:\\me\\1.png", "D:\\2.png"], "paths of another computer"),
        (["/elsewhere/1.png", "/elsewhere/2.png"], "paths of another computer"),
        (["a/1", "b/2"], "There is 'a/1.png': write paths with their folder and ending"),
        (["1.png", "2.png"], "There is 'a/1.png'"),
        (["a/1.jpg", "b/2.jpg"], "There is 'a/1.png'"),
        (["x", "y"], "Paths must be relative to the folder of the table"),
    ],
)
@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_a_table_without_any_file_says_what_its_paths_look_like(
    paths: list[str], hint: str, sign: str, tmp_path: Path
) -> None:
    for name in ("a/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / name)
    rows = [f"path{sign}label", *(f"{path}{sign}{path[-3:]}" for path in paths)]
    (tmp_path / "all.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match=rf"None of the 2 files exists .* {hint}"):
        sources.from_manifest(tmp_path / "all.csv", image_size=8)


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_columns_may_be_divided_by_other_signs(sign: str, ending: str, tmp_path: Path) -> None:
    _fill(tmp_path, [np.zeros((4, 4), "uint8")] * 2)
    lines = [["more", "label", "path"], ["1", "x, y", "a/0.png"], ["2", "z", "b/1.png"]]
    file = tmp_path / f"all{ending}"
    text = "\n".join(sign.join(f'"{cell}"' for cell in line) for line in lines)
    file.write_text(text, encoding="utf-8-sig")
    made: ImageDataset = loading.load_images(Experiment(file, image_size=8))
    assert made.counts == {"x, y": 1, "z": 1}


def test_a_table_without_rows_or_with_another_column_says_so(tmp_path: Path) -> None:
    file = tmp_path / "all.csv"
    file.write_text("path,label\n")
    with pytest.raises(DataError, match="images of at least 2 classes, got none"):
        sources.from_manifest(file, image_size=8)
    file.write_text("path;lable\na.png;a\n")
    with pytest.raises(ConfigError, match=r"got \['path', 'lable'\]. Did you mean 'lable'"):
        sources.from_manifest(file, image_size=8)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes")
def test_a_pipe_among_images_does_not_wait(tmp_path: Path) -> None:
    _fill(tmp_path, [np.zeros((4, 4), "uint8")] * 2)
    os.mkfifo(tmp_path / "a" / "x.png")
    os.mkfifo(tmp_path / "a" / "y")
    with pytest.raises(DataError, match=r"One problem found: a/x\.png: it is a pipe"):
        sources.from_folder(tmp_path, image_size=8)


def test_a_file_that_changes_after_the_scan_is_refused(tmp_path: Path) -> None:
    data = sources.from_folder(_fill(tmp_path, [np.eye(8, dtype="uint8")] * 4), image_size=8)
    Image.new("L", (8, 8)).save(tmp_path / "a" / "0.png")
    with pytest.raises(DataError, match="0.png has changed since the images were scanned"):
        data.images[0]
    assert data.images[1].shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("settings", "differ"),
    [
        ({}, []),
        ({"image_size": (8, 9)}, [0, 1, 2, 3]),
        ({"fit": "crop"}, [0, 1, 2, 3]),
        ({"channels": 1}, [0, 1, 2, 3]),
        ({"white": 65535}, [2]),  # of 12 bits
    ],
)
def test_digests_of_images_change_with_what_changes_pixels(
    tmp_path: Path, settings: dict[str, Any], differ: list[int]
) -> None:
    eight, deep = np.full((8, 8), 9, "uint8"), _gradient(4095)
    _fill(tmp_path, [eight, eight + 1, deep, eight])
    before, after = (
        sources.from_folder(tmp_path, **{"image_size": 8, **each}) for each in ({}, settings)
    )
    same = (before.images.digests == after.images.digests).all(axis=1)
    changed = [before.paths[row] for row in np.flatnonzero(~same)]
    assert changed == [path for path in before.paths if int(Path(path).stem) in differ]
    first, last = before.paths.index("a/0.png"), before.paths.index("b/3.png")
    assert (before.images.digests[first] == before.images.digests[last]).all()
    assert (before.take([2]).images.digests == before.images.digests[[2]]).all()


def test_a_scan_can_be_watched(photos: Path) -> None:
    seen: list[tuple[int, int]] = []
    with scanning.observe(lambda done, total: seen.append((done, total))):
        found = sources.from_folder(photos, image_size=8)
    assert seen == [(done, len(found)) for done in range(1, len(found) + 1)]
    sources.from_folder(photos, image_size=8)
    assert len(seen) == len(found)
