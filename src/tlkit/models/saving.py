"""Save a classifier to a `.keras` file, and load it."""

from pathlib import Path

import keras

from tlkit._internal import arguments
from tlkit._internal.files import replace_atomically
from tlkit._internal.keras_loading import find_not_finite
from tlkit._internal.keras_private import owned_temporary_folders
from tlkit._internal.signatures import check_arguments
from tlkit.errors import ConfigError
from tlkit.models.inspection import class_names
from tlkit.models.serialization import (
    find_unloadable,
    has_custom_parts,
    read_model,
)


@check_arguments
def save(model: keras.Model, path: str | Path) -> Path:
    """Save a classifier to a `.keras` file, replacing an older file atomically.

    The file contains what prediction needs: architecture, weights, preprocessing and class names.
    It contains no optimizer state, no pickle and no code.

    Missing parent folders are created.

    Args:
        model: A classifier from `build_classifier`.
        path: The file, with the suffix `.keras`.

    Returns:
        The path of the file.

    Raises:
        ConfigError: The path does not end in .keras, is a folder, or is inside a file; or the model
            has no class names, or a layer that can't be loaded again.
    """
    if not isinstance(model, keras.Model):
        raise ConfigError(f"`model` must be a keras.Model, got {type(model).__name__}.")
    target = arguments.path("path", path)
    if target.suffix != ".keras":
        raise ConfigError(f"`path` must end in .keras, got {str(path)!r}.")
    if target.is_dir():
        raise ConfigError(
            f"`path` must be a file, got the folder {str(path)!r}. Name a file in it, such as "
            f"{str(target / 'model.keras')!r}."
        )
    class_names(model)
    problem = find_unloadable(model) or find_not_finite(model)
    if problem:
        raise ConfigError(f"`model` must be one that can be loaded again, but {problem}")
    without_optimizer = _functional(model)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(
            f"`path` must be in a folder, got {str(path)!r}: {error.filename!r} is a file."
        ) from error
    with replace_atomically(target) as temporary, owned_temporary_folders():
        without_optimizer.save(temporary)
        if has_custom_parts(model):  # their weights can only be checked by loading the file
            load(temporary)
    return target


@check_arguments
def load(path: str | Path) -> keras.Model:
    """Load a classifier that `save` wrote; it is not compiled, but can predict and be trained.

    The file may be of unknown origin, because no code in it is run. A file is rejected if it would
    unpack to far more than its own size, has layers that are neither Keras', tlkit's nor registered
    by you, reads other files, or has weights that are NaN or infinite.

    Raises:
        ConfigError: The file does not exist, or is not a classifier of tlkit.
        MissingExtraError: The classifier has a backbone of KerasHub, which is not installed.
    """
    file = arguments.path("path", path)
    model = read_model(file, "path")
    class_names(model)
    return model if isinstance(model.input, keras.KerasTensor) else _functional(model)


def _functional(model: keras.Model) -> keras.Model:
    """Return the same classifier with a tensor as input instead of a list with one tensor.

    A model with a list as input warns for every new shape of images, which are a single array.
    """
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
