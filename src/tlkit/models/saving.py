"""A classifier to a `.keras` file and back."""

from pathlib import Path

import keras

from tlkit._internal.files import replace_atomically
from tlkit.errors import ConfigError
from tlkit.models.inspection import class_names


def save(model: keras.Model, path: str | Path) -> Path:
    """Write a classifier to a `.keras` file, whole or not at all; an older file is replaced.

    What the file holds is what `predict` needs: architecture, weights, preprocessing and class
    names; no optimizer state, no pickle, no code.

    Raises:
        ConfigError: The name does not end in .keras, or the model carries no class names.
    """
    target = Path(path)
    if target.suffix != ".keras":
        raise ConfigError(f"`path` must end in .keras, got {str(path)!r}.")
    class_names(model)
    bare = keras.Model(model.inputs, model.outputs, name=model.name)  # without the optimizer
    target.parent.mkdir(parents=True, exist_ok=True)
    with replace_atomically(target) as temporary:
        bare.save(temporary)
    return target


def load(path: str | Path) -> keras.Model:
    """Read a classifier that `save` wrote, ready to predict; train it by a TwoPhaseTrainer.

    The file is read in Keras' safe mode: no code in it is run.

    Raises:
        ConfigError: There is no such file, or it holds no classifier of tlkit.
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
