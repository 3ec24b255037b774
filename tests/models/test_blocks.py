import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlkit.models import feature_extraction
from tlkit.models.blocks import (
    count_crossing_tensors,
    find_block_ends,
    has_kernel,
    number_blocks,
)


@pytest.fixture(scope="module")
def mobilenet_v2() -> keras.Model:
    return keras.applications.MobileNetV2(
        weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.35
    )


def dense_blocks(lengths: list[int]) -> keras.Model:
    """For each length a residual block of that many Dense layers and an Add; 0 is a plain layer."""
    inputs = keras.Input((2,))
    x = inputs
    for length in lengths:
        if length == 0:
            x = keras.layers.Dense(2)(x)
            continue
        y = x
        for _ in range(length):
            y = keras.layers.Dense(2)(y)
        x = keras.layers.Add()([x, y])
    return keras.Model(inputs, x)


def test_the_small_backbone_has_two_blocks(small_backbone: keras.Model) -> None:
    assert find_block_ends(small_backbone) == [0, 1, 2, 5, 5, 5, 8, 8, 8, 9, 10]
    assert count_crossing_tensors(small_backbone) == [1, 1, 1, 2, 2, 1, 2, 2, 1, 1, 1]


@settings(max_examples=15)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=5))
def test_blocks_end_where_they_were_built_to_end(lengths: list[int]) -> None:
    ends, crossing = [0], [1]
    for length in lengths:
        last = len(ends) + length
        ends += [last] * (length + 1)
        crossing += [2] * length + [1]
    model = dense_blocks(lengths)
    assert find_block_ends(model) == ends
    assert count_crossing_tensors(model) == crossing


def test_a_sequential_model_has_no_blocks() -> None:
    layers = [keras.Input((2,)), keras.layers.Dense(2), keras.layers.Dense(2)]
    assert find_block_ends(keras.Sequential(layers)) == [0, 1]
    assert find_block_ends(keras.Sequential(layers[1:])) == [0, 1]


def test_a_skip_connection_joined_by_an_operation_is_a_block() -> None:
    inputs = keras.Input((2,))
    x = keras.layers.Dense(2)(inputs)
    y = keras.layers.Dense(2)(keras.layers.Dense(2)(x))
    model = keras.Model(inputs, keras.layers.Dense(2)(x + y))
    assert len(model.operations) == 6 > len(model.layers) == 5
    assert find_block_ends(model) == [0, 1, 3, 3, 4]


def test_a_block_that_is_never_joined_ends_with_the_model() -> None:
    inputs = keras.Input((2,))
    x = keras.layers.Dense(2)(inputs)
    y = keras.layers.Dense(2)(keras.layers.Dense(2)(x))
    z = keras.layers.Dense(2)(x)
    assert find_block_ends(keras.Model(inputs, [z, y])) == [0, 1, 4, 4, 4]


def test_a_block_inside_a_block_ends_with_the_outer_one() -> None:
    inputs = keras.Input((2,))
    inner = keras.layers.Add()([inputs, keras.layers.Dense(2)(inputs)])
    outer = keras.layers.Add()([inputs, keras.layers.Dense(2)(inner)])
    assert find_block_ends(keras.Model(inputs, outer)) == [0, 4, 4, 4, 4]


def test_calling_the_backbone_in_another_model_changes_no_block(
    small_backbone: keras.Model,
) -> None:
    alone = find_block_ends(small_backbone), count_crossing_tensors(small_backbone)
    inputs = keras.Input((16, 16, 3))
    once = small_backbone(inputs)
    twice = small_backbone(keras.layers.ReLU()(inputs))
    keras.Model(inputs, keras.layers.Add()([once, twice]))
    assert (find_block_ends(small_backbone), count_crossing_tensors(small_backbone)) == alone


def test_layer_100_of_mobilenet_v2_is_inside_block_11(mobilenet_v2: keras.Model) -> None:
    ends = find_block_ends(mobilenet_v2)
    assert len(mobilenet_v2.layers) == len(ends) == 154
    assert mobilenet_v2.layers[100].name == "block_11_expand_relu"
    assert ends[100] == 106
    assert mobilenet_v2.layers[106].name == "block_11_add"
    assert count_crossing_tensors(mobilenet_v2)[99] == 2


def test_the_blocks_of_mobilenet_v2_match_its_layer_names(
    mobilenet_v2: keras.Model,
) -> None:
    names = [layer.name for layer in mobilenet_v2.layers]
    expected = list(range(len(names)))
    for index, name in enumerate(names):
        block = name.rsplit("_", 1)[0].removesuffix("_depthwise").removesuffix("_project")
        block = block.removesuffix("_expand")
        if name.startswith("block_") and f"{block}_add" in names:
            expected[index] = names.index(f"{block}_add")
    assert sum(end != index for index, end in enumerate(expected)) == 10 * 8  # ten blocks of nine
    assert find_block_ends(mobilenet_v2) == expected


def test_an_output_inside_the_model_changes_no_block(mobilenet_v2: keras.Model) -> None:
    one = feature_extraction.truncate(mobilenet_v2, ["block_5_add"])
    two = feature_extraction.truncate(
        mobilenet_v2, ["block_1_project_BN", "block_3_project_BN", "block_5_add"]
    )
    assert find_block_ends(two) == find_block_ends(one)


def gated(maps: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Squeeze and excitation."""
    share = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(maps)
    share = keras.layers.Conv2D(4, 1, activation="sigmoid", name=f"{name}_gate")(share)
    return keras.layers.Multiply(name=f"{name}_excite")([maps, share])


def test_a_gate_is_not_a_block_of_its_own() -> None:
    inputs = keras.Input((8, 8, 3))
    x = gated(keras.layers.Conv2D(4, 3)(inputs), "alone")
    y = gated(keras.layers.Conv2D(4, 1)(x), "inside")
    y = keras.layers.Conv2D(4, 1)(y)
    model = keras.Model(inputs, keras.layers.Add()([x, y]))
    assert number_blocks(model) == [None] * 5 + [0] * 6
    assert find_block_ends(model) == [0, 1, 2, 3, 4] + [10] * 6


def test_a_product_of_tensors_is_a_gate_too() -> None:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3)(inputs)
    model = keras.Model(inputs, x * keras.layers.Activation("sigmoid")(x))
    assert number_blocks(model) == [None] * 3


def test_blocks_one_after_another_have_their_own_numbers(small_backbone: keras.Model) -> None:
    assert number_blocks(small_backbone) == [None] * 3 + [0] * 3 + [1] * 3 + [None] * 2


def test_a_block_can_have_one_layer() -> None:
    inputs = keras.Input((2,))
    x = keras.layers.Dense(2)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(x + keras.layers.Dense(2)(x)))
    assert number_blocks(model) == [None, None, 0, None]


def test_a_normalisation_has_no_kernel_but_a_frozen_convolution_has() -> None:
    convolution = keras.layers.Conv2D(2, 3)
    inside = keras.Sequential([keras.Input((8, 8, 3)), convolution, keras.layers.ReLU()])
    inside.trainable = False
    assert has_kernel(convolution)
    assert has_kernel(inside)
    for layer in (
        keras.layers.Normalization(axis=(1, 2, 3)),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
    ):
        layer.build((None, 8, 8, 3))
        assert not has_kernel(layer)
