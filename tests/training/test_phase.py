from functools import partial

import keras
import numpy as np
import pytest

from tlkit import Phase, freezing
from tlkit.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 0}, "`epochs` must be a whole number of at least 1, got 0"),
        ({"learning_rate": -1e-3}, "`learning_rate` must be a number above 0, got -0.001"),
        ({"batch_size": 0}, "`batch_size` must be a whole number of at least 1"),
        ({"batchnorm": "frozn"}, r"`batchnorm` must be one of .*Did you mean 'frozen'\?"),
        ({"patience": -1}, "`patience` must be a whole number of at least 0"),
        ({"freeze": 100}, "`freeze` must be a function .* got 100"),
        ({"metrics": "accuracy"}, "`metrics` must be a tuple of metrics, got 'accuracy'"),
        ({"callbacks": ("stop",)}, "`callbacks` must be a tuple of Keras callbacks"),
        ({"optimizer": "adamm"}, "`optimizer` must be a Keras optimizer or its name, got 'adamm'"),
        ({"schedule": "cosin"}, r"`schedule` must be one of .*Did you mean 'cosine'\?"),
        ({"warmup": 1.0}, "`warmup` must be shorter than the phase's 1 epochs, got 1"),
        ({"class_weight": "equal"}, "`class_weight` must be 'balanced', or numbers of at least 0"),
        ({"class_weight": {0: -1.0}}, "or numbers of at least 0, one for each class"),
        ({"class_weight": [1.0, float("nan")]}, "or numbers of at least 0, one for each class"),
        ({"class_weight": np.ones((3, 1))}, "or numbers of at least 0, one for each class"),
        ({"warmup": -1}, "`warmup` must be a number above 0"),
        ({"layer_decay": 1.5}, "`layer_decay` must be at most 1, got 1.5"),
        ({"label_smoothing": 1.0}, "`label_smoothing` must be a number of at least 0"),
        ({"label_smoothing": 0.1, "loss": "mse"}, "`label_smoothing` must be left out with `loss`"),
        ({"ema_momentum": 2.0}, "`ema_momentum` must be a number of at least 0"),
        ({"weight_decay": 0}, "`weight_decay` must be a number above 0"),
        ({"global_clipnorm": -1}, "`global_clipnorm` must be a number above 0"),
        (
            {
                "learning_rate": keras.optimizers.schedules.CosineDecay(0.1, 10),
                "schedule": "cosine",
            },
            "`learning_rate` must be a number if `schedule` or `warmup` is set",
        ),
        ({"augmentation": ("flip",)}, "`augmentation` must be a tuple of Keras layers"),
        (
            {"global_clipnorm": 1.0, "optimizer": keras.optimizers.Adam(clipnorm=1.0)},
            "`optimizer` must accept its settings together",
        ),
    ],
)
def test_a_bad_value_is_named(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Phase(**{"epochs": 1, **settings})


def test_the_learning_rate_goes_into_the_optimizer() -> None:
    optimizer = Phase(epochs=1, optimizer="sgd", learning_rate=0.5).create_optimizer()
    assert isinstance(optimizer, keras.optimizers.SGD)
    assert float(optimizer.learning_rate) == 0.5
    assert float(Phase(epochs=1).create_optimizer().learning_rate) == pytest.approx(1e-3)


def test_an_optimizer_keeps_its_settings_and_is_never_the_same_object() -> None:
    given = keras.optimizers.AdamW(learning_rate=0.1, weight_decay=0.2, clipnorm=3.0)
    phase = Phase(epochs=1, optimizer=given)
    fresh = phase.create_optimizer()
    assert fresh is not given
    assert fresh is not phase.create_optimizer()
    assert fresh.get_config() == given.get_config()


def test_a_schedule_is_a_learning_rate() -> None:
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    optimizer = Phase(epochs=1, learning_rate=schedule).create_optimizer()
    assert float(optimizer.learning_rate) == pytest.approx(0.1)


def test_any_function_may_select_what_is_frozen() -> None:
    select = partial(freezing.everything)
    assert Phase(epochs=1, freeze=select).freeze is select


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        ({0: 2.0}, {0: 2.0, 1: 1.0, 2: 1.0}),
        ({np.int64(2): np.float32(0.5)}, {0: 1.0, 1: 1.0, 2: 0.5}),
        ([1, 2, 3], {0: 1.0, 1: 2.0, 2: 3.0}),
        (np.array([1.0, 2.0, 3.0]), {0: 1.0, 1: 2.0, 2: 3.0}),
        (None, None),
    ],
)
def test_class_weights_are_of_each_class(given: object, weights: object) -> None:
    assert Phase(class_weight=given).weigh_classes(3) == weights


@pytest.mark.parametrize("given", [[1.0, 2.0], np.ones(4)])
def test_class_weights_in_order_must_be_of_all_classes(given: object) -> None:
    with pytest.raises(ConfigError, match="a weight for each of the 3 classes, got [24]"):
        Phase(class_weight=given).weigh_classes(3)
