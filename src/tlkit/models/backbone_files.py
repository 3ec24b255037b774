"""Load a backbone from a `.keras` file, and find out which pixels and images it expects."""

from pathlib import Path

import keras

from tlkit._internal import arguments
from tlkit._internal.regular_files import find_obstacle
from tlkit._internal.text import show
from tlkit.errors import Argument, ConfigError
from tlkit.models import backbone_checks
from tlkit.models.applications import TABLE, BackboneSpec
from tlkit.models.backbone_source import BackboneSource
from tlkit.models.layers import ClassProbabilities
from tlkit.models.serialization import read_model

SUFFIXES = (".h5", ".hdf5", ".keras")
"""The suffixes of files of models or weights; all except .keras are rejected with a reason."""


def open_file(path: str, *, size: tuple[int, int] | None) -> tuple[BackboneSource, keras.Model]:
    """Return the backbone in a file, and which images it expects.

    Args:
        path: The file.
        size: Height and width of the images; by default the backbone's input size.

    Raises:
        ConfigError: The file is not a backbone, or the backbone does not accept images of this
            size.
    """
    backbone = load(path)
    pixels, where = backbone_checks.find_pixels(backbone)
    like = _find_application(backbone.name)
    source = BackboneSource(
        name=path,
        kind="file",
        image_size=backbone_checks.image_size(backbone, size),
        pixels=pixels,
        pixels_from=where,
        hint=f" It is named like {like.name}, whose ImageNet weights take values {like.pixels}."
        if like
        else "",
    )
    return source, backbone


def _find_application(name: str) -> BackboneSpec | None:
    """Return the backbone of keras.applications whose models have such a name; None if none do."""
    plain = name.replace("_", "").lower()
    specs = [spec for spec in TABLE if plain.startswith(spec.constructor.__name__.lower())]
    return max(specs, key=lambda spec: len(spec.constructor.__name__), default=None)


def load(path: str) -> keras.Model:
    """Return the backbone in a `.keras` file.

    Raises:
        ConfigError: The file is missing or damaged, holds only weights, or is not a backbone.
        MissingExtraError: The file has layers of KerasHub, which is not installed.
    """
    file = Path(path)
    wrong = Argument("backbone")
    why = find_obstacle(file)
    if why:
        beside = [each.name for each in file.parent.glob("*.keras")]
        raise ConfigError(
            wrong,
            f" must be a .keras file, "
            f"got {show(path)}: {why}.{arguments.nearest(file.name, beside)}",
        )
    if file.suffix != ".keras":
        raise ConfigError(
            wrong,
            f" must be a .keras file, got {show(path)}. Weights go in ",
            Argument("weights"),
            ", with the name of their backbone; to store a whole backbone: "
            "model.save('backbone.keras').",
        )
    backbone = read_model(file, "backbone")
    if any(isinstance(layer, ClassProbabilities) for layer in backbone.layers):
        raise ConfigError(
            wrong,
            f" must be a backbone without a head, "
            f"got {show(path)}, which is a classifier of tlkit. "
            f"Store its backbone: tlkit.models.backbone_of(tlkit.load({path!r}))"
            ".save('backbone.keras').",
        )
    backbone_checks.check_backbone(backbone, None, "imagenet")
    return backbone
