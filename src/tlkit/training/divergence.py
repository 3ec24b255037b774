"""Notice a training that diverges, and go back to the best weights it had."""

import math
from dataclasses import dataclass
from typing import Any

import keras
from typing_extensions import override

_KNOWS_NOTHING = 0.95
"""At this share of the loss of who knows only how frequent each class is, a model knows nothing."""

_KNOWS_SOMETHING = 0.8
_FALLS = 0.95  # of the loss before
_IMPROVES = 1 - 1e-6  # of the best loss: less is rounding, as after an epoch of a single step
_SOME = 0.25  # of the way from always naming the commonest class to naming all rightly


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a model knew before a phase, by the phase's own loss.

    Attributes:
        loss: Its loss.
        ignorant: The loss of who calls every image by the classes' shares.
        commonest: The share of the commonest class.
    """

    loss: float
    ignorant: float
    commonest: float


class Guard(keras.callbacks.Callback):
    """Stops a training whose loss is no number, or that forgot all it knew when it began.

    A loss above what knowing no more than the classes' shares would give, in the last epoch or in
    two that follow each other, is such a collapse, if the model knew more at the start. One that
    falls is none where the model knows something by its accuracy, or by a loss below that: so it
    is where BatchNormalization's statistics are swapped, and the model recovers.

    Args:
        known: What was known before the first step; None where there is nothing to forget.

    Attributes:
        diverged: The epoch, from 1, in which it was noticed; None where it was not.
        best_epoch: The epoch, from 1, that was gone back to; 0 for the start.
    """

    def __init__(self, known: "Known | None") -> None:
        super().__init__()
        self._start = math.inf if known is None else known.loss
        self._ignorant = math.inf if known is None else known.ignorant
        self._knew = known is not None and known.loss < _KNOWS_SOMETHING * known.ignorant
        commonest = 1.0 if known is None else known.commonest
        self._some = commonest + _SOME * (1 - commonest)

    @override
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Keep the weights that it starts with."""
        self.diverged: int | None = None
        self.best_epoch = 0
        self._best = self._start
        self._kept = self.model.get_weights()
        self._lost, self._before = False, 0.0

    @override
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Judge the epoch by its training loss."""
        loss = float((logs or {}).get("loss", math.nan))
        knows = loss < self._ignorant or (logs or {}).get("accuracy", 0) > self._some
        recovers = knows and loss < _FALLS * self._before
        lost = self._knew and loss >= _KNOWS_NOTHING * self._ignorant and not recovers
        last = epoch == self.params["epochs"] - 1 or self.model.stop_training
        if not math.isfinite(loss) or (lost and (last or self._lost)):
            self.diverged = epoch + 1
            self.model.stop_training = True
        elif loss < _IMPROVES * self._best:
            self._best, self.best_epoch = loss, epoch + 1
            self._kept = self.model.get_weights()
        self._lost, self._before = lost, loss

    @override
    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Go back to the best weights after a divergence; else the weights stay."""
        if self.diverged is not None:
            self.model.set_weights(self._kept)
        self._kept = []
