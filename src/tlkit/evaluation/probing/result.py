"""The accuracy of a linear head after each layer of a backbone, and the layer to choose."""

import math
from dataclasses import dataclass
from typing import Literal

import rich.console

from tlkit._internal.html import render_html
from tlkit._internal.tables import build_table, render_text
from tlkit.models.feature_extraction import Pooling

_CHANCE = 0.5  # standard errors of a difference
Measure = Literal["accuracy", "mean average precision"]


@dataclass(frozen=True, kw_only=True)
class ProbedLayer:
    """The accuracy of a linear head on the features of one layer, pooled in one way.

    Attributes:
        layer: The backbone's layer.
        pooling: How its maps become features, as `pooling` of build_classifier takes it.
        num_features: Features per image.
        multiply_adds: Multiply-adds for one image, up to this layer.
        num_parameters: Parameters of the backbone up to this layer.
        accuracy: The share of the images not used to fit the head that it classifies correctly, 0
            to 1; for multi-label, the mean average precision on them.
        loss: The mean cross-entropy on these images in nats, at its best temperature; NaN for
            multi-label.
        loss_error: The standard error of the difference between this loss and the lowest one,
            measured on the same images.
    """

    layer: str
    pooling: Pooling
    num_features: int
    multiply_adds: int
    num_parameters: int
    accuracy: float
    loss: float = math.nan
    loss_error: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The accuracy of linear heads on a backbone, layer by layer; `print(probe)` shows a table.

    Attributes:
        layers: From the first layer to the last; a layer that is pooled in two ways occurs twice.
        solver: The solver that fitted the heads.
        num_fitted: How many images heads were fitted to, over all folds.
        num_scored: How many images were scored, each by a head not fitted to it.
        engine: The engine that ran the backbone.
        seconds: How long the probe took.
        joint: The layers to read together, each selected for the lowest joint loss, or for
            multi-label the highest mean average precision; with `max_layers=1` only the best layer.
        joint_accuracy: The accuracy of a head that reads all of `joint`.
        bootstrap_error: For multi-label, the standard error of the best accuracy.
        measure: The name of the measure `accuracy`: "mean average precision" for multi-label.
    """

    layers: tuple[ProbedLayer, ...]
    solver: str
    num_fitted: int
    num_scored: int
    engine: str
    seconds: float
    joint: tuple[ProbedLayer, ...] = ()
    joint_accuracy: float = math.nan
    bootstrap_error: float | None = None
    measure: Measure = "accuracy"

    @property
    def best(self) -> ProbedLayer:
        """The layer with the highest accuracy."""
        return max(self.layers, key=lambda probed: probed.accuracy)

    @property
    def standard_error(self) -> float:
        """The standard error of the best accuracy; a 95 % interval is about ± two of it."""
        if self.bootstrap_error is not None:
            return self.bootstrap_error
        share = self.best.accuracy
        return math.sqrt(share * (1 - share) / self.num_scored)

    @property
    def chosen(self) -> ProbedLayer:
        """The cheapest layer whose loss is, up to chance, the lowest.

        Its loss is above the lowest by at most half a standard error of the difference. For
        multi-label, it is the cheapest layer within one standard error of the best mean average
        precision. The cheapest layer has the fewest multiply-adds up to it.
        """
        if math.isnan(self.best.loss):
            least = self.best.accuracy - self.standard_error
            good = [probed for probed in self.layers if probed.accuracy >= least]
        else:
            lowest = min(probed.loss for probed in self.layers)
            good = [each for each in self.layers if each.loss - lowest <= _CHANCE * each.loss_error]
        return min(good, key=lambda probed: (probed.multiply_adds, probed.num_features))

    def summary(self) -> str:
        """Return how the layers were probed, and the layers to read together, in 1 or 2 lines."""
        lines = [
            f"{self.solver} on {self.num_fitted:,} images, {self.measure} on "
            f"{self.num_scored:,} images by heads not fitted to them, in {self.seconds:.1f} s"
        ]
        if len(self.joint) > 1:
            names = " + ".join(probed.layer for probed in self.joint)
            lines.append(f"together: {names}  {100 * self.joint_accuracy:.2f} %")
        return "\n".join(lines)

    def explain(self) -> str:
        """Return in one line which layer a head should read, and how accurate the head is.

        The number after ± is one standard error of the best accuracy.
        """
        chosen, best = self.chosen, self.best
        line = (
            f"{100 * chosen.accuracy:.1f} % after {chosen.layer} ({pooling_name(chosen.pooling)}), "
            + ("the cheapest" if math.isnan(chosen.loss) else "the cheapest of the lowest loss")
            + f"; the best has {100 * best.accuracy:.1f} ± {100 * self.standard_error:.1f} % "
            "(± one standard error)"
        )
        if len(self.joint) > 1:
            names = " + ".join(probed.layer for probed in self.joint)
            line = f"{100 * self.joint_accuracy:.1f} % after {names} together"
        return f"{line}; {self.seconds:.1f} s"

    def __rich__(self) -> rich.console.RenderableType:
        columns = (
            *("layer", "pooling", "features", "million multiply-adds", "parameters", self.measure),
            *("loss", ""),
        )
        rows = [
            (
                probed.layer,
                pooling_name(probed.pooling),
                f"{probed.num_features:,}",
                f"{probed.multiply_adds / 1e6:.2f}",
                f"{probed.num_parameters:,}",
                f"{100 * probed.accuracy:.2f} %",
                "" if math.isnan(probed.loss) else f"{probed.loss:.3f}",
                {self.best: "best", self.chosen: "chosen"}.get(probed, ""),
            )
            for probed in self.layers
        ]
        table = build_table(columns, rows, align="llrrrrrl", bars=(self.measure,))
        return rich.console.Group(self.summary(), table)

    def __str__(self) -> str:
        return render_text(self)

    def _repr_html_(self) -> str:
        return render_html(self)


def pooling_name(pooling: Pooling) -> str:
    """Return a pooling as text: "avg", or "3x3" for a grid."""
    return f"{pooling}x{pooling}" if isinstance(pooling, int) else pooling
