"""The backbones of keras.applications: how each is built, and which pixels it expects."""

import contextlib
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import keras

from tlkit._internal import arguments, keras_files
from tlkit._internal.downloads import bounded_downloads
from tlkit._internal.files import DAMAGE_ERRORS, describe_damage
from tlkit._internal.text import show
from tlkit.errors import Argument, ConfigError, DataError, TlkitError
from tlkit.models import starter
from tlkit.models.backbone_source import BackboneSource
from tlkit.models.pixels import BYTE, CAFFE, SIGNED, TORCH, PixelFormat

_DOWNLOAD_REMEDY = (
    "Copy the weights file to the `models` folder of KERAS_HOME (~/.keras by default), or use "
    "weights='starter' (a small mobilenet_v2 that is part of tlkit) or None (random weights)."
)

PretrainedWeights = Literal["imagenet", "starter"]
"""The names of built-in weights; other weights are given as a file."""

DtypePolicy = Literal["float32", "mixed_bfloat16"]
"""The option `dtype` of a backbone: the dtype of its computations; weights stay in float32."""

_MAX_REASON = 300  # characters of an error of Keras or h5py
_OTHER_SIZE_WARNING = "`input_shape` is undefined or non-square"


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """How one backbone of keras.applications is built, and which images it expects.

    Attributes:
        name: The backbone's name in tlkit.
        family: The backbone's module in keras.applications.
        constructor: The function that builds it.
        pixels: The pixels that its ImageNet weights were trained on; `BYTE` if the backbone
            rescales pixels itself.
        min_size: The smallest accepted height and width.
        weight_sizes: The image sizes that its ImageNet weights were trained at, the default last.
    """

    name: str
    family: str
    constructor: Callable[..., keras.Model]
    pixels: PixelFormat
    min_size: int
    weight_sizes: tuple[int, ...]

    @property
    def default_size(self) -> int:
        """The image size that the default weights were trained at, for height and width."""
        return self.weight_sizes[-1]

    def weights_for(self, size: tuple[int, int]) -> int:
        """Return the training size of the weights that Keras loads for images of this size."""
        height, width = size
        return height if height == width and height in self.weight_sizes else self.default_size


def _spec(
    name: str, family: str, constructor: str, pixels: PixelFormat, min_size: int, *sizes: int
) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        family=family,
        constructor=getattr(keras.applications, constructor),
        pixels=pixels,
        min_size=min_size,
        weight_sizes=sizes,
    )


