import io
from typing import Any

import keras
import numpy as np
import pytest
import rich.console

import tlkit
from tlkit import Cache, freezing
from tlkit.caching import plan
from tlkit.caching.progress import CacheProgress

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 9, 9, 1), "uint8")
DATA = (IMAGES, np.arange(10) % 3)
SELECTED = {"head": freezing.everything, "fine_tune": freezing.first(6)}


@pytest.fixture
def model(small_backbone: keras.Model) -> keras.Model:
    return tlkit.build_classifier(
        small_backbone, 3, input_shape=(9, 9, 1), image_size=16, pixels=(0, 1)
    )


def _find(
    model: keras.Model,
    *,
    data: Any = DATA,
    validation_data: Any = None,
    cache: Cache | None = None,
    selected: dict[str, freezing.Select] = SELECTED,
    augmentations: dict[str, list[keras.layers.Layer]] | None = None,
) -> tuple[dict[str, plan.FrozenPart | None], str]:
    page = io.StringIO()
    backbone = tlkit.models.backbone_of(model)
    parts = plan.find_frozen_parts(
        model,
        {name: freezing.plan(backbone, select) for name, select in selected.items()},
        augmentations or {name: [] for name in selected},
        data,
        validation_data=validation_data,
        cache=Cache() if cache is None else cache,
        progress=CacheProgress(verbose=True, console=rich.console.Console(file=page, width=200)),
    )
    return parts, page.getvalue()


def test_one_extraction_serves_a_head_and_then_the_last_layers(model: keras.Model) -> None:
    parts, lines = _find(model)
    assert parts["head"] and parts["fine_tune"]
    assert parts["head"].extraction is parts["fine_tune"].extraction
    assert lines.startswith("head: caching after pooling, where training starts\nfine_tune: ")


def test_a_phase_after_one_that_trains_its_layers_has_an_extraction_of_its_own(
    model: keras.Model,
) -> None:
    parts, _ = _find(model, selected=dict(reversed(SELECTED.items())))
    assert parts["head"] and parts["fine_tune"]
    assert parts["head"].extraction is not parts["fine_tune"].extraction


def test_a_phase_with_augmentation_needs_stored_copies(model: keras.Model) -> None:
    flip = keras.layers.RandomFlip()
    augmentations = {"head": [], "fine_tune": [flip]}
    parts, lines = _find(model, augmentations=augmentations)
    assert parts["head"] is not None
    assert parts["fine_tune"] is None
    assert "fine_tune: every epoch runs the whole model: augmentation changes" in lines
    assert "Cache(views=4) would store four augmented copies" in lines
    parts, _ = _find(model, augmentations=augmentations, cache=Cache(views=2))
    assert parts["head"] and parts["fine_tune"]
    assert parts["head"].extraction is not parts["fine_tune"].extraction


@pytest.mark.parametrize("shuffled", ["data", "validation_data"])
def test_a_dataset_that_shuffles_is_named(model: keras.Model, shuffled: str) -> None:
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(DATA).shuffle(10).batch(4)
    parts, lines = _find(model, **{shuffled: dataset})
    assert parts == {"head": None, "fine_tune": None}
    assert f"`{shuffled}` has no fixed order" in lines


def test_features_are_released(model: keras.Model) -> None:
    parts, _ = _find(model)
    part = parts["head"]
    assert part is not None
    part.extraction.extract(part.cut, "train", DATA, batch_size=4)
    plan.close_all(parts.values())
    assert part.extraction.summarize(part.cut).on_disk is False
    assert part.extraction._extracted == {}
