import keras
import numpy as np
import pytest
from tests.samples import make_noise, small_classifier

import tlkit
from tlkit import Phase, freezing, train_phase
from tlkit.errors import DataError
from tlkit.models import feature_extraction
from tlkit.training import optimizers
from tlkit.training.optimizers import layer_rates

DATA = make_noise(48)


def _rates(phase: Phase, steps: int) -> list[float]:
    schedule = phase.create_optimizer(steps)._learning_rate
    return [float(schedule(step)) for step in range(phase.epochs * steps + 1)]


def test_cosine_rises_in_the_warmup_and_ends_at_nothing() -> None:
    rates = _rates(Phase(epochs=4, learning_rate=0.5, schedule="cosine", warmup=1.5), 10)
    assert rates[0] == 0.0
    assert rates[15] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0.0, abs=1e-6)
    assert rates[:16] == sorted(rates[:16])
    assert rates[15:] == sorted(rates[15:], reverse=True)
    middle = 15 + 25 // 2
    assert rates[middle] == pytest.approx(0.25 * (1 + np.cos(np.pi * 12 / 25)), rel=1e-3)


def test_warmup_alone_rises_and_stays() -> None:
    rates = _rates(Phase(epochs=3, learning_rate=0.5, warmup=0.5), 10)
    assert rates[:6] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert rates[6:] == pytest.approx([0.5] * 25)


def test_without_either_the_rate_is_a_number() -> None:
    assert isinstance(Phase(learning_rate=0.5).create_optimizer(10)._learning_rate, keras.Variable)


def test_settings_reach_the_optimizer() -> None:
    phase = Phase(optimizer="adamw", weight_decay=0.1, global_clipnorm=2.0, ema_momentum=0.9)
    config = phase.create_optimizer().get_config()
    assert config["weight_decay"] == 0.1
    assert config["global_clipnorm"] == 2.0
    assert (config["use_ema"], config["ema_momentum"]) == (True, 0.9)


def test_weight_decay_spares_biases_and_normalisation() -> None:
    optimizer = Phase(optimizer="adamw", weight_decay=0.1).create_optimizer()
    layer = keras.layers.Dense(2, name="dense")
    layer.build((None, 3))
    optimizer.build(layer.trainable_variables)
    assert [optimizer._use_weight_decay(each) for each in (layer.kernel, layer.bias)] == [
        True,
        False,
    ]


def test_an_optimizer_that_decays_by_itself_spares_them_too() -> None:
    layer = keras.layers.Dense(2, name="dense")
    layer.build((None, 3))
    optimizer = Phase(optimizer="adamw").create_optimizer()
    optimizer.build(layer.trainable_variables)
    assert not optimizer._use_weight_decay(layer.bias)
    own = keras.optimizers.AdamW()
    own.exclude_from_weight_decay(var_names=["kernel"])
    kept = Phase(optimizer=own, weight_decay=0.1).create_optimizer()
    kept.build(layer.trainable_variables)
    decayed = [kept._use_weight_decay(each) for each in (layer.kernel, layer.bias)]
    assert decayed == [False, True]


def test_each_block_learns_at_its_own_rate() -> None:
    weights = [keras.Variable(np.zeros(2, "float32"), name=name) for name in "ab"]
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build(weights)
    optimizers.scale_learning_rates(optimizer, [1.0, 0.25])
    optimizer.apply([np.ones(2, "float32"), np.ones(2, "float32")], weights)
    assert [float(weight.numpy()[0]) for weight in weights] == [-1.0, -0.25]


def test_blocks_before_learn_slower(small_backbone: keras.Model) -> None:
    rates = layer_rates(small_backbone, 0.5)
    found = {
        layer.name: rates[id(layer.weights[0])] for layer in small_backbone.layers if layer.weights
    }
    assert found["stem"] == found["stem_bn"] == 0.5**4
    assert found["block_1_conv"] == found["block_1_bn"] == 0.5**3
    assert found["block_2_conv"] == 0.5**2
    assert found["top_conv"] == found["top_bn"] == 0.5


def test_without_residual_blocks_each_layer_is_one() -> None:
    backbone = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(2, 3),
            keras.layers.ReLU(),
            keras.layers.Conv2D(2, 3),
        ]
    )
    rates = layer_rates(backbone, 0.5)
    kernels = [rates[id(layer.weights[0])] for layer in backbone.layers if layer.weights]
    assert kernels == [0.25, 0.5]


def _powers(backbone: keras.Model) -> dict[str, int]:
    """The power of the decay that each layer's weights have."""
    rates = layer_rates(backbone, 0.5)
    weighted = [layer for layer in backbone.layers if layer.weights]
    return {layer.name: round(-np.log2(rates[id(layer.weights[0])])) for layer in weighted}


def test_a_normalisation_is_no_layer_of_its_own() -> None:
    names = ["before", "one", "one_bn", "two", "two_bn"]
    kinds = [keras.layers.BatchNormalization(name=name) for name in names]
    kinds[1] = keras.layers.Conv2D(2, 3, name="one")
    kinds[3] = keras.layers.DepthwiseConv2D(3, name="two")
    backbone = keras.Sequential([keras.Input((8, 8, 3)), *kinds])
    assert _powers(backbone) == {"before": 2, "one": 2, "one_bn": 2, "two": 1, "two_bn": 1}


