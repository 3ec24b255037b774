"""Small JPEGs in a folder with a manifest, and a classifier of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from tests.samples import small_classifier

import tlkit
from tlkit import sources
from tlkit._internal.optional import installed
from tlkit.caching import Cache, partition
from tlkit.caching.extraction import Extraction
from tlkit.distributed import feature_files
from tlkit.distributed.manifest import Part, open_manifest
from tlkit.distributed.storage import Location
from tlkit.distributed.trunk import count_features, plan_pictures
from tlkit.distributed.worker import Job
from tlkit.models import freezing

NAMES = ("cat", "dog", "eel")

collect_ignore_glob = [] if installed("pyarrow") else ["*.py"]


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 60 JPEGs of 24 pixels in three classes, and its manifest."""
    folder = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    rows = []
    for number in range(60):
        name = NAMES[number % 3]
        (folder / name).mkdir(exist_ok=True)
        pixels = draw.integers(0, 256, (24, 24, 3), "uint8")
        pixels[..., number % 3] //= 3
        Image.fromarray(pixels).save(folder / name / f"{number:02}.jpg")
        rows.append((f"{name}/{number:02}.jpg", name))
    write_manifest(folder / "photos.parquet", rows)
    return folder


def write_manifest(
    file: Path, rows: list[tuple[str | None, str | None]], *, group: int = 1000
) -> None:
    """Write a table of paths and labels."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    paths, labels = zip(*rows, strict=True)
    table = arrow.table({"path": list(paths), "label": list(labels)})
    parquet.write_table(table, file, row_group_size=group)


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


@pytest.fixture(scope="session")
def closed_bucket() -> None:
    """Register addresses of closed://, which deny all access."""
    fsspec = pytest.importorskip("fsspec")

    class Closed(fsspec.AbstractFileSystem):
        protocol = "closed"

        def info(self, path: str, **settings: Any) -> None:
            raise PermissionError(13, "Access denied", path)

        def _open(self, path: str, mode: str = "rb", **settings: Any) -> None:
            raise PermissionError(13, "Access denied", path)

    fsspec.register_implementation("closed", Closed)


@pytest.fixture(scope="session")
def classifier() -> keras.Model:
    """A classifier of RGB images of 24 x 24 pixels."""
    image = keras.Input((24, 24, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="conv")(image)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.Conv2D(16, 3, activation="relu", name="top")(x)
    backbone = keras.Model(image, x, name="small")
    return small_classifier(backbone, input_shape=(24, 24, 3), class_names=NAMES)


@pytest.fixture
def make_job(classifier: keras.Model, tmp_path: Path) -> Callable[..., tuple[Job, list[Part]]]:
    """Plan an extraction that a worker runs in this process."""

    def make(manifest: Path, *, rows: int = 20, **settings: Any) -> tuple[Job, list[Part]]:
        table = open_manifest(
            Location(str(manifest)),
            folder=None,
            path_column="path",
            label_column="label",
            outside_paths=settings.pop("outside_paths", False),
        )
        out = Location(str(tmp_path / "out"))
        out.make_folder()
        model = tmp_path / "classifier.keras"
        if settings.pop("with_model", True):
            tlkit.save(classifier, model)
        else:
            model.unlink()
        job = Job(
            manifest=table,
            out=out,
            model=Location(str(model)),
            index=feature_files.make_index(out.list_files(".parquet")),
            pictures=plan_pictures(classifier, image_size=None, fit="squash", white=None),
            cache=Cache(dtype="float16"),
            engine="keras",
            num_features=count_features(classifier),
        )
        return job, list(table.plan(rows))

    return make
