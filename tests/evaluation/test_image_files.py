import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tlkit
from tlkit.data import file_stream
from tlkit.errors import ConfigError, DataError
from tlkit.evaluation import FilePrediction, embed, embed_files, predict, predict_files
from tlkit.models import inspection


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine noise images of several sizes, and two files that can't be read."""
    place = tmp_path_factory.mktemp("files")
    random = np.random.default_rng(0)
    for number in range(9):
        size = (12 + 3 * (number % 2), 20)
        Image.fromarray(random.integers(0, 256, (*size, 3), "uint8")).save(place / f"{number}.png")
    (place / "3b.jpg").write_bytes(b"no image")
    (place / "5b.png").write_bytes(b"")
    return place


def test_every_file_has_a_row_in_order_and_equals_predict(model, folder: Path) -> None:
    done = []
    found = list(
        predict_files(model, folder, top=2, batch_size=4, on_progress=lambda *at: done.append(at))
    )
    assert [each.path.name for each in found] == sorted(path.name for path in folder.iterdir())
    assert done == [(4, 11), (8, 11), (11, 11)]
    problems = {each.path.name: each.problem for each in found if each.problem}
    assert problems == {"3b.jpg": "its image format is unknown", "5b.png": "it is empty"}
    intact = [each for each in found if not each.problem]
    expected = predict(model, [each.path for each in intact])
    names = inspection.class_names(model)
    for each, row in zip(intact, expected, strict=True):
        best = np.argsort(-row)[:2]
        assert [name for name, _ in each.classes] == [names[index] for index in best]
        np.testing.assert_allclose([share for _, share in each.classes], row[best], rtol=1e-5)


def test_features_are_those_that_the_head_turns_into_probabilities(model, folder: Path) -> None:
    rows = list(embed_files(model, folder, batch_size=4))
    assert [row.path.name for row in rows if row.features is None] == ["3b.jpg", "5b.png"]
    intact = [row for row in rows if row.features is not None]
    features = np.stack([row.features for row in intact])
    paths = [row.path for row in intact]
    np.testing.assert_allclose(features, embed(model, paths), rtol=1e-5, atol=1e-6)
    kernel, bias = inspection.head_of(model).get_weights()
    logits = features @ kernel + bias
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, predict(model, paths), rtol=1e-4, atol=1e-6)


def test_only_a_batch_ahead_is_read(folder: Path) -> None:
    read = []
    files = [folder / "0.png"] * 100

    def decode(file: Path) -> np.ndarray:
        read.append(file)
        return np.zeros(1)

    batches = file_stream.read_batches(files, decode, batch_size=5)
    next(batches)
    assert len(read) <= 10
    batches.close()
    assert len(read) <= 10


def test_16_bit_files_share_one_white_that_is_found_without_decoding_others(
    tmp_path: Path,
) -> None:
    for value in (1000, 4000):
        Image.fromarray(np.full((4, 4), value, "uint16")).save(tmp_path / f"{value}.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "colour.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.jpg")
    files = sorted(tmp_path.iterdir())
    assert file_stream.find_white(files) == 4095
    assert file_stream.find_white(files[-2:]) is None


def test_a_pipe_and_a_name_that_is_not_utf8_are_rows(model, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    strange = os.fsencode(tmp_path) + b"/\xff.png"
    Path(os.fsdecode(strange)).write_bytes((tmp_path / "a.png").read_bytes())
    problems = [each.problem for each in predict_files(model, tmp_path)]
    assert problems == ["", "it is a pipe", "its name is not UTF-8"]


def test_nothing_to_predict_is_an_error(model, tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match="must name at least one image, got none"):
        list(predict_files(model, tmp_path))
    with pytest.raises(DataError, match=r"The file '.*' could not be read as an image"):
        list(predict_files(model, [folder / "nowhere.png"]))
    with pytest.raises(ConfigError, match="`top` must be"):
        list(predict_files(model, folder, top=0))
    with pytest.raises(DataError, match=r"The file '.*' could not be read"):
        list(tlkit.evaluation.embed_files(model, folder / "5b.png"))


def test_probabilities_are_told_from_classes_that_are_numbers() -> None:
    found = FilePrediction(path=Path("a.png"), classes=(("3", 0.981), ("8", 0.01)))
    assert str(found) == "a.png: 3 (98.1 %), 8 (1.0 %)"
