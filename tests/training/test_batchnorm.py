from collections.abc import Iterator

import keras
import numpy as np
import pytest

import tlkit
from tlkit.errors import DataError
from tlkit.training import batchnorm


def _images(count: int = 40, seed: int = 0) -> np.ndarray:
    images = np.random.default_rng(seed).normal(2, 3, (count, 16, 16, 3))
    return images.astype("float32")


def _layers(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [part for part in model.layers if isinstance(part, keras.layers.BatchNormalization)]


def test_statistics_are_those_of_all_the_images_whatever_the_batches(
    small_backbone: keras.Model,
) -> None:
    first = small_backbone.get_layer("stem_bn")  # nothing before it depends on the batch
    inputs = keras.Model(small_backbone.input, first.input).predict(_images(), verbose=0)
    batches = [_images()[:7], _images()[7:30], _images()[30:]]
    batchnorm.reestimate(small_backbone, [first], batches)
    np.testing.assert_allclose(first.moving_mean, inputs.mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(first.moving_variance, inputs.var(axis=(0, 1, 2)), rtol=1e-4)


def test_after_one_whole_batch_inference_equals_training(small_backbone: keras.Model) -> None:
    batchnorm.reestimate(small_backbone, _layers(small_backbone), [_images()])
    trained = np.asarray(small_backbone(_images(), training=True))
    np.testing.assert_allclose(
        small_backbone(_images(), training=False), trained, atol=2e-3, rtol=2e-3
    )


def test_nothing_else_moves(small_backbone: keras.Model) -> None:
    chosen = _layers(small_backbone)[:1]
    for norm in _layers(small_backbone)[1:]:
        norm.trainable = False
    moving = {id(chosen[0].moving_mean), id(chosen[0].moving_variance)}
    before = {id(weight): np.array(weight) for weight in small_backbone.weights}
    momentum = chosen[0].momentum
    batchnorm.reestimate(small_backbone, chosen, [_images()])
    changed = {
        id(weight)
        for weight in small_backbone.weights
        if not np.array_equal(before[id(weight)], weight)
    }
    assert changed == moving
    assert chosen[0].momentum == momentum


def test_an_error_half_way_changes_nothing(small_backbone: keras.Model) -> None:
    momenta = [norm.momentum for norm in _layers(small_backbone)]
    before = small_backbone.get_weights()
    with pytest.raises(ZeroDivisionError):
        batchnorm.reestimate(small_backbone, _layers(small_backbone), _bad())
    assert [norm.momentum for norm in _layers(small_backbone)] == momenta
    for old, new in zip(before, small_backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def _bad() -> Iterator[np.ndarray]:
    yield _images()
    raise ZeroDivisionError


def test_seeds_and_other_statistics_are_put_back(small_backbone: keras.Model) -> None:
    dropout = keras.layers.Dropout(0.5, seed=1)
    model = keras.Model(small_backbone.input, dropout(small_backbone.output))
    first, *others = _layers(small_backbone)
    state = np.array(dropout.seed_generator.state)
    before = [np.array(norm.moving_mean) for norm in others]
    batchnorm.reestimate(model, [first], [_images()])
    np.testing.assert_array_equal(dropout.seed_generator.state, state)
    for old, norm in zip(before, others, strict=True):
        np.testing.assert_array_equal(old, norm.moving_mean)


def test_no_images_are_an_error_and_change_nothing(small_backbone: keras.Model) -> None:
    before = [np.array(norm.moving_mean) for norm in _layers(small_backbone)]
    with pytest.raises(DataError, match="`images` must hold at least one batch, got none"):
        batchnorm.reestimate(small_backbone, _layers(small_backbone), iter([]))
    for old, norm in zip(before, _layers(small_backbone), strict=True):
        np.testing.assert_array_equal(old, norm.moving_mean)


@pytest.mark.parametrize("cache", [None, tlkit.Cache()])
@pytest.mark.parametrize("validated", [False, True])
def test_averaged_weights_get_their_own_statistics(
    small_backbone: keras.Model, cache: tlkit.Cache | None, *, validated: bool
) -> None:
    random = np.random.default_rng(0)
    pair = random.integers(0, 256, (64, 16, 16, 3), "uint8"), np.arange(64) % 3
    model = tlkit.build_classifier(small_backbone, 3, pixels=(0, 1), seed=0)
    phase = tlkit.Phase(
        epochs=2,
        learning_rate=1e-2,
        ema_momentum=0.95,
        batchnorm="reestimate",
        freeze=tlkit.freezing.first(3),
    )
    held_out = pair if validated else None
    run = tlkit.train_phase(
        model, phase, pair, validation_data=held_out, cache=cache, seed=0, verbose=False
    )
    assert run.diverged is None
    plan = tlkit.freezing.plan(small_backbone, phase.freeze, batchnorm="reestimate")
    there = [np.array(norm.moving_variance) for norm in plan.training_batchnorm]
    batches = [pair[0][at : at + 32] for at in (0, 32)]
    batchnorm.reestimate(model, plan.training_batchnorm, batches)
    for old, norm in zip(there, plan.training_batchnorm, strict=True):
        np.testing.assert_allclose(old, norm.moving_variance, rtol=1e-3)
    if validated:
        assert run.history["val_loss"][-1] == pytest.approx(
            tlkit.evaluate(model, pair).loss, rel=1e-3
        )
