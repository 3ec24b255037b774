"""Save a classifier to a `.keras` file, and load it."""

from pathlib import Path

import keras

from tlkit._internal.files import replace_atomically
from tlkit.errors import ConfigError
from tlkit.models.inspection import class_names


def save(model: keras.Model, path: str | Path) -> Path:
    """Save a classifier to a `.keras` file, replacing an older file atomically.

    The file contains what prediction needs: architecture, weights, preprocessing and class names.
    It contains no optimizer state, no pickle and no code.

    Raises:
        ConfigError: The path does not end in .keras, or the model has no class names.
    """
    target = Path(path)
    if target.suffix != ".keras":
        raise ConfigError(f"`path` must end in .keras, got {str(path)!r}.")
    class_names(model)
    without_optimizer = keras.Model(model.inputs, model.outputs, name=model.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replace_atomically(target) as temporary:
        without_optimizer.save(temporary)
    return target


def load(path: str | Path) -> keras.Model:
    """Load a classifier that `save` wrote; it is not compiled, but can predict and be trained.

    Keras reads the file in its safe mode, which runs no code from it.

    Raises:
        ConfigError: The file does not exist, or does not contain a classifier of tlkit.
    """
    if not Path(path).is_file():
        raise ConfigError(f"`path` must be a .keras file, got {str(path)!r}: no such file.")
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError) as error:
        raise ConfigError(
            f"`path` must be a .keras file that Keras can read, got {str(path)!r}: {error}"
        ) from error
    class_names(model)
    return model
