"""Check a Keras file of unknown origin before Keras reads it: its sizes, classes and links."""

import io
import json
import math
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import h5py

from tlkit._internal.regular_files import open_regular
from tlkit._internal.text import byte_size

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
_MAX_CONFIG_BYTES = 32 * 2**20
_MAX_MEMBERS = 1000
_MAX_EXPANSION, _FREE_BYTES = 10, 64 * 2**20
_MAX_DEPTH = 100  # of dicts and lists in a config; a classifier has about 15
_MAX_PARTS, _MAX_OBJECTS = 100_000, 200_000

_KERAS = {  # modules with parts of models; Keras' other modules read files, download or run code
    *("activations", "constraints", "dtype_policies", "initializers", "layers", "losses"),
    *("metrics", "models", "ops", "optimizers", "quantizers", "random", "regularizers"),
}
_OF_FAMILIES = {"LayerScale"}  # a layer of ConvNeXt, defined in keras.applications
_OTHERS = {"keras_hub", "keras_cv", "keras_nlp"}
_CODE = {"FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper", "__lambda__", "__typespec__"}
_READS_FILES = {"vocabulary", "vocabulary_path"}


class UnsafeFileError(ValueError):
    """A file has content that no model needs; the message completes a sentence."""


# Idea: check the cheap facts first. The directory of the zip file states how large its members are,
# the config which classes they need, and the headers of the datasets how many numbers they hold.
# When Keras reads the file afterwards, each of these sizes is already bounded by the file's size.
def check_archive(path: Path, is_registered: Callable[[str], bool]) -> int:
    """Check a `.keras` file; return how many numbers its weights have.

    Args:
        path: The file.
        is_registered: Returns whether this process has registered a class or function of a name.

    Raises:
        OSError: The path is not a file, or can't be read.
        UnsafeFileError: It unpacks to too many bytes, its config is nested too deeply, it uses
            unknown classes, or its weights are in other files.
        zipfile.BadZipFile: It is not a zip file, or damaged.
    """
    with open_regular(path) as opened, zipfile.ZipFile(opened) as archive:
        size = path.stat().st_size
        _check_members(archive.infolist(), size)
        check_config(_read_member(archive, CONFIG).decode(), is_registered)
        return check_weights(io.BytesIO(_read_member(archive, WEIGHTS)))


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    if len(members) > _MAX_MEMBERS:
        raise UnsafeFileError(f"it has {len(members):,} parts, more than {_MAX_MEMBERS:,}")
    names = [member.filename for member in members]
    for member in members:
        name, parts = member.filename, PurePosixPath(member.filename).parts
        if ".." in parts or name[:1] in ("/", "") or set(name) & set("\\:\0"):
            raise UnsafeFileError(f"it has a part {name!r}, which would be written elsewhere")
        if member.flag_bits & 1:
            raise UnsafeFileError("it is encrypted")
    if len({*names}) < len(names):
        raise UnsafeFileError("two of its parts have the same name")
    for name in (CONFIG, WEIGHTS):
        if name not in names:
            raise UnsafeFileError(f"it has no {name}, so it is not a Keras model")
    unpacked = sum(member.file_size for member in members)
    if unpacked > _MAX_EXPANSION * size + _FREE_BYTES:
        raise UnsafeFileError(
            f"it unpacks to {byte_size(unpacked)} from {byte_size(size)}, far more than a model "
            "would"
        )


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    size = archive.getinfo(name).file_size
    if name == CONFIG and size > _MAX_CONFIG_BYTES:
        raise UnsafeFileError(f"its {name} is {byte_size(size)}")
    with archive.open(name) as member:
        return member.read(size)  # never more than the directory states


