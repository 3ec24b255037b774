"""Choose a backbone's frozen layers, and what BatchNormalization does in the other layers."""

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import keras
import rich.table

from tlkit._internal import arguments, html
from tlkit._internal.keras_private import flatten_layers
from tlkit._internal.signatures import check_arguments
from tlkit._internal.tables import build_table, render_text
from tlkit._internal.text import show
from tlkit.errors import ConfigError
from tlkit.models.blocks import find_block_ends, number_blocks

__all__ = [
    "BatchNormPolicy",
    "FreezePlan",
    "PlannedLayer",
    "Select",
    "all_but",
    "apply",
    "everything",
    "find_batchnorm",
    "first",
    "first_blocks",
    "first_fraction",
    "last",
    "matching",
    "nothing",
    "plan",
    "to_block_end",
]

Select = Callable[[keras.Model], list[keras.Layer]]
"""A function that takes a backbone and returns the layers of it to freeze."""

BatchNormPolicy = Literal["frozen", "reestimate", "train"]
"""The policy of BatchNormalization in trained layers; `plan` describes each policy."""


@check_arguments
def everything(backbone: keras.Model) -> list[keras.Layer]:
    """Select every layer."""
    return list(backbone.layers)


@check_arguments
def nothing(backbone: keras.Model) -> list[keras.Layer]:
    """Select no layer."""
    return []


@check_arguments
def first(count: int) -> Select:
    """Select the first `count` layers, including the input layer, as `model.layers[:count]` does.

    Examples:
        >>> backbone = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="a")])
        >>> [layer.name for layer in first(1)(backbone)]
        ['a']
    """
    arguments.at_least("count", count, 0)

    def select(backbone: keras.Model) -> list[keras.Layer]:
        layers = everything(backbone)
        return layers[: _check_count(count, len(layers), "layers")]

    return select


@check_arguments
def last(count: int) -> Select:
    """Select the last `count` layers."""
    arguments.at_least("count", count, 0)

    def select(backbone: keras.Model) -> list[keras.Layer]:
        layers = everything(backbone)
        return layers[len(layers) - _check_count(count, len(layers), "layers") :]

    return select


@check_arguments
def first_fraction(fraction: float) -> Select:
    """Select the first `fraction` of the layers, 0 <= fraction < 1, rounded down."""
    arguments.fraction("fraction", fraction)
    return lambda backbone: everything(backbone)[: int(fraction * len(backbone.layers))]


@check_arguments
def first_blocks(count: int) -> Select:
    """Select all layers up to the end of the backbone's `count`-th residual block."""
    arguments.at_least("count", count, 1)

    def select(backbone: keras.Model) -> list[keras.Layer]:
        ends = _residual_ends(backbone)
        _check_count(count, len(ends), "residual blocks")
        return everything(backbone)[: ends[count - 1] + 1]

    return select


@check_arguments
def matching(pattern: str) -> Select:
    """Select the layers whose name matches a shell pattern such as "block_1?_*".

    The returned function raises ConfigError if no layer of the backbone matches.
    """
    if not isinstance(pattern, str):
        raise ConfigError(f"`pattern` must be a string such as 'block_1?_*', got {show(pattern)}.")

    def select(backbone: keras.Model) -> list[keras.Layer]:
        found = [layer for layer in backbone.layers if fnmatch.fnmatchcase(layer.name, pattern)]
        if not found:
            names = [layer.name for layer in backbone.layers]
            raise ConfigError(
                f"`pattern` must match the name of a layer of {backbone.name}, got {show(pattern)}."
                f"{arguments.nearest(pattern, names)}"
            )
        return found

    return select


@check_arguments
def all_but(select: Select) -> Select:
    """Select all layers that `select` does not select."""

    def select_others(backbone: keras.Model) -> list[keras.Layer]:
        excluded = {id(layer) for layer in select(backbone)}
        return [layer for layer in backbone.layers if id(layer) not in excluded]

    return select_others


@check_arguments
def to_block_end(select: Select) -> Select:
    """Extend a selection to whole residual blocks: all layers of each block with a selected layer.

    `first(100)` on MobileNetV2 ends inside block 11; `to_block_end(first(100))` includes the rest
    of that block, up to `block_11_add`, which makes 107 layers.
    """

    def select_blocks(backbone: keras.Model) -> list[keras.Layer]:
        ends = dict(zip(map(id, backbone.layers), find_block_ends(backbone), strict=True))
        selected = {ends[id(layer)] for layer in select(backbone)}
        return [layer for layer in backbone.layers if ends[id(layer)] in selected]

    return select_blocks


@dataclass(frozen=True, kw_only=True)
class PlannedLayer:
    """One layer of a backbone in a freeze plan.

    Attributes:
        index: The layer's index in `backbone.layers`.
        name: The layer's name.
        layer_type: The name of the layer's class.
        num_parameters: Number of the layer's parameters.
        trainable: Whether the phase trains the layer.
        batchnorm: The policy of BatchNormalization in the layer; None if it contains none.
        block_end: Whether the layer is the last of a residual block.
    """

    index: int
    name: str
    layer_type: str
    num_parameters: int
    trainable: bool
    batchnorm: BatchNormPolicy | None
    block_end: bool


