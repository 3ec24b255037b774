from pathlib import Path

import numpy as np
import pytest

import tlkit
from tlkit import freezing

keras_hub = pytest.importorskip("keras_hub", reason="the extra 'hub' is not installed")


def test_a_kerashub_backbone_is_trained_saved_and_loaded(tmp_path: Path) -> None:
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )
    model = tlkit.build_classifier(
        backbone, 3, input_shape=(None, None, 1), image_size=32, pixels=(0, 1), seed=0
    )
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (16, 20, 20, 1), "uint8"), np.arange(16) % 3
    trainer = tlkit.TwoPhaseTrainer(
        head=tlkit.Phase(epochs=1),
        fine_tune=tlkit.Phase(epochs=1, freeze=freezing.first_blocks(1), batchnorm="train"),
        seed=0,
    )
    run = trainer.fit(model, (images, labels), verbose=False)
    assert len(freezing.first_blocks(1)(backbone)) == 13  # up to the first residual addition
    assert run.phases[1].movement.moved > run.phases[0].movement.moved
    again = tlkit.load(tlkit.save(model, tmp_path / "hub.keras"))
    np.testing.assert_array_equal(
        again.predict(images, verbose=0), model.predict(images, verbose=0)
    )
