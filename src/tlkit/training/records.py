"""What a training did, phase after phase, as data."""

from dataclasses import dataclass
from typing import Any

from tlkit.caching.cache import TrunkRun
from tlkit.training.verification import Movement


@dataclass(frozen=True, kw_only=True)
class PhaseRun:
    """What one phase did.

    Attributes:
        name: "head" or "fine_tune".
        epochs: For each epoch the loss, the metrics, the same on the validation data under
            `val_`, and the learning rate.
        seconds: How long it took, validation included.
        best_epoch: The phase's epoch, from 1, whose weights the model has: the last one, or with
            `patience` the best, or 0 for those from before the phase where it diverged. A
            callback of your own that restores weights is not seen.
        movement: How many weight tensors moved, and how many were proved untouched.
        diverged: The epoch, from 1, in which it was seen to diverge; None where it did not.
        trunk: How the frozen part was run once and kept; None where every epoch ran it again.
    """

    name: str
    epochs: tuple[dict[str, float], ...]
    seconds: float
    best_epoch: int
    movement: Movement
    diverged: int | None = None
    trunk: TrunkRun | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a training did, phase after phase.

    Attributes:
        phases: The phases, in order.
    """

    phases: tuple[PhaseRun, ...]

    @property
    def history(self) -> list[dict[str, Any]]:
        """One row for each epoch of all phases, numbered on from 1; `phase` names its phase."""
        rows = [(phase.name, row) for phase in self.phases for row in phase.epochs]
        return [
            {"epoch": number, "phase": name, **row}
            for number, (name, row) in enumerate(rows, start=1)
        ]

    @property
    def seconds(self) -> float:
        """How long all phases took."""
        return sum(phase.seconds for phase in self.phases)
