"""Load presets of KerasHub: backbones by name, by address (`hf://...`) or from a folder."""

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

from tlkit._internal import arguments, optional
from tlkit._internal.keras_private import flatten_layers
from tlkit._internal.text import show
from tlkit.errors import Argument, ConfigError, DownloadError, MissingExtraError, TlkitError
from tlkit.models import backbone_checks, hub_folder, pixels
from tlkit.models.backbone_source import BackboneSource
from tlkit.models.layers import Interpolation
from tlkit.models.pixels import PixelFormat

_ADDRESSES = ("hf", "kaggle", "modelscope", "gs", "s3")
_RESERVED_OPTIONS = {"data_format", "dtype", "image_shape", "kwargs", "name", "trainable"}
_OFFLINE_REMEDY = (
    "Download its files on a computer with a network, copy the folder here, and pass the folder. "
    "Or use weights='starter' (a small mobilenet_v2 that is part of tlkit)."
)


def is_address(name: str) -> bool:
    """Return whether a name is the address of a preset, such as hf://timm/resnet18.a1_in1k."""
    return "://" in name


def names() -> tuple[str, ...]:
    """Return the names of KerasHub's own presets of all kinds; empty if it is not installed."""
    if not optional.installed("keras_hub"):
        return ()
    return tuple(optional.require("keras_hub", extra="hub").models.Backbone.presets)


def describe(
    preset: str, *, size: tuple[int, int] | None, options: Mapping[str, Any]
) -> BackboneSource:
    """Return which images a preset expects, without loading its weights.

    Args:
        preset: A name, an address or a folder.
        size: Height and width of the images; by default those of the preset's image converter.
        options: More arguments of the constructor.

    Raises:
        ConfigError: The preset does not exist, or does not accept images of this size.
        DownloadError: The preset can't be downloaded.
        MissingExtraError: KerasHub is not installed.
    """
    place, hub = _locate(preset, with_weights=False)
    with _explain(preset):
        skeleton = _build(hub, place, options=options, weights=False)
        backbone_checks.check_backbone(skeleton, None, "imagenet")
        found, default, interpolation, where = _read_converter(hub, place)
    wanted = default if size is None else size
    own = skeleton.inputs[0].shape[1:3]
    if None in own and wanted is None:
        raise ConfigError(
            Argument("image_size"),
            f" must be the size that images are resized to: {preset} takes any, and has no image "
            "converter.",
        )
    if wanted is not None and tuple(own) != wanted:
        problem = _why_fixed(hub, place, skeleton, wanted, options)
        if problem and (size is not None or None in own):
            other = "another size" if None in own else f"{own[0]}x{own[1]}"
            raise ConfigError(
                Argument("image_size"),
                f" must be {other} for {preset}, got {wanted[0]}x{wanted[1]}: {problem}.",
            )
        wanted = None if problem else wanted
    return BackboneSource(
        name=preset,
        kind="preset",
        image_size=wanted or (own[0], own[1]),
        pixels=found,
        interpolation=interpolation,
        pixels_from=where,
    )


def load(
    preset: str, size: tuple[int, int], *, weights: bool, options: Mapping[str, Any]
) -> keras.Model:
    """Return a preset's backbone for images of a size that `describe` accepted.

    Raises:
        ConfigError: The weights are missing or damaged.
        DownloadError: The weights can't be downloaded.
    """
    place, hub = _locate(preset, with_weights=weights)
    with _explain(preset):
        return _build(hub, place, size, options=options, weights=weights)


def _locate(preset: str, *, with_weights: bool) -> tuple[str, ModuleType]:
    """Return a preset's folder, or the name or address that KerasHub loads; and KerasHub."""
    hub = optional.require("keras_hub", extra="hub")
    scheme, _, repository = preset.partition("://")
    if is_address(preset) and scheme not in _ADDRESSES:
        raise ConfigError(
            Argument("backbone"),
            f" must be an address of a preset such as 'hf://timm/resnet18.a1_in1k', got "
            f"{preset!r}.{arguments.nearest(scheme, _ADDRESSES)}",
        )
    if scheme == "hf" and repository:
        with _explain(preset):
            preset = hub_folder.download(repository, with_weights=with_weights)
    if Path(preset).is_dir():
        hub_folder.check(Path(preset), with_weights=with_weights)
    elif not is_address(preset):
        _check_name(hub, preset)
    return preset, hub


def _check_name(hub: ModuleType, preset: str) -> None:
    """Reject a preset of a language model before its gigabytes are downloaded."""
    base: Any = hub.models.Backbone
    members = [each for each in vars(hub.models).values() if inspect.isclass(each)]
    kinds: list[Any] = [each for each in members if issubclass(each, base)]
    narrowest = min(
        (each for each in kinds if preset in each.presets), key=lambda each: len(each.presets)
    )
    if "vocabulary_size" in inspect.signature(narrowest).parameters:
        raise ConfigError(
            Argument("backbone"),
            f" must be a backbone for images, got {show(preset)}, which is a language model.",
        )


