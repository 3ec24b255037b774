from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkit.data.digests import to_numbers
from tlkit.data.listings import PARTS
from tlkit.distributed.drawn_split import DrawnSplit
from tlkit.distributed.storage import Location
from tlkit.errors import ConfigError
from tlkit.experiments import Experiment, cluster_images
from tlkit.experiments.cluster_images import draw_split, list_images, read_training_sample
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
    split = draw_split(experiment, listed)
    assert split == DrawnSplit(test=0.3, validation=0.0, seed=2)
    found = read_training_sample(experiment, listed, split)
    whole = load_images(experiment)
    drawn = split.divide(to_numbers(scan.digest for scan in whole.scans))
    training = np.flatnonzero(drawn == PARTS.index("train"))
    assert found.paths == whole.take(training).paths
    monkeypatch.setattr(cluster_images, "SAMPLE", 9)
    assert len(read_training_sample(experiment, listed, split)) == 9


def test_a_manifest_is_the_same_as_its_folder(noise_photos: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    listed = list_images(_experiment(noise_photos), Location(str(work)))
    [file] = (work / "manifest").iterdir()
    (noise_photos / "all.parquet").write_bytes(file.read_bytes())
    table = _experiment(noise_photos / "all.parquet")
    again = list_images(table, Location(str(tmp_path / "none")))
    assert again.name == "all"
    assert again.survey.paths == listed.survey.paths
    split = draw_split(table, again)
    assert (
        read_training_sample(table, again, split).paths
        == read_training_sample(_experiment(noise_photos), listed, split).paths
    )
    assert not (tmp_path / "none").exists()
    with pytest.raises(ConfigError, match="`data` must have a column 'class'"):
        list_images(
            _experiment(noise_photos / "all.parquet", label_column="class"), Location("/none")
        )


def test_shares_must_leave_training_images(noise_photos: Path, tmp_path: Path) -> None:
    experiment = _experiment(noise_photos, test=0.6, validation=0.4)
    listed = list_images(experiment, Location(str(tmp_path)))
    with pytest.raises(ConfigError, match="`test` and `validation` must be below 1 together"):
        draw_split(experiment, listed)


def test_parts_of_the_user_are_not_drawn(tmp_path: Path) -> None:
    for number in range(8):
        place = tmp_path / "photos" / ("train" if number < 6 else "test") / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), "uint8")
        Image.fromarray(pixels).save(place / f"{number}.png")
    experiment = _experiment(tmp_path / "photos", validation=0.2)
    listed = list_images(experiment, Location(str(tmp_path / "work")))
    split = draw_split(experiment, listed)
    assert (split.test, split.validation, split.folders) == (0.0, 0.2, (("test/", "test"),))
    found = read_training_sample(experiment, listed, split)
    assert {path.split("/")[0] for path in found.paths} == {PARTS[0]}
