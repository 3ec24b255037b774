"""Two workers with a core each train what Keras trains in one process, also if one is killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tlkit
from tlkit import freezing, sources
from tlkit.caching.plan import set_trainable
from tlkit.data.digests import to_numbers
from tlkit.distributed import FeatureSet, extract, fine_tune, tail_checks
from tlkit.distributed.drawn_split import DrawnSplit
from tlkit.distributed.environment import Machine
from tlkit.distributed.lanes import Lanes
from tlkit.errors import ConfigError, DataError
from tlkit.training import Phase, PhaseRun
from tlkit.training.phase import plan_freezing

ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
pytest.importorskip("jax", reason="the extra 'jax' is not installed")

PHASE = Phase(
    epochs=3,
    batch_size=16,
    learning_rate=1e-2,
    schedule="cosine",
    global_clipnorm=1.0,
    class_weight=(1.0, 2.0, 1.0),
    freeze=freezing.first(3),
)
SEED, VALIDATION = 5, 0.25
SETTINGS: dict[str, Any] = {"workers": 2, "seed": SEED, "validation": VALIDATION}


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of two cores, which all tests of this file use."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        "local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
    )
    yield
    ray.shutdown()


def _extract(photos: Path, model: keras.Model, out: Path, phase: Phase) -> FeatureSet:
    how: dict[str, Any] = {"engine": "keras", "dtype": "float32", "part_rows": 25}
    return extract(photos / "photos.parquet", model, out=out, phase=phase, **how)


@pytest.fixture(scope="module")
def features(
    cluster: None,
    photos: Path,
    classifier: keras.Model,
    tmp_path_factory: pytest.TempPathFactory,
) -> FeatureSet:
    """What the phase's layers read, in files of 25, 25 and 10 images."""
    return _extract(photos, classifier, tmp_path_factory.mktemp("features"), PHASE)


@pytest.fixture
def model(classifier: keras.Model, tmp_path: Path) -> keras.Model:
    """A classifier with the same weights in each test."""
    return tlkit.load(tlkit.save(classifier, tmp_path / "copy.keras"))


Undisturbed = tuple[keras.Model, PhaseRun]


@pytest.fixture(scope="module")
def undisturbed(
    features: FeatureSet, classifier: keras.Model, tmp_path_factory: pytest.TempPathFactory
) -> Undisturbed:
    """A training of two workers that nothing disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    model = tlkit.load(tlkit.save(classifier, folder / "copy.keras"))
    return model, fine_tune(model, PHASE, features, checkpoint=folder / "run", **SETTINGS)


def _train_by_keras(
    model: keras.Model, phase: Phase, photos: Path, validation: float
) -> dict[str, list[float]]:
    """Train the whole model on the same batches by Keras, and return the metrics of each epoch."""
    data = sources.from_manifest(photos / "photos.parquet", image_size=24)
    images, labels = data.images[:], np.eye(3, dtype="float32")[np.asarray(data.labels)]
    contents = to_numbers(scan.digest for scan in data.scans)
    drawn = DrawnSplit(test=0, validation=validation, seed=SEED).divide(contents)
    [held_out], [trained] = np.nonzero(drawn == 1), np.nonzero(drawn == 0)
    set_trainable(model, plan_freezing(model, phase))
    lanes = Lanes(count=len(trained), batch_size=phase.batch_size, workers=1, rank=0)
    model.compile(
        phase.create_optimizer(lanes.steps), loss="categorical_crossentropy", metrics=["accuracy"]
    )
    metrics: dict[str, list[float]] = {"loss": [], "val_loss": [], "val_accuracy": []}
    for epoch in range(phase.epochs):
        total = 0.0
        for rows, counted in zip(*lanes.take((SEED, epoch)), strict=True):
            batch = trained[rows[counted]]
            how = {"class_weight": phase.weigh_classes(3)}
            loss, _ = model.train_on_batch(images[batch], labels[batch], **how)
            total += len(batch) * float(loss)
        metrics["loss"].append(total / len(trained))
        if len(held_out):
            found = model.evaluate(images[held_out], labels[held_out], verbose=0)
            metrics["val_loss"].append(float(found[0]))
            metrics["val_accuracy"].append(float(found[1]))
    return metrics


def _compare(found: keras.Model, expected: keras.Model, *, share: float) -> None:
    for weight, other in zip(found.weights, expected.weights, strict=True):
        wanted = keras.ops.convert_to_numpy(other)
        limit = share * max(float(np.abs(wanted).max()), 0.01)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(weight), wanted, atol=limit)


def test_workers_train_what_keras_trains(
    undisturbed: Undisturbed, photos: Path, model: keras.Model
) -> None:
    metrics = _train_by_keras(model, PHASE, photos, VALIDATION)
    found, run = undisturbed
    for name, values in metrics.items():
        np.testing.assert_allclose(run.history[name], values, rtol=1e-5)
    _compare(found, model, share=1e-5)
    assert run.history["learning_rate"][0] > run.history["learning_rate"][-1] >= 0
    assert (run.best_epoch, run.num_epochs, run.movement.moved) == (3, 3, 4)


def _find_workers() -> list[int]:
    """Return the workers of this process, not those of other tests on this machine."""
    parents, workers = {}, []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            number = int(process.name)
            parents[number] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if (process / "cmdline").read_bytes().startswith(b"ray::TailWorker"):
                workers.append(number)

    def is_own(number: int) -> bool:
        return number == os.getpid() or (number in parents and is_own(parents[number]))

    return [number for number in workers if is_own(number)]


def test_a_killed_worker_changes_nothing(
    undisturbed: Undisturbed, features: FeatureSet, model: keras.Model, tmp_path: Path
) -> None:
    lines: list[str] = []

    def kill_worker(line: str) -> None:
        lines.append(line)
        if " 1/3: " in line:
            os.kill(_find_workers()[-1], signal.SIGKILL)

    run = fine_tune(
        model, PHASE, features, checkpoint=tmp_path / "run", on_message=kill_worker, **SETTINGS
    )
    assert [line for line in lines if "was lost" in line] == [
        "fine_tune: a worker was lost in epoch 2; 2 workers with 1 core each start from the end of "
        "epoch 1"
    ]
    assert run.history == undisturbed[1].history
    _compare(model, undisturbed[0], share=0)


_CODE = """
import os, signal, sys
import tlkit
from tlkit.distributed import fine_tune
from tests.distributed.test_fine_tuning import PHASE, SETTINGS

