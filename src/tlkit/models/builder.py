"""Join preprocessing, a backbone and a head into one model."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit.errors import Argument, ConfigError
from tlkit.models import backbone_checks, backbones, feature_extraction, token_backbone
from tlkit.models.backbone_source import BackboneSource
from tlkit.models.feature_extraction import Pooling
from tlkit.models.inspection import backbone_of, probabilities_of
from tlkit.models.layers import ClassProbabilities, GrayToRGBResize, Interpolation
from tlkit.models.pixels import PixelFormat, parse

_MAX_CLASSES = 1_000_000
_OWN_NAMES = {
    *("dropout", "features", "flip", "gray_to_rgb_resize", "image", "logits", "normalization"),
    "probabilities",
}

FeatureSelector = Callable[[keras.Model], tuple[Sequence[str], Sequence[Pooling]]]
"""A function that chooses the layers that the head reads.

It is called with a classifier on the whole backbone, and returns names of the backbone's layers and
a pooling for each. `tlkit.evaluation.select_features(data)` returns such a function, which probes
the backbone.
"""


@check_arguments
def build_classifier(
    backbone: str | Path | keras.Model,
    num_classes: int,
    *,
    input_shape: Sequence[int | None] = (None, None, 3),
    image_size: int | tuple[int, int] | None = None,
    value_range: tuple[float, float] = (0, 255),
    pixels: PixelFormat | tuple[float, float] | str | None = None,
    interpolation: Interpolation | None = None,
    weights: str | Path | None = "imagenet",
    backbone_options: Mapping[str, Any] | None = None,
    features: str | Sequence[str] | FeatureSelector | None = None,
    pooling: Pooling | Sequence[Pooling] | None = None,
    num_prefix_tokens: int | None = None,
    dropout: float = 0.0,
    class_names: Sequence[str] | None = None,
    multi_label: bool = False,
    seed: int | None = None,
) -> keras.Model:
    """Build a model that maps raw images to class probabilities.

    Preprocessing is part of the model, so a saved classifier takes raw images too. The input has
    shape `(batch, *input_shape)`, the output `(batch, num_classes)`.

    Args:
        backbone: One of `tlkit.models.backbones.names()`, a `.keras` file, a preset of KerasHub (a
            name, a folder or an address such as "hf://timm/resnet18.a1_in1k"), or a model with one
            image input and one output of shape `(batch, height, width, channels)`,
            `(batch, tokens, features)` or `(batch, features)`. A model is used without copying it.
        num_classes: Number of classes, from 2 to a million.
        input_shape: Shape of one raw image: height, width and channels (1, 3 or 4; without
            channels, the images are grey). Height and width can be None.
        image_size: Height and width that images are resized to before the backbone. By default the
            size that the weights were trained at, or the input size of a backbone that is a model.
        value_range: Values of black and white in the raw images.
        pixels: The pixels that the backbone expects: a `(low, high)` range, a `PixelFormat`, or one
            of "byte", "caffe", "signed", "torch" and "unit". By default the pixels that a named
            backbone was trained on, or the result of a preset's image converter. Required with a
            model, and with a file whose first layers do not rescale pixels.
        interpolation: How images are resized: "bicubic", "bilinear" or "nearest"; by default
            "bilinear", or the preset's interpolation.
        weights: Weights of a named backbone: "imagenet", "starter" (for mobilenet_v2, without a
            download), None for random weights, or the path of a weights file.
        backbone_options: More arguments of a named backbone's constructor: `{"alpha": 0.35}`.
        features: Names of the backbone's layers that the head reads; the layers after the last of
            them are left out. Or a function that chooses them, such as
            `tlkit.evaluation.select_features(data)`, which probes the backbone. By default the
            head reads the backbone's output.
        pooling: How feature maps become features: "avg" or "max" over height and width, "flatten",
            or a number n for a grid of n x n averages; or a sequence with one of these for each of
            `features`. For tokens, these apply to the patches; "cls" is the class token, and
            "cls+avg" both. By default "cls" if there is a class token and "avg" otherwise, or the
            choice of the function passed as `features`.
        num_prefix_tokens: Number of tokens before the patches: the class token, and others such as
            register tokens. By default computed from the size of the patches.
        dropout: Fraction of the pooled features dropped in training, 0 <= dropout < 1.
        class_names: A name for each class; by default "0", "1" and so on.
        multi_label: Whether an image can have several classes, or none. Each class then has its own
            probability (sigmoid), and labels are rows of 0 and 1 with a column for each class. By
            default classes exclude each other (softmax).
        seed: Seed of the head's initial weights and of its dropout. With None, they depend on
            `keras.utils.set_random_seed`.

    Warns:
        UserWarning: The backbone has a layer that can't be loaded from a file, such as a Lambda.

    Raises:
        ConfigError: An argument is invalid. For example, the backbone is channels-first, ends in
            a softmax or a sigmoid, or rescales `pixels` again.
        DownloadError: The weights are not on disk and can't be downloaded.
        DataError: The starter's weights are missing or damaged, or downloaded weights are damaged.

    Examples:
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> build_classifier(backbone, 10, pixels=(0, 1)).output_shape
        (None, 10)
    """
    num_classes = _check_classes(num_classes)
    seed = None if seed is None else int(seed)
    names = _class_names(class_names, num_classes)
    arguments.fraction("dropout", dropout)
    backbones.check_data_format()
    arguments.interval("value_range", value_range)
    _check_shape(input_shape)
    pooling = _check_features(features, pooling)
    source, backbone = _open(backbone, image_size, weights, backbone_options)
    form = _pixel_format(source, pixels)
    if source.kind != "keras.applications":
        backbone_checks.check_pixels(backbone, form)
    backbone = _rename(token_backbone.wrap(backbone, source.image_size, num_prefix_tokens))
    inputs = keras.Input(tuple(input_shape), name="image")
    prepared = _preprocess(
        inputs, source.image_size, value_range, form, interpolation or source.interpolation
    )

    def assemble(backbone: keras.Model, pooling: Pooling | Sequence[Pooling] | None) -> keras.Model:
        vector = feature_extraction.concatenate_features(backbone, prepared, pooling)
        if dropout:
            vector = keras.layers.Dropout(dropout, seed=seed, name="dropout")(vector)
        initializer = keras.initializers.GlorotUniform(seed)
        dense = keras.layers.Dense(num_classes, kernel_initializer=initializer, name="logits")
        probabilities = ClassProbabilities(names, multi_label=multi_label, name="probabilities")
        outputs = probabilities(dense(vector))
        return keras.Model(inputs, outputs, name="classifier")

    if features is None:
        backbone_checks.check_end(backbone)
    if callable(features):
        features, pooling = features(assemble(backbone, None))
    if features is not None:
        backbone = feature_extraction.truncate(
            backbone, [features] if isinstance(features, str) else features
        )
    return assemble(backbone, pooling)


@check_arguments
def accept_any_size(model: keras.Model) -> keras.Model:
    """Return a classifier with the same backbone that accepts images of any height and width.

    A classifier always resizes images to the backbone's size; only its input is fixed to the size
    of the training images. The result still decodes image files at that size. It shares the
    backbone with the classifier, and has a copy of all other layers.

    Args:
        model: A classifier from build_classifier.

    Examples:
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> model = build_classifier(backbone, 2, pixels=(0, 1), input_shape=(8, 8, 1))
        >>> accept_any_size(model).input_shape
        (None, None, None, 1)
    """
    _, height, width, *channels = model.input_shape
    if None in (height, width):
        return model

    backbone = backbone_of(model)

    def copy(layer: keras.Layer) -> keras.Layer:
        if layer is backbone:  # copying its layers takes most of a second
            return layer
        config = layer.get_config()
        if isinstance(layer, GrayToRGBResize):
            config["file_size"] = (height, width)
        return type(layer).from_config(config)

    images = keras.Input((None, None, *channels), name=model.inputs[0].name)
    one = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    copied = keras.models.clone_model(one, input_tensors=images, clone_function=copy)
    copied.set_weights(model.get_weights())
    probabilities_of(copied).stored = dict(probabilities_of(model).stored)
    return copied


def _check_classes(count: int) -> int:
    if arguments.at_least("num_classes", count, 2) > _MAX_CLASSES:
        raise ConfigError(
            Argument("num_classes"), f" must be at most {_MAX_CLASSES:,}, got {count:,}."
        )
    return int(count)  # Keras does not accept NumPy's numbers


def _check_shape(shape: Sequence[int | None]) -> None:
    sides = [each for each in shape if each is not None]
    if len(shape) not in (2, 3) or min(sides, default=1) < 1:
        raise ConfigError(f"`input_shape` must be a tuple such as (28, 28, 1), got {show(shape)}.")


def _check_features(
    features: str | Sequence[str] | FeatureSelector | None, pooling: object
) -> Pooling | tuple[Pooling, ...] | None:
    if isinstance(features, str) and features == "auto":
        raise ConfigError(
            "`features` must be layer names or a function that chooses them, got 'auto'. To probe "
            "the backbone: features=tlkit.evaluation.select_features((images, labels))."
        )
    if pooling is None:
        return None
    if callable(features):
        raise ConfigError(
            "`pooling` must be left out if `features` is a function, which chooses it too, "
            f"got {show(pooling)}."
        )
    poolings = feature_extraction.check_pooling(pooling)
    count = 1 if features is None or isinstance(features, str) else len(features)
    if isinstance(poolings, tuple) and len(poolings) != count:
        raise ConfigError(
            f"`pooling` must be one pooling, or one for each of the {count} layers of `features`, "
            f"got {len(poolings)}."
        )
    return poolings


def _preprocess(
    inputs: Any,
    size: tuple[int, int],
    value_range: tuple[float, float],
    pixels: PixelFormat,
    interpolation: Interpolation,
) -> Any:
    resize = GrayToRGBResize(
        size,
        input_range=value_range,
        output_range=pixels.range,
        interpolation=interpolation,
        name="gray_to_rgb_resize",
    )
    resize.compute_output_shape(inputs.shape)  # otherwise Keras wraps the error about channels
    prepared = resize(inputs)
    if pixels.bgr:
        prepared = keras.ops.flip(prepared, axis=-1)
    if pixels.mean is None:
        return prepared
    variance = [value**2 for value in pixels.std or (1.0, 1.0, 1.0)]
    normalise = keras.layers.Normalization(
        mean=pixels.mean, variance=variance, name="normalization"
    )
    return normalise(prepared)


def _class_names(names: Sequence[str] | None, num_classes: int) -> Sequence[str]:
    if names is None:
        return [str(index) for index in range(num_classes)]
    if not isinstance(names, Sequence):
        raise ConfigError(f"`class_names` must be a sequence of strings, got {show(names)}.")
    if len(names) != num_classes:
        raise ConfigError(
            f"`class_names` must have one name for each of the {num_classes} classes, "
            f"got {len(names)}."
        )
    return names


def _open(
    backbone: str | Path | keras.Model,
    image_size: int | tuple[int, int] | None,
    weights: str | Path | None,
    options: Mapping[str, Any] | None,
) -> tuple[BackboneSource, keras.Model]:
    if isinstance(backbone, str | Path):
        return backbones.open_backbone(
            backbone, image_size=image_size, weights=weights, options=options
        )
    backbone_checks.check_backbone(backbone, options, weights)
    size = backbone_checks.image_size(backbone, image_size)
    source = BackboneSource(name=backbone.name, kind="model", image_size=size, pixels=None)
    return source, backbone


def _pixel_format(
    source: BackboneSource, pixels: PixelFormat | Sequence[float] | str | None
) -> PixelFormat:
    if pixels is not None:
        return parse(pixels)
    return source.require_pixels()


def _rename(backbone: keras.Model) -> keras.Model:
    """Return the backbone, renamed if a layer of the classifier has the same name."""
    if backbone.name not in _OWN_NAMES and not backbone.name.startswith("pooling"):
        return backbone
    if isinstance(backbone, token_backbone.TokenBackbone):
        backbone.name = f"{backbone.name}_backbone"
        return backbone
    return keras.Model(backbone.inputs[0], backbone.outputs[0], name=f"{backbone.name}_backbone")
