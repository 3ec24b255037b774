"""Load the model in a `.keras` file of unknown origin, with few imports for exported files."""

from pathlib import Path

import keras
import numpy as np

from tlkit._internal import keras_files
from tlkit._internal.keras_private import bounded_weights, is_registered, owned_temporary_folders

_SPARE_WEIGHTS = 2**20  # weights that layers may have beyond those in the file, such as seeds


def load_checked(path: Path) -> keras.Model:
    """Return the model in a file, after checks of the file's sizes, classes and links.

    Keras reads the file in its safe mode, which runs no code from the file.

    Raises:
        UnsafeFileError: It has content that no model needs, or weights that are not finite.
        Exception: Keras can't read it; see `tlkit._internal.files.DAMAGE_ERRORS`.
    """
    num_weights = keras_files.check_archive(path, is_registered)
    with bounded_weights(num_weights + _SPARE_WEIGHTS), owned_temporary_folders():
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    problem = find_not_finite(model)
    if problem:
        raise keras_files.UnsafeFileError(problem)
    return model


def find_not_finite(model: keras.Model) -> str:
    """Return which weight of a model has NaN or an infinite number; "" if all are finite."""
    for weight in model.weights:
        values = keras.ops.convert_to_numpy(weight)
        if keras.backend.is_float_dtype(weight.dtype) and not np.isfinite(values).all():
            return f"its weight {weight.path!r} has numbers that are NaN or infinite"
    return ""
