import json
import shutil
from pathlib import Path

import pytest

import tlkit
from tlkit.errors import ConfigError, DataError
from tlkit.experiments import run_images
from tlkit.experiments.divided_images import DividedImages
from tlkit.experiments.run_folder import is_fine_tuned


def test_a_run_with_a_second_phase_is_fine_tuned(trained: Path, tmp_path: Path) -> None:
    assert not is_fine_tuned(trained)
    assert not is_fine_tuned(tmp_path)  # no run
    tuned = shutil.copytree(trained, tmp_path / "tuned")
    metrics = json.loads((tuned / "metrics.json").read_text())
    [head] = metrics["phases"]
    metrics["phases"] = [head, {**head, "name": "fine_tune"}]
    (tuned / "metrics.json").write_text(json.dumps(metrics))
    tlkit.experiments.verify_run(tuned, accept=True)
    assert is_fine_tuned(tuned)
    assert is_fine_tuned(tuned / "model.keras")


def test_a_part_is_found_by_content_wherever_its_images_are(
    trained: Path, photos: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(photos, tmp_path / "moved")
    data = tlkit.sources.from_folder(moved, image_size=32)
    parts = {
        name: run_images.take_part(trained, data, name) for name in ("train", "validation", "test")
    }
    assert sum(map(len, parts.values())) == len(data)
    assert len(parts["test"]) == json.loads((trained / "metrics.json").read_text())["count"]
    exported = trained / "exports" / "model.onnx"  # need not exist
    assert len(run_images.take_part(exported, data, "test")) == len(parts["test"])
    with pytest.raises(DataError, match="The run's test images must all be there, got 1 of"):
        run_images.take_part(trained, parts["test"].take(slice(1, None)), "test")
    with pytest.raises(ConfigError, match="`part` needs the run of the classifier"):
        run_images.take_part(tmp_path / "other.keras", data, "test")


@pytest.fixture
def sampled(trained: Path, tmp_path: Path) -> Path:
    """A run that lists only a sample of its test images, as of too many images on a cluster."""
    run = shutil.copytree(trained, tmp_path / "sampled")
    config = json.loads((run / "config.json").read_text())
    counts = {"train": {"a": 200_000}, "validation": {"a": 0}, "test": {"a": 60_000}}
    config["making"]["divided"] = DividedImages(
        name="photos",
        counts=counts,
        num_sampled=5,
        is_listed=False,
        problems=(),
        own_parts=(),
        features={},
    ).to_dict()
    (run / "config.json").write_text(json.dumps(config))
    lines = (run / "split.csv").read_text().splitlines()
    tested = [line for line in lines if line.startswith("test,")][:5]
    (run / "split.csv").write_text("\n".join([lines[0], *tested, ""]))
    tlkit.experiments.verify_run(run, accept=True)
    return run


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_part_that_is_not_listed_is_refused(sampled: Path, photos: Path, part: str) -> None:
    data = tlkit.sources.from_folder(photos, image_size=32)
    message = "it has 260,000 images, and its split.csv lists only 5 test images"
    with pytest.raises(ConfigError, match=f"`part` must be left out for this run: {message}"):
        run_images.take_part(sampled, data, part)
    assert len(run_images.read_split(sampled).test) == 5


def test_int8_needs_training_images_that_are_listed(sampled: Path) -> None:
    with pytest.raises(ConfigError, match="needs the training images of the run, which are not"):
        tlkit.experiments.export_run(sampled, format="litert", precision="int8")


def test_a_folder_that_is_no_run_has_no_split(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`run` must be a run that `tlkit train` wrote"):
        run_images.read_split(tmp_path)
