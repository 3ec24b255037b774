import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tests.samples import small_classifier

from tlkit import Phase, freezing
from tlkit.distributed import FeatureSet, tail, tail_checks
from tlkit.errors import ConfigError, StoreError
from tlkit.models.inspection import backbone_of, class_names


def _build(**settings: object) -> keras.Model:
    image = keras.Input((9, 9, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(image)  # Keras names these layers by counting
    x = keras.layers.BatchNormalization()(x)
    return small_classifier(keras.Model(image, keras.layers.Conv2D(4, 3)(x)), **settings)


def test_layers_are_found_by_their_place_in_another_process() -> None:
    first, second = _build(), _build()
    frozen = tail.check(first, Phase(freeze=freezing.first(2)))
    assert frozen.indices == (0, 1)
    found = frozen.plan(second)
    assert found.frozen == tuple(found.backbone.layers[:2])


@pytest.mark.parametrize(
    ("select", "shape"), [(freezing.first(2), (7, 7, 4)), (freezing.nothing, (9, 9, 1))]
)
def test_what_crosses_the_cut(select: freezing.Select, shape: tuple[int, ...]) -> None:
    model = _build()
    frozen = tail.check(model, Phase(freeze=select))
    cut = tail.cut_tail(model, frozen, np.zeros((0, 9, 9, 1), "uint8"))
    assert cut.shapes == (shape,)
    assert tail.count_numbers(cut) == np.prod(shape)
    other = tail.cut_tail(_build(), frozen, np.zeros((0, 9, 9, 1), "uint8"))
    is_pixels = not cut.trunk
    assert (tail.digest_columns(other) == tail.digest_columns(cut)) is is_pixels  # other weights


def test_classifiers_of_several_labels_are_refused() -> None:
    with pytest.raises(ConfigError, match="whose classes exclude each other to train on a cluster"):
        tail.check(_build(multi_label=True), Phase())


def _copy(model: keras.Model) -> keras.Model:
    copy = _build()
    copy.set_weights(model.get_weights())
    return copy


def _features(folder: str) -> FeatureSet:
    values: Any = dict.fromkeys(each.name for each in fields(FeatureSet))
    return FeatureSet(**{**values, "folder": folder})


@pytest.mark.usefixtures("closed_bucket")
def test_features_that_can_t_be_read_are_not_taken_for_others(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra 'ray' is not installed")
    model = _build()
    frozen = tail.check(model, Phase())
    with pytest.raises(StoreError, match="Can't read 'closed://bucket/_facts.json': Access denied"):
        tail_checks.check_features(model, frozen, _features("closed://bucket"))
    for content in (None, b"damaged", b"[]"):
        if content is not None:
            (tmp_path / "_facts.json").write_bytes(content)
        with pytest.raises(ConfigError, match="`features` must be those that the layers"):
            tail_checks.check_features(model, frozen, _features(str(tmp_path)))


def test_a_check_of_features_changes_nothing(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra 'ray' is not installed")
    model = _build()
    layers = backbone_of(model).layers
    layers[-1].trainable = False
    flags = [layer.trainable for layer in layers]
    frozen = tail.check(model, Phase(freeze=freezing.first(2)))
    cut = tail.cut_tail(_copy(model), frozen, np.zeros((1, 9, 9, 1), "uint8"))
    facts = {"cut": cut.shapes, "columns": tail.digest_columns(cut), "image": [9, 9, 1, "uint8"]}
    (tmp_path / "_facts.json").write_text(json.dumps(facts))
    features = replace(_features(str(tmp_path)), class_counts=dict.fromkeys(class_names(model), 1))
    found = tail_checks.check_features(model, frozen, features)
    assert (found.image, found.image_dtype) == ((9, 9, 1), "uint8")
    assert found.cut.shapes == cut.shapes
    assert [layer.trainable for layer in layers] == flags
