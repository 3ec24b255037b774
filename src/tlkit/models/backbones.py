"""Open backbones by name: from keras.applications, a `.keras` file, or a preset of KerasHub."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from tlkit._internal import arguments, optional
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit.errors import Argument, ConfigError, MissingExtraError
from tlkit.models import applications, backbone_checks, backbone_files, hub
from tlkit.models.applications import TABLE as TABLE
from tlkit.models.applications import BackboneSpec as BackboneSpec
from tlkit.models.applications import PretrainedWeights as PretrainedWeights
from tlkit.models.backbone_source import BackboneSource, Kind
from tlkit.models.pixels import BYTE as BYTE
from tlkit.models.pixels import CAFFE as CAFFE
from tlkit.models.pixels import SIGNED as SIGNED
from tlkit.models.pixels import TORCH as TORCH
from tlkit.models.pixels import UNIT as UNIT
from tlkit.models.pixels import PixelFormat as PixelFormat

_PRESET_NAME = re.compile(r"[a-z0-9]+(_[a-z0-9.]+)+")
_TYPO = 0.75  # the least similarity, from 0 to 1, of a misspelled name


def names() -> tuple[str, ...]:
    """Return the names of all backbones of keras.applications, sorted.

    Examples:
        >>> names()[:2]
        ('convnext_base', 'convnext_large')
    """
    return tuple(sorted(applications.SPECS))


@check_arguments
def get(name: str) -> BackboneSpec:
    """Return the specification of a backbone of keras.applications.

    Raises:
        ConfigError: The name is unknown; the message suggests similar names.

    Examples:
        >>> get("mobilenet_v2").weight_sizes
        (96, 128, 160, 192, 224)
    """
    if isinstance(name, str) and name in applications.SPECS:
        return applications.SPECS[name]
    raise _unknown(name)


@check_arguments
def describe(
    name: str | Path,
    *,
    image_size: int | tuple[int, int] | None = None,
    weights: str | Path | None = "imagenet",
    options: Mapping[str, Any] | None = None,
) -> BackboneSource:
    """Return which images a backbone expects, without loading its weights.

    The configuration files of a preset are downloaded if they are not on disk.

    Args:
        name: As for `create`.
        image_size: As for `create`.
        weights: As for `create`.
        options: As for `create`.

    Raises:
        ConfigError: As for `create`.
        DownloadError: The configuration files of a preset can't be downloaded.
        MissingExtraError: KerasHub is not installed.

    Examples:
        >>> print(describe("resnet50_v2"))
        backbone resnet50_v2 (keras.applications): images of 224 x 224 pixels, values from -1 to 1
        (its ImageNet weights)
    """
    kind, text, options = _kind(name), str(name), dict(options or {})
    size = None if image_size is None else arguments.size("image_size", image_size)
    weights = str(weights) if isinstance(weights, Path) else weights
    check_data_format()
    if kind == "keras.applications":
        return applications.describe(get(text), size=size, weights=weights, options=options)
    _check_own_weights(text, kind, weights, options)
    if kind == "preset":
        return hub.describe(text, size=size, options=options)
    source, backbone = backbone_files.open_file(text, size=size)
    backbone_checks.check_end(backbone)
    return source


@check_arguments
def create(
    name: str | Path,
    *,
    image_size: int | tuple[int, int] | None = None,
    weights: str | Path | None = "imagenet",
    options: Mapping[str, Any] | None = None,
) -> keras.Model:
    """Build a backbone without its classification layers.

    `weights="starter"` is a small mobilenet_v2 (alpha 0.35) that is part of tlkit and needs no
    download; `tlkit.models.starter.card()` describes it. Some backbones have ImageNet weights for
    several image sizes; `BackboneSpec.weights_for` returns which of them an `image_size` gets.

    Args:
        name: One of `names()`; a `.keras` file; or a preset of KerasHub: its name, its folder, or
            an address such as "hf://timm/resnet18.a1_in1k". KerasHub converts many models of timm
            and transformers.
        image_size: Height and width of the images in pixels, or one number for both. By default the
            size that the weights were trained at.
        weights: "imagenet", "starter", None for random weights, or the path of a weights file. Must
            be left out for a file, which has its own weights; a preset accepts None.
        options: More arguments of the constructor, such as `{"alpha": 0.35}`.

    Raises:
        ConfigError: The name or an option is unknown, the image size is too small or can't be
            changed, or the backbone has no such weights.
        DownloadError: The weights are not on disk and can't be downloaded.
        DataError: The starter's weights are missing or damaged, or downloaded weights are damaged.
        MissingExtraError: KerasHub is not installed.

    Examples:
        >>> create("mobilenet_v2", image_size=32, weights=None).output_shape
        (None, 1, 1, 1280)
    """
    return open_backbone(name, image_size=image_size, weights=weights, options=options)[1]


@check_arguments
def open_backbone(
    name: str | Path,
    *,
    image_size: int | tuple[int, int] | None = None,
    weights: str | Path | None = "imagenet",
    options: Mapping[str, Any] | None = None,
) -> tuple[BackboneSource, keras.Model]:
    """Build a backbone; return its description, as by `describe`, and the backbone.

    Args:
        name: As for `create`.
        image_size: As for `create`.
        weights: As for `create`.
        options: As for `create`.
    """
    kind, options = _kind(name), dict(options or {})
    weights = str(weights) if isinstance(weights, Path) else weights
    if kind == "file":
        check_data_format()
        _check_own_weights(str(name), kind, weights, options)
        size = None if image_size is None else arguments.size("image_size", image_size)
        return backbone_files.open_file(str(name), size=size)
    source = describe(name, image_size=image_size, weights=weights, options=options)
    size = source.image_size
    if kind == "preset":
        return source, hub.load(source.name, size, weights=weights is not None, options=options)
    return source, applications.load(get(source.name), size, weights=weights, options=options)


def _check_own_weights(
    name: str, kind: Kind, weights: str | None, options: Mapping[str, Any]
) -> None:
    """Reject weights, and options of a file, for a backbone that has weights of its own."""
    if weights != "imagenet" and (kind == "file" or weights is not None):
        raise ConfigError(
            Argument("weights"),
            f" must be left out for the backbone {name!r}, which has its own, got {show(weights)}.",
        )
    if options and kind == "file":
        raise ConfigError(
            Argument("backbone_options"), f" must be left out if the backbone is a file ({name!r})."
        )


def check_data_format() -> None:
    """Reject building a model while Keras is set to channels-first images.

    Raises:
        ConfigError: Keras' image data format is "channels_first".
    """
    if keras.config.image_data_format() != "channels_last":
        raise ConfigError(
            "Keras' image data format must be 'channels_last', got 'channels_first'. Call "
            "keras.config.set_image_data_format('channels_last') first."
        )


def _kind(name: str | Path) -> Kind:
    """Return which kind of backbone a name denotes.

    Raises:
        ConfigError: The name is unknown.
        MissingExtraError: It may be a preset of KerasHub, which is not installed.
    """
    text = str(name) if isinstance(name, str | Path) else ""
    path = Path(text)
    if text in applications.SPECS:
        return "keras.applications"
    if text and (hub.is_address(text) or path.is_dir()):
        return "preset"
    if path.suffix in backbone_files.SUFFIXES or path.is_file():
        return "file"
    if text in hub.names():
        return "preset"
    known = arguments.similar(text, applications.SPECS, _TYPO)
    if not known and _PRESET_NAME.fullmatch(text) and not optional.installed("keras_hub"):
        raise MissingExtraError(
            f"{text!r} is not a backbone of keras.applications. If it is a preset of KerasHub, "
            "run: pip install 'tlkit[hub]'"
        )
    raise _unknown(name)


def _unknown(name: object) -> ConfigError:
    place = " (no such file or folder)" if re.search(r"[\\/]", str(name)) else ""
    return ConfigError(
        Argument("backbone"),
        f" must be a keras.Model or a known name, got {show(name)}{place}."
        f"{arguments.nearest(name, (*applications.SPECS, *hub.names()))} "
        f"tlkit.models.backbones.names() lists all {len(applications.SPECS)}. A .keras file, or a "
        "preset of KerasHub by name, folder or address (hf://timm/resnet18.a1_in1k), can be used "
        "too.",
    )
