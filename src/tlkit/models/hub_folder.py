"""Read the files of a preset: a folder by KerasHub, timm or transformers, or a download."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from tlkit._internal import keras_files, optional, regular_files
from tlkit._internal.downloads import SECONDS
from tlkit._internal.files import DAMAGE_ERRORS, describe_damage
from tlkit._internal.keras_private import is_registered
from tlkit.errors import Argument, ConfigError
from tlkit.models import pixels
from tlkit.models.layers import Interpolation
from tlkit.models.pixels import PixelFormat

_CONFIGS = ["*.json"]
_WEIGHTS = ["model*.safetensors", "model*.weights.h5"]
_FORMATS = {"registered_name": "KerasHub", "model_type": "transformers", "architecture": "timm"}
_PILLOW = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # the numbers of Pillow's resampling
_MAX_REASON = 300  # characters


def download(repository: str, *, with_weights: bool) -> str:
    """Return the folder of a Hugging Face repository; only missing files are downloaded.

    Raises:
        MissingExtraError: huggingface_hub is not installed.
    """
    hub = optional.require("huggingface_hub", extra="hub")
    wanted = [*_CONFIGS, *_WEIGHTS] if with_weights else _CONFIGS
    folder: str = hub.snapshot_download(repository, allow_patterns=wanted, etag_timeout=SECONDS)
    return folder


def check(folder: Path, *, with_weights: bool) -> None:
    """Check that a folder is a preset, and that its weights are present and complete.

    Raises:
        ConfigError: It is not; the message states the file, and what is wrong with it.
    """
    config = folder / "config.json"
    if not config.is_file():
        found = sorted(path.name for path in folder.iterdir())[:5]
        _refuse(
            folder,
            f"it has no config.json, but {found or 'nothing'}",
            "A preset is written by `backbone.save_to_preset(folder)` of KerasHub, or "
            "`save_pretrained(folder)` of transformers.",
        )
    settings = _read_json(config)
    if "experiment" in settings:
        model = str(folder / "model.keras")
        _refuse(
            folder,
            "it is a run of tlkit",
            f"To start from its backbone: tlkit.models.backbone_of(tlkit.load({model!r}))"
            ".save('backbone.keras'), and pass this file.",
        )
    kind = next((name for key, name in _FORMATS.items() if key in settings), None)
    if kind is None:
        _refuse(folder, f"its config.json has none of {list(_FORMATS)}", _of_formats())
    if kind == "KerasHub":
        try:
            keras_files.check_config(regular_files.read_text(config), is_registered)
        except keras_files.UnsafeFileError as error:
            _refuse(folder, str(error), _of_formats())
    if with_weights:
        _check_weights(folder, is_keras=kind == "KerasHub")


def _check_weights(folder: Path, *, is_keras: bool) -> None:
    single, index = (
        ("model.weights.h5", "model.weights.json")
        if is_keras
        else (
            "model.safetensors",
            "model.safetensors.index.json",
        )
    )
    if (folder / index).is_file():
        named = _read_json(folder / index).get("weight_map", {}).values()
        files = {name for each in named for name in ([each] if isinstance(each, str) else each)}
    else:
        files = {single}
    for name in sorted(map(str, files)):
        path = folder / name
        if path.name != name:
            _refuse(folder, f"its weights {name!r} are in another folder", "Copy them to it.")
        if not path.is_file():
            others = sorted(each.name for each in folder.glob("*.bin"))
            remedy = "Copy it, too."
            if others:
                remedy = (
                    f"{others[0]} is a file of PyTorch, which can hold code. Write the weights "
                    "again with save_pretrained(folder, safe_serialization=True)."
                )
            _refuse(folder, f"it has no {name}", remedy)
        problem = describe_damage(path) or _describe_safetensors(path) or _describe_hdf5(path)
        if problem:
            _refuse(folder, f"{name} is damaged: {problem}", "Copy or download this file again.")


def _describe_safetensors(path: Path) -> str:
    """Return what is wrong with a .safetensors file, whose header states its length."""
    if path.suffix != ".safetensors":
        return ""
    try:
        with safe_open(path, framework="numpy"):
            return ""
    except (OSError, SafetensorError) as error:
        return first_line(error)


def _describe_hdf5(path: Path) -> str:
    """Return what is wrong with an .h5 file: links, or data in other files."""
    if path.suffix != ".h5":
        return ""
    try:
        keras_files.check_weights(path)
        return ""
    except DAMAGE_ERRORS as error:
        return first_line(error)


def read_processor(
    folder: Path,
) -> tuple[PixelFormat | None, tuple[int, int] | None, Interpolation, str]:
    """Return pixels, image size and interpolation from transformers' `preprocessor_config.json`.

    The pixels are None if the folder has no such file.
    """
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        return None, None, "bilinear", ""
    settings = _read_json(file)
    scale = settings.get("rescale_factor", 1 / 255) if settings.get("do_rescale", True) else 1.0
    mean, std = [0.0], [1.0]
    if settings.get("do_normalize", True):
        mean, std = settings.get("image_mean", mean), settings.get("image_std", std)
    found = pixels.from_scale(
        [scale / each for each in std], [-m / s for m, s in zip(mean, std, strict=True)]
    )
    size = settings.get("size")
    if settings.get("do_center_crop") and "crop_size" in settings:
        size = settings["crop_size"]
    how = interpolation(_PILLOW.get(settings.get("resample", 2), "bilinear"))
    return found, _size(size), how, "its preprocessor_config.json"


def _size(size: Any) -> tuple[int, int] | None:
    """Return height and width from any of the forms that transformers writes."""
    if isinstance(size, dict):
        sides = [size.get(name, size.get("shortest_edge")) for name in ("height", "width")]
    else:
        sides = list(size) if isinstance(size, list) else [size, size]
    height, width = sides
    return None if height is None or width is None else (int(height), int(width))


def interpolation(name: str) -> Interpolation:
    """Return the layer's interpolation that is closest to a preset's."""
    known: dict[str, Interpolation] = {"bicubic": "bicubic", "nearest": "nearest"}
    return known.get(name, "bilinear")


def first_line(error: BaseException) -> str:
    """Return the reason of another library's error on one line, to complete a sentence."""
    if isinstance(error, KeyError):
        return f"{error} is missing"
    lines = " ".join(str(error).split())[:_MAX_REASON].rstrip(" .:")
    return lines or type(error).__name__


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(regular_files.read_text(path))
    except (OSError, RecursionError, ValueError) as error:
        values = error
    if not isinstance(values, dict):
        why = first_line(values) if isinstance(values, Exception) else "it holds no names"
        _refuse(path.parent, f"{path.name} is damaged: {why}", "Copy or download this file again.")
    return dict(values)


def _of_formats() -> str:
    return f"Presets are those of {', '.join(_FORMATS.values())}."


def _refuse(folder: Path, why: str, remedy: str) -> None:
    raise ConfigError(
        Argument("backbone"),
        f" must be the folder of a preset, got {str(folder)!r}: {why}. {remedy}",
    )
