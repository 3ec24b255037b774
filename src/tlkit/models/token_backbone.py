"""A backbone that returns tokens, as a functional model whose layers are its transformer blocks."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from typing_extensions import override

from tlkit._internal import arguments
from tlkit._internal.keras_private import flatten_layers, nodes_of
from tlkit.errors import Argument, ConfigError
from tlkit.models import flat_graph
from tlkit.models.transformer_blocks import is_attention, open_graph


@dataclass(frozen=True, kw_only=True)
class TokenLayout:
    """Which tokens of an image are patches.

    Attributes:
        num_prefix_tokens: Number of tokens before the patches: the class token, then others, such
            as DINOv2's register tokens; None if it is unknown.
        grid: Rows and columns of patches; None if they are unknown.
    """

    num_prefix_tokens: int | None
    grid: tuple[int, int] | None


@keras.saving.register_keras_serializable(package="tlkit")
class TokenBackbone(keras.Model):
    """A backbone of transformer blocks, each of them a layer of this model.

    It shares all layers with the original backbone. A file contains that backbone's config, since
    the blocks of KerasHub can't be built from their own configs.

    Args:
        backbone: A functional or sequential model from images to tokens or features.
        features: Layers whose outputs are returned, by name or by index; by default the backbone's
            outputs.
        image_size: Height and width of images if the backbone accepts any size.
        num_prefix_tokens: Number of tokens before the patches; by default computed from the
            patches.
        name: The Keras name; by default the backbone's.
        trainable: As for every Keras layer.
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        features: Sequence[str | int] | None = None,
        image_size: Sequence[int] | None = None,
        num_prefix_tokens: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        image, outputs = open_graph(backbone, image_size)
        if features is not None:
            whole = keras.Model(image, outputs)
            places = [_find_layer(whole, each) for each in features]
            outputs = [nodes_of(whole.layers[place], whole)[0].outputs[0] for place in places]
            features = places
        super().__init__(
            inputs=image,
            outputs=outputs[0] if len(outputs) == 1 else outputs,
            name=name or backbone.name,
            trainable=trainable,
        )
        self._arguments: dict[str, Any] = {
            "features": None if features is None else tuple(features),
            "image_size": None if image_size is None else tuple(image_size),
            "num_prefix_tokens": num_prefix_tokens,
        }
        self._original: Callable[[], keras.Model] = lambda: (
            backbone
        )  # an attribute would be a layer of this model
        self._patch_grid = _find_patch_grid(self)
        _store_positions_unchanged(self)

    def truncate(self, features: Sequence[str]) -> "TokenBackbone":
        """Return a backbone of the same layers that ends at the named layers."""
        arguments = {**self._arguments, "features": features}
        return TokenBackbone(self._original(), name=self.name, **arguments)

    # A convolution whose kernel is as large as its stride creates the patches, so the size of the
    # image determines their number. All published backbones put other tokens before the patches. A
    # backbone without such a convolution needs `num_prefix_tokens`. Its patches form the grid that
    # has the proportions of the image, if there is one.
    def layout(self, shape: Sequence[int | None]) -> TokenLayout:
        """Return which tokens are patches in a tensor of shape (batch, tokens, features)."""
        num_tokens, num_prefix = shape[1], self._arguments["num_prefix_tokens"]
        if num_tokens is None:
            return TokenLayout(num_prefix_tokens=num_prefix, grid=None)
        grid = self._patch_grid
        if num_prefix is None and grid is not None and math.prod(grid) <= num_tokens:
            num_prefix = num_tokens - math.prod(grid)
        if num_prefix is None or not 0 <= num_prefix < num_tokens:
            return TokenLayout(num_prefix_tokens=None, grid=None)
        num_patches = num_tokens - num_prefix
        if grid is None or math.prod(grid) != num_patches:
            grid = _divide(num_patches, self.inputs[0].shape[1:3])
        return TokenLayout(num_prefix_tokens=num_prefix, grid=grid)

    @override
    def get_config(self) -> dict[str, Any]:
        """Return every argument by name."""
        return {
            "backbone": keras.saving.serialize_keras_object(self._original()),
            "name": self.name,
            "trainable": self.trainable,
            **self._arguments,
        }

    @classmethod
    @override
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "TokenBackbone":
        """Return the backbone of a config; the arguments are those of `keras.Model`."""
        backbone = keras.saving.deserialize_keras_object(
            config["backbone"], custom_objects=custom_objects
        )
        return cls(**{**config, "backbone": backbone})


