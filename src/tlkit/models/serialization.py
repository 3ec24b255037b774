"""Read models from files, and check before training whether a model can be saved and loaded."""

import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras

from tlkit._internal import keras_files, optional
from tlkit._internal.files import DAMAGE_ERRORS, describe_damage
from tlkit._internal.keras_loading import load_checked
from tlkit._internal.keras_private import flatten_layers
from tlkit._internal.regular_files import find_obstacle
from tlkit.errors import Argument, ConfigError, TlkitError

_IMPORTED = {"keras", "keras_hub", "keras_cv", "keras_nlp"}  # packages that Keras finds by itself
_WRAPPING = "tlkit.models.token_backbone"  # the parts inside it are checked instead of it
_MAX_REASON = 200  # characters
_LAMBDA = "is or has a Python lambda, which is code, and models are loaded without code"
_REMEDY = (
    "Use layers of Keras (such as Rescaling), or a class of your own with `get_config` and the "
    "decorator @keras.saving.register_keras_serializable()."
)


# Idea: Keras' own layers can always be loaded. So the model is turned into its config, as in a
# file, and each part that is not one of Keras' classes is built from its config, as loading does.
# That finds code (Lambda), classes and functions that are not registered, and configs that lack an
# argument. These parts have no weights yet, so it takes milliseconds.
def find_unloadable(model: keras.Model) -> str:
    """Return which layer of a model can't be loaded from a file, and what to do; "" if all can."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras, about lambdas
        try:
            config = keras.saving.serialize_keras_object(model)
        except Exception as error:
            return _explain_unwritable(model, error)
        for layer, part in _custom_parts(config, model.name):
            try:
                keras.saving.deserialize_keras_object(part, safe_mode=True)
            except Exception as error:
                return _explain(layer, part, error)
    return ""


def read_model(path: Path, argument: str) -> keras.Model:
    """Return the model in a `.keras` file of unknown origin; no code in it is run.

    Sizes, classes and links in the file are checked first; see `keras_files`. Then Keras reads it
    in its safe mode.

    Args:
        path: The file.
        argument: The name of the argument that is the path, for messages.

    Raises:
        ConfigError: The file does not exist, Keras can't read it, or its content is unsafe.
        MissingExtraError: The model has layers of KerasHub, which is not installed.
    """
    why = find_obstacle(path)
    if not why and path.suffix != ".keras":
        why = "its name must end in .keras"
    if why:
        raise ConfigError(Argument(argument), f" must be a .keras file, got {str(path)!r}: {why}.")
    try:
        return load_checked(path)
    except (*DAMAGE_ERRORS, MemoryError) as error:
        if isinstance(error, TlkitError):
            raise
        is_unsafe = isinstance(error, keras_files.UnsafeFileError)
        if not is_unsafe and _mentions_hub(path):
            optional.require("keras_hub", extra="hub")
        why = describe_damage(path) or (str(error) if is_unsafe else explain_loading(error))
        raise ConfigError(
            Argument(argument),
            f" must be a .keras file that Keras can read, got {str(path)!r}: {why}.",
        ) from error


def _mentions_hub(path: Path) -> bool:
    """Return whether a model's config, checked before, has a class of KerasHub."""
    with suppress(*DAMAGE_ERRORS), zipfile.ZipFile(path) as file:
        return b'"keras_hub' in file.read(keras_files.CONFIG)
    return False


def has_custom_parts(model: keras.Model) -> bool:
    """Return whether a model has classes or functions that are neither Keras' nor tlkit's."""
    config = keras.saving.serialize_keras_object(model)
    return any(
        not str(part.get("registered_name")).startswith("tlkit>")
        for _, part in _custom_parts(config, model.name)
    )


def explain_loading(error: Exception) -> str:
    """Return why Keras could not load a file, without the config in Keras' message."""
    found = re.search(r"Could not locate (class|function) '([^']+)'", str(error))
    if found is not None:
        return (
            f"it has the {found[1]} {found[2]!r}, which is not registered here. Import the module "
            "that defines it, with @keras.saving.register_keras_serializable(), before loading"
        )
    return f"it may be damaged, or of a newer version of Keras ({_find_reason(error)})"


def _custom_parts(config: Any, layer: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the parts of a config that are not Keras' classes, each with the name of its layer."""
    if isinstance(config, list | tuple):
        for each in config:
            yield from _custom_parts(each, layer)
    if not isinstance(config, dict):
        return
    if list(config) == ["value"] and isinstance(config["value"], tuple):  # a lambda's code
        yield layer, {"class_name": "__lambda__", "config": config}
        return
    inner = config.get("config")
    if isinstance(inner, dict) and isinstance(inner.get("name"), str) and "module" in config:
        layer = inner["name"] if "dtype" in inner or "layers" in inner else layer
    if "class_name" in config and "config" in config and _is_custom(config):
        yield layer, config
        return
    for value in config.values():
        yield from _custom_parts(value, layer)


def _is_custom(config: dict[str, Any]) -> bool:
    kind, module = config["class_name"], config.get("module")
    if kind in ("Lambda", "__lambda__", "function"):
        return True
    if kind.startswith("__"):  # a tensor, a slice
        return False
    return str(module).split(".")[0] not in _IMPORTED and module != _WRAPPING


def _explain_unwritable(model: keras.Model, error: Exception) -> str:
    def fails(layer: keras.Layer) -> bool:
        try:
            keras.saving.serialize_keras_object(layer)
        except Exception:
            return True
        return False

    layer = next(filter(fails, reversed(flatten_layers(model))), model)  # outer layers come first
    why = f"has no complete `get_config` ({_find_reason(error)})"
    if "source code" in str(error):
        why = _LAMBDA
    return f"its layer {layer.name!r} {why}. {_REMEDY}"


def _explain(layer: str, part: dict[str, Any], error: Exception) -> str:
    kind = part["class_name"]
    if isinstance(part["config"], dict) and kind != "__lambda__":
        layer = part["config"].get("name", layer)
    function = part["config"].get("function") if kind == "Lambda" else part
    if function["class_name"] == "__lambda__":
        why = _LAMBDA
    elif function["class_name"] == "function":
        why = f"has the function {function['config']!r}, which is not registered"
    elif "locate class" in str(error) or "Could not" in str(error):
        why = f"is of the class {kind}, which is not registered"
    else:
        why = f"is of the class {kind}, whose config can't make it again ({_find_reason(error)})"
    return f"its layer {layer!r} {why}. {_REMEDY}"


def _find_reason(error: Exception) -> str:
    """Return the reason in an error of Keras, which follows after whole configs."""
    reason = str(error).split("Exception encountered:")[-1]
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    return " ".join(lines[:2])[:_MAX_REASON].rstrip(".,") or type(error).__name__
