"""Every fact that changes a number in a trunk's features: it makes their key in the store."""

import hashlib
import json
import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import keras
import numpy as np

from tlkit.models.flat_graph import Step, TensorId

_FORMAT = 2  # raise it, and nothing that was stored before is used again
_IRRELEVANT = ("build_config", "name", "shared_object_id", "trainable")


def fingerprint_trunk(
    steps: Sequence[Step], outputs: Sequence[TensorId], *, sample: np.ndarray, dtype: str
) -> dict[str, Any]:
    """Return all facts that determine a trunk's features, except for the images and the engine.

    They are the layers and their connections, the values of all weights, the dtypes, the shape
    of an image, and the versions of Keras and its backend. Names are not among them.

    Args:
        steps: The steps of the trunk.
        outputs: The tensors that it returns.
        sample: Some images.
        dtype: The dtype that features are stored in.
    """
    backend = keras.backend.backend()
    last = next(step for step in reversed(steps) if step.outputs[0] in outputs)
    return {
        "format": _FORMAT,
        "last_layer": re.sub(r"_\d+$", "", last.operation.name),  # Keras counts within a process
        "layers": _hash_json([_describe_step(step) for step in steps]),
        "outputs": [tensor.number for tensor in outputs],
        "weights": _hash_weights(steps),
        "image": [*sample.shape[1:], str(sample.dtype)],
        "dtype": dtype,
        "keras": keras.__version__,
        backend: version(backend),
        "float": keras.config.floatx(),
    }


def _describe_step(step: Step) -> dict[str, Any]:
    kind = type(step.operation)
    return {
        "kind": f"{kind.__module__}.{kind.__qualname__}",
        "config": _to_json(step.operation.get_config()),
        "arguments": _to_json(step.arguments),
        "outputs": [tensor.number for tensor in step.outputs],
    }


def _to_json(value: Any) -> Any:
    """Return a value as JSON can hold it, without settings that change no result."""
    if isinstance(value, dict):
        return {str(key): _to_json(each) for key, each in value.items() if key not in _IRRELEVANT}
    if isinstance(value, list | tuple):
        return [_to_json(each) for each in value]
    if isinstance(value, TensorId):
        return {"tensor": value.number}
    if isinstance(value, np.ndarray | np.generic):
        return {"array": str(value.dtype), "shape": value.shape, "values": value.tolist()}
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


def _hash_json(values: Any) -> str:
    return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).hexdigest()


def _hash_weights(steps: Sequence[Step]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for step in steps:
        for weight in getattr(step.operation, "weights", ()):
            found.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
    return found.hexdigest()
