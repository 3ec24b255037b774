"""Export a classifier to a file of another format, if that file predicts what the model does."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit._internal import arguments
from tlkit._internal.files import replace_atomically
from tlkit.caching.engines.compilers import silence
from tlkit.deployment import formats
from tlkit.deployment.graph import INPUT, OUTPUT, input_dtype
from tlkit.errors import ConfigError, EngineError
from tlkit.models.inspection import class_names, value_range

_BATCHES = (1, 7, 32)  # a graph may be right for one batch size and wrong for another
_OPEN_SIDE = 64  # pixels, where the model takes any height or width


def export(
    model: keras.Model,
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002  # as in Keras' Model.export
    images: np.ndarray | None = None,
    tolerance: float = 1e-4,
) -> Path:
    """Write a classifier for another runtime; the file takes raw images, preprocessing included.

    The written file is run on batches of 1, 7 and 32 images and compared with the model. It is kept
    only if all probabilities agree, so an exported file predicts what `tlkit.predict` does. A
    `.json` file beside it holds the class names, what the input is, and versions.

    Args:
        model: A classifier from build_classifier, on the TensorFlow backend.
        path: Where to write: `.onnx`, `.tflite`, or a folder for a SavedModel.
        format: One of `tlkit.deployment.formats.names()`; by default what the path ends in says.
        images: Raw images to compare on, such as test images; by default random pixels.
        tolerance: The largest difference of a probability that is accepted.

    Raises:
        ConfigError: An argument is wrong, or Keras does not run on TensorFlow.
        EngineError: The file predicts something else, or the format can't hold the model.
        MissingExtraError: A package that the format needs is not installed.

    Examples:
        >>> import tempfile
        >>> from tlkit import build_classifier
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> model = build_classifier(backbone, 2, input_shape=(8, 8, 3), pixels=(0, 1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export(model, Path(folder) / "model.tflite").name
        'model.tflite'
    """
    target = arguments.path("path", path)
    name = _choose_format(target, format)
    arguments.positive("tolerance", tolerance)
    if keras.config.backend() != "tensorflow":
        raise ConfigError(
            f"Export needs Keras' TensorFlow backend, got {keras.config.backend()!r}. Save the "
            "model with tlkit.save, and export it in a process with KERAS_BACKEND=tensorflow."
        )
    facts = _describe(model, name)
    sample = _make_sample(model) if images is None else np.asarray(images)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replace_atomically(target) as temporary:
        try:
            with silence():
                formats.get(name).write(model, temporary)
                predict = formats.get(name).load(temporary)
                error = max(_compare(model, predict, sample, count) for count in _BATCHES)
        except (ImportError, ConfigError):
            raise
        except Exception as cause:
            reason = next(iter(str(cause).splitlines()), type(cause).__name__)
            raise EngineError(f"{name} can't hold {model.name!r}: {reason}") from cause
        if not error <= tolerance:
            raise EngineError(
                f"The {name} file must predict what the model does, within {tolerance:g}, got a "
                f"probability that is {error:.2g} off. Nothing was written."
            )
        with replace_atomically(target.with_name(f"{target.name}.json")) as beside:
            beside.write_text(json.dumps({**facts, "largest_difference": error}, indent=2))
    return target


def _choose_format(path: Path, name: str | None) -> str:
    if name is not None:
        return arguments.one_of("format", name, formats.names())
    endings = {formats.get(name).EXTENSION: name for name in formats.names()}
    if path.suffix not in endings:
        raise ConfigError(
            f"`path` must end in one of {sorted(filter(None, endings))}, or be a folder without an "
            f"ending, got {str(path)!r}."
        )
    return endings[path.suffix]


def _describe(model: keras.Model, name: str) -> dict[str, Any]:
    """Return what a program needs to know to use the file."""
    return {
        "format": name,
        "class_names": class_names(model),
        "input": {
            "name": INPUT,
            "shape": [None, *model.input_shape[1:]],
            "dtype": input_dtype(model),
            "value_range": value_range(model),
        },
        "output": {"name": OUTPUT, "shape": [None, model.output_shape[-1]]},
        "versions": {package: version(package) for package in ("tlkit", "keras", "tensorflow")},
    }


def _make_sample(model: keras.Model) -> np.ndarray:
    shape = [_OPEN_SIDE if side is None else side for side in model.input_shape[1:]]
    low, high = value_range(model) or (0, 255)
    pixels = np.random.default_rng(0).uniform(low, high, (max(_BATCHES), *shape))
    return pixels.astype(input_dtype(model))


def _compare(model: keras.Model, predict: Any, images: np.ndarray, count: int) -> float:
    """Return the largest difference of a probability on so many images."""
    batch = np.resize(images, (count, *images.shape[1:])).astype(input_dtype(model))
    return float(np.abs(predict(batch) - model.predict_on_batch(batch)).max())
