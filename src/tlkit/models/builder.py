"""Join preprocessing, a backbone and a softmax head into one model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from tlkit._internal import arguments
from tlkit.errors import ConfigError
from tlkit.models import backbones, feature_extraction
from tlkit.models.backbones import PixelFormat
from tlkit.models.layers import ClassProbabilities, GrayToRGBResize

FeatureSelector = Callable[
    [keras.Model], tuple[Sequence[str], Sequence[feature_extraction.Pooling]]
]
"""Takes a classifier on the whole backbone; returns the layers its head should read, and how."""


def build_classifier(
    backbone: str | keras.Model,
    num_classes: int,
    *,
    input_shape: Sequence[int | None] = (None, None, 3),
    image_size: int | tuple[int, int] | None = None,
    value_range: tuple[float, float] = (0, 255),
    pixels: PixelFormat | tuple[float, float] | None = None,
    interpolation: str = "bilinear",
    weights: str | None = "imagenet",
    backbone_options: Mapping[str, Any] | None = None,
    features: str | Sequence[str] | FeatureSelector | None = None,
    pooling: feature_extraction.Pooling | Sequence[feature_extraction.Pooling] | None = None,
    dropout: float = 0.0,
    class_names: Sequence[str] | None = None,
    seed: int | None = None,
) -> keras.Model:
    """Build a model that takes raw images and gives class probabilities.

    The preprocessing is part of the model, so the saved file takes raw images too. Shapes:
    `(batch, *input_shape)` in, `(batch, num_classes)` out.

    Args:
        backbone: One of `tlkit.models.backbones.names()`, or a model with one image input and one
            output of shape `(batch, height, width, channels)` or `(batch, features)`. A model given
            is used as it is, not copied.
        num_classes: How many classes there are, at least 2.
        input_shape: Shape of one raw image: height, width and, except for grey, channels (1, 3 or
            4). Height and width may be None.
        image_size: Height and width that images are resized to before the backbone. By default the
            size its weights were trained at, or the size of the model given.
        value_range: What black and white are in the raw images.
        pixels: What the backbone is fed: a `(low, high)` range or a `PixelFormat`. By default
            what a named backbone was trained on; a model given does not tell, so say it.
        interpolation: How images are resized: "bilinear" or "nearest".
        weights: Of a named backbone: "imagenet", "starter" (mobilenet_v2 only, no download), None
            for random, or a file's path.
        backbone_options: More arguments for a named backbone's constructor: `{"alpha": 0.35}`.
        features: Names of the backbone's layers that the head reads. The backbone ends at the
            last: what comes after is neither carried nor run. Or a function that chooses them, such
            as `tlkit.evaluation.select_features(data)`, which probes the backbone. None reads the
            backbone's own output.
        pooling: How feature maps become features: "avg" or "max" over height and width, "flatten",
            or a number for a grid of averages with so many cells a side; or one of these for each
            of `features`. By default "avg", or what the function given as `features` chooses.
        dropout: Share of the pooled features dropped in training, 0 <= dropout < 1.
        class_names: A name for each class; by default "0", "1" and so on.
        seed: Of the head's random start and its dropout. None leaves them to chance, or to
            `keras.utils.set_random_seed`.

    Raises:
        ConfigError: An argument is wrong.
        DownloadError: The weights are not on disk and can't be downloaded.
        DataError: The starter's file is missing or damaged.

    Examples:
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> build_classifier(backbone, 10, pixels=(0, 1)).output_shape
        (None, 10)
    """
    names = _class_names(class_names, arguments.at_least("num_classes", num_classes, 2))
    arguments.fraction("dropout", dropout)
    _check_features(features, pooling)
    if isinstance(backbone, str):
        wanted = backbones.find(backbone).pixels if pixels is None else pixels
        backbone = backbones.create(
            backbone, image_size=image_size, weights=weights, options=backbone_options
        )
    else:
        wanted = _said(pixels)
        _check_backbone(backbone, backbone_options, weights)
    height_width = _image_size(backbone, image_size)
    if not isinstance(input_shape, tuple | list):
        raise ConfigError(
            f"`input_shape` must be a tuple such as (28, 28, 1), got {input_shape!r}."
        )
    inputs = keras.Input(tuple(input_shape), name="image")
    prepared = _preprocess(inputs, height_width, value_range, wanted, interpolation)

    def assembled(
        backbone: keras.Model,
        pooling: feature_extraction.Pooling | Sequence[feature_extraction.Pooling],
    ) -> keras.Model:
        vector = feature_extraction.concatenate_features(backbone(prepared), pooling)
        if dropout:
            vector = keras.layers.Dropout(dropout, seed=seed, name="dropout")(vector)
        start = keras.initializers.GlorotUniform(seed)
        logits = keras.layers.Dense(num_classes, kernel_initializer=start, name="logits")(vector)
        outputs = ClassProbabilities(names, name="probabilities")(logits)
        return keras.Model(inputs, outputs, name="classifier")

    if callable(features):
        features, pooling = features(assembled(backbone, "avg"))
    if features is not None:
        backbone = feature_extraction.truncate(
            backbone, [features] if isinstance(features, str) else features
        )
    return assembled(backbone, "avg" if pooling is None else pooling)


def _check_features(
    features: str | Sequence[str] | FeatureSelector | None, pooling: object
) -> None:
    if features == "auto":
        raise ConfigError(
            "`features` must be layer names or a function that chooses them, got 'auto'. To probe "
            "the backbone: features=tlkit.evaluation.select_features((images, labels))."
        )
    if pooling is None:
        return
    if callable(features):
        raise ConfigError(
            "`pooling` must be left out where `features` is a function, which chooses it too, "
            f"got {pooling!r}."
        )
    several = (
        len(features) if isinstance(features, Sequence) and not isinstance(features, str) else 1
    )
    checked = feature_extraction.check_pooling(pooling)
    if isinstance(checked, tuple) and len(checked) != several:
        raise ConfigError(
            f"`pooling` must be one, or one for each of the {several} layers of `features`, "
            f"got {len(checked)}."
        )


def _preprocess(
    inputs: Any,
    size: tuple[int, int],
    value_range: tuple[float, float],
    wanted: PixelFormat | tuple[float, float],
    interpolation: str,
) -> Any:
    if not isinstance(wanted, PixelFormat):
        wanted = PixelFormat(range=arguments.interval("pixels", wanted))
    prepared = GrayToRGBResize(
        size,
        input_range=value_range,
        output_range=wanted.range,
        interpolation=interpolation,
        name="gray_to_rgb_resize",
    )(inputs)
    if wanted.bgr:
        prepared = keras.ops.flip(prepared, axis=-1)
    if wanted.mean is None:
        return prepared
    variance = [value**2 for value in wanted.std or (1.0, 1.0, 1.0)]
    normalise = keras.layers.Normalization(
        mean=wanted.mean, variance=variance, name="normalization"
    )
    return normalise(prepared)


def _class_names(names: Sequence[str] | None, num_classes: int) -> Sequence[str]:
    if names is None:
        return [str(index) for index in range(num_classes)]
    if not isinstance(names, Sequence):
        raise ConfigError(f"`class_names` must be a sequence of strings, got {names!r}.")
    if len(names) != num_classes:
        raise ConfigError(
            f"`class_names` must have one name for each of the {num_classes} classes, "
            f"got {len(names)}."
        )
    return names


def _said(pixels: PixelFormat | tuple[float, float] | None) -> PixelFormat | tuple[float, float]:
    if pixels is None:
        raise ConfigError(
            "`pixels` must be given with a backbone that is a model: it does not tell which "
            "pixels it was trained on. For example pixels=(0, 1), pixels=(-1, 1), or "
            "pixels=tlkit.models.backbones.find('resnet50').pixels."
        )
    return pixels


def _check_backbone(
    backbone: keras.Model, options: Mapping[str, Any] | None, weights: str | None
) -> None:
    if not isinstance(backbone, keras.Model):
        raise ConfigError(f"`backbone` must be a keras.Model or a known name, got {backbone!r}.")
    if options:
        raise ConfigError("`backbone_options` must be left out where the backbone is a model.")
    if weights != "imagenet":
        raise ConfigError(
            f"`weights` must be left out where the backbone is a model, got {weights!r}: it is "
            "used with the weights it has."
        )
    if getattr(backbone, "inputs", None) is None:
        raise ConfigError(
            f"`backbone` must know its input shape, got {backbone.name!r}, which is not built: "
            "give it a keras.Input."
        )
    shapes = [tensor.shape for tensor in (*backbone.inputs, *backbone.outputs)]
    if len(shapes) != 2 or len(shapes[0]) != 4 or shapes[0][-1] not in (3, None):
        raise ConfigError(
            "`backbone` must have one input of shape (batch, height, width, 3) and one output, "
            f"got inputs and outputs of shapes {shapes}."
        )
    if len(shapes[1]) not in (2, 4):
        raise ConfigError(
            "`backbone` must give feature maps (batch, height, width, channels) or features "
            f"(batch, features), got shape {shapes[1]}."
        )


def _image_size(backbone: keras.Model, image_size: int | tuple[int, int] | None) -> tuple[int, int]:
    own = backbone.inputs[0].shape[1:3]
    if image_size is None:
        if None in own:
            raise ConfigError(
                f"`image_size` must be given: {backbone.name} takes images of any size. "
                "Say what they are to be resized to."
            )
        return arguments.size("image_size", own)
    wanted = arguments.size("image_size", image_size)
    if any(have not in (None, want) for have, want in zip(own, wanted, strict=True)):
        raise ConfigError(f"`image_size` must be {own}, what the backbone takes, got {wanted}.")
    return wanted
