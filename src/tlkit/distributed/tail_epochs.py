"""Decide after each epoch whether a training on a cluster is over, and which epoch is the best."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Metrics = dict[str, float]


# Keras' EarlyStopping holds its state in a process. Here a process may be killed at any time, so
# everything follows from the metrics of the finished epochs, which are saved with the weights.
@dataclass(frozen=True, kw_only=True)
class StoppingRule:
    """When a training ends, and which epoch's weights are its result.

    Attributes:
        epochs: The largest number of epochs.
        patience: The number of epochs without an improvement after which training ends; None trains
            all epochs.
        monitor: The metric that `patience` watches.
        mode: Whether a larger ("max") or smaller ("min") value of this metric is better; None
            without patience.

    Examples:
        >>> rule = StoppingRule(epochs=9, patience=2, monitor="loss", mode="min")
        >>> history = [{"loss": loss} for loss in (3.0, 1.0, math.nan)]
        >>> rule.find_best(history[:2]), rule.is_over(history[:2])
        (2, False)
        >>> rule.find_best(history), rule.is_over(history), find_divergence(history)
        (2, True, 3)
    """

    epochs: int
    patience: int | None
    monitor: str
    mode: Literal["max", "min"] | None

    def find_best(self, history: Sequence[Metrics]) -> int:
        """Return the epoch, from 1, whose weights are the result; 0 means before the training.

        It is the last epoch, or with patience the best one. After a divergence it is the epoch with
        the lowest loss.
        """
        if find_divergence(history):
            return _find_lowest_loss(history)
        if self.patience is None:
            return len(history)
        sign = -1 if self.mode == "max" else 1
        return 1 + _find_first_minimum([sign * epoch[self.monitor] for epoch in history])

    def is_over(self, history: Sequence[Metrics]) -> bool:
        """Return whether the training ends after these epochs."""
        done = len(history)
        if done >= self.epochs or find_divergence(history):
            return True
        if self.patience is None or not done:
            return False
        return done - self.find_best(history) >= max(self.patience, 1)

    def list_needed(self, history: Sequence[Metrics]) -> set[int]:
        """Return the epochs whose states may be needed later, besides that of the last one."""
        return {len(history) - 1, self.find_best(history), _find_lowest_loss(history)}


def find_divergence(history: Sequence[Metrics]) -> int | None:
    """Return the epoch, from 1, whose loss is not finite; None if all are finite."""
    losses = [epoch["loss"] for epoch in history]
    return next((at for at, loss in enumerate(losses, 1) if not math.isfinite(loss)), None)


def _find_lowest_loss(history: Sequence[Metrics]) -> int:
    """Return the epoch, from 1, with the lowest loss; 0 if no loss is finite."""
    losses = [epoch["loss"] for epoch in history]
    if not any(map(math.isfinite, losses)):
        return 0
    return 1 + _find_first_minimum(losses)


def _find_first_minimum(values: Sequence[float]) -> int:
    """Return the index of the smallest value; NaN is the largest one."""
    known = [math.inf if math.isnan(value) else value for value in values]
    return known.index(min(known))