def _create(name: str) -> keras.Model:
    make = getattr(keras.applications, name)
    return make(weights=None, include_top=False, input_shape=(32, 32, 3))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MobileNetV2", {"Conv1": 16, "block_1_project": 16, "block_2_expand": 15, "Conv_1": 1}),
        ("VGG16", {"block1_conv1": 13, "block4_conv3": 4, "block5_conv3": 1}),
        (  # a ReLU lies between two blocks
            "ResNet50",
            {"conv1_bn": 17, "conv2_block1_1_conv": 16, "conv2_block2_1_conv": 15}
            | {"conv3_block1_1_conv": 13, "conv5_block3_3_conv": 1},
        ),
        (  # a lone normalisation comes before the first block of a stage, and after the last
            "ResNet50V2",
            {"conv1_conv": 17, "conv3_block1_preact_bn": 13, "conv3_block1_1_conv": 13}
            | {"post_bn": 1},
        ),
        (  # seven blocks have a gate but no skip
            "EfficientNetB0",
            {"stem_conv": 15, "block1a_se_reduce": 15, "block2a_project_conv": 15}
            | {"block2b_se_reduce": 14, "block7a_se_expand": 1, "top_bn": 1},
        ),
        (
            "MobileNetV3Small",
            {"conv": 11, "expanded_conv_squeeze_excite_conv": 11, "expanded_conv_3_project": 9}
            | {"conv_1": 1},
        ),
    ],
)
def test_each_family_learns_by_its_blocks(name: str, expected: dict[str, int]) -> None:
    powers = _powers(_create(name))
    assert {layer: powers[layer] for layer in expected} == expected
    assert set(powers.values()) == set(range(1, max(powers.values()) + 1))


def test_a_tapped_backbone_counts_from_where_it_ends() -> None:
    whole = _create("MobileNetV2")
    alone = _powers(feature_extraction.truncate(whole, ["block_5_add"]))
    several = _powers(
        feature_extraction.truncate(
            whole, ["block_1_project_BN", "block_3_project_BN", "block_5_add"]
        )
    )
    assert alone == several
    assert (alone["Conv1"], alone["block_2_expand"], alone["block_5_project"]) == (5, 4, 1)


@pytest.mark.parametrize("cache", [None, tlkit.Cache()])
def test_layer_decay_moves_early_blocks_less(
    small_backbone: keras.Model, cache: tlkit.Cache | None
) -> None:
    model = small_classifier(small_backbone)
    before = [np.array(weight) for weight in small_backbone.weights]
    phase = Phase(optimizer="sgd", learning_rate=0.1, layer_decay=0.1, freeze=freezing.first(3))
    train_phase(model, phase, DATA, cache=cache, seed=0, verbose=False)
    moved = {
        weight.path.split("/")[-2]: float(np.abs(np.array(weight) - old).max())
        for weight, old in zip(small_backbone.weights, before, strict=True)
        if weight.path.endswith("kernel")
    }
    assert moved["stem"] == 0
    assert 0 < moved["block_1_conv"] < 0.1 * moved["top_conv"]


@pytest.mark.parametrize("cache", [None, tlkit.Cache()])
def test_a_phase_ends_with_the_averaged_weights_that_validation_saw(
    small_backbone: keras.Model, cache: tlkit.Cache | None
) -> None:
    model = small_classifier(small_backbone)
    phase = Phase(epochs=3, learning_rate=0.05, ema_momentum=0.9, freeze=freezing.first(3))
    run = train_phase(
        model, phase, DATA, validation_data=make_noise(24), cache=cache, seed=0, verbose=False
    )
    score = tlkit.evaluate(model, make_noise(24))
    assert run.history["val_loss"][-1] == pytest.approx(score.loss, rel=1e-3)


@pytest.mark.parametrize("cache", [None, tlkit.Cache()])
def test_the_average_is_kept_where_a_callback_stops_training_early(
    small_backbone: keras.Model, cache: tlkit.Cache | None
) -> None:
    model = small_classifier(small_backbone)
    seen: list[list[np.ndarray]] = []

    def stop(epoch: int, logs: object) -> None:
        seen.append([each.numpy() for each in model.trainable_variables])
        stopper.model.stop_training = epoch == 1

    stopper = keras.callbacks.LambdaCallback(on_epoch_end=stop)
    phase = Phase(
        epochs=5,
        learning_rate=0.05,
        ema_momentum=0.9,
        freeze=freezing.first(3),
        callbacks=(stopper,),
    )
    run = train_phase(model, phase, DATA, cache=cache, seed=0, verbose=False)
    assert run.num_epochs == len(seen) == 2
    for variable, value in zip(model.trainable_variables, seen[-1], strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_a_cached_training_takes_every_setting_as_a_plain_one(
    small_backbone: keras.Model,
) -> None:
    phase = Phase(
        epochs=2,
        optimizer="adamw",
        learning_rate=1e-3,
        schedule="cosine",
        warmup=0.5,
        layer_decay=0.7,
        weight_decay=0.01,
        global_clipnorm=1.0,
        label_smoothing=0.1,
        ema_momentum=0.9,
        freeze=freezing.first(3),
    )
    start = small_backbone.get_weights()
    losses = []
    for cache in (None, tlkit.Cache()):
        small_backbone.set_weights(start)
        model = small_classifier(small_backbone)
        run = train_phase(model, phase, DATA, cache=cache, seed=0, verbose=False)
        losses.append(run.history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_a_dataset_of_unknown_length_is_refused_with_a_schedule(
    small_backbone: keras.Model,
) -> None:
    class Unknown:
        def __iter__(self):
            images, labels = make_noise(32)
            yield images, labels

    with pytest.raises(DataError, match="must have a length for `schedule`"):
        phase = Phase(epochs=2, schedule="cosine")
        train_phase(small_classifier(small_backbone), phase, Unknown(), cache=None, verbose=False)
