"""The backbones of keras.applications by name: how each is made and what it must be fed."""

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from tlkit._internal import arguments
from tlkit._internal.downloads import bounded_downloads
from tlkit.errors import ConfigError
from tlkit.models import starter

_WEIGHTS_FILE = (
    "Weights already downloaded are taken from the `models` folder of KERAS_HOME (~/.keras by "
    "default); weights='starter' takes the small mobilenet_v2 inside tlkit, None random weights."
)
_OTHER_SIZE_WARNING = "`input_shape` is undefined or non-square"


@dataclass(frozen=True, kw_only=True)
class PixelFormat:
    """The pixels a backbone was trained on.

    Attributes:
        range: What black and white become.
        mean: Subtracted from each channel after that, where given.
        std: Divides each channel after that, where given.
        bgr: Whether the channels come as blue, green, red; `mean` and `std` are in that order.
    """

    range: tuple[float, float]
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    bgr: bool = False


UNIT = PixelFormat(range=(0, 1))
SIGNED = PixelFormat(range=(-1, 1))
BYTE = PixelFormat(range=(0, 255))
CAFFE = PixelFormat(range=(0, 255), mean=(103.939, 116.779, 123.68), bgr=True)
TORCH = PixelFormat(range=(0, 1), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """What there is to know about one backbone of keras.applications.

    Attributes:
        name: What tlkit calls it.
        family: The module of keras.applications it belongs to.
        constructor: Makes the model.
        pixels: What its ImageNet weights were trained on. `BYTE` where it rescales inside.
        least_size: The smallest height and width it takes.
        weight_sizes: The sizes its ImageNet weights were trained at. Where there is more than
            one, each has weights of its own, and another size gets those of the largest.
    """

    name: str
    family: str
    constructor: Callable[..., keras.Model]
    pixels: PixelFormat
    least_size: int
    weight_sizes: tuple[int, ...]

    @property
    def default_size(self) -> int:
        """The size of the images that the default weights were trained at."""
        return self.weight_sizes[-1]

    def weights_for(self, size: tuple[int, int]) -> int:
        """Return the image size of the ImageNet weights that Keras loads for this `size`."""
        height, width = size
        return height if height == width and height in self.weight_sizes else self.default_size


def _spec(
    name: str, family: str, constructor: str, pixels: PixelFormat, least_size: int, *sizes: int
) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        family=family,
        constructor=getattr(keras.applications, constructor),
        pixels=pixels,
        least_size=least_size,
        weight_sizes=sizes,
    )


_TABLE = (
    _spec("convnext_tiny", "convnext", "ConvNeXtTiny", BYTE, 32, 224),
    _spec("convnext_small", "convnext", "ConvNeXtSmall", BYTE, 32, 224),
    _spec("convnext_base", "convnext", "ConvNeXtBase", BYTE, 32, 224),
    _spec("convnext_large", "convnext", "ConvNeXtLarge", BYTE, 32, 224),
    _spec("convnext_xlarge", "convnext", "ConvNeXtXLarge", BYTE, 32, 224),
    _spec("densenet121", "densenet", "DenseNet121", TORCH, 32, 224),
    _spec("densenet169", "densenet", "DenseNet169", TORCH, 32, 224),
    _spec("densenet201", "densenet", "DenseNet201", TORCH, 32, 224),
    _spec("efficientnet_b0", "efficientnet", "EfficientNetB0", BYTE, 32, 224),
    _spec("efficientnet_b1", "efficientnet", "EfficientNetB1", BYTE, 32, 240),
    _spec("efficientnet_b2", "efficientnet", "EfficientNetB2", BYTE, 32, 260),
    _spec("efficientnet_b3", "efficientnet", "EfficientNetB3", BYTE, 32, 300),
    _spec("efficientnet_b4", "efficientnet", "EfficientNetB4", BYTE, 32, 380),
    _spec("efficientnet_b5", "efficientnet", "EfficientNetB5", BYTE, 32, 456),
    _spec("efficientnet_b6", "efficientnet", "EfficientNetB6", BYTE, 32, 528),
    _spec("efficientnet_b7", "efficientnet", "EfficientNetB7", BYTE, 32, 600),
    _spec("efficientnet_v2_b0", "efficientnet_v2", "EfficientNetV2B0", BYTE, 32, 224),
    _spec("efficientnet_v2_b1", "efficientnet_v2", "EfficientNetV2B1", BYTE, 32, 240),
    _spec("efficientnet_v2_b2", "efficientnet_v2", "EfficientNetV2B2", BYTE, 32, 260),
    _spec("efficientnet_v2_b3", "efficientnet_v2", "EfficientNetV2B3", BYTE, 32, 300),
    _spec("efficientnet_v2_s", "efficientnet_v2", "EfficientNetV2S", BYTE, 32, 384),
    _spec("efficientnet_v2_m", "efficientnet_v2", "EfficientNetV2M", BYTE, 32, 480),
    _spec("efficientnet_v2_l", "efficientnet_v2", "EfficientNetV2L", BYTE, 32, 480),
    _spec("inception_resnet_v2", "inception_resnet_v2", "InceptionResNetV2", SIGNED, 75, 299),
    _spec("inception_v3", "inception_v3", "InceptionV3", SIGNED, 75, 299),
    _spec("mobilenet", "mobilenet", "MobileNet", SIGNED, 32, 128, 160, 192, 224),
    _spec("mobilenet_v2", "mobilenet_v2", "MobileNetV2", SIGNED, 32, 96, 128, 160, 192, 224),
    _spec("mobilenet_v3_small", "mobilenet_v3", "MobileNetV3Small", BYTE, 32, 224),
    _spec("mobilenet_v3_large", "mobilenet_v3", "MobileNetV3Large", BYTE, 32, 224),
    _spec("nasnet_mobile", "nasnet", "NASNetMobile", SIGNED, 32, 224),
    _spec("nasnet_large", "nasnet", "NASNetLarge", SIGNED, 32, 331),
    _spec("resnet50", "resnet", "ResNet50", CAFFE, 32, 224),
    _spec("resnet101", "resnet", "ResNet101", CAFFE, 32, 224),
    _spec("resnet152", "resnet", "ResNet152", CAFFE, 32, 224),
    _spec("resnet50_v2", "resnet_v2", "ResNet50V2", SIGNED, 32, 224),
    _spec("resnet101_v2", "resnet_v2", "ResNet101V2", SIGNED, 32, 224),
    _spec("resnet152_v2", "resnet_v2", "ResNet152V2", SIGNED, 32, 224),
    _spec("vgg16", "vgg16", "VGG16", CAFFE, 32, 224),
    _spec("vgg19", "vgg19", "VGG19", CAFFE, 32, 224),
    _spec("xception", "xception", "Xception", SIGNED, 71, 299),
)
_SPECS = {spec.name: spec for spec in _TABLE}


