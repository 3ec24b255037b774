"""The pixel formats of backbones: usual formats by name, and how to write others as words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit.errors import Argument, ConfigError

_DIGITS = 7  # to which 1 / (255 * scale) is rounded, so that 0.229 stays 0.229


@check_arguments
@dataclass(frozen=True, kw_only=True)
class PixelFormat:
    """The pixels that a backbone expects.

    Attributes:
        range: Values of black and white, before `mean` and `std`.
        mean: Mean to subtract from each channel, or None.
        std: Standard deviation to divide each channel by, or None.
        bgr: Whether the channels are in the order blue, green, red; then `mean` and `std` are too.
    """

    range: tuple[float, float]
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    bgr: bool = False

    def __str__(self) -> str:
        """Return a short description."""
        text = "from {:g} to {:g}".format(*self.range)
        if self.mean is not None:
            text += ", less a mean of {:g}, {:g}, {:g}".format(*self.mean)
        if self.std is not None:
            text += ", divided by {:g}, {:g}, {:g}".format(*self.std)
        return text + (", in the order blue, green, red" if self.bgr else "")


_MAX_WORDS = 16

UNIT = PixelFormat(range=(0, 1))
SIGNED = PixelFormat(range=(-1, 1))
BYTE = PixelFormat(range=(0, 255))
CAFFE = PixelFormat(range=(0, 255), mean=(103.939, 116.779, 123.68), bgr=True)
TORCH = PixelFormat(range=(0, 1), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

NAMED: Mapping[str, PixelFormat] = {
    "byte": BYTE,
    "caffe": CAFFE,
    "signed": SIGNED,
    "torch": TORCH,
    "unit": UNIT,
}
"""The usual formats; "caffe" and "torch" are Keras' names in `preprocess_input`."""

_REMEDY = (
    "It is one of "
    f"{sorted(NAMED)}, two numbers for black and white such as 0 1, or both with a mean and a "
    "standard deviation of each channel: range=0,1 mean=0.5,0.5,0.5 std=0.5,0.5,0.5."
)


def parse(pixels: object) -> PixelFormat:
    """Return the format described by a name, a range, or the words of the option `--pixels`.

    Raises:
        ConfigError: The words describe no format.

    Examples:
        >>> parse("signed") == parse((-1, 1)) == parse(("-1", "1")) == SIGNED
        True
        >>> print(parse(("range=0,1", "mean=0.5,0.5,0.5", "std=0.2,0.2,0.2")))
        from 0 to 1, less a mean of 0.5, 0.5, 0.5, divided by 0.2, 0.2, 0.2
    """
    if isinstance(pixels, PixelFormat):
        return pixels
    words = [pixels] if isinstance(pixels, str) else list(_sequence(pixels))
    if len(words) == 1 and isinstance(words[0], str) and words[0] in NAMED:
        return NAMED[words[0]]
    try:
        if len(words) > _MAX_WORDS:
            raise ValueError
        if not any("=" in str(word) for word in words):
            words = words[0].split(",") if len(words) == 1 else words
            low, high = (float(word) for word in words)
            return PixelFormat(range=arguments.interval("pixels", (low, high)))
        return _from_settings(dict(word.split("=", 1) for word in words))
    except (AttributeError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        hint = arguments.nearest(words[0], NAMED) if len(words) == 1 else ""
        raise ConfigError(
            Argument("pixels"),
            f" must be what the backbone takes, got {show(pixels)}.{hint} {_REMEDY}",
        ) from None


def to_words(pixels: PixelFormat) -> tuple[str, ...]:
    """Return the words from which `parse` returns the same format.

    Examples:
        >>> to_words(UNIT), to_words(PixelFormat(range=(0, 2))), to_words(CAFFE)
        (('unit',), ('0', '2'), ('caffe',))
    """
    names = [name for name, each in NAMED.items() if each == pixels]
    if names:
        return (names[0],)
    low, high = (f"{value!r}" for value in pixels.range)
    if pixels.mean is None and pixels.std is None and not pixels.bgr:
        return low, high
    words = [f"range={low},{high}"]
    for name in ("mean", "std"):
        values = getattr(pixels, name)
        words += [] if values is None else [f"{name}={','.join(map(repr, values))}"]
    return (*words, "bgr=true") if pixels.bgr else tuple(words)


# KerasHub's image converter computes x * scale + offset for values x from 0 to 255, where scale and
# offset are numbers, or have one number per channel. Here this is (x / 255 - mean) / std, so
# std = 1 / (255 * scale) and mean = -offset * std. If all channels are equal, it is only a range.
def from_scale(
    scale: float | Sequence[float] | None, offset: float | Sequence[float] | None
) -> PixelFormat:
    """Return the format of pixels from 0 to 255 that are multiplied by a scale and shifted.

    Args:
        scale: The factor, or one for each channel; None means 1.
        offset: The shift, or one for each channel; None means 0.

    Raises:
        ConfigError: A scale is not above 0.
        ValueError: There are neither 1 nor 3 numbers.

    Examples:
        >>> from_scale(1 / 127.5, -1) == SIGNED
        True
    """
    scales = _channels(1 if scale is None else scale)
    offsets = _channels(0 if offset is None else offset)
    if min(scales) <= 0:
        raise ConfigError(f"The scale of pixels must be above 0, got {show(scale)}.")
    if len({*scales}) == len({*offsets}) == 1:
        low, high = offsets[0], 255 * scales[0] + offsets[0]
        return PixelFormat(range=(round(low, _DIGITS), round(high, _DIGITS)))
    std = [1 / (255 * each) for each in scales]
    mean = [-shift * each for shift, each in zip(offsets, std, strict=True)]
    red, green, blue = (round(each, _DIGITS) for each in mean)
    deviations = _triple([round(each, _DIGITS) for each in std])
    return PixelFormat(range=(0, 1), mean=(red, green, blue), std=deviations)


def _channels(value: float | Sequence[float]) -> tuple[float, float, float]:
    """Return one number for each channel from a converter's scale or offset."""
    values = list(value) if isinstance(value, Sequence) else [value]
    return _triple([float(each) for each in (values * 3 if len(values) == 1 else values)])


def _from_settings(settings: Mapping[str, str]) -> PixelFormat:
    for name in settings:
        arguments.one_of("pixels", name, ("bgr", "mean", "range", "std"))
    numbers = {
        name: [float(each) for each in value.split(",")]
        for name, value in settings.items()
        if name != "bgr"
    }
    std = _triple(numbers["std"]) if "std" in numbers else None
    if std is not None and min(std) <= 0:
        raise ConfigError(Argument("pixels"), f" must have a std above 0, got {std}.")
    mean = _triple(numbers["mean"]) if "mean" in numbers else None
    return PixelFormat(
        range=arguments.interval("pixels", numbers.get("range", (0, 1))),
        mean=(0, 0, 0) if std and not mean else mean,
        std=std,
        bgr=arguments.one_of("pixels", settings.get("bgr", "false"), ("false", "true")) == "true",
    )


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    first, second, third = values
    return first, second, third


def _sequence(value: Any) -> Sequence[Any]:
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise ConfigError(
            Argument("pixels"), f" must be what the backbone takes, got {show(value)}. {_REMEDY}"
        )
    return list(value)