def die(line):
    if " 2/3: " in line:
        os.kill(os.getpid(), signal.SIGKILL)

model, features, checkpoint = sys.argv[1:]
fine_tune(
    tlkit.load(model), PHASE, features, checkpoint=checkpoint, on_message=die,
    cluster="local", **SETTINGS
)
"""


def test_a_new_call_goes_on_after_this_process_was_killed(
    undisturbed: Undisturbed, features: FeatureSet, model: keras.Model, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "run"
    words = [tmp_path / "copy.keras", features.folder, checkpoint]
    died = subprocess.run([sys.executable, "-c", _CODE, *map(str, words)], timeout=500)
    assert died.returncode == -signal.SIGKILL
    with pytest.raises(ConfigError, match="must be of this training, .* phase.epochs 3, now 4"):
        fine_tune(model, replace(PHASE, epochs=4), features, checkpoint=checkpoint, **SETTINGS)
    lines: list[str] = []
    settings = {**SETTINGS, "workers": 1}  # the number of workers does not change the batches
    run = fine_tune(
        model, PHASE, features, checkpoint=checkpoint, on_message=lines.append, **settings
    )
    assert [line.partition(":")[0] for line in lines] == ["fine_tune", "fine_tune 3/3"]
    for name, values in undisturbed[1].history.items():
        np.testing.assert_allclose(run.history[name], values, rtol=1e-5)
    _compare(model, undisturbed[0], share=1e-5)


def test_all_layers_train_on_pixels_with_batchnorm_and_patience(
    cluster: None, photos: Path, model: keras.Model, tmp_path: Path
) -> None:
    phase = Phase(
        epochs=9,
        batch_size=20,
        optimizer="sgd",
        learning_rate=0.5,
        freeze=freezing.nothing,
        batchnorm="train",
        patience=1,
        monitor="loss",
    )
    features = _extract(photos, model, tmp_path / "features", phase)
    assert features.num_features == 24 * 24 * 3
    expected = tlkit.load(tmp_path / "copy.keras")
    losses = _train_by_keras(expected, replace(phase, epochs=2), photos, 0)["loss"]
    run = fine_tune(model, phase, features, checkpoint=tmp_path / "run", seed=SEED)
    np.testing.assert_allclose(run.history["loss"][:2], losses, rtol=1e-4)
    values = run.history["loss"]
    assert run.best_epoch == 1 + int(np.argmin(values))
    assert len(values) in (run.best_epoch + 1, 9)


def _refuse_jax(*arguments: Any, **settings: Any) -> list[Machine]:
    return [Machine(name="host", versions={"jax": "", "keras": keras.__version__})]


@pytest.mark.parametrize(
    ("phase", "settings", "message"),
    [
        ({}, {"workers": 3}, "`workers` must divide the phase's batch_size of 16, .*, got 3"),
        ({"batch_size": 15}, {}, "`workers` must divide the phase's batch_size of 15, .*, got 2"),
        (
            {"augmentation": (keras.layers.RandomFlip(),)},
            {},
            "`phase` must leave out `augmentation` on a cluster: each image is read once",
        ),
        ({"ema_momentum": 0.9}, {}, "`phase` must leave out `ema_momentum` on a cluster"),
        ({"batchnorm": "reestimate"}, {}, "must have batchnorm='frozen' or 'train' on a cluster"),
        ({"precision": "float16"}, {}, "must have precision='float32' or 'bfloat16' on a cluster"),
        ({"optimizer": keras.optimizers.SGD()}, {}, "must have the name of an optimizer"),
        ({"patience": 1}, {"validation": 0.0}, "must have a `monitor` among .*, got 'val_loss'"),
        ({"freeze": freezing.nothing}, {}, "`features` must be those that the layers of this"),
        ({}, {"checkpoint": "ftp://host/run"}, "`checkpoint` must be a path, or an address"),
    ],
)
def test_what_a_cluster_can_t_train_is_refused(
    phase: dict[str, Any],
    settings: dict[str, Any],
    message: str,
    features: FeatureSet,
    model: keras.Model,
    tmp_path: Path,
) -> None:
    how = {"checkpoint": tmp_path / "run", **SETTINGS, **settings}
    with pytest.raises(ConfigError, match=message):
        fine_tune(model, replace(PHASE, **phase), features, **how)
    assert not (tmp_path / "run").exists()


def test_too_few_images_and_machines_without_jax_are_refused(
    features: FeatureSet,
    model: keras.Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    classifier: keras.Model,
) -> None:
    train: Callable[..., PhaseRun] = lambda **phase: fine_tune(  # noqa: E731
        model, replace(PHASE, **phase), features, checkpoint=tmp_path / "run", **SETTINGS
    )
    with pytest.raises(DataError, match="as many training images as in a step, 64, got"):
        train(batch_size=64)
    monkeypatch.setattr(tail_checks.clusters, "ask_machines", _refuse_jax)
    with pytest.raises(ConfigError, match=r"missing on host. Run pip install 'tlkit\[jax\]'"):
        train()
