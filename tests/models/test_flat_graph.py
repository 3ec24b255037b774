from typing import Any

import keras
import numpy as np
import pytest

import tlkit
from tlkit.errors import ConfigError
from tlkit.models.flat_graph import Part, find_specs, flatten


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


@pytest.mark.parametrize("shape", [(64, 64, 3), (None, None, 3)])
def test_specs_are_the_shapes_and_dtypes_of_the_values(shape: tuple[int | None, ...]) -> None:
    model = tlkit.build_classifier(
        "mobilenet_v2", 3, weights=None, image_size=64, input_shape=shape
    )
    sample = np.zeros((2, 64, 64, 3), "uint8")
    graph = flatten(model)
    specs = find_specs(model, graph, sample)
    whole = Part(graph.steps, graph.inputs, graph.outputs, name="whole")
    values = whole.run(keras.ops.convert_to_tensor(sample[:1]), training=False)[1]
    del values[graph.inputs[0]]
    assert {each: (specs[each].shape, specs[each].dtype) for each in values} == {
        each: (tuple(value.shape), keras.backend.standardize_dtype(value.dtype))
        for each, value in values.items()
    }


def test_a_size_that_keras_knows_is_not_found_by_running_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs))
    monkeypatch.setattr(Part, "run", None)
    specs = find_specs(model, flatten(model), np.zeros((1, 8, 8, 3)))
    assert [spec.shape for spec in specs.values()] == [(1, 8, 8, 3), (1, 6, 6, 4)]


def test_shapes_that_a_layer_of_a_user_states_wrongly_are_not_believed() -> None:
    class Halve(keras.layers.Layer):
        def call(self, images: Any) -> Any:
            return images[:, ::2, ::2]

        def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
            return shape

    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, Halve()(inputs))
    specs = find_specs(model, flatten(model), np.zeros((1, 8, 8, 3)))
    assert [spec.shape for spec in specs.values()] == [(1, 8, 8, 3), (1, 4, 4, 3)]
