import warnings

import keras
import pytest
from tests.samples import TickingClock

import tlkit
from tlkit import recipes
from tlkit.experiments import layer_choice

DIGITS = tlkit.datasets.digits().train


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each probe used, of which every one takes ten seconds."""
    used: list[int] = []

    def select_features(data: object, *, sample: int, **_: object) -> layer_choice.FeatureSelector:
        used.append(sample)
        return lambda model: ([f"chosen on {sample}"], ["average"])

    monkeypatch.setattr(layer_choice, "select_features", select_features)
    monkeypatch.setattr(layer_choice, "time", TickingClock(10))
    return used


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, [5000]), (1000, [200, 1000]), (30, [200, 400]), (15, [200]), (-3, [200])],
)
def test_a_probe_uses_as_many_images_as_the_time_allows(
    samples: list[int], seconds: float | None, expected: list[int]
) -> None:
    model = keras.Sequential()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        layers, _ = layer_choice.choose_layers(DIGITS, seconds=seconds)(model)
    assert samples == expected
    assert layers == [f"chosen on {expected[-1]}"]
    said = [str(each.message) for each in caught]
    if expected[-1] < len(DIGITS):
        assert said[0].startswith(f"The layers that the head reads were chosen on {expected[-1]}")
    else:
        assert not said


def test_few_images_are_probed_at_once(samples: list[int]) -> None:
    layer_choice.choose_layers(DIGITS.take(slice(150)), seconds=1)(keras.Sequential())
    assert samples == [5000]


@pytest.mark.parametrize(
    ("image_size", "layer", "num_features"),
    [(32, "block_5_add", 256), (64, "block_12_add", 512), (96, "out_relu", 1280)],
)
def test_too_few_images_for_a_probe_read_the_last_maps_of_three_cells_or_more(
    image_size: int, layer: str, num_features: int
) -> None:
    few = DIGITS.take(slice(5))
    how = {"weights": None, "backbone_options": {"alpha": 0.35}}
    with pytest.warns(UserWarning, match=f"5 images of 10 classes .* it reads {layer}"):
        model = recipes.fast().build(few, image_size=image_size, **how)
    assert tlkit.models.backbone_of(model).layers[-1].name == layer
    assert model.get_layer("logits").kernel.shape[0] == num_features


def test_more_classes_than_a_probe_can_tell_read_the_last_maps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layer_choice, "SAMPLE", 15)
    how = {"weights": None, "backbone_options": {"alpha": 0.35}}
    with pytest.warns(UserWarning, match="1,000 images of 10 classes have too many classes .* 15"):
        model = recipes.fast().build(DIGITS.take(slice(1000)), image_size=32, **how)
    assert tlkit.models.backbone_of(model).layers[-1].name == "block_5_add"
