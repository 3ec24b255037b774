"""The starter: a small pretrained backbone that comes inside the package.

It is MobileNetV2 of alpha 0.35, trained on small pictures of rendered glyphs, shapes and textures;
`card()` says how, on what, and where it is weak.
"""

import hashlib
import io
from collections.abc import Mapping
from importlib import resources
from typing import Any

import keras
import numpy as np

from tlkit.errors import ConfigError, DataError

WEIGHTS = "starter"
BACKBONE = "mobilenet_v2"
ALPHA = 0.35
SIZE = 32

_SHA256 = "d1226a414d1001d0149839f6d321ad669c844cde30b45c97ef90fdb8aa5af41b"
_FILES = resources.files("tlkit.models") / "weights"
_AGAIN = "Install tlkit again: pip install --force-reinstall --no-deps tlkit"


def card() -> str:
    """Return the model card, Markdown: what the starter learned from, how well, and its limits.

    Raises:
        DataError: The installed package lacks it.

    Examples:
        >>> "# The tlkit starter backbone" in card()
        True
    """
    return _bytes("starter.md").decode("utf-8")


def options(backbone: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the constructor's options with the starter's alpha filled in.

    Raises:
        ConfigError: There is no starter for this backbone, or for the alpha given.
    """
    if backbone != BACKBONE or given.get("alpha", ALPHA) != ALPHA:
        asked = ", ".join([backbone, *(f"{name}={value!r}" for name, value in given.items())])
        raise ConfigError(
            f"`weights` can be {WEIGHTS!r} for {BACKBONE} with alpha={ALPHA} only, got {asked}. "
            "Take weights='imagenet' (a download) or None (random) for others."
        )
    return {**given, "alpha": ALPHA}


def fill(backbone: keras.Model) -> None:
    """Give a MobileNetV2 of alpha 0.35 the starter's weights.

    Raises:
        ConfigError: The backbone's weights are others by name or shape.
        DataError: The file is not the one that was published with this version.
    """
    kept = _read()
    variables = {
        f"{layer.name}/{variable.name}": variable
        for layer in backbone.layers
        for variable in layer.weights
    }
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    wanted = {name: values.shape for name, values in kept.items()}
    if shapes != wanted:
        odd = sorted({name for name, _ in shapes.items() ^ wanted.items()})
        raise ConfigError(
            f"`backbone` must be {BACKBONE} with alpha={ALPHA} as keras.applications makes it, got "
            f"{backbone.name!r}: {len(odd)} weights differ in name or shape, the first {odd[0]!r}."
        )
    for name, variable in variables.items():
        variable.assign(kept[name].astype("float32"))


def _read() -> dict[str, np.ndarray]:
    """Return the weights by layer and name, as they are kept: float16."""
    content = _bytes("starter.npz")
    found = hashlib.sha256(content).hexdigest()
    if found != _SHA256:
        raise DataError(
            f"The starter's weights must have the SHA-256 {_SHA256}, got {found}: the installed "
            f"file is damaged. {_AGAIN}"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _bytes(name: str) -> bytes:
    try:
        return (_FILES / name).read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"The installed package lacks weights/{name}. {_AGAIN}") from error
