"""The Keras layers of tlkit: from raw images to a backbone's pixels, from logits to classes."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, get_args

import keras
import numpy as np
from typing_extensions import override

from tlkit._internal import arguments
from tlkit._internal.signatures import check
from tlkit._internal.text import show
from tlkit.errors import ConfigError, DataError

Interpolation = Literal["bicubic", "bilinear", "nearest"]
"""How images are resized."""

Alpha = Literal["black", "drop", "white"]
"""The background behind transparent pixels; "drop" ignores the fourth channel."""

_CHANNELS = (1, 3, 4)


@keras.saving.register_keras_serializable(package="tlkit")
class GrayToRGBResize(keras.layers.Layer):
    """Turns images of any size and 1, 3 or 4 channels into RGB of one size and value range.

    Images are channels-last: `(batch, height, width)`, or `(batch, height, width, channels)` with
    1, 3 or 4 channels; height and width may be unknown (None). The result has shape
    `(batch, *size, 3)` and the layer's compute dtype. Grey is copied to three equal channels. A
    fourth channel is alpha: the image is composited over a background, or alpha is dropped.

    The layer computes in float32 and rounds once at the end. So under a float16 or bfloat16 policy
    the relative error of a value of at least 1e-4 is at most 2^-11 or 2^-8, half a unit in the
    last place. Bilinear resizing does not antialias, because antialiased kernels can't be exported.

    Args:
        size: Height and width of the result, or one number for both.
        input_range: Values of black and white in the input, (0, 255) for 8-bit images. Values are
            mapped linearly and are not clipped.
        output_range: Values of black and white in the result.
        interpolation: "bicubic", "bilinear" or "nearest".
        alpha: Background of images with a fourth channel: "white", "black", or "drop" to ignore
            that channel.
        file_size: Height and width at which tlkit decodes image files for this layer, equal to that
            of training; None keeps the size of each file. It has no effect on the layer's result.
        **kwargs: Arguments of every Keras layer: `name`, `dtype`, `trainable`.

    Raises:
        ConfigError: An argument is invalid.
        DataError: The input does not have rank 3 or 4, or does not have 1, 3 or 4 channels.

    Examples:
        >>> import numpy as np
        >>> images = np.full((2, 28, 28), 255, dtype="uint8")
        >>> rgb = GrayToRGBResize((32, 32))(images)
        >>> tuple(rgb.shape), float(rgb[0, 0, 0, 0])
        ((2, 32, 32, 3), 1.0)
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        *,
        input_range: tuple[float, float] = (0, 255),
        output_range: tuple[float, float] = (0, 1),
        interpolation: Interpolation = "bilinear",
        alpha: Alpha = "white",
        file_size: int | tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)  # else a float16 policy would round the raw pixels
        super().__init__(**kwargs)
        self.size = arguments.size("size", size)
        self.input_range = arguments.interval("input_range", input_range)
        self.output_range = arguments.interval("output_range", output_range)
        self.interpolation = arguments.one_of(
            "interpolation", interpolation, get_args(Interpolation)
        )
        self.alpha = arguments.one_of("alpha", alpha, get_args(Alpha))
        self.file_size = None if file_size is None else arguments.size("file_size", file_size)

    @override
    def call(self, images: Any) -> Any:
        """Return the images as `(batch, *size, 3)` within `output_range`."""
        channels = _channels(images.shape)
        pixels = keras.ops.cast(images, "float32")
        if len(images.shape) == 3:
            pixels = keras.ops.expand_dims(pixels, -1)
        if channels == 4:
            pixels = self._remove_alpha(pixels)
        pixels = keras.ops.image.resize(
            pixels, self.size, interpolation=self.interpolation, data_format="channels_last"
        )
        pixels = self._rescale(pixels)
        if channels == 1:  # copied last: resizing one channel is a third of the work
            pixels = keras.ops.repeat(pixels, 3, axis=-1)
        return keras.ops.cast(pixels, self.compute_dtype)

    @override
    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return `(batch, *size, 3)`."""
        _channels(input_shape)
        return (input_shape[0], *self.size, 3)

    @override
    def get_config(self) -> dict[str, Any]:
        """Return every argument by name."""
        return {
            **super().get_config(),
            "size": self.size,
            "input_range": self.input_range,
            "output_range": self.output_range,
            "interpolation": self.interpolation,
            "alpha": self.alpha,
            "file_size": self.file_size,
        }

    def _rescale(self, pixels: Any) -> Any:
        (low, high), (black, white) = self.input_range, self.output_range
        return (pixels - low) * ((white - black) / (high - low)) + black

    def _remove_alpha(self, pixels: Any) -> Any:
        colours, alpha = pixels[..., :3], pixels[..., 3:]
        if self.alpha == "drop":
            return colours
        low, high = self.input_range
        opacity = (alpha - low) / (high - low)
        background = high if self.alpha == "white" else low
        return colours * opacity + background * (1 - opacity)


@keras.saving.register_keras_serializable(package="tlkit")
class ClassProbabilities(keras.layers.Layer):
    """Turns logits into probabilities, and stores the name of each class.

    Classes exclude each other (softmax), or an image can have several of them or none (sigmoid).
    The names are part of the layer's config, so a saved, loaded or cloned model has them too. The
    probabilities are computed in float32 under every dtype policy.

    `stored` has arrays by name that were fitted to a trained classifier, such as those of
    `tlkit.calibrate` and `tlkit.fit_ood`. A file stores them beside the weights. They are not
    weights of the layer, so a cloned model does not have them.

    Args:
        class_names: A name for each class, in the order of the logits; all different.
        temperature: The logits are divided by it: above 1, the probabilities are less confident.
            See `tlkit.calibrate`.
        multi_label: Whether an image can have several classes, or none; each class then has its own
            probability.
        thresholds: For multi-label, the least probability, from 0 to 1, of a class that an image
            has, one for each class; None means 0.5 for all. See `tlkit.calibrate`.
        **kwargs: Arguments of every Keras layer: `name`, `trainable`.

    Raises:
        ConfigError: There are fewer than two names, a name is repeated, the temperature is not
            positive, or the thresholds don't fit.

    Examples:
        >>> import numpy as np
        >>> probabilities = ClassProbabilities(["cat", "dog"])(np.zeros((1, 2), "float32"))
        >>> [float(value) for value in probabilities[0]]
        [0.5, 0.5]
    """

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        temperature: float = 1.0,
        multi_label: bool = False,
        thresholds: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.class_names = _check_class_names(class_names)
        self.temperature = arguments.positive("temperature", temperature)
        self.stored: dict[str, np.ndarray] = {}
        self.multi_label = arguments.flag("multi_label", multi_label)
        self.thresholds = _check_thresholds(thresholds, self.class_names, multi_label=multi_label)

    @override
    def build(self, input_shape: Sequence[int | None]) -> None:
        """Check that every logit has a name."""
        self.compute_output_shape(input_shape)

    @override
    def call(self, logits: Any) -> Any:
        """Return the softmax of the logits, or their sigmoid, `(batch, classes)` in float32."""
        scaled = logits if self.temperature == 1 else logits / self.temperature
        return keras.ops.sigmoid(scaled) if self.multi_label else keras.ops.softmax(scaled, axis=-1)

    @override
    def save_own_variables(self, store: Any) -> None:
        """Write the arrays in `stored` to a model's file."""
        for name, array in self.stored.items():
            store[name] = array

    @override
    def load_own_variables(self, store: Any) -> None:
        """Read the arrays in `stored` from a model's file."""
        names = store.keys()  # Keras' store has no other method of a dict
        self.stored = {name: np.asarray(store[name]) for name in names}

    @override
    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the shape of the logits."""
        if input_shape[-1] != len(self.class_names):
            raise ConfigError(
                f"`class_names` must have one name for each of the {input_shape[-1]} logits, "
                f"got {len(self.class_names)}."
            )
        return tuple(input_shape)

    @override
    def get_config(self) -> dict[str, Any]:
        """Return every argument by name."""
        return {
            **super().get_config(),
            "class_names": list(self.class_names),
            "temperature": self.temperature,
            "multi_label": self.multi_label,
            "thresholds": None if self.thresholds is None else list(self.thresholds),
        }


def channels_last_hint(shape: Sequence[int | None]) -> str:
    """Return how to turn a batch of this shape around, if it seems to be channels-first."""
    first = len(shape) == 4 and shape[1] in _CHANNELS and shape[-1] not in _CHANNELS
    return (
        " Put the channels last: numpy.moveaxis(images, 1, -1), as in input_shape=(32, 32, 3)."
        if first
        else ""
    )


def _channels(shape: Sequence[int | None]) -> int:
    """Return the number of channels of a batch of this shape: 1 if it has no channel axis."""
    if len(shape) not in (3, 4):
        raise DataError(
            "Images must have shape (batch, height, width) or (batch, height, width, channels), "
            f"got {tuple(shape)}. For a single image, add the batch axis: image[None]."
        )
    last = shape[-1]
    if len(shape) == 3:
        if last in _CHANNELS:
            raise DataError(
                f"Images of shape {tuple(shape)} can be one image with {last} channels or a batch "
                f"of grey images {last} pixels wide. Add the missing axis: image[None] for one "
                "image, images[..., None] for a batch."
            )
        return 1
    if last not in _CHANNELS:
        raise DataError(
            "Images must have 1 (grey), 3 (RGB) or 4 (RGB and alpha) channels on the last axis, "
            f"got {last} in shape {tuple(shape)}.{channels_last_hint(shape)}"
        )
    return int(last)


def _check_class_names(class_names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(class_names, str):
        raise ConfigError(f"`class_names` must be a sequence of strings, got {show(class_names)}.")
    check("class_names", class_names, Sequence[str])
    names = tuple(class_names)
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if len(names) < 2 or repeated:
        raise ConfigError(
            "`class_names` must be at least 2 different names, got "
            + (f"{repeated} more than once." if repeated else f"{list(names)}.")
        )
    return names


def _check_thresholds(
    thresholds: Sequence[float] | None, class_names: Sequence[str], *, multi_label: bool
) -> tuple[float, ...] | None:
    if thresholds is None:
        return None
    check("thresholds", thresholds, Sequence[float])
    if not multi_label:
        raise ConfigError(
            "`thresholds` must be None where classes exclude each other: an image is of the most "
            f"probable class. Set multi_label=True, got {show(thresholds)}."
        )
    found = tuple(map(float, thresholds))
    if len(found) != len(class_names) or not all(0 <= each <= 1 for each in found):
        raise ConfigError(
            f"`thresholds` must be from 0 to 1, one for each of the {len(class_names)} classes, "
            f"got {list(found)}."
        )
    return found
