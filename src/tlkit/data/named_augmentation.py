"""Create augmentations by name: Keras layers of moderate strength."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import keras

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit.data.decoding import check_channels
from tlkit.errors import Argument, ConfigError

Augmentation = Literal[
    "flip", "crop", "rotate", "shift", "zoom", "color", "erase", "randaugment", "mixup", "cutmix"
]


@dataclass(frozen=True, kw_only=True)
class _Images:
    """The properties of the images that layers depend on."""

    low: float
    high: float
    channels: int

    @property
    def value_range(self) -> tuple[float, float]:
        return self.low, self.high


@check_arguments
def create_augmentation(
    names: Sequence[Augmentation],
    *,
    value_range: tuple[float, float] = (0, 255),
    channels: int = 3,
) -> tuple[keras.layers.Layer, ...]:
    """Return the Keras layers of named augmentations, for `Phase(augmentation=...)`.

    - "flip": half of the images are mirrored left to right.
    - "crop": moved by up to 10 % and enlarged by up to 40 %, each side independently.
    - "rotate": rotated by up to 11 degrees.
    - "shift": moved by up to 10 % of each side.
    - "zoom": enlarged or reduced by up to 15 %.
    - "color": brightness and contrast change; of colour images, also saturation and hue.
    - "erase": in half of the images, a rectangle of 2 to 20 % of the area becomes grey.
    - "randaugment": two random changes of eleven (Cubuk et al., 2019, arXiv:1909.13719); RGB only.
    - "mixup": blended with another image, and so is the label (Zhang et al., 2017,
      arXiv:1710.09412).
    - "cutmix": a rectangle is replaced by another image's, and the label is mixed by its area (Yun
      et al., 2019, arXiv:1905.04899).

    Choose changes that do not change the class: flips suit photos, but not digits.

    Args:
        names: The names, without repetitions. Layers that mix labels are moved to the end.
        value_range: The values of black and white.
        channels: 3 for RGB, 1 for grey.

    Raises:
        ConfigError: A name is unknown or repeated, or needs colour images.

    Examples:
        >>> [layer.name for layer in create_augmentation(["mixup", "flip"])]
        ['flip', 'mixup']
    """
    low, high = arguments.interval("value_range", value_range)
    images = _Images(low=low, high=high, channels=check_channels(channels))
    check_names(names, channels=channels)
    ordered = sorted(names, key=MIXING.__contains__)
    return tuple(layer for name in ordered for layer in _LAYERS[name](images))


def check_names(names: Sequence[str], *, channels: int = 3) -> None:
    """Check names of augmentations.

    Raises:
        ConfigError: A name is unknown or repeated, or needs colour images.
    """
    for name in names:
        arguments.one_of("augment", name, get_args(Augmentation))
    if len(set(names)) < len(names):
        raise ConfigError(Argument("augment"), f" must name each change once, got {list(names)}.")
    if "randaugment" in names and channels == 1:
        raise ConfigError(
            Argument("augment"),
            " must be without randaugment for grey images: it changes colours. Use color, or ",
            Argument("channels", 3),
            ".",
        )


def _jitter(images: _Images) -> list[keras.layers.Layer]:
    bounds = images.value_range
    if images.channels == 3:
        return [
            keras.layers.RandomColorJitter(
                bounds,
                brightness_factor=0.15,
                contrast_factor=0.25,
                saturation_factor=(0.35, 0.65),
                hue_factor=(0.0, 0.03),
                seed=6,
                name="color",
            )
        ]
    return [
        keras.layers.RandomBrightness(0.15, bounds, seed=6, name="color_brightness"),
        keras.layers.RandomContrast(0.25, bounds, seed=7, name="color_contrast"),
    ]


def _erase(images: _Images) -> list[keras.layers.Layer]:
    grey = (images.low + images.high) / 2
    return [
        keras.layers.RandomErasing(
            (0.5, 0.5), (0.02, 0.2), grey, images.value_range, seed=8, name="erase"
        )
    ]


_LAYERS: dict[str, Callable[[_Images], list[keras.layers.Layer]]] = {
    "flip": lambda _: [keras.layers.RandomFlip("horizontal", seed=1, name="flip")],
    "crop": lambda _: [
        keras.layers.RandomTranslation(0.1, 0.1, seed=5, name="crop_place"),
        keras.layers.RandomZoom((-0.3, 0.0), (-0.3, 0.0), seed=5, name="crop_size"),
    ],
    "rotate": lambda _: [keras.layers.RandomRotation(0.03, seed=2, name="rotate")],
    "shift": lambda _: [keras.layers.RandomTranslation(0.1, 0.1, seed=3, name="shift")],
    "zoom": lambda _: [keras.layers.RandomZoom(0.15, seed=4, name="zoom")],
    "color": _jitter,
    "erase": _erase,
    "randaugment": lambda images: [
        keras.layers.RandAugment(images.value_range, factor=0.3, seed=9, name="randaugment")
    ],
    "mixup": lambda _: [keras.layers.MixUp(0.2, seed=10, name="mixup")],
    "cutmix": lambda _: [keras.layers.CutMix(1.0, seed=11, name="cutmix")],
}
MIXING = ("mixup", "cutmix")
"""Names of augmentations that mix labels too."""
