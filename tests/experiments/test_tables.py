import csv
from pathlib import Path

import numpy as np
import pytest
from tests.samples import make_noise

import tlkit
from tlkit.experiments import write_features, write_predictions


def test_predictions_are_written_beside_what_is_called(
    model, noise_photos: Path, tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    (noise_photos / "a" / "cut.png").write_bytes(b"")
    (noise_photos / "notes.txt").write_text("no image")
    seen: list = []
    said: list[str] = []
    written = write_predictions(
        model,
        noise_photos,
        csv=tmp_path / "p.csv",
        parquet=tmp_path / "p.parquet",
        top=99,
        on_prediction=seen.append,
        on_message=said.append,
    )
    assert (written.images, written.unreadable) == (40, 1)
    assert "passed over one file" in said[0]
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = tlkit.models.class_names(model)
    assert len(rows[0]) == 2 + 2 * len(names)
    assert [row["path"] for row in rows] == [str(each.path) for each in seen]
    by_path = {row["path"]: row for row in rows}
    cut = by_path[str(noise_photos / "a" / "cut.png")]
    assert (cut["label"], cut["probability"], cut["problem"]) == ("", "", "it is empty")
    table = parquet.read_table(tmp_path / "p.parquet").to_pylist()
    for row, other, each in zip(rows, table, seen, strict=True):
        if each.classes:
            assert (row["label"], other["label_2"]) == (each.classes[0][0], each.classes[1][0])
            assert float(row["probability"]) == pytest.approx(each.classes[0][1], rel=1e-6)
            assert other["problem"] is None


@pytest.mark.parametrize("suffix", ["csv", "npz", "parquet"])
def test_features_equal_embed(model, noise_photos: Path, tmp_path: Path, suffix: str) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    files = sorted((noise_photos / "a").iterdir())[:5]
    (noise_photos / "cut.png").write_bytes(b"")
    out = tmp_path / f"f.{suffix}"
    written = write_features(model, [*files, noise_photos / "cut.png"], out)
    assert (written.images, written.unreadable) == (5, 1)
    expected = tlkit.embed(model, files)
    if suffix == "npz":
        with np.load(out) as found:
            paths, features = found["path"].tolist(), found["features"]
    elif suffix == "csv":
        with out.open(newline="") as file:
            rows = list(csv.reader(file))[1:]
        assert rows.pop()[-1] == "it is empty"
        paths = [row[0] for row in rows]
        features = np.asarray([row[1:-1] for row in rows], "float32")
    else:
        from pyarrow import parquet

        rows = parquet.read_table(out).to_pylist()
        assert rows.pop()["features"] is None
        paths = [row["path"] for row in rows]
        features = np.asarray([row["features"] for row in rows])
    assert paths == list(map(str, files))
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)


def test_sets_after_few_validation_images_come_with_the_range_of_their_coverage(
    model, noise_photos: Path
) -> None:
    said: list[str] = []
    tlkit.calibrate(model, make_noise(20))
    write_predictions(model, noise_photos / "a", coverage=0.9, on_message=said.append)
    assert [line for line in said if "calibrated on 20 validation images" in line]
    said.clear()
    write_predictions(model, noise_photos / "a", on_message=said.append)
    assert not [line for line in said if "validation images" in line]