def wrap(
    backbone: keras.Model, image_size: Sequence[int] | None, num_prefix_tokens: int | None
) -> keras.Model:
    """Return a backbone as a TokenBackbone if it has transformer blocks or returns tokens.

    Args:
        backbone: Any backbone.
        image_size: Height and width that images are resized to; None if unknown.
        num_prefix_tokens: Number of tokens before the patches; None computes it from the patches.

    Raises:
        ConfigError: `num_prefix_tokens` is set, and the backbone has no tokens or too few.
    """
    if num_prefix_tokens is not None:
        arguments.at_least("num_prefix_tokens", num_prefix_tokens, 0)
    graph = flat_graph.functional_of(backbone)
    is_plain = graph is None or not (
        any(len(tensor.shape) == 3 for tensor in graph.outputs)
        or any(map(is_attention, flatten_layers(graph)))
    )
    if is_plain and num_prefix_tokens is not None:
        raise ConfigError(
            Argument("num_prefix_tokens"),
            f" must be left out with {backbone.name!r}, which has no tokens.",
        )
    if is_plain or (isinstance(backbone, TokenBackbone) and num_prefix_tokens is None):
        return backbone
    wrapped = TokenBackbone(
        backbone,
        image_size=image_size if None in graph.inputs[0].shape[1:3] else None,
        num_prefix_tokens=num_prefix_tokens,
    )
    counts = [tensor.shape[1] for tensor in wrapped.outputs if len(tensor.shape) == 3]
    if num_prefix_tokens is not None and num_prefix_tokens >= min(counts, default=math.inf):
        raise ConfigError(
            Argument("num_prefix_tokens"),
            f" must be less than the {min(counts)} tokens of {backbone.name!r}, got "
            f"{num_prefix_tokens}.",
        )
    return wrapped


def _find_layer(model: keras.Model, layer: str | int) -> int:
    """Return the index of a layer, for files, since KerasHub names layers after their model."""
    if isinstance(layer, int):
        return layer
    return [each.name for each in model.layers].index(layer)


def _find_patch_grid(model: keras.Model) -> tuple[int, int] | None:
    """Return the rows and columns of patches from the only convolution with strides."""
    convolutions = [
        part
        for part in flatten_layers(*model.layers)
        if isinstance(part, keras.layers.Conv2D) and tuple(part.strides) != (1, 1)
    ]
    size = model.inputs[0].shape[1:3]
    if len(convolutions) != 1 or None in size:
        return None
    strides = tuple(convolutions[0].strides)
    if tuple(convolutions[0].kernel_size) != strides:
        return None
    return size[0] // strides[0], size[1] // strides[1]


def _divide(count: int, size: Sequence[int | None]) -> tuple[int, int] | None:
    """Return the grid of `count` patches with the proportions of an image, if there is one."""
    height, width = size
    if height is None or width is None:
        return None
    rows = math.isqrt(count * height // width)
    return (rows, count // rows) if rows and rows * rows * width == count * height else None


# KerasHub's DINOv2 stores its positions twice: as trained, and resized to the images. A file would
# get the first. Training changes the second, so its changes would be lost, or altered by resizing
# twice. So the layer is changed to store all its variables unchanged.
def _store_positions_unchanged(model: keras.Model) -> None:
    for part in flatten_layers(*model.layers):
        if hasattr(part, "interpolated_position_embeddings"):
            for name in ("save_own_variables", "load_own_variables"):
                setattr(part, name, getattr(keras.Layer, name).__get__(part))