def check_config(text: str, is_registered: Callable[[str], bool]) -> None:
    """Check the config of a model.

    Args:
        text: The config in JSON.
        is_registered: As for `check_archive`.

    Raises:
        UnsafeFileError: It is not a config, nested too deeply, or uses unknown classes.
    """
    try:
        config = json.loads(text, parse_constant=_read_constant)
    except RecursionError as error:
        raise UnsafeFileError("its config is nested too deeply") from error
    except UnsafeFileError:
        raise
    except ValueError as error:
        raise UnsafeFileError(f"its config is not JSON: {error}") from error
    if not isinstance(config, dict) or "class_name" not in config:
        raise UnsafeFileError("its config does not describe a model")
    num_parts = 0
    config.pop("compile_config", None)  # of a loss or optimizer, which is not loaded
    for part in _walk(config):
        num_parts += "class_name" in part
        if num_parts > _MAX_PARTS:
            raise UnsafeFileError(f"its config has more than {_MAX_PARTS:,} parts")
        if "class_name" in part:
            _check_class(part, is_registered)
        if any(isinstance(part.get(name), str) for name in _READS_FILES):
            raise UnsafeFileError("a layer of it reads a vocabulary from another file")


def _read_constant(name: str) -> float:
    if name == "NaN":
        raise UnsafeFileError("its config has NaN where a layer needs a number")
    return float(name)  # infinity may be the bound of a range


def _walk(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every dict in a config; a loop, since a deep config would end a recursion."""
    level, depth = [config], 0
    while level:
        if depth > _MAX_DEPTH:
            raise UnsafeFileError("its config is nested too deeply")
        yield from (each for each in level if isinstance(each, dict))
        inside = (each.values() if isinstance(each, dict) else each for each in level)
        level = [each for values in inside for each in values if isinstance(each, dict | list)]
        depth += 1


def _check_class(part: dict[str, Any], is_registered: Callable[[str], bool]) -> None:
    kind, module = part["class_name"], part.get("module")
    is_function = kind == "function"
    name = part.get("config") if is_function else kind
    if kind in _CODE or not isinstance(name, str):
        raise UnsafeFileError(f"it has code in a {kind}, and models are loaded without code")
    registered = part.get("registered_name")
    if kind.startswith("__") or any(
        isinstance(each, str) and is_registered(each) for each in (registered, name)
    ):
        return
    root, *rest = str(module or "keras").split(".")
    inner = [each for each in rest if each != "src"][:1]
    is_of_keras = root == "keras" and (not inner or inner[0] in _KERAS)
    is_of_family = root == "keras" and not is_function and name in _OF_FAMILIES
    if is_of_keras or is_of_family or root in _OTHERS or (is_function and root == "builtins"):
        return
    what = "function" if is_function else "class"
    raise UnsafeFileError(
        f"it has the {what} {name[:80]!r}, which is not registered here. Import the module that "
        "defines it, with @keras.saving.register_keras_serializable(), before loading"
    )


def check_weights(file: Path | io.BytesIO) -> int:
    """Check a file of weights in HDF5; return how many numbers it holds.

    Raises:
        OSError: The file can't be read.
        UnsafeFileError: It has links or data in other files, or unpacks to too many bytes.
    """
    declared = stored = count = 0
    with h5py.File(file, "r") as root:
        for number, dataset in enumerate(_list_datasets(root)):
            if number > _MAX_OBJECTS:
                raise UnsafeFileError(f"its weights are more than {_MAX_OBJECTS:,} arrays")
            if dataset.external or dataset.is_virtual:
                raise UnsafeFileError(f"its weights {dataset.name!r} are in another file")
            if dataset.dtype.kind not in "biufcV":
                raise UnsafeFileError(f"its weights {dataset.name!r} are not numbers")
            size = math.prod(dataset.shape or ())
            count += size
            declared += size * dataset.dtype.itemsize
            stored += dataset.id.get_storage_size()
    if declared > _MAX_EXPANSION * stored + _FREE_BYTES:
        raise UnsafeFileError(
            f"its weights declare {byte_size(declared)}, and {byte_size(stored)} are stored"
        )
    return count


def _list_datasets(root: Any) -> Iterator[Any]:
    """Yield each dataset in a file once, even if groups contain each other."""
    groups, seen = [root], set()
    while groups:
        group = groups.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise UnsafeFileError(f"its weights have a link, {name!r}, not the numbers")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif isinstance(item, h5py.Dataset):
                yield item
            if len(seen) > _MAX_OBJECTS:
                raise UnsafeFileError(f"its weights have more than {_MAX_OBJECTS:,} parts")
