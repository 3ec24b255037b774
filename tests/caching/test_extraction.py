from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tests.samples import SilentBar

import tlkit
from tlkit import freezing
from tlkit.caching import partition
from tlkit.caching.cache import Cache
from tlkit.caching.extraction import Extraction
from tlkit.caching.partition import Cut
from tlkit.caching.progress import CacheProgress
from tlkit.data import chunks
from tlkit.errors import DataError
from tlkit.models.flat_graph import Part

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 9, 9, 1), "uint8")
LABELS = np.arange(10) % 3


@pytest.fixture
def cut_model(small_backbone: keras.Model) -> tuple[keras.Model, Cut]:
    model = tlkit.build_classifier(
        small_backbone, 3, input_shape=(9, 9, 1), image_size=16, pixels=(0, 1)
    )
    plan = freezing.plan(tlkit.models.backbone_of(model), freezing.everything)
    model.trainable = True
    freezing.apply(plan)
    return model, partition.find_cut(model, plan, IMAGES)


def _expected(model: keras.Model, cut: Cut) -> list[np.ndarray]:
    trunk = Part(cut.trunk, cut.graph.inputs, cut.tensors, name="trunk")
    given = keras.ops.cast(IMAGES, model.inputs[0].dtype)
    return [np.asarray(each) for each in trunk(given, training=False)]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("where", ["memory", "temporary", "folder"])
def test_features_are_those_of_the_trunk_wherever_they_are_stored(
    cut_model: tuple[keras.Model, Cut], tmp_path: Path, where: str, dtype: Any
) -> None:
    model, cut = cut_model
    settings: dict[str, dict[str, Any]] = {
        "memory": {},
        "temporary": {"memory_limit": 0},
        "folder": {"folder": tmp_path},
    }
    extraction = Extraction(model, [cut], Cache(dtype=dtype, **settings[where]))
    found = extraction.extract(cut, "train", (IMAGES, LABELS), batch_size=4)
    for one, other in zip(found.take(np.arange(10))[0], _expected(model, cut), strict=True):
        assert one.dtype == dtype
        np.testing.assert_allclose(one, other, rtol=1e-5 if dtype == "float32" else 2**-10)
    assert extraction.extract(cut, "train", (IMAGES, LABELS), batch_size=4).count == 10
    run = extraction.summarize(cut)
    assert (run.num_images, run.num_computed) == (10, 10)  # the second time, nothing is run
    assert run.num_bytes == 10 * cut.bytes_per_image // (1 if dtype == "float32" else 2)
    assert run.on_disk == (where == "temporary")
    assert (run.float16_error > 0) == (dtype == "float16")
    extraction.close()


def test_features_in_a_folder_serve_the_next_extraction(
    cut_model: tuple[keras.Model, Cut], tmp_path: Path
) -> None:
    model, cut = cut_model
    for computed in (10, 0):
        extraction = Extraction(model, [cut], Cache(folder=tmp_path))
        extraction.extract(cut, "train", (IMAGES, LABELS), batch_size=4)
        assert extraction.summarize(cut).num_computed == computed


def _batches(*sizes: int) -> Callable[[], Any]:
    import tensorflow as tf

    def generate() -> Any:
        starts = np.cumsum([0, *sizes])
        for start, size in zip(starts, sizes, strict=False):
            yield IMAGES[start : start + size], LABELS[start : start + size]

    signature = (
        tf.TensorSpec((None, 9, 9, 1), "uint8"),
        tf.TensorSpec((None,), "int64"),
    )
    return tf.data.Dataset.from_generator(generate, output_signature=signature)


def test_a_dataset_keeps_its_batches_and_its_order(cut_model: tuple[keras.Model, Cut]) -> None:
    model, cut = cut_model
    extraction = Extraction(model, [cut], Cache())
    found = extraction.extract(cut, "train", _batches(4, 4, 2), batch_size=7)
    assert (found.batch_size, found.shuffle) == (4, False)
    np.testing.assert_array_equal(found.labels, LABELS)


def test_batches_of_several_sizes_are_refused(cut_model: tuple[keras.Model, Cut]) -> None:
    model, cut = cut_model
    with pytest.raises(DataError, match="`train` must have batches of one size to be cached, got"):
        Extraction(model, [cut], Cache()).extract(cut, "train", _batches(4, 2, 4), batch_size=7)


def test_a_bar_of_augmented_copies_is_closed(
    cut_model: tuple[keras.Model, Cut], opened_bars: list[SilentBar]
) -> None:
    model, cut = cut_model
    extraction = Extraction(
        model,
        [cut],
        Cache(views=2),
        augmentation=[keras.layers.RandomFlip(seed=0)],
        progress=CacheProgress(verbose=True),
    )
    batches: Any = _batches(4, 4, 2)
    assert chunks.max_images(batches) is None
    extraction.extract(cut, "train", batches, batch_size=4)
    assert [bar.is_closed for bar in opened_bars] == [True]
