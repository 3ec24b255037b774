"""Check a backbone that is a model: its layout, its last layer, and the pixels it expects."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit._internal import arguments, user_warnings
from tlkit._internal.keras_private import flatten_layers
from tlkit._internal.text import show
from tlkit.errors import Argument, ConfigError
from tlkit.models import flat_graph
from tlkit.models.layers import ClassProbabilities
from tlkit.models.pixels import PixelFormat
from tlkit.models.serialization import find_unloadable

_TRANSPOSING = {"Moveaxis", "Permute", "Transpose"}
_UNCHANGING = {"Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze"}
_RESCALING = {
    *("Add", "Divide", "Flip", "GetItem", "Identity", "Multiply", "Normalization", "Rescaling"),
    *("Stack", "Subtract", "TrueDivide"),
}
_USUAL_PIXELS = ((0.0, 255.0), (0.0, 1.0), (-1.0, 1.0))
_USUAL_RESULTS = (*_USUAL_PIXELS, (-0.5, 0.5))


def check_backbone(
    backbone: keras.Model, options: Mapping[str, Any] | None, weights: str | Path | None
) -> None:
    """Check that a model can be a backbone; warn if a classifier with it can't be saved.

    Args:
        backbone: The model.
        options: The caller's `backbone_options`, which must be empty for a model.
        weights: The caller's `weights`, which must be the default for a model.

    Raises:
        ConfigError: It is not a built model from RGB images to feature maps, tokens or features, it
            is channels-first, or an argument is set that only named backbones have.
    """
    if not isinstance(backbone, keras.Model):
        raise ConfigError(
            f"`backbone` must be a keras.Model or a known name, got {show(backbone)}."
        )
    if options:
        raise ConfigError("`backbone_options` must be left out if the backbone is a model.")
    if weights != "imagenet":
        raise ConfigError(
            f"`weights` must be left out if the backbone is a model, "
            f"got {show(weights)}. The model "
            "keeps its own weights."
        )
    if getattr(backbone, "inputs", None) is None:
        raise ConfigError(
            f"`backbone` must be built, got {backbone.name!r} without an input shape. Start it "
            "with a keras.Input."
        )
    layers = flatten_layers(backbone)
    if any(isinstance(layer, ClassProbabilities) for layer in layers):
        raise ConfigError(
            f"`backbone` must be a model without a head, got {backbone.name!r}, which is a "
            "classifier of tlkit already. Pass its backbone: tlkit.models.backbone_of(model)."
        )
    _check_layout(backbone, layers)
    shapes = [tensor.shape for tensor in (*backbone.inputs, *backbone.outputs)]
    if len(shapes) != 2 or len(shapes[0]) != 4 or shapes[0][-1] not in (3, None):
        raise ConfigError(
            "`backbone` must have one input of shape (batch, height, width, 3) and one output, "
            f"got inputs and outputs of shapes {shapes}."
        )
    if len(shapes[1]) not in (2, 3, 4):
        raise ConfigError(
            "`backbone` must return feature maps (batch, height, width, channels), tokens (batch, "
            f"tokens, features) or features (batch, features), got an output of shape {shapes[1]}."
        )
    problem = find_unloadable(backbone)
    if problem:
        user_warnings.warn(f"This classifier can be trained and used, but not saved: {problem}")


def _check_layout(backbone: keras.Model, layers: Sequence[Any]) -> None:
    """Reject channels-first layers, unless the model itself transposes its input and output."""
    first = [each for each in layers if getattr(each, "data_format", None) == "channels_first"]
    if not first:
        return
    graph = flat_graph.functional_of(backbone)
    kinds = [_kind(step) for step in flat_graph.flatten(backbone).steps] if graph else []
    is_vector = len(backbone.outputs[0].shape) == 2
    if kinds and kinds[0] in _TRANSPOSING and (is_vector or kinds[-1] in _TRANSPOSING):
        return
    raise ConfigError(
        "`backbone` must be channels-last, from images (batch, height, width, 3), got "
        f"{backbone.name!r} with {first[0].name!r} of data_format='channels_first'. Call "
        "keras.config.set_image_data_format('channels_last') before you make its layers."
    )


# Idea: find the last step that computes something, passing over dropout, reshaping and linear
# activations after it. If it is a softmax or a sigmoid over features (not over maps), the model is
# a classifier, whose few outputs between 0 and 1 are poor features.
def check_end(backbone: keras.Model) -> None:
    """Reject a backbone that ends in a classification layer.

    Raises:
        ConfigError: The backbone ends in a softmax or a sigmoid.
    """
    if any(len(tensor.shape) != 2 for tensor in backbone.outputs):
        return
    if flat_graph.functional_of(backbone) is None:
        operations = flatten_layers(backbone)[-1:]  # a guess: a custom `call` has no graph
    else:
        operations = [step.operation for step in reversed(flat_graph.flatten(backbone).steps)]
    for operation in operations:
        function = _activation(operation, backbone.outputs[0].shape[-1])
        if function in ("softmax", "sigmoid"):
            raise ConfigError(
                f"`backbone` must end in feature maps or features, got {backbone.name!r}, which "
                f"ends in a {function} of {backbone.outputs[0].shape[-1]} values "
                f"({operation.name!r}): it is a classifier. Build it with include_top=False"
                f"{_offer_layer(backbone)}."
            )
        if type(operation).__name__ not in _UNCHANGING and function != "linear":
            return
        if operation.__class__.__name__ in ("Dense", "Conv2D"):
            return


def _offer_layer(backbone: keras.Model) -> str:
    """Return a hint that names the last layer that returns feature maps, if there is one."""
    layers = getattr(flat_graph.functional_of(backbone), "layers", ())
    maps = [
        each.name
        for each in layers[1:]
        if len(getattr(getattr(each, "output", None), "shape", ())) == 4
    ]
    return f", or cut it off: features={maps[-1]!r}" if maps else ""


def _activation(operation: Any, num_values: int) -> str:
    """Return the name of a layer's or operation's activation function; "" if it has none."""
    last = flatten_layers(operation)[-1] if isinstance(operation, keras.Layer) else operation
    if getattr(last, "units", None) == num_values:  # the last of several inner layers
        operation = last
    name = type(operation).__name__
    if name in ("LogSoftmax", "Sigmoid", "Softmax"):
        return "sigmoid" if name == "Sigmoid" else "softmax"
    function: str = getattr(getattr(operation, "activation", None), "__name__", "")
    return function.removeprefix("log_").removeprefix("hard_")


# A backbone may begin with layers that rescale pixels, like Keras' EfficientNet. Idea: run these
# first steps on the values of black and white. The result should be a usual range, such as (0, 1),
# or normalised: then 0, the mean, is well inside. If the result is neither, but another range of
# pixels would give such a result, then the pixels are rescaled twice, or not at all. If no range
# gives such a result, nothing is known about the backbone, and every range is accepted.
def check_pixels(backbone: keras.Model, pixels: PixelFormat) -> None:
    """Reject a pixel format that does not fit a backbone's own rescaling.

    Raises:
        ConfigError: The backbone's first layers map the pixels to a useless range; the message
            proposes a better range.
    """
    if flat_graph.functional_of(backbone) is None:
        return
    steps = _first_rescaling(flat_graph.flatten(backbone))
    if not steps or _is_useful(steps, pixels):
        return
    plain = [PixelFormat(range=bounds) for bounds in _USUAL_PIXELS]
    better = next((each.range for each in plain if _is_useful(steps, each)), None)
    if better is None:
        return
    named = ", ".join(map(repr, _names(steps)))
    low, high = _send(steps, *_ends(pixels))
    offer = "({:g}, {:g})".format(*better)
    raise ConfigError(
        Argument("pixels"),
        f" must be what the backbone takes, got {_describe(pixels)}: {backbone.name!r} rescales "
        f"pixels itself ({named}), and would make them [{low.mean():.3g}, {high.mean():.3g}]. Set "
        f"pixels={offer}.",
    )


def find_pixels(backbone: keras.Model) -> tuple[PixelFormat | None, str]:
    """Return the pixels that a backbone expects according to its own rescaling, and why.

    The pixels are None if the backbone does not rescale pixels, or if not exactly one of the usual
    ranges fits its rescaling.
    """
    if flat_graph.functional_of(backbone) is None:
        return None, ""
    steps = _first_rescaling(flat_graph.flatten(backbone))
    plain = [PixelFormat(range=bounds) for bounds in _USUAL_PIXELS]
    useful = [each for each in plain if steps and _is_useful(steps, each)]
    if len(useful) != 1:
        return None, ""
    return useful[0], f"found from its first layers: {', '.join(_names(steps))}"


def image_size(
    backbone: keras.Model, wanted: int | tuple[int, int] | None = None
) -> tuple[int, int]:
    """Return the height and width of a backbone's images; by default its own input size.

    Raises:
        ConfigError: The backbone does not accept images of the wanted size, or it accepts any size
            and no size is wanted.
    """
    own = backbone.inputs[0].shape[1:3]
    if wanted is None:
        if None in own:
            raise ConfigError(
                Argument("image_size"),
                " must be the size that images are resized to if the backbone takes any size, as "
                f"{backbone.name!r} does, got None.",
            )
        return arguments.size("image_size", own)
    size = arguments.size("image_size", wanted)
    if any(fixed not in (None, side) for fixed, side in zip(own, size, strict=True)):
        raise ConfigError(
            Argument("image_size"), f" must be {own}, what the backbone takes, got {size}."
        )
    return size


def _first_rescaling(graph: flat_graph.Graph) -> list[flat_graph.Step]:
    """Return the first steps that only rescale the images for the other steps; empty if none do."""
    known, found = set(graph.inputs), list[flat_graph.Step]()
    for step in graph.steps:
        if _kind(step) in _RESCALING and known.issuperset(step.inputs):
            found.append(step)
            known.update(step.outputs)
    others = [step.inputs for step in graph.steps if step not in found]
    taken = known.intersection(itertools.chain(graph.outputs, *others))
    return found if found and taken == {found[-1].outputs[0]} else []


def _is_useful(steps: Sequence[flat_graph.Step], pixels: PixelFormat) -> bool:
    normalizes = any(_kind(step) == "Normalization" for step in steps)
    if normalizes and pixels.mean is not None:
        return False  # normalised twice
    ends, results = _ends(pixels), _send(steps, *_ends(pixels))
    low, high = (float(values.mean()) for values in results)
    width = abs(high - low)
    if any(np.allclose((low, high), usual, atol=0.05 * width) for usual in _USUAL_RESULTS):
        return True
    if np.allclose((low, high), [end.mean() for end in ends]):
        return True
    if not normalizes and np.ptp(results[0]) == 0:
        return False  # a Rescaling, equal for all channels
    is_shifted = np.isclose(width, float((ends[1] - ends[0]).mean()), rtol=0.05)
    return 0.02 < -low / max(width, 1e-12) < 0.98 and (0.9 < width < 25 or bool(is_shifted))


def _ends(pixels: PixelFormat) -> list[np.ndarray]:
    """Return a black and a white pixel in the form that the backbone gets them."""
    mean, std = pixels.mean or (0, 0, 0), pixels.std or (1, 1, 1)
    return [((np.full((1, 1, 1, 3), end) - mean) / std).astype("float32") for end in pixels.range]


def _send(steps: Sequence[flat_graph.Step], *ends: np.ndarray) -> list[np.ndarray]:
    """Return the results of the steps for images of one pixel."""
    part = flat_graph.Part(steps, steps[0].inputs, steps[-1].outputs, name="first_rescaling")
    results = []
    for end in ends:
        (result,), _ = part.run(keras.ops.convert_to_tensor(end), training=False)
        results.append(keras.ops.convert_to_numpy(keras.ops.cast(result, "float32")))
    return results


def _describe(pixels: PixelFormat) -> str:
    if pixels.mean is None and pixels.std is None:
        return "({:g}, {:g})".format(*pixels.range)
    return str({key: value for key, value in dataclasses.asdict(pixels).items() if value})


def _names(steps: Sequence[flat_graph.Step]) -> list[str]:
    return [step.operation.name for step in steps]


def _kind(step: flat_graph.Step) -> str:
    return type(step.operation).__name__
