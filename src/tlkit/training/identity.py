"""Describe the settings that identify a run, so that checkpoints of other runs are rejected."""

import hashlib
import re
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import keras
import numpy as np

from tlkit.data import batches
from tlkit.data.batches import Inputs
from tlkit.data.checked_batches import count_batches
from tlkit.models import freezing
from tlkit.training.phase import Phase, SolvedHead

_NUM_IMAGES = 64  # whose pixels are compared
_LIBRARIES = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
_ADDRESS = re.compile(" at 0x[0-9a-fA-F]+")  # of an object in memory, another one in each process
_ARRAYS = (np.ndarray, np.generic, keras.Variable)
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
        "model": f"of {len(shapes)} weights, {digest(repr(shapes).encode())}",
        "data": describe_data(data),
        "validation_data": "none" if validation_data is None else describe_data(validation_data),
    }
    for (name, phase), seed in zip(phases.items(), seeds, strict=True):
        found[f"{name}.seed"] = str(seed)
        found |= describe_phase(name, phase)
        found[f"{name}.freeze"] = f"{len(plans[name].frozen)} layers"
    return found


def describe_phase(name: str, phase: Phase | SolvedHead) -> dict[str, str]:
    """Return the settings of a phase by name, each as a short text.

    Args:
        name: The name of the phase, with which the names of its settings begin.
        phase: The phase; the caller describes its `freeze`, which is a function.
    """
    names = [field.name for field in fields(phase) if field.name != "freeze"]
    return {f"{name}.{each}": describe_value(getattr(phase, each)) for each in names}


def describe_value(value: Any) -> str:
    """Return a setting as a text that is equal in another process.

    A function is described by its code, its defaults, the values that it captured, and what it uses
    of the user's own modules; an object of Keras by its settings; another object by its attributes.
    A callback is described by its class alone, since its attributes change in training.

    Examples:
        >>> describe_value({"layers": ("a", 3), "rate": None})
        "{'layers': ['a', 3], 'rate': None}"
    """
    return _Describer().describe(value)


def describe_source(value: Any) -> str:
    """Return a setting as text, with the size and time of a file, or the weights of a model."""
    if isinstance(value, keras.Model):
        return describe_value([value.to_json(), value.get_weights()])
    if isinstance(value, str | Path) and Path(value).is_file():
        about = Path(value).stat()
        return describe_value([str(value), about.st_size, about.st_mtime_ns])
    return describe_value(value)


class _Describer:
    """Describe values; a function or object that was described before is only named.

    So a function that calls itself, or an object that contains itself, has an end.
    """

    def __init__(self) -> None:
        self._seen: list[Any] = []

    def describe(self, value: Any) -> str:
        """Return a value as text."""
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            return repr(value)
        if isinstance(value, tuple | list):
            return f"[{', '.join(map(self.describe, value))}]"
        if isinstance(value, set | frozenset):
            return f"{{{', '.join(sorted(map(self.describe, value)))}}}"
        if isinstance(value, Mapping):
            pairs = (f"{self.describe(key)}: {self.describe(value[key])}" for key in value)
            return f"{{{', '.join(sorted(pairs))}}}"
        if isinstance(value, _ARRAYS) or keras.ops.is_tensor(value):
            return _describe_array(keras.ops.convert_to_numpy(value))
        if isinstance(value, keras.callbacks.Callback) or self._has(value):
            return _name(value)
        self._seen.append(value)
        if isinstance(value, FunctionType):
            content = self.describe(_list_function(value))
            return f"{value.__qualname__} {digest(content.encode())}"
        if isinstance(value, type):
            methods = {} if _is_of_library(value.__module__) else _list_methods(value)
            return f"{value.__module__}.{value.__qualname__} {self.describe(methods)}"
        if isinstance(value, ModuleType):
            return f"module {value.__name__}"
        return f"{_name(value)} {self.describe(_list_content(value))}"

    def _has(self, value: Any) -> bool:
        return any(each is value for each in self._seen)


def _describe_array(value: np.ndarray) -> str:
    content = repr(value.tolist()).encode() if value.dtype == object else value.tobytes()
    return f"{value.dtype} {value.shape} {digest(content)}"


# The versions of libraries are compared apart from settings, so of a library's function only what
# was given to it counts. Of the user's function, all that it uses counts, also of other modules.
def _list_function(value: FunctionType) -> list[Any]:
    """Return all that determines what a function does."""
    captured = [_read_cell(cell) for cell in value.__closure__ or ()]
    given = [value.__module__, value.__defaults__, value.__kwdefaults__, captured]
    if _is_of_library(value.__module__):
        return given
    names = _list_names(value.__code__)
    used = {name: value.__globals__[name] for name in names if name in value.__globals__}
    modules = [each for each in used.values() if isinstance(each, ModuleType)]
    own = [each for each in modules if not _is_of_library(each.__name__)]
    inside = [{name: vars(each)[name] for name in names if name in vars(each)} for each in own]
    return [*given, _list_code(value.__code__), used, inside]


def _is_of_library(module: str | None) -> bool:
    """Return whether a module is installed, or of Python itself, and not the user's own."""
    found = sys.modules.get(str(module))
    if found is None or module == "__main__":
        return False
    place = getattr(found, "__file__", None) or "".join(getattr(found, "__path__", [])[:1])
    is_ours = found.__name__.partition(".")[0] == "tlkit"
    return is_ours or not place or place.startswith(tuple(_LIBRARIES))


def _list_methods(value: type) -> dict[str, Any]:
    return {name: each for name, each in vars(value).items() if isinstance(each, FunctionType)}


def _read_cell(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # the variable has no value yet
        return "no value"


def _list_content(value: Any) -> Any:
    """Return what describes an object: its parts, settings or attributes."""
    if isinstance(value, partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if hasattr(value, "get_config"):
        weights = value.get_weights() if isinstance(value, keras.Layer) else []
        return [{key: each for key, each in value.get_config().items() if key != "name"}, weights]
    slots = [name for each in type(value).__mro__ for name in getattr(each, "__slots__", ())]
    content = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    content |= getattr(value, "__dict__", {})
    return content or _ADDRESS.sub("", repr(value))


def _list_names(code: CodeType) -> list[str]:
    """Return the names of global variables and attributes in a function and those inside it."""
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    return sorted({*code.co_names, *(name for each in inner for name in _list_names(each))})


def _list_code(code: CodeType) -> list[Any]:
    """Return what a function does: its instructions, and the names and constants in them."""
    constants = [_list_code(c) if isinstance(c, CodeType) else c for c in code.co_consts]
    return [code.co_code, code.co_names, constants]


def _name(value: Any) -> str:
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def describe_data(data: Inputs) -> str:
    """Return the number of images, and a digest of all labels and some images, as text."""
    if not batches.is_arrays(data):
        return f"a dataset of {count_batches(data)} batches"  # they may be shuffled
    images, labels = data
    some = np.unique(np.linspace(0, len(labels) - 1, _NUM_IMAGES).astype(int))
    content = [np.asarray(each).tobytes() for each in (images[some], labels)]
    return f"{len(labels):,} images, {digest(b''.join(content))}"


def digest(content: bytes) -> str:
    """Return a digest that is short enough for a message."""
    return hashlib.sha256(content).hexdigest()[:_DIGITS]
