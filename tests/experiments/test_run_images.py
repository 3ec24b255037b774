import json
import shutil
from pathlib import Path

import pytest

import tlkit
from tlkit.errors import ConfigError, DataError
from tlkit.experiments import run_images
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


def test_a_folder_that_is_no_run_has_no_split(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`run` must be a run that `tlkit train` wrote"):
        run_images.read_split(tmp_path)
