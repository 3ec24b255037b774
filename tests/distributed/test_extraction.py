"""A cluster of two workers with a core each extracts what one machine extracts."""

import os
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tests.clusters import find_processes, is_descendant
from tests.distributed.conftest import NAMES, extract_on_one_machine, write_manifest

import tlkit
from tlkit.distributed import cluster as clusters
from tlkit.distributed import environment, extract, extraction, open_features, solve_head
from tlkit.distributed.feature_set import read_file
from tlkit.distributed.storage import Location
from tlkit.errors import ConfigError, DataError
from tlkit.models.inspection import head_of
from tlkit.training import solvers

ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
SETTINGS: dict[str, Any] = {"workers": 2, "engine": "keras", "part_rows": 9}


def find_workers() -> list[int]:
    """Return the workers of this process, not those of other tests on this machine."""
    return list(filter(is_descendant, find_processes(b"ray::MapWorker")))


@pytest.mark.usefixtures("cluster")
def test_features_are_those_of_one_machine_though_a_worker_is_killed(
    photos: Path, classifier: keras.Model, tmp_path: Path
) -> None:
    digests, expected = extract_on_one_machine(classifier, photos)
    killed: list[int] = []

    def kill_worker(done: int, total: int) -> None:
        if not killed:
            killed.extend(find_workers()[:1])
            os.kill(killed[0], signal.SIGKILL)

    out = tmp_path / "features"
    found = extract(
        photos / "photos.parquet", classifier, out=out, on_progress=kill_worker, **SETTINGS
    )
    assert killed
    assert (found.num_images, found.class_counts) == (60, dict.fromkeys(NAMES, 20))
    assert found.workers[0].peak_bytes > 0
    read = [read_file(file) for file in open_features(out).locations]
    np.testing.assert_array_equal(np.concatenate([images.digests for _, images in read]), digests)
    features = np.concatenate([each for each, _ in read])
    np.testing.assert_array_equal(features.view("uint16"), expected.view("uint16"))

    again = extract(photos / "photos.parquet", classifier, out=out, **SETTINGS)
    assert (again.num_computed, again.read_bytes, again.files) == (0, 0, found.files)

    solved = tlkit.load(out / "_model.keras")
    metrics = solve_head(solved, found, solver="ridge", seed=3)
    labels = np.arange(60) % 3
    # in float64 too: the means of these features are far above their deviations
    expected = solvers.ridge(expected.astype("float64"), labels, classes=3, seed=3)
    rounding = 1e-5 * np.abs(expected.kernel).max()
    np.testing.assert_allclose(head_of(solved).kernel, expected.kernel, atol=rounding)
    np.testing.assert_allclose(head_of(solved).bias, expected.bias, atol=rounding)
    assert metrics["accuracy"] == pytest.approx(
        expected.accuracy(features.astype("float32"), labels)
    )


@pytest.mark.usefixtures("cluster")
def test_what_is_wrong_is_said_before_anything_runs(
    photos: Path, classifier: keras.Model, tmp_path: Path
) -> None:
    out = tmp_path / "features"
    with pytest.raises(ConfigError, match="must have a column 'class'"):
        extract(photos / "photos.parquet", classifier, out=out, label_column="class")
    with pytest.raises(ConfigError, match="`workers` must be at most the cluster's 2 cores"):
        extract(photos / "photos.parquet", classifier, out=out, workers=3)
    write_manifest(tmp_path / "gone.parquet", [("none.jpg", "cat"), ("/tmp/a.jpg", "dog")])
    with pytest.raises(DataError, match="None of the first 2 images of the manifest can be read"):
        extract(tmp_path / "gone.parquet", classifier, out=out)
    assert not out.exists()
    out.mkdir()
    (out / "_facts.json").write_text('{"engine": ["keras", "1.0"], "dtype": "float32"}')
    (out / "features.parquet").touch()
    with pytest.raises(ConfigError, match=r"`out` must be .* dtype: 'float32' there"):
        extract(photos / "photos.parquet", classifier, out=out)
    assert {path.name for path in out.iterdir()} == {"_facts.json", "features.parquet"}


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("package", "message"),
    [
        ("keras", f"keras {keras.__version__}, here 9.9"),
        ("another-engine", "another-engine is missing, here 9.9"),
    ],
)
def test_a_worker_with_other_packages_is_refused_before_anything_runs(
    package: str,
    message: str,
    photos: Path,
    classifier: keras.Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find = environment._find_version
    versions = {package: "9.9"}  # of this process; the workers have the real ones
    monkeypatch.setattr(environment, "_find_version", lambda name: versions.get(name) or find(name))
    monkeypatch.setitem(environment.PACKAGES, "keras", (package,))
    with pytest.raises(ConfigError) as caught:
        extract(photos / "photos.parquet", classifier, out=tmp_path, **SETTINGS)
    assert message in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["_facts.json"]


@pytest.mark.usefixtures("cluster")
def test_a_machine_without_tlkit_is_named() -> None:
    def describe() -> None:
        raise ModuleNotFoundError("No module named 'tlkit'")

    with pytest.raises(ConfigError, match=r"can't run a task: .*No module named 'tlkit'"):
        clusters.ask_machines(ray, describe, variables={})


def test_facts_without_features_do_not_bind(tmp_path: Path) -> None:
    known, facts = {"engine": ["openvino", "1"]}, {"engine": ["litert", "2"]}
    out = Location(str(tmp_path))
    extraction._check_same(known, facts, out)  # an extraction that was refused leaves such facts
    (tmp_path / "features.parquet").touch()
    with pytest.raises(ConfigError, match="must be a folder of features of the same classifier"):
        extraction._check_same(known, facts, out)


@pytest.mark.usefixtures("cluster")
def test_an_image_that_a_worker_can_t_read_is_named_before_anything_runs(
    photos: Path, classifier: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_sample = extraction._Plan.read_sample
    elsewhere = Location("/only/here/1.jpg")  # as if this process could read it
    monkeypatch.setattr(
        extraction._Plan, "read_sample", lambda plan: (read_sample(plan)[0], elsewhere)
    )
    with pytest.raises(ConfigError, match="the image '/only/here/1.jpg' does not exist there"):
        extract(photos / "photos.parquet", classifier, out=tmp_path, **SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["_facts.json"]
