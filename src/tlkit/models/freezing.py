"""Choose which layers of a backbone are frozen, apply that with a BatchNormalization policy."""

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass

import keras
import rich.table

from tlkit._internal import arguments
from tlkit._internal.keras_private import flatten_layers
from tlkit._internal.tables import build_table, render_text
from tlkit.errors import ConfigError
from tlkit.models.blocks import find_block_ends, number_blocks

__all__ = [
    "BATCHNORM_POLICIES",
    "FreezePlan",
    "FrozenLayer",
    "Select",
    "all_but",
    "apply",
    "batchnorm_within",
    "everything",
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
"""A function from a backbone to those of its layers that are to be frozen."""

BATCHNORM_POLICIES = ("frozen", "reestimate", "train")


def everything(backbone: keras.Model) -> list[keras.Layer]:
    """Select every layer."""
    return list(backbone.layers)


def nothing(backbone: keras.Model) -> list[keras.Layer]:
    """Select no layer."""
    return []


def first(count: int) -> Select:
    """Select the first `count` layers, the input layer counted, as `model.layers[:count]` does.

    Examples:
        >>> backbone = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="a")])
        >>> [layer.name for layer in first(1)(backbone)]
        ['a']
    """
    wanted = arguments.at_least("count", count, 0)

    def select(backbone: keras.Model) -> list[keras.Layer]:
        layers = everything(backbone)
        return layers[: _within(wanted, len(layers), "layers")]

    return select


def last(count: int) -> Select:
    """Select the last `count` layers."""
    wanted = arguments.at_least("count", count, 0)

    def select(backbone: keras.Model) -> list[keras.Layer]:
        layers = everything(backbone)
        return layers[len(layers) - _within(wanted, len(layers), "layers") :]

    return select


def first_fraction(share: float) -> Select:
    """Select the first `share` of the layers, 0 <= share < 1, rounded down."""
    wanted = arguments.fraction("share", share)
    return lambda backbone: everything(backbone)[: int(wanted * len(backbone.layers))]


def first_blocks(count: int) -> Select:
    """Select everything up to the end of the backbone's `count`-th residual block."""
    wanted = arguments.at_least("count", count, 1)

    def select(backbone: keras.Model) -> list[keras.Layer]:
        ends = _residual_ends(backbone)
        return everything(backbone)[: ends[_within(wanted, len(ends), "residual blocks") - 1] + 1]

    return select


def matching(pattern: str) -> Select:
    """Select the layers whose name fits a shell pattern such as "block_1?_*".

    The selecting function raises ConfigError where no layer's name fits.
    """
    if not isinstance(pattern, str):
        raise ConfigError(f"`pattern` must be a string such as 'block_1?_*', got {pattern!r}.")

    def select(backbone: keras.Model) -> list[keras.Layer]:
        found = [layer for layer in backbone.layers if fnmatch.fnmatchcase(layer.name, pattern)]
        if not found:
            names = [layer.name for layer in backbone.layers]
            raise ConfigError(
                f"`pattern` must fit the name of a layer of {backbone.name}, got {pattern!r}."
                f"{arguments.nearest(pattern, names)}"
            )
        return found

    return select


def all_but(select: Select) -> Select:
    """Select exactly the layers that `select` leaves out."""

    def others(backbone: keras.Model) -> list[keras.Layer]:
        left_out = {id(layer) for layer in select(backbone)}
        return [layer for layer in backbone.layers if id(layer) not in left_out]

    return others


def to_block_end(select: Select) -> Select:
    """Widen a selection so that no residual block is cut: each block it enters is selected whole.

    `first(100)` on MobileNetV2 ends inside block 11; `to_block_end(first(100))` takes in the rest
    of it, up to `block_11_add`: 107 layers.
    """

    def snapped(backbone: keras.Model) -> list[keras.Layer]:
        ends = dict(zip(map(id, backbone.layers), find_block_ends(backbone), strict=True))
        entered = {ends[id(layer)] for layer in select(backbone)}
        return [layer for layer in backbone.layers if ends[id(layer)] in entered]

    return snapped


@dataclass(frozen=True, kw_only=True)
class FrozenLayer:
    """One row of a freeze table.

    Attributes:
        index: Its place in `backbone.layers`.
        name: The layer's name.
        kind: The layer's class.
        parameters: How many numbers it holds.
        trainable: Whether the phase trains it.
        batchnorm: "frozen", "train" or "reestimate"; empty where it holds no BatchNormalization.
        block_end: Whether a residual block ends with it.
    """

    index: int
    name: str
    kind: str
    parameters: int
    trainable: bool
    batchnorm: str
    block_end: bool


@dataclass(frozen=True, kw_only=True)
class FreezePlan:
    """Which layers of a backbone a phase trains, and what their BatchNormalization does.

    `print(plan)` shows it as a table, a row for each layer.

    Attributes:
        backbone: The backbone it is for.
        frozen: The layers that stay as they are.
        batchnorm: The policy for the BatchNormalization of the layers that are trained.
    """

    backbone: keras.Model
    frozen: tuple[keras.Layer, ...]
    batchnorm: str

    @property
    def trained(self) -> list[keras.Layer]:
        """The layers that the phase trains, in order."""
        kept = {id(layer) for layer in self.frozen}
        return [layer for layer in self.backbone.layers if id(layer) not in kept]

    @property
    def frozen_batchnorm(self) -> list[keras.Layer]:
        """Every BatchNormalization whose statistics, scale and offset stay as they are."""
        layers = self.backbone.layers if self.batchnorm == "frozen" else self.frozen
        return [norm for layer in layers for norm in batchnorm_within(layer)]

    @property
    def training_batchnorm(self) -> list[keras.Layer]:
        """Every BatchNormalization that uses, and learns from, the statistics of its batch."""
        layers = [] if self.batchnorm == "frozen" else self.trained
        return [norm for layer in layers for norm in batchnorm_within(layer)]

    @property
    def rows(self) -> list[FrozenLayer]:
        """The plan layer by layer."""
        still = {id(layer) for layer in self.frozen}
        ends = set(_residual_ends(self.backbone))
        return [
            self._row(index, layer, id(layer) in still, index in ends)
            for index, layer in enumerate(self.backbone.layers)
        ]

    def _row(self, index: int, layer: keras.Layer, still: bool, ends: bool) -> FrozenLayer:
        norms = batchnorm_within(layer)
        fixed = still or self.batchnorm == "frozen"
        return FrozenLayer(
            index=index,
            name=layer.name,
            kind=type(layer).__name__,
            parameters=layer.count_params(),
            trainable=not still and not (fixed and norms == [layer]),
            batchnorm=("frozen" if fixed else self.batchnorm) if norms else "",
            block_end=ends,
        )

    def __rich__(self) -> rich.table.Table:
        columns = ("#", "layer", "kind", "parameters", "trainable", "BN mode", "block end")
        rows = [
            (
                str(row.index),
                row.name,
                row.kind,
                f"{row.parameters:,}",
                "yes" if row.trainable else "",
                row.batchnorm,
                "end" if row.block_end else "",
            )
            for row in self.rows
        ]
        return build_table(columns, rows, align="rllrlll")

    def __str__(self) -> str:
        return render_text(self)


def plan(backbone: keras.Model, select: Select, *, batchnorm: str = "frozen") -> FreezePlan:
    """Work out, without changing anything, which layers a phase would freeze.

    Args:
        backbone: The backbone.
        select: Which of its layers to freeze.
        batchnorm: What the BatchNormalization of the other layers does. "frozen": its statistics,
            scale and offset are fixed. "train": it normalises by the batch and moves its running
            statistics. "reestimate": as "train", and after every epoch the running statistics
            are recomputed over the training data.

    Raises:
        ConfigError: The policy is unknown, or the selection asks for more than there is.

    Examples:
        >>> backbone = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
        >>> [row.batchnorm for row in plan(backbone, nothing, batchnorm="train").rows]
        ['train']
    """
    policy = arguments.one_of("batchnorm", batchnorm, BATCHNORM_POLICIES)
    frozen = tuple(select(backbone))
    own = {id(layer) for layer in backbone.layers}
    strange = [getattr(layer, "name", layer) for layer in frozen if id(layer) not in own]
    if strange:
        raise ConfigError(
            f"`select` must return layers out of `{backbone.name}.layers`, got {strange[0]!r}."
        )
    return FreezePlan(backbone=backbone, frozen=frozen, batchnorm=policy)


def apply(chosen: FreezePlan) -> None:
    """Change the backbone's layers to what the plan says; takes effect when compiled again."""
    chosen.backbone.trainable = True
    for layer in chosen.trained:
        layer.trainable = True
    for layer in (*chosen.frozen, *chosen.frozen_batchnorm):
        layer.trainable = False


def batchnorm_within(layer: keras.Layer) -> list[keras.layers.BatchNormalization]:
    """Return the BatchNormalization layers inside a layer, itself included."""
    parts = flatten_layers(layer)
    return [part for part in parts if isinstance(part, keras.layers.BatchNormalization)]


def _residual_ends(backbone: keras.Model) -> list[int]:
    last = {number: index for index, number in enumerate(number_blocks(backbone))}
    return sorted(index for number, index in last.items() if number is not None)


def _within(wanted: int, there: int, what: str) -> int:
    if wanted > there:
        raise ConfigError(f"`count` must be at most {there}, the {what} there are, got {wanted}.")
    return wanted
