"""A cluster of two workers with a core each extracts what one machine extracts."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tests.distributed.conftest import NAMES, write_manifest

import tlkit
from tlkit import sources
from tlkit.caching import Cache, partition
from tlkit.caching.extraction import Extraction
from tlkit.distributed import extract, open_features, solve_head
from tlkit.distributed.feature_set import read_file
from tlkit.errors import ConfigError, DataError
from tlkit.models import freezing
from tlkit.models.inspection import head_of
from tlkit.training import solvers

ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
SETTINGS: dict[str, Any] = {"workers": 2, "engine": "keras", "part_rows": 9}


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of two cores, which all tests of this file use."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def extract_on_one_machine(model: keras.Model, photos: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return digests and features as a training with a cache has them."""
    data = sources.from_manifest(photos / "photos.parquet", image_size=24)
    plan = freezing.plan(tlkit.models.backbone_of(model), freezing.everything)
    freezing.apply(plan)
    cut = partition.find_cut(model, plan, data.images[:1], after=model.layers[-3].name)
    extraction = Extraction(model, [cut], Cache(engine="keras", dtype="float16"))
    dataset = extraction.extract(cut, "train", (data.images, data.labels), batch_size=32)
    [features] = dataset.take(np.arange(len(data)), 0)[0]
    return data.images.digests, features


@pytest.mark.usefixtures("cluster")
def test_features_are_those_of_one_machine_though_a_worker_is_killed(
    photos: Path, classifier: keras.Model, tmp_path: Path
) -> None:
    digests, expected = extract_on_one_machine(classifier, photos)
    killed: list[int] = []

    def kill_worker(done: int, total: int) -> None:
        if killed:
            return
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (process / "cmdline").read_bytes().startswith(b"ray::MapWorker"):
                    os.kill(int(process.name), signal.SIGKILL)
                    killed.append(int(process.name))
                    return

    out = tmp_path / "features"
    found = extract(
        photos / "photos.parquet", classifier, out=out, on_progress=kill_worker, **SETTINGS
    )
    assert killed
    assert (found.num_images, found.class_counts) == (60, dict.fromkeys(NAMES, 20))
    assert found.workers[0].peak_bytes > 0
    read = [read_file(file) for file in open_features(out).locations]
    np.testing.assert_array_equal(np.concatenate([each[2] for each in read]), digests)
    features = np.concatenate([each[0] for each in read])
    np.testing.assert_array_equal(features.view("uint16"), expected.view("uint16"))

    again = extract(photos / "photos.parquet", classifier, out=out, **SETTINGS)
    assert (again.num_computed, again.read_bytes, again.files) == (0, 0, found.files)

    solved = tlkit.load(out / "_model.keras")
    metrics = solve_head(solved, found, solver="ridge", seed=3)
    labels = np.arange(60) % 3
    expected = solvers.ridge(expected.astype("float32"), labels, classes=3, seed=3)
    # sums over images in float32, in another order; their means are far above their deviations
    rounding = 1e-3 * np.abs(expected.kernel).max()
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
    with pytest.raises(ConfigError, match=r"`out` must be .* dtype: 'float32' there"):
        extract(photos / "photos.parquet", classifier, out=out)
    assert [path.name for path in out.iterdir()] == ["_facts.json"]
