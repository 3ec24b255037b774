from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit import Phase, plotting, sources
from tlkit.data import batches, create_augmentation
from tlkit.errors import ConfigError, DataError
from tlkit.training import find_learning_rate, inputs

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), "uint8")
LABELS = np.arange(40) % 3


class _Batches(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return IMAGES[10 * index : 10 * index + 10], LABELS[10 * index : 10 * index + 10]


class _Loader:
    """Yields channels first, as torch does."""

    def __len__(self) -> int:
        return 4

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for images, labels in (_Batches()[index] for index in range(4)):
            yield np.moveaxis(images, -1, 1), labels


FORMS: dict[str, Callable[[], Any]] = {
    "ImageDataset": lambda: sources.from_arrays(IMAGES, LABELS, class_names="012"),
    "files": lambda: sources.from_batches(_Batches(), class_names="012"),
    "list": lambda: [IMAGES, LABELS],
    "tf.data": lambda: tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(10),
    "PyDataset": _Batches,
    "loader": lambda: sources.from_loader(_Loader()),
}


@pytest.fixture
def model(small_backbone: keras.Model) -> keras.Model:
    return tlkit.build_classifier(small_backbone, 3, pixels=(0, 1), seed=0)


def _titles(figure: Any) -> list[str]:
    return [panel.get_title() for panel in figure.axes]


FUNCTIONS: dict[str, Callable[[keras.Model, Any], Any]] = {
    "evaluate": lambda model, data: tlkit.evaluate(model, data).confusion.tolist(),
    "calibrate": lambda model, data: round(tlkit.calibrate(model, data).temperature, 3),
    "probe": lambda model, data: tlkit.probe(model, data).num_fitted,
    "audit": lambda model, data: len(tlkit.audit(model, data).scores),
    "find_learning_rate": lambda model, data: (
        find_learning_rate(model, Phase(batch_size=10), data, steps=2, seed=0).rates
    ),
    "train_phase": lambda model, data: (
        tlkit.train_phase(
            model, Phase(batch_size=10), data, validation_data=data, seed=0, verbose=False
        ).num_epochs
    ),
    "prediction_grid": lambda model, data: _titles(plotting.prediction_grid(model, data)),
    "grad_cam_grid": lambda model, data: _titles(plotting.grad_cam_grid(model, data)),
    "feature_map": lambda model, data: _titles(plotting.feature_map(model, data)),
}

SLOW = ("find_learning_rate", "probe", "train_phase")


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(each, marks=pytest.mark.slow) if name in SLOW else each
        for name, each in FUNCTIONS.items()
    ],
    ids=FUNCTIONS,
)
def test_every_function_takes_every_form_of_images_and_labels(
    model: keras.Model, function: Callable[[keras.Model, Any], Any]
) -> None:
    if function is FUNCTIONS["audit"]:
        pytest.importorskip("cleanlab")
    start = model.get_weights()
    expected = function(model, (IMAGES, LABELS))
    for make in FORMS.values():
        model.set_weights(start)
        assert function(model, make()) == expected


def test_the_pixels_of_an_image_dataset_must_be_in_the_range_of_the_model(
    model: keras.Model,
) -> None:
    data = sources.from_arrays(IMAGES / 255, LABELS, class_names="012", value_range=(0, 1))
    with pytest.raises(DataError, match=r"the model's range \(0.0, 255.0\), .*=\(0.0, 1.0\)"):
        tlkit.evaluate(model, data)


def test_a_dataset_is_read_into_memory_up_to_a_bound(
    model: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = inputs.validate_arrays(_Batches(), model)
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)
    monkeypatch.setattr(batches, "_MAX_BYTES", IMAGES.nbytes - 1)
    with pytest.raises(DataError, match="must have at most .* GiB of images where it is a dataset"):
        inputs.validate_arrays(_Batches(), model)


def test_labels_become_rows_of_shares_where_layers_mix_them(model: keras.Model) -> None:
    layers = create_augmentation(["mixup"])
    rows = np.eye(3, dtype="float32")[LABELS]

    def soften(labels: np.ndarray, *, batched: bool = False) -> tuple[Any, Any]:
        made = tf.data.Dataset.from_tensor_slices((IMAGES, labels)).batch(10)
        checked = inputs.validate(made if batched else (IMAGES, labels), model)
        assert inputs.soften_labels(checked, (), model) is checked
        return checked, inputs.soften_labels(checked, layers, model, "validation_data")

    for labels in (LABELS, rows):
        np.testing.assert_array_equal(soften(labels)[1][1], rows)
    checked, softened = soften(rows, batched=True)
    assert softened is checked
    assert checked.has_one_hot
    with pytest.raises(ConfigError, match="`validation_data` labels must be one-hot for MixUp"):
        soften(LABELS, batched=True)
