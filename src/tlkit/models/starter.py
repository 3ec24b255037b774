"""The starter: weights of a small pretrained backbone that are part of the package.

The backbone is MobileNetV2 with alpha 0.35, trained on small rendered images of glyphs, shapes and
textures. `card()` describes its training, its training data and its weaknesses.
"""

import hashlib
import io
from collections.abc import Mapping
from importlib import resources
from typing import Any

import keras
import numpy as np

from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import shorten, show
from tlkit.errors import Argument, ConfigError, DataError

WEIGHTS = "starter"
BACKBONE = "mobilenet_v2"
ALPHA = 0.35
SIZE = 32

_SHA256 = "d1226a414d1001d0149839f6d321ad669c844cde30b45c97ef90fdb8aa5af41b"
_FILES = resources.files("tlkit.models") / "weights"
_REINSTALL = "Reinstall tlkit: pip install --force-reinstall --no-deps tlkit"


def card() -> str:
    """Return the starter's model card as Markdown: its training data, its accuracy, its limits.

    Raises:
        DataError: The file is missing from the installed package.

    Examples:
        >>> "# The tlkit starter backbone" in card()
        True
    """
    return _read_file("starter.md").decode("utf-8")


@check_arguments
def complete_options(backbone: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a backbone's constructor, with the starter's alpha added.

    Raises:
        ConfigError: The starter's weights are for another backbone, or for another alpha.
    """
    if backbone != BACKBONE or options.get("alpha", ALPHA) != ALPHA:
        given = [f"{name}={show(value)}" for name, value in options.items()]
        wrong = ", ".join([shorten(backbone), *given])
        raise ConfigError(
            Argument("weights"),
            f" can be {WEIGHTS!r} only for {BACKBONE} with alpha={ALPHA}, got {wrong}. Use "
            "weights='imagenet' (a download) or None (random weights) for other backbones.",
        )
    return {**options, "alpha": ALPHA}


@check_arguments
def load_weights(backbone: keras.Model) -> None:
    """Set the weights of a MobileNetV2 with alpha 0.35 to the starter's.

    Raises:
        ConfigError: A weight of the backbone has another name or shape.
        DataError: The weights file is missing, or is not the file of this version.
    """
    stored = _read_weights()
    variables = {
        f"{layer.name}/{variable.name}": variable
        for layer in backbone.layers
        for variable in layer.weights
    }
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    expected = {name: values.shape for name, values in stored.items()}
    if shapes != expected:
        different = sorted({name for name, _ in shapes.items() ^ expected.items()})
        raise ConfigError(
            f"`backbone` must be {BACKBONE} with alpha={ALPHA} from keras.applications, got "
            f"{backbone.name!r}: {len(different)} weights differ in name or shape, the first is "
            f"{different[0]!r}."
        )
    for name, variable in variables.items():
        variable.assign(stored[name].astype("float32"))


def _read_weights() -> dict[str, np.ndarray]:
    """Return the weights in float16, as they are stored, by layer and name."""
    content = _read_file("starter.npz")
    digest = hashlib.sha256(content).hexdigest()
    if digest != _SHA256:
        raise DataError(
            f"The starter's weights must have the SHA-256 digest {_SHA256}, got {digest}: the "
            f"installed file is damaged. {_REINSTALL}"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _read_file(name: str) -> bytes:
    try:
        return (_FILES / name).read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"weights/{name} is missing from the package. {_REINSTALL}") from error