def _build(
    hub: ModuleType,
    place: str,
    size: tuple[int, int] | None = None,
    *,
    options: Mapping[str, Any],
    weights: bool,
) -> keras.Model:
    """Build a preset; for a preset of images and text, return the part for images.

    If a size is set, a backbone with an `image_shape` is built for images of this size, so that the
    shapes of all its feature maps are known.
    """
    create = hub.models.Backbone.from_preset
    plain: keras.Model | None = None
    settings = dict(options)
    if options or size is not None:
        plain = create(place, load_weights=False)
        allowed = set(inspect.signature(type(plain)).parameters)
        for option in options:
            arguments.one_of("backbone_options", option, allowed - _RESERVED_OPTIONS)
        if size is not None and "image_shape" in allowed:
            settings["image_shape"] = (*size, 3)
    model = create(place, load_weights=weights, **settings)
    if len(model.inputs) > 1 and isinstance(getattr(model, "vision_encoder", None), keras.Model):
        part = model.vision_encoder
        return keras.Model(part.inputs, part.outputs, name=part.name)
    return model


# A convolutional backbone accepts images of any size. A transformer has a position vector for each
# patch. KerasHub interpolates these vectors on loading for some transformers (DINOv2) or computes
# them (DINOv3); others need weights of another shape (ViT). To find out, the backbone is built for
# the other size, without weights, and each layer's variables are loaded into the new layer.
def _why_fixed(
    hub: ModuleType,
    place: str,
    skeleton: keras.Model,
    size: tuple[int, int],
    options: Mapping[str, Any],
) -> str:
    """Return why a preset does not accept images of another size; "" if it does."""
    own = skeleton.inputs[0].shape[1:3]
    try:
        other = _build(hub, place, size, options=options, weights=False)
    except Exception as error:
        return hub_folder.first_line(error)
    if other.inputs[0].shape[1:3] not in (size, (None, None)):
        return "its size is fixed"
    for one, two in zip(flatten_layers(skeleton), flatten_layers(other), strict=False):
        stored: dict[str, Any] = {}
        try:
            one.save_own_variables(stored)
            two.load_own_variables(stored)
        except ValueError:
            return f"its weights are for {own[0]}x{own[1]} pixels ({one.name} has a row a patch)"
    return ""


def _read_converter(
    hub: ModuleType, place: str
) -> tuple[PixelFormat | None, tuple[int, int] | None, Interpolation, str]:
    """Return a preset's pixels, image size and interpolation, and the file that states them."""
    base = hub.layers.ImageConverter
    try:
        converter = base.from_preset(place)
    except (FileNotFoundError, ValueError) as error:  # it has no converter, or an unknown class
        if isinstance(error, json.JSONDecodeError):
            raise
        converter = None
    plain = [getattr(base, name) for name in ("call", "_call_python")]
    if plain != [getattr(type(converter), name, None) for name in ("call", "_call_python")]:
        return hub_folder.read_processor(
            Path(place)
        )  # the preset has no converter, or one that tlkit can't read
    size = converter.image_size
    found = pixels.from_scale(converter.scale, converter.offset)
    how = hub_folder.interpolation(converter.interpolation)
    return found, None if size is None else (size[0], size[1]), how, "its image converter"


@contextmanager
def _explain(preset: str) -> Iterator[None]:
    """Turn errors of KerasHub, Hugging Face and Kaggle into errors that state what to do."""
    try:
        yield
    except TlkitError:
        raise
    except ImportError as error:
        raise MissingExtraError(f"The backbone {preset!r} needs a package: {error}") from error
    except Exception as error:
        why = hub_folder.first_line(error)
        if not Path(preset).is_dir() and _is_offline(error):
            raise DownloadError(
                f"Can't download the preset {preset!r}: {why}. {_OFFLINE_REMEDY}"
            ) from error
        raise ConfigError(
            Argument("backbone"),
            f" must be a preset that KerasHub can load, got {show(preset)}: {why}.",
        ) from error


def _is_offline(error: BaseException | None) -> bool:
    """Return whether an error is caused by the network instead of the preset."""
    causes: Sequence[str] = ("Connect", "Timeout", "Network", "LocalEntryNotFound", "Offline")
    while error is not None:
        name = type(error).__name__
        if isinstance(error, ConnectionError | TimeoutError) or any(c in name for c in causes):
            return True
        error = error.__cause__ or error.__context__
    return False
