"""Training of ViTs and of a ConvNeXt on cached features against plain Keras."""

from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from keras.src.applications import convnext
from tests.tokens import hub_backbone, make_spots, plain_vit

import tlkit
from tlkit import Cache, Phase, TwoPhaseTrainer, freezing
from tlkit.models import backbone_of

DATA = make_spots(24)


def _convnext() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = convnext.ConvNeXt(
        depths=[1, 1, 1, 1],
        projection_dims=[4, 6, 8, 8],
        default_size=32,
        include_preprocessing=False,
        include_top=False,
        weights=None,
        input_shape=(32, 32, 3),
        name="small_convnext",
    )
    for layer in model.layers:
        if type(layer).__name__ == "LayerScale":
            layer.gamma.assign(np.ones(layer.gamma.shape))  # else blocks add next to nothing
    return model


HUB = ("vit", "dinov2", "dinov3", "deit")
MAKERS = {
    "plain_vit": lambda: plain_vit(blocks=2, dropout=0.0),
    "convnext": _convnext,
    **{name: partial(hub_backbone, name) for name in HUB},
}


@pytest.mark.parametrize(
    "name",
    [
        "plain_vit",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("convnext", *HUB)),
    ],
)
def test_cached_training_equals_plain_keras(name: str, tmp_path: Path) -> None:
    first = tlkit.build_classifier(MAKERS[name](), 3, pixels=(-1, 1), dropout=0.2, seed=1)
    path = tlkit.save(first, tmp_path / "first.keras")
    trainer = {
        "head": Phase(epochs=1, learning_rate=1e-2, batch_size=8),
        "fine_tune": Phase(
            epochs=1, learning_rate=1e-3, batch_size=8, freeze=freezing.first_blocks(2)
        ),
        "seed": 3,
    }
    models = [tlkit.load(path), tlkit.load(path)]
    fast, plain = (
        TwoPhaseTrainer(**trainer, cache=cache).fit(model, DATA, verbose=False)
        for model, cache in zip(models, (Cache(), None), strict=True)
    )
    assert [phase.trunk.num_computed for phase in fast.phases] == [24, 24]
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(one, other, atol=3e-4)  # a rounding grows under Adam
    np.testing.assert_allclose(fast.history["loss"], plain.history["loss"], rtol=1e-4)
    before, after = (backbone_of(model).get_weights() for model in (first, models[0]))
    frozen = freezing.first_blocks(2)(backbone_of(first))
    still = sum(len(layer.weights) for layer in frozen)
    moved = [not np.array_equal(one, other) for one, other in zip(before, after, strict=True)]
    assert not any(moved[:still])
    assert any(moved[still:])
    again = tlkit.load(tlkit.save(models[0], tmp_path / "trained.keras"))
    np.testing.assert_array_equal(
        again.predict(DATA[0], verbose=0), models[0].predict(DATA[0], verbose=0)
    )


def test_dropout_in_frozen_blocks_is_off_and_reported() -> None:
    model = tlkit.build_classifier(plain_vit(dropout=0.3), 3, pixels=(0, 1), seed=0)
    phase = Phase(epochs=1, freeze=freezing.first_blocks(4), batch_size=8)
    run = TwoPhaseTrainer(head=phase, fine_tune=None, seed=0).fit(model, DATA, verbose=False)
    trunk = run.phases[0].trunk
    assert "block_2_dropout" in trunk.disabled_layers
    assert not any("block_3" in name for name in trunk.disabled_layers)


@pytest.mark.parametrize("name", ["plain_vit", "vit"])
def test_a_probe_reads_every_block(name: str) -> None:
    model = tlkit.build_classifier(MAKERS[name](), 3, pixels=(0, 1), seed=0)
    found = tlkit.probe(model, make_spots(60))
    sites = {(each.layer, each.pooling): each for each in found.layers}
    name = "block_1_add_2" if name == "plain_vit" else "transformer_block_2"
    assert {pooling for layer, pooling in sites if layer == name} == {"cls", "avg", "cls+avg"}
    assert found.layers[-1].multiply_adds > sites[name, "cls"].multiply_adds > 0
    chosen = found.chosen
    tapped = tlkit.build_classifier(
        MAKERS["plain_vit" if name == "block_1_add_2" else "vit"](),
        3,
        pixels=(0, 1),
        features=chosen.layer,
        pooling=chosen.pooling,
    )
    assert tapped.get_layer("logits").input.shape[-1] == chosen.num_features
