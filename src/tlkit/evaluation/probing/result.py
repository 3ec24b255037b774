"""What linear heads get from a backbone, layer by layer, as a value that chooses."""

import math
from dataclasses import dataclass

import rich.console

from tlkit._internal.tables import build_table, render_text
from tlkit.models.feature_extraction import Pooling


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a linear head gets from one layer.

    Attributes:
        layer: The backbone's layer.
        pooling: How its maps become features, as `pooling` of build_classifier takes it.
        size: How many features an image has.
        work: Multiply-adds for one image, up to this layer.
        weights: How many weights the backbone has up to this layer.
        accuracy: The share of images that a head not fitted to them calls rightly, 0 to 1.
    """

    layer: str
    pooling: Pooling
    size: int
    work: int
    weights: int
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What linear heads get from a backbone, layer by layer; `print(probe)` shows it.

    Attributes:
        readings: From the first layer to the last.
        solver: What fitted the heads.
        fitted: How many images they were fitted to, but for those of the fold that was scored.
        scored: How many images they were scored on: none that the scored head was fitted to.
        engine: What ran the backbone.
        seconds: How long it all took.
        together: The readings that are best read together, found by adding one after the other,
            none of them much deeper than the best; with `max_layers=1` the best alone.
        together_accuracy: What a head gets from all of these.
    """

    readings: tuple[Reading, ...]
    solver: str
    fitted: int
    scored: int
    engine: str
    seconds: float
    together: tuple[Reading, ...] = ()
    together_accuracy: float = math.nan

    @property
    def best(self) -> Reading:
        """The most accurate reading."""
        return max(self.readings, key=lambda reading: reading.accuracy)

    @property
    def standard_error(self) -> float:
        """How far chance alone is likely to move the best accuracy."""
        share = self.best.accuracy
        return math.sqrt(share * (1 - share) / self.scored)

    @property
    def chosen(self) -> Reading:
        """The cheapest reading whose accuracy is within one standard error of the best."""
        least = self.best.accuracy - self.standard_error
        good = [reading for reading in self.readings if reading.accuracy >= least]
        return min(good, key=lambda reading: (reading.work, reading.size))

    def summary(self) -> str:
        """Return how it was found, and what is best read together, in one line or two."""
        lines = [
            f"{self.solver} on {self.fitted:,} images, {self.scored:,} of them scored by heads "
            f"that had not seen them, in {self.seconds:.1f} s"
        ]
        if len(self.together) > 1:
            names = " + ".join(reading.layer for reading in self.together)
            lines.append(f"together: {names}  {100 * self.together_accuracy:.2f} %")
        return "\n".join(lines)

    def __rich__(self) -> rich.console.RenderableType:
        columns = (
            "layer",
            "pooling",
            "features",
            "million multiply-adds",
            "weights",
            "accuracy",
            "",
        )
        rows = [
            (
                reading.layer,
                said(reading.pooling),
                f"{reading.size:,}",
                f"{reading.work / 1e6:.2f}",
                f"{reading.weights:,}",
                f"{100 * reading.accuracy:.2f} %",
                {self.best: "best", self.chosen: "chosen"}.get(reading, ""),
            )
            for reading in self.readings
        ]
        return rich.console.Group(self.summary(), build_table(columns, rows, align="llrrrrl"))

    def __str__(self) -> str:
        return render_text(self)


def said(pooling: Pooling) -> str:
    """Return a pooling in words."""
    return f"{pooling}x{pooling}" if isinstance(pooling, int) else pooling
