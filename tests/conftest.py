"""What every test file shares: a quiet TensorFlow, one hypothesis profile, a small backbone."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import hypothesis
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format
from PIL import Image
from tests import clusters
from tests.samples import SilentBar, small_classifier

from tlkit import datasets, freezing
from tlkit._internal import bars
from tlkit._internal.optional import installed
from tlkit._internal.runtimes import LITERT
from tlkit.cli import app
from tlkit.training import batchnorm

_NEED_LITERT = ("tlkit.deployment.exporter.export", "tlkit.deployment.predictor.Predictor")

hypothesis.settings.register_profile("tlkit", deadline=None, max_examples=25, derandomize=True)
hypothesis.settings.load_profile("tlkit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the docstring examples that need a package of an extra, where it is missing."""
    skip = pytest.mark.skip(reason="ai-edge-litert is not installed")
    for item in items:
        if item.name in _NEED_LITERT and not installed(LITERT):
            item.add_marker(skip)


def pytest_collection_finish() -> None:
    """Leave what was imported out of garbage collections, which take a twentieth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def frozen_garbage() -> Iterator[None]:
    """Leave out, too, what a file of tests left: Keras collects before each training.

    After some thousand tests a collection would take seconds.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of cached features is a temporary one, and that of no user."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("features")
        patch.setenv("TLKIT_CACHE", str(folder))
        yield folder


@pytest.fixture
def small_backbone() -> keras.Model:
    """Eleven layers: a stem, two residual blocks (layers 3 to 5 and 6 to 8) and a top."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3), name="image")
    x = keras.layers.Conv2D(8, 3, 2, padding="same", activation="relu", name="stem")(image)
    x = keras.layers.BatchNormalization(name="stem_bn")(x)
    for block in ("block_1", "block_2"):
        conv = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name=f"{block}_conv")
        y = keras.layers.BatchNormalization(name=f"{block}_bn")(conv(x))
        x = keras.layers.Add(name=f"{block}_add")([x, y])
    x = keras.layers.Conv2D(12, 1, activation="relu", name="top_conv")(x)
    x = keras.layers.BatchNormalization(name="top_bn")(x)
    return keras.Model(image, x, name="small_backbone")


@pytest.fixture
def model(small_backbone: keras.Model) -> keras.Model:
    """A classifier on `small_backbone`, of images of 9 x 9 pixels."""
    return small_classifier(small_backbone)


@pytest.fixture
def run_python() -> Callable[..., str]:
    """Run code in a fresh interpreter with more environment variables; return what it prints."""

    def run(
        code: str,
        *options: str,
        prefix: tuple[str, ...] = (),
        seconds: float = 120,
        **environment: str,
    ) -> str:
        done = subprocess.run(
            [*prefix, sys.executable, *options, "-c", code],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def keras_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A KERAS_HOME with "ImageNet" MobileNetV2 weights: random, with statistics that fit."""
    home = tmp_path_factory.mktemp("keras-home")
    keras.utils.set_random_seed(0)
    shape = (32, 32, 3)
    backbone = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=shape)
    noise = np.random.default_rng(0).random((64, *shape), "float32")
    batchnorm.reestimate(backbone, freezing.find_batchnorm(backbone), [noise])
    (home / "models").mkdir()
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    with h5py.File(home / "models" / name, "w") as file:  # the layout of Keras' downloads
        legacy_h5_format.save_weights_to_hdf5_group(file, backbone)
    return home


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scikit-learn's digits 0, 1 and 2 as PNG files, a folder for each."""
    folder = tmp_path_factory.mktemp("data") / "digits"
    digits = datasets.digits().train
    for number, (image, label) in enumerate(zip(digits.images, digits.labels, strict=True)):
        if label < 3:
            (folder / f"digit {label}").mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray((image * 255 / 16).astype("uint8")).resize((32, 32))
            picture.save(folder / f"digit {label}" / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that `tlkit train` wrote."""
    out = tmp_path_factory.mktemp("runs") / "run"
    words = ["train", str(photos), "--out", str(out), "--image-size", "32", "--weights", "starter"]
    assert app.main([*words, "--validation", "0.2", "--json"]) == app.DONE
    return out


@pytest.fixture
def opened_bars(monkeypatch: pytest.MonkeyPatch) -> list[SilentBar]:
    """The progress bars that a test opens, which show nothing."""
    opened: list[SilentBar] = []

    def open_bar(title: str, console: object) -> SilentBar:
        opened.append(SilentBar(title))
        return opened[-1]

    monkeypatch.setattr(bars, "open_bar", open_bar)
    return opened


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray cluster of two cores, which all tests of a file use."""
    with clusters.start_local():
        yield


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip(f"a small disk can't be mounted: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)