@dataclass(frozen=True, kw_only=True)
class FreezePlan:
    """Which layers of a backbone a phase freezes, and what BatchNormalization does in the others.

    `print(plan)` shows a table with a row for each layer.

    Attributes:
        backbone: The backbone.
        frozen: The frozen layers.
        batchnorm: The policy for BatchNormalization in the layers that are trained.
    """

    backbone: keras.Model
    frozen: tuple[keras.Layer, ...]
    batchnorm: BatchNormPolicy

    @property
    def trained(self) -> list[keras.Layer]:
        """The layers that the phase trains, in order."""
        return all_but(lambda _: list(self.frozen))(self.backbone)

    @property
    def frozen_batchnorm(self) -> list[keras.Layer]:
        """Every BatchNormalization whose statistics, scale and offset stay fixed."""
        layers = self.backbone.layers if self.batchnorm == "frozen" else self.frozen
        return [norm for layer in layers for norm in find_batchnorm(layer)]

    @property
    def training_batchnorm(self) -> list[keras.Layer]:
        """Every BatchNormalization that normalises by the batch and updates its statistics."""
        layers = [] if self.batchnorm == "frozen" else self.trained
        return [norm for layer in layers for norm in find_batchnorm(layer)]

    @property
    def rows(self) -> list[PlannedLayer]:
        """The plan, one row per layer."""
        frozen = {id(layer) for layer in self.frozen}
        ends = set(_residual_ends(self.backbone))
        return [
            self._row(index, layer, id(layer) in frozen, index in ends)
            for index, layer in enumerate(self.backbone.layers)
        ]

    def _row(self, index: int, layer: keras.Layer, frozen: bool, ends: bool) -> PlannedLayer:
        norms = find_batchnorm(layer)
        policy: BatchNormPolicy = "frozen" if frozen else self.batchnorm
        return PlannedLayer(
            index=index,
            name=layer.name,
            layer_type=type(layer).__name__,
            num_parameters=layer.count_params(),
            trainable=not frozen and not (policy == "frozen" and norms == [layer]),
            batchnorm=policy if norms else None,
            block_end=ends,
        )

    def __rich__(self) -> rich.table.Table:
        columns = ("#", "layer", "type", "parameters", "trainable", "BatchNorm", "block end")
        rows = [
            (
                str(row.index),
                row.name,
                row.layer_type,
                f"{row.num_parameters:,}",
                "yes" if row.trainable else "",
                row.batchnorm or "",
                "end" if row.block_end else "",
            )
            for row in self.rows
        ]
        return build_table(columns, rows, align="rllrlll")

    def __str__(self) -> str:
        return render_text(self)

    def _repr_html_(self) -> str:
        first = f", training starts at {self.trained[0].name}" if self.trained else ""
        norms = (self.frozen_batchnorm, self.training_batchnorm)
        title = (
            f"{len(self.frozen)} of {len(self.backbone.layers)} layers of {self.backbone.name} are "
            f"frozen{first}; of {sum(map(len, norms))} BatchNormalization layers, {len(norms[1])} "
            "update their statistics"
        )
        cells = [
            (html.ORANGE if row.trainable else html.BLUE, f"{row.index} {row.name}")
            for row in self.rows
        ]
        legend = "Each cell is a layer: orange is trained, blue is frozen."
        layers = html.fold("All layers", html.render_html(self))
        return html.join(
            html.render_html(title), html.strip(cells), html.render_html(legend), layers
        )


@check_arguments
def plan(
    backbone: keras.Model, select: Select, *, batchnorm: BatchNormPolicy = "frozen"
) -> FreezePlan:
    """Return which layers a phase would freeze, without changing the backbone.

    Args:
        backbone: The backbone.
        select: Chooses the layers to freeze.
        batchnorm: What BatchNormalization does in the other layers. "frozen": its statistics,
            scale and offset stay fixed. "train": it normalises by the batch and updates its
            moving statistics. "reestimate": as "train", and after every epoch the moving
            statistics are recomputed over the training data.

    Raises:
        ConfigError: The policy is unknown, or the backbone has fewer layers or blocks than
            `select` needs.

    Examples:
        >>> backbone = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
        >>> [row.batchnorm for row in plan(backbone, nothing, batchnorm="train").rows]
        ['train']
    """
    arguments.one_of("batchnorm", batchnorm, get_args(BatchNormPolicy))
    frozen = tuple(select(backbone))
    own = {id(layer) for layer in backbone.layers}
    foreign = [getattr(layer, "name", layer) for layer in frozen if id(layer) not in own]
    if foreign:
        raise ConfigError(
            f"`select` must return layers of `{backbone.name}.layers`, got {show(foreign[0])}."
        )
    return FreezePlan(backbone=backbone, frozen=frozen, batchnorm=batchnorm)


@check_arguments
def apply(plan: FreezePlan) -> None:
    """Set `trainable` of the plan's layers; compile the model again for it to take effect."""
    plan.backbone.trainable = True
    for layer in plan.trained:
        layer.trainable = True
    for layer in (*plan.frozen, *plan.frozen_batchnorm):
        layer.trainable = False


@check_arguments
def find_batchnorm(layer: keras.Layer) -> list[keras.layers.BatchNormalization]:
    """Return the BatchNormalization layers inside a layer, including the layer itself."""
    parts = flatten_layers(layer)
    return [part for part in parts if isinstance(part, keras.layers.BatchNormalization)]


def _residual_ends(backbone: keras.Model) -> list[int]:
    last = {number: index for index, number in enumerate(number_blocks(backbone))}
    return sorted(index for number, index in last.items() if number is not None)


def _check_count(count: int, maximum: int, what: str) -> int:
    if count > maximum:
        raise ConfigError(
            f"`count` must be at most {maximum}, the number of {what} of the backbone, got {count}."
        )
    return count
