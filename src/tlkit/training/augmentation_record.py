"""Record in a classifier which augmentation it was trained on.

Averaging predictions over augmented copies of an image is only more accurate if the classifier was
trained on such copies; otherwise it is often less accurate.
"""

import json
from collections.abc import Iterable, Sequence

import keras
import numpy as np

from tlkit.models.inspection import probabilities_of

_KEY = "augmented_by"


def record(model: keras.Model, layers: Iterable[keras.layers.Layer]) -> None:
    """Record in a classifier the kinds of augmentation it is trained on, which may be empty."""
    names = json.dumps(sorted({_name(layer) for layer in layers}))
    probabilities_of(model).stored[_KEY] = np.frombuffer(names.encode(), "uint8").copy()


def find_untrained(model: keras.Model, layers: Sequence[keras.layers.Layer]) -> list[str]:
    """Return the kinds of layers that a classifier was not trained on; empty without a record."""
    kept = probabilities_of(model).stored.get(_KEY)
    if kept is None:
        return []
    known = json.loads(kept.tobytes())
    return [name for name in dict.fromkeys(map(_name, layers)) if name not in known]


def _name(layer: keras.layers.Layer) -> str:
    return type(layer).__name__
