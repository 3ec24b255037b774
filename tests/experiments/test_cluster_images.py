import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkit.data.digests import to_numbers
from tlkit.data.listings import PARTS
from tlkit.distributed.drawn_split import DrawnSplit
from tlkit.distributed.storage import Location
from tlkit.errors import ConfigError, DataError, StoreError
from tlkit.experiments import Experiment, cluster_images
from tlkit.experiments.cluster_images import list_images, load_run_images, read_training_sample
from tlkit.experiments.loading import load_images

pytest.importorskip("pyarrow")


def _experiment(data: Path, **settings: object) -> Experiment:
    how = {"weights": "starter", "image_size": 32, "test": 0.3, "seed": 2, **settings}
    return Experiment(str(data), cluster="local", **how)  # type: ignore[arg-type]  # of many types


def test_a_folder_is_listed_and_sampled(
    noise_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = _experiment(noise_photos)
    listed = list_images(experiment, Location(str(tmp_path / "work")))
    assert listed.survey.class_counts == {"a": 20, "b": 20}
    assert str(listed).startswith("photos: 40 images of 2 classes, listed and not loaded")
    split = listed.split
    assert split == DrawnSplit(test=0.3, validation=0.0, seed=2)
    assert listed.num_training == 28
    found = read_training_sample(experiment, listed)
    whole = load_images(experiment)
    drawn = split.divide(to_numbers(scan.digest for scan in whole.scans))
    training = np.flatnonzero(drawn == PARTS.index("train"))
    assert found.paths == whole.take(training).paths
    monkeypatch.setattr(cluster_images, "SAMPLE", 9)
    assert len(read_training_sample(experiment, listed)) == 9


def test_a_manifest_is_the_same_as_its_folder(noise_photos: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    listed = list_images(_experiment(noise_photos), Location(str(work)))
    [file] = work.iterdir()
    (noise_photos / "all.parquet").write_bytes(file.read_bytes())
    table = _experiment(noise_photos / "all.parquet")
    again = list_images(table, Location(str(tmp_path / "none")))
    assert again.name == "all"
    assert again.survey.paths == listed.survey.paths
    assert (
        read_training_sample(table, again).paths
        == read_training_sample(_experiment(noise_photos), listed).paths
    )
    assert not (tmp_path / "none").exists()
    with pytest.raises(ConfigError, match="`data` must have a column 'class'"):
        list_images(
            _experiment(noise_photos / "all.parquet", label_column="class"), Location("/none")
        )


def test_shares_must_leave_training_images(noise_photos: Path, tmp_path: Path) -> None:
    experiment = _experiment(noise_photos, test=0.6, validation=0.4)
    with pytest.raises(ConfigError, match="`test` and `validation` must be below 1 together"):
        list_images(experiment, Location(str(tmp_path / "work")))
    assert not (tmp_path / "work").exists()


def _draw_parts(photos: Path, *, train: int, test: int) -> None:
    """Draw images of two classes in folders of parts."""
    for number in range(train + test):
        place = photos / ("train" if number < train else "test") / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), "uint8")
        Image.fromarray(pixels).save(place / f"{number}.png")


def test_parts_of_the_user_are_not_drawn(tmp_path: Path) -> None:
    _draw_parts(tmp_path / "photos", train=6, test=2)
    experiment = _experiment(tmp_path / "photos", validation=0.2)
    listed = list_images(experiment, Location(str(tmp_path / "work")))
    split = listed.split
    assert (split.test, split.validation, split.folders) == (0.0, 0.2, (("test/", "test"),))
    found = read_training_sample(experiment, listed)
    assert {path.split("/")[0] for path in found.paths} == {PARTS[0]}


def test_a_sample_is_drawn_of_training_images_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_images, "SAMPLE", 10)
    _draw_parts(tmp_path / "photos", train=10, test=60)
    experiment = _experiment(tmp_path / "photos", test=0.1)
    listed = list_images(experiment, Location(str(tmp_path / "work")))
    assert listed.num_training == 10
    assert len(read_training_sample(experiment, listed)) == 10


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    with pytest.raises(DataError, match="`data` must contain images, got none in '.*photos'"):
        list_images(_experiment(tmp_path / "photos"), Location(str(tmp_path / "work")))


def test_a_faulty_list_is_reported_by_what_the_user_gave(
    noise_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Location(str(tmp_path / "work"))
    list_images(_experiment(noise_photos), work)
    [file] = (tmp_path / "work").iterdir()
    table = tmp_path / "table"
    table.mkdir()
    (table / "1.parquet").write_bytes(file.read_bytes())
    (table / "2.parquet").write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="`data` must be a Parquet file, or a folder of them"):
        list_images(_experiment(table), work)
    monkeypatch.setattr(cluster_images, "write_manifest", lambda *_: file.write_bytes(b"damaged"))
    with pytest.raises(StoreError, match=r"Can't read the list of images '.*work': ") as caught:
        list_images(_experiment(noise_photos), work)
    assert "`manifest`" not in str(caught.value)


@pytest.mark.parametrize("name", ["photos.parquet", "photos"])
def test_images_of_a_run_start_from_the_folder_of_their_table(
    name: str, noise_photos: Path, tmp_path: Path
) -> None:
    list_images(_experiment(noise_photos), Location(str(tmp_path / "work")))
    [file] = (tmp_path / "work").iterdir()
    place = tmp_path / "tables" / name
    shutil.copytree(noise_photos, place)
    (place / "1.parquet").write_bytes(file.read_bytes())
    listed = list_images(_experiment(place), Location("/none"))
    run = tmp_path / "run"
    run.mkdir()
    rows = zip(listed.survey.paths, listed.survey.labels, strict=True)
    text = "".join(f"train,{path},0,{label}\n" for path, label in rows)
    (run / "split.csv").write_text(f"part,path,digest,label\n{text}")
    assert len(load_run_images(_experiment(place), run)) == 40


def test_a_folder_of_classes_may_be_called_like_a_table(noise_photos: Path, tmp_path: Path) -> None:
    place = noise_photos.rename(tmp_path / "photos.parquet")
    assert list_images(_experiment(place), Location(str(tmp_path / "work"))).survey.num_rows == 40
