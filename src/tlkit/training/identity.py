"""Describe the settings that identify a run, so that checkpoints of other runs are rejected."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from types import CodeType, FunctionType
from typing import Any

import keras
import numpy as np

from tlkit.data import batches
from tlkit.data.batches import Inputs
from tlkit.data.checked_batches import count_batches
from tlkit.models import freezing
from tlkit.training.phase import Phase, SolvedHead

_NUM_IMAGES = 64  # whose pixels are compared
_DIGITS = 12  # of a digest, for a readable message


def describe_training(
    model: keras.Model,
    phases: Mapping[str, Phase | SolvedHead],
    plans: Mapping[str, freezing.FreezePlan],
    data: Inputs,
    *,
    validation_data: Inputs | None,
    seeds: Sequence[int | None],
) -> dict[str, str]:
    """Return the settings of a run by name, each as a short text.

    Args:
        model: The classifier, of which the shapes of the weights are included.
        phases: The phases by name.
        plans: The freeze plan of each phase.
        data: The training images, of which the number, the labels and some pixels are included.
        validation_data: The validation images; as `data`.
        seeds: The seed of each phase.
    """
    shapes = [(tuple(weight.shape), str(weight.dtype)) for weight in model.weights]
    found = {
        "keras": f"{keras.__version__} on {keras.config.backend()}",
        "model": f"of {len(shapes)} weights, {_digest(repr(shapes).encode())}",
        "data": describe_data(data),
        "validation_data": "none" if validation_data is None else describe_data(validation_data),
    }
    for (name, phase), seed in zip(phases.items(), seeds, strict=True):
        found[f"{name}.seed"] = str(seed)
        for field in fields(phase):
            value = getattr(phase, field.name)
            if field.name == "freeze":
                names = [layer.name for layer in plans[name].frozen]
                found[f"{name}.freeze"] = f"{len(names)} layers"
            else:
                found[f"{name}.{field.name}"] = describe_value(value)
    return found


def describe_value(value: Any) -> str:
    """Return a setting as a text that is equal in another process.

    A function is described by its code and the values that it captured, an object of Keras by its
    settings.
    """
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(describe_value, value))}]"
    if isinstance(value, dict):
        parts = (f"{key}: {describe_value(each)}" for key, each in value.items())
        return f"{{{', '.join(parts)}}}"
    if isinstance(value, np.ndarray):
        return describe_value(value.tolist())
    if isinstance(value, keras.callbacks.Callback):
        return type(value).__name__
    if value is None or isinstance(value, bool | int | float | str):
        return str(value)
    if isinstance(value, partial):
        return describe_value([value.func, value.args, value.keywords])
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        captured = [each for each in cells if each is not value]
        code = _list_code(value.__code__)
        return f"{value.__qualname__} {_digest(f'{code} {describe_value(captured)}'.encode())}"
    if is_dataclass(value) and not isinstance(value, type):
        return f"{_name(value)} {describe_value(_list_fields(value))}"
    settings = ""
    if hasattr(value, "get_config"):
        config = {key: each for key, each in value.get_config().items() if key != "name"}
        settings = f" {_digest(json.dumps(config, default=_name, sort_keys=True).encode())}"
    return f"{_name(value)}{settings}"


def _list_fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _list_code(code: CodeType) -> list[Any]:
    """Return what a function does: its instructions, and the names and constants in them."""
    constants = [_describe_constant(each) for each in code.co_consts]
    return [code.co_code.hex(), code.co_names, constants]


def _describe_constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _list_code(value)
    return repr(sorted(value, key=repr) if isinstance(value, frozenset) else value)


def _name(value: Any) -> str:
    return str(getattr(value, "__name__", type(value).__name__))


def describe_data(data: Inputs) -> str:
    """Return the number of images, and a digest of all labels and some images, as text."""
    if not batches.is_arrays(data):
        return f"a dataset of {count_batches(data)} batches"  # they may be shuffled
    images, labels = data
    some = np.unique(np.linspace(0, len(labels) - 1, _NUM_IMAGES).astype(int))
    content = [np.asarray(each).tobytes() for each in (images[some], labels)]
    return f"{len(labels):,} images, {_digest(b''.join(content))}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGITS]