TABLE = (
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
"""One row for each backbone, the smallest of a family first, since the tests train the first."""

SPECS = {spec.name: spec for spec in TABLE}


def describe(
    spec: BackboneSpec,
    *,
    size: tuple[int, int] | None,
    weights: str | None,
    options: Mapping[str, Any],
) -> BackboneSource:
    """Return which images a backbone expects with these weights, after checking all arguments.

    Args:
        spec: One of `SPECS`.
        size: Height and width of the images; by default those that the weights were trained at.
        weights: As for `backbones.create`.
        options: More arguments of the constructor.

    Raises:
        ConfigError: An option is unknown, the images are too small, or the weights do not exist.
    """
    default_size = spec.default_size
    if weights == starter.WEIGHTS:
        starter.complete_options(spec.name, options)
        default_size = starter.SIZE
    height, width = size or (default_size, default_size)
    if min(height, width) < spec.min_size:
        raise ConfigError(
            Argument("image_size"),
            f" must be at least {spec.min_size}x{spec.min_size} for {spec.name}, "
            f"got {height}x{width}.",
        )
    _check_options(spec, options)
    _check_weights(weights)
    return BackboneSource(
        name=spec.name,
        kind="keras.applications",
        image_size=(height, width),
        pixels=spec.pixels,
    )


def load(
    spec: BackboneSpec, size: tuple[int, int], *, weights: str | None, options: Mapping[str, Any]
) -> keras.Model:
    """Return a backbone that `describe` accepted.

    Raises:
        DownloadError: The weights are not on disk and can't be downloaded.
        DataError: The starter's weights are missing or damaged, or downloaded weights are damaged.
    """
    if weights != starter.WEIGHTS:
        return _build(spec, size, weights, options)
    backbone = _build(spec, size, None, starter.complete_options(spec.name, options))
    starter.load_weights(backbone)
    return backbone


def _build(
    spec: BackboneSpec, size: tuple[int, int], weights: str | None, options: Mapping[str, Any]
) -> keras.Model:
    shape = (*size, 3)
    settings = dict(options)
    with (
        _policy(settings.pop("dtype", None)),
        warnings.catch_warnings(),
        bounded_downloads(
            spec.constructor, f"{weights} weights", remedy=_DOWNLOAD_REMEDY
        ) as downloaded,
    ):
        warnings.filterwarnings("ignore", message=_OTHER_SIZE_WARNING)
        try:
            return spec.constructor(
                include_top=False, weights=weights, input_shape=shape, **settings
            )
        except DAMAGE_ERRORS as error:
            raise _explain(error, spec.name, weights, options, downloaded) from error


@contextlib.contextmanager
def _policy(dtype: DtypePolicy | None) -> Iterator[None]:
    """Build layers with a dtype policy inside the block; None keeps Keras' policy."""
    before = keras.config.dtype_policy()
    if dtype is not None:
        keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _explain(
    error: Exception,
    name: str,
    weights: str | None,
    options: Mapping[str, Any],
    downloaded: Sequence[Path],
) -> TlkitError:
    """Return an error that states the weights file, what is wrong with it, and what to do."""
    if isinstance(error, TlkitError):
        return error
    if weights is None:
        return ConfigError(f"Keras can't build {name} with {dict(options)}: {error}")
    file = downloaded[-1] if downloaded else Path(weights)
    lines = " ".join(str(error).split())[:_MAX_REASON].rstrip(".") or type(error).__name__
    cut = "it is cut short, as after an interrupted download or copy"
    why = (file.is_file() and describe_damage(file)) or (cut if "truncated" in lines else lines)
    if downloaded:
        return DataError(
            f"The {weights} weights of {name} can't be read from {str(file)!r}: {why}. Delete "
            f"this file, and it is downloaded again. Or: {_DOWNLOAD_REMEDY}"
        )
    return ConfigError(
        Argument("weights"),
        f" must be a file of weights of {name} without its top, with {dict(options)}, got "
        f"{weights!r}: {why}. Copy the file again, or write one by backbone.save_weights(...) of "
        "the same backbone.",
    )


_RESERVED_OPTIONS = {
    "classes",
    "classifier_activation",
    "include_preprocessing",  # BackboneSpec.pixels relies on its default
    "include_top",
    "input_shape",
    "input_tensor",
    "pooling",
    "weights",
}


def _check_options(spec: BackboneSpec, options: Mapping[str, Any]) -> None:
    allowed = set(inspect.signature(spec.constructor).parameters) - _RESERVED_OPTIONS
    for option in options:
        arguments.one_of("backbone_options", option, allowed | {"dtype"})
    if "dtype" in options:
        arguments.one_of("dtype", options["dtype"], get_args(DtypePolicy))


def _check_weights(weights: str | None) -> None:
    if weights is None or weights in get_args(PretrainedWeights):
        return
    if not isinstance(weights, str) or not Path(weights).is_file():
        raise ConfigError(
            Argument("weights"),
            f" must be 'imagenet', {starter.WEIGHTS!r}, None or the path of a weights file, "
            f"got {show(weights)}.{arguments.nearest(weights, get_args(PretrainedWeights))}",
        )
    problem = _find_unsafe(Path(weights))
    if problem:
        raise ConfigError(
            Argument("weights"), f" must be a file of weights, got {show(weights)}: {problem}."
        )


def _find_unsafe(file: Path) -> str:
    """Return which unsafe content a weights file has, such as links to other files; "" if none."""
    try:
        if file.suffix in (".h5", ".hdf5"):
            keras_files.check_weights(file)
    except keras_files.UnsafeFileError as error:
        return str(error)
    except DAMAGE_ERRORS:  # loading the weights reports more
        return ""
    return ""
