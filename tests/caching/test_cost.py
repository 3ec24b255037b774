import keras
import pytest

from tlkit.caching import cost
from tlkit.caching.cost import Place
from tlkit.errors import ConfigError


def place(name: str, num_bytes: int) -> Place:
    return Place(num_steps=1, name=name, tensors=(), num_bytes=num_bytes)


PLACES = [place("early", 300), place("late", 1000)]


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (keras.layers.Dense(5), (2, 3), 3 * 5),
        (keras.layers.Conv2D(5, 3, padding="same"), (2, 4, 4, 3), 3 * 3 * 3 * 5 * 4 * 4),
        (keras.layers.DepthwiseConv2D(3, padding="same"), (2, 4, 4, 3), 3 * 3 * 3 * 4 * 4),
        (keras.layers.BatchNormalization(), (2, 4, 4, 3), 0),
        (keras.layers.ReLU(), (2, 4, 4, 3), 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_multiply_adds_are_those_of_one_image(
    layer: keras.Layer, shape: tuple[int, ...], expected: int
) -> None:
    output = layer(keras.ops.zeros(shape))
    assert cost.count_multiply_adds(layer, output.shape) == expected


@pytest.mark.parametrize(
    ("chosen", "by_name", "line"),
    [
        (
            PLACES[0],
            False,
            "caching after early: 3x smaller; the few layers after it run again each epoch",
        ),
        (
            place("near", 800),
            False,
            "caching after near: 1.2x smaller; the few layers after it run again each epoch",
        ),
        (PLACES[1], False, "caching after late, where training starts"),
        (PLACES[0], True, "caching after early, as `cut` asks"),
    ],
)
def test_the_choice_is_explained_in_a_line(chosen: Place, by_name: bool, line: str) -> None:
    assert cost.explain_choice(PLACES, chosen, by_name=by_name) == line


def test_a_wrong_name_gets_a_near_one_or_the_last() -> None:
    assert cost.choose_named(PLACES, "early") is PLACES[0]
    with pytest.raises(ConfigError, match="got 'erly'. Did you mean 'early'?"):
        cost.choose_named(PLACES, "erly")
    with pytest.raises(ConfigError, match="got 'zzz'. The last is 'late'."):
        cost.choose_named(PLACES, "zzz")
