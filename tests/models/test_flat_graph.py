import keras
import numpy as np
import pytest

from tlkit.errors import ConfigError
from tlkit.models.flat_graph import Part, flatten


def test_a_backbone_nested_twice_and_called_twice_is_flattened() -> None:
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="shared")])
    inputs = keras.Input((4,))
    middle = keras.Model(inputs, inner(inner(inputs)))
    outer_inputs = keras.Input((4,))
    outer = keras.Model(outer_inputs, [middle(outer_inputs), outer_inputs])
    graph = flatten(outer)
    assert [step.operation.name for step in graph.steps] == ["shared", "shared"]
    x = np.random.default_rng(0).random((3, 4), "float32")
    part = Part(graph.steps, graph.inputs, graph.outputs, name="whole")
    for one, other in zip(part(x), outer(x), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_output_that_is_also_an_input_of_a_part_passes_through() -> None:
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(4, name="hidden")(inputs)
    graph = flatten(keras.Model(inputs, [hidden, keras.layers.ReLU()(hidden)]))
    tail = Part(graph.steps[1:], graph.steps[0].outputs, graph.outputs, name="tail")
    x = np.array([[-1.0, 1.0, 2.0, -3.0]], "float32")
    same, positive = tail(x)
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(positive, np.maximum(x, 0))


def test_a_model_without_a_graph_is_refused() -> None:
    class Opaque(keras.Model):
        pass

    with pytest.raises(ConfigError, match="`model` must be a functional model, got 'opaque'"):
        flatten(Opaque(name="opaque"))