def names() -> tuple[str, ...]:
    """Return the name of every known backbone, sorted.

    Examples:
        >>> len(names()), "mobilenet_v2" in names()
        (40, True)
    """
    return tuple(sorted(_SPECS))


def find(name: str) -> BackboneSpec:
    """Return what is known about the backbone of this name.

    Raises:
        ConfigError: There is none; the message offers the nearest names.

    Examples:
        >>> find("mobilenet_v2").weight_sizes
        (96, 128, 160, 192, 224)
    """
    if isinstance(name, str) and name in _SPECS:
        return _SPECS[name]
    raise ConfigError(
        f"`backbone` must be a keras.Model or a known name, got {name!r}."
        f"{arguments.nearest(name, _SPECS)} tlkit.models.backbones.names() lists all {len(_SPECS)}."
    )


def create(
    name: str,
    *,
    image_size: int | tuple[int, int] | None = None,
    weights: str | None = "imagenet",
    options: Mapping[str, Any] | None = None,
) -> keras.Model:
    """Make a backbone without its classification layers.

    `weights="starter"` is a small mobilenet_v2 (alpha 0.35) that comes inside tlkit and needs no
    download; `tlkit.models.starter.card()` says what it is good for. Some families have ImageNet
    weights for several image sizes; for any other `image_size`, those of the largest are loaded
    (`BackboneSpec.weights_for` says which).

    Args:
        name: One of `names()`.
        image_size: Height and width of the images it will be fed, by default the weights' own.
        weights: "imagenet", "starter", None for random ones, or the path of a weights file.
        options: More arguments of its constructor, such as `{"alpha": 0.35}`.

    Raises:
        ConfigError: The name is unknown, the size too small, an option is none of the
            constructor's, or there is no starter for it.
        DownloadError: The weights are not on disk and no host answers.
        DataError: The starter's file is missing or damaged.

    Examples:
        >>> create("mobilenet_v2", image_size=32, weights=None).output_shape
        (None, 1, 1, 1280)
    """
    spec = find(name)
    extra = dict(options or {})
    own_size = spec.default_size
    if weights == starter.WEIGHTS:
        extra, own_size = starter.options(name, extra), starter.SIZE
    height, width = arguments.size("image_size", own_size if image_size is None else image_size)
    if min(height, width) < spec.least_size:
        raise ConfigError(
            f"`image_size` must be at least {spec.least_size}x{spec.least_size} for {name}, "
            f"got {height}x{width}."
        )
    if keras.config.image_data_format() != "channels_last":
        raise ConfigError(
            "tlkit needs Keras' data format to be 'channels_last', got 'channels_first'. "
            "Call keras.config.set_image_data_format('channels_last') first."
        )
    _check_options(spec, extra)
    _check_weights(weights)
    if weights == starter.WEIGHTS:
        backbone = _made(spec, (height, width), None, extra)
        starter.fill(backbone)
        return backbone
    return _made(spec, (height, width), weights, extra)


def _made(
    spec: BackboneSpec, size: tuple[int, int], weights: str | None, options: Mapping[str, Any]
) -> keras.Model:
    shape = (*size, 3)
    with (
        warnings.catch_warnings(),
        bounded_downloads(spec.constructor, f"{weights} weights", remedy=_WEIGHTS_FILE),
    ):
        warnings.filterwarnings("ignore", message=_OTHER_SIZE_WARNING)
        try:
            return spec.constructor(
                include_top=False, weights=weights, input_shape=shape, **options
            )
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"Keras can't make {spec.name} with weights={weights!r} and {dict(options)}: "
                f"{error}"
            ) from error


_OURS = {
    "classes",
    "classifier_activation",
    "include_preprocessing",  # BackboneSpec.pixels relies on it
    "include_top",
    "input_shape",
    "input_tensor",
    "pooling",
    "weights",
}


def _check_options(spec: BackboneSpec, options: Mapping[str, Any]) -> None:
    allowed = set(inspect.signature(spec.constructor).parameters) - _OURS
    for option in options:
        arguments.one_of("backbone_options", option, allowed)


def _check_weights(weights: str | None) -> None:
    if weights is None or weights in ("imagenet", starter.WEIGHTS):
        return
    if not isinstance(weights, str) or not Path(weights).is_file():
        raise ConfigError(
            f"`weights` must be 'imagenet', {starter.WEIGHTS!r}, None or the path of a weights "
            f"file, got {weights!r}."
        )
