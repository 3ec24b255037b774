"""Collect all facts that determine a trunk's features; their digest is the key in the store."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import keras
import numpy as np

from tlkit.models.flat_graph import Step, TensorId

_FORMAT = 3  # raising it makes all features that were stored before unusable
_IRRELEVANT = ("build_config", "file_size", "name", "shared_object_id", "trainable")


def fingerprint_trunk(
    steps: Sequence[Step], outputs: Sequence[TensorId], *, sample: np.ndarray, dtype: str
) -> dict[str, Any]:
    """Return all facts that determine a trunk's features, except for the images and the engine.

    The facts are the layers and their connections, the values of all weights, the dtypes, the shape
    of an image, and the versions of Keras and its backend. Names of layers are left out.

    Args:
        steps: The steps of the trunk.
        outputs: The tensors that the trunk returns.
        sample: Some images, for their shape and dtype.
        dtype: The dtype that features are stored in.
    """
    digests = digest_tensors(steps)
    return describe(
        [digests[tensor] for tensor in outputs],
        last_layer=name_last_layer(steps, outputs),
        sample=sample,
        dtype=dtype,
    )


def name_last_layer(steps: Sequence[Step], outputs: Sequence[TensorId]) -> str:
    """Return the name of the last layer that returns one of these tensors."""
    last = next(step for step in reversed(steps) if step.outputs[0] in outputs)
    return re.sub(r"_\d+$", "", last.operation.name)  # Keras counts within a process


def describe(
    columns: Sequence[str], *, last_layer: str, sample: np.ndarray, dtype: str
) -> dict[str, Any]:
    """Return all facts of features from the digests of their tensors; see `fingerprint_trunk`.

    Args:
        columns: The digest of each output of the trunk.
        last_layer: The name of the layer that returns the last output.
        sample: Some images, for their shape and dtype.
        dtype: The dtype that features are stored in.
    """
    backend = keras.backend.backend()
    return {
        "format": _FORMAT,
        "last_layer": last_layer,
        "columns": list(columns),
        "image": [*sample.shape[1:], str(sample.dtype)],
        "dtype": dtype,
        "keras": keras.__version__,
        backend: version(backend),
        "float": keras.config.floatx(),
    }


# Idea: a tensor's digest combines the layer that computes it, the layer's weights, and the digests
# of the layer's input tensors, as in a Merkle tree. So the same computation has the same digest in
# any model, whichever layers come after it and however the graph numbers its tensors.
def digest_tensors(
    steps: Sequence[Step], known: Mapping[TensorId, str] | None = None
) -> dict[TensorId, str]:
    """Return a digest of everything that determines each tensor, except for the images.

    Args:
        steps: The steps, each after the steps whose outputs it reads.
        known: The digests of tensors that the steps read; other tensors are the model's inputs.
    """
    found = dict(known or {})
    weights: dict[int, str] = {}
    for step in steps:
        for tensor in step.inputs:
            found.setdefault(tensor, f"input {sum(v.startswith('input') for v in found.values())}")
        operation = step.operation
        if id(operation) not in weights:
            weights[id(operation)] = _hash_weights(operation)
        digest = _hash_json(
            {
                "kind": f"{type(operation).__module__}.{type(operation).__qualname__}",
                "config": _to_json(operation.get_config(), found),
                "arguments": _to_json(step.arguments, found),
                "weights": weights[id(operation)],
            }
        )
        found |= {each: f"{digest}:{number}" for number, each in enumerate(step.outputs)}
    return found


def _to_json(value: Any, tensors: Mapping[TensorId, str]) -> Any:
    """Return a value in a form that JSON supports, without settings that do not change results."""
    if isinstance(value, dict):
        relevant = {key: each for key, each in value.items() if key not in _IRRELEVANT}
        return {str(key): _to_json(each, tensors) for key, each in relevant.items()}
    if isinstance(value, list | tuple):
        return [_to_json(each, tensors) for each in value]
    if isinstance(value, TensorId):
        return {"tensor": tensors[value]}
    if isinstance(value, np.ndarray | np.generic):
        return {"array": str(value.dtype), "shape": value.shape, "values": value.tolist()}
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


def _hash_json(values: Any) -> str:
    return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).hexdigest()


def _hash_weights(operation: Any) -> str:
    found = hashlib.blake2b(digest_size=16)
    for weight in getattr(operation, "weights", ()):
        found.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
    return found.hexdigest()
