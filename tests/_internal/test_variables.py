import keras
import numpy as np
import pytest

from tlkit._internal import variables
from tlkit._internal.keras_private import random_states


def _draw(layers: list[keras.layers.Layer]) -> np.ndarray:
    images = np.linspace(0, 1, 2 * 8 * 8 * 3, dtype="float32").reshape(2, 8, 8, 3)
    for layer in layers:
        images = layer(images, training=True)
    return keras.ops.convert_to_numpy(images)


def _layers() -> list[keras.layers.Layer]:
    return [keras.Sequential([keras.layers.GaussianNoise(0.5)]), keras.layers.Dropout(0.5)]


def test_variables_are_restored_even_after_an_error() -> None:
    variable = keras.Variable(np.arange(3.0))
    with pytest.raises(KeyError), variables.restore_on_exit([variable]):
        variable.assign(np.zeros(3))
        raise KeyError
    np.testing.assert_array_equal(variable, np.arange(3.0))


def test_one_seed_gives_the_same_numbers_whatever_a_layer_was_made_with() -> None:
    one, other = _layers(), _layers()
    for layers, seed in ((one, 1), (other, 1)):
        variables.seed_layers(layers, seed)
    drawn = _draw(one)
    np.testing.assert_array_equal(drawn, _draw(other))
    variables.seed_layers(one, 2)
    assert not np.array_equal(drawn, _draw(one))
    states = [np.array(state) for state in random_states(one)]
    assert len(states) == 2
    assert not np.array_equal(*states)  # each layer has its own


@pytest.mark.parametrize("seed", [3, None])
def test_a_temporary_seed_is_gone_after_the_block(seed: int | None) -> None:
    layers = _layers()
    before = [np.array(state) for state in random_states(layers)]
    with variables.temporary_seed(layers, seed):
        inside = [np.array(state) for state in random_states(layers)]
    assert np.array_equal(inside, before) == (seed is None)
    np.testing.assert_array_equal([np.array(state) for state in random_states(layers)], before)
