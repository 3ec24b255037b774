"""Runs prepare a training on a cluster: they list images, and read some of them."""

from pathlib import Path

import pytest

from tlkit.caching import Cache
from tlkit.distributed.storage import Location
from tlkit.experiments import Experiment, run_state
from tlkit.experiments.cluster_preparation import ClusterTraining, prepare

pytest.importorskip("pyarrow")


def _prepare(data: Path, run: Path, shared: Path | None) -> ClusterTraining:
    folder = None if shared is None else str(shared)
    experiment = Experiment(
        str(data), weights="starter", image_size=32, cluster="local", cluster_folder=folder
    )
    run.mkdir()
    claim = run_state.Claim(folder=run)
    return prepare(experiment, claim, cache=Cache(), on_message=lambda _: None, verbose=False)


def test_runs_that_share_a_folder_have_a_list_of_images_each(
    noise_photos: Path, tmp_path: Path
) -> None:
    one = _prepare(noise_photos, tmp_path / "one", tmp_path / "shared")
    (noise_photos / "a" / "0.png").unlink()
    other = _prepare(noise_photos, tmp_path / "other", tmp_path / "shared")
    assert (one.listed.survey.num_rows, other.listed.survey.num_rows) == (40, 39)
    manifest = one.listed.manifest
    assert sum(len(manifest.read(part).paths) for part in manifest.plan(50)) == 40
    assert one.folder == other.folder
    assert one.own_folder != other.own_folder  # of states, and of features of trained layers


def test_the_own_folder_of_a_run_is_its_place_without_another(
    noise_photos: Path, tmp_path: Path
) -> None:
    training = _prepare(noise_photos, tmp_path / "run", None)
    assert training.own_folder == training.folder == Location(str(tmp_path / "run"))
