"""What makes a trunk's features what they are: every fact that changes a number in them."""

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
_NO_MATTER = ("build_config", "name", "shared_object_id", "trainable")


def of_trunk(
    steps: Sequence[Step], outputs: Sequence[TensorId], *, sample: np.ndarray, dtype: str
) -> dict[str, Any]:
    """Return the facts of a trunk's results but for the images and the engine.

    They are the layers and how they are joined, the value of every weight, the dtypes, the
    shape of an image, and the versions of Keras and its backend.

    Args:
        steps: What the trunk runs.
        outputs: Which tensors it gives.
        sample: Some images.
        dtype: What the results are kept as.
    """
    backend = keras.backend.backend()
    last = next(step for step in reversed(steps) if step.outputs[0] in outputs)
    return {
        "format": _FORMAT,
        "last_layer": re.sub(r"_\d+$", "", last.operation.name),  # Keras counts within a process
        "layers": _digest([_described(step) for step in steps]),
        "outputs": [tensor.number for tensor in outputs],
        "weights": _digest_of_weights(steps),
        "image": [*sample.shape[1:], str(sample.dtype)],
        "dtype": dtype,
        "keras": keras.__version__,
        backend: version(backend),
        "float": keras.config.floatx(),
    }


def _described(step: Step) -> dict[str, Any]:
    kind = type(step.operation)
    return {
        "kind": f"{kind.__module__}.{kind.__qualname__}",
        "config": _plain(step.operation.get_config()),
        "arguments": _plain(step.arguments),
        "outputs": [tensor.number for tensor in step.outputs],
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON can say it, without what does not change a result."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items() if key not in _NO_MATTER}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, TensorId):
        return {"tensor": value.number}
    if isinstance(value, np.ndarray | np.generic):
        return {"array": str(value.dtype), "shape": value.shape, "values": value.tolist()}
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


def _digest(values: Any) -> str:
    return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).hexdigest()


def _digest_of_weights(steps: Sequence[Step]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for step in steps:
        for weight in getattr(step.operation, "weights", ()):
            found.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
    return found.hexdigest()
