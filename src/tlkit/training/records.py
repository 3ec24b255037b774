"""The results of a run and of its phases, as data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import rich.console

from tlkit._internal import html, optional
from tlkit._internal.tables import build_table, render_text
from tlkit._internal.text import duration, to_words
from tlkit.caching.cache import TrunkRun
from tlkit.training.verification import Movement


@dataclass(frozen=True, kw_only=True)
class PhaseRun:
    """The result of one phase.

    Attributes:
        name: "head" or "fine_tune".
        history: The values of each metric, one per epoch, like Keras' `History.history`: the loss,
            the metrics, those on the validation data with the prefix `val_`, and the learning rate.
            A metric that an epoch lacks is NaN.
        seconds: The time that the phase took, including the frozen part and validation.
        best_epoch: The phase's epoch, from 1, whose weights the model has: the last epoch, or with
            `patience` the best. It is 0 if the phase diverged and the weights from before it were
            restored. Weights that your own callback restores are not considered.
        movement: How many weight tensors changed, and how many were verified to be unchanged.
        diverged: The epoch, from 1, in which divergence was detected; None without divergence.
        trunk: How the frozen part was run once and stored; None if every epoch ran it again.
        out_of_time: Whether a time budget ended the phase before its last step.
    """

    name: str
    history: Mapping[str, list[float]]
    seconds: float
    best_epoch: int
    movement: Movement
    diverged: int | None = None
    trunk: TrunkRun | None = None
    out_of_time: bool = False

    @property
    def num_epochs(self) -> int:
        """The number of epochs of the phase; a solved head has one."""
        return max(map(len, self.history.values()), default=0)

    @property
    def is_solved(self) -> bool:
        """Whether the head was solved instead of trained."""
        return "learning_rate" not in self.history

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes as values that JSON supports."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PhaseRun":
        """Return the phase with these values, the inverse of `to_dict`."""
        trunk = values["trunk"]
        if trunk is not None:
            trunk = TrunkRun(**{**trunk, "disabled_layers": tuple(trunk["disabled_layers"])})
        return cls(**{**values, "movement": Movement(**values["movement"]), "trunk": trunk})


@dataclass(frozen=True, kw_only=True)
class Run:
    """The results of a run, phase by phase; `print(run)` shows a table.

    Attributes:
        phases: The phases, in order.
    """

    phases: tuple[PhaseRun, ...]

    @property
    def history(self) -> dict[str, list[Any]]:
        """The metrics of all phases, like Keras' `History.history`: a list per metric.

        All lists have one value per epoch. "phase" has the name of each epoch's phase, and "epoch"
        its number, from 1 through all phases. A metric that an epoch lacks is NaN; for example, a
        solved head has no learning rate.
        """
        rows = [
            {"phase": phase.name, **{name: values[index] for name, values in phase.history.items()}}
            for phase in self.phases
            for index in range(phase.num_epochs)
        ]
        return {"epoch": list(range(1, len(rows) + 1)), **to_columns(rows)}

    def to_pandas(self) -> Any:
        """Return the history as a `pandas.DataFrame` with a row per epoch.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return optional.require("pandas", extra="pandas").DataFrame(self.history)

    @property
    def seconds(self) -> float:
        """The time of all phases together."""
        return sum(phase.seconds for phase in self.phases)

    def __rich__(self) -> rich.console.RenderableType:
        names = dict.fromkeys(name for phase in self.phases for name in phase.history)
        columns = ("phase", "epochs", "weights of epoch", *map(to_words, names), "time")
        rows = [
            (
                to_words(phase.name),
                "solved" if phase.is_solved else f"{phase.num_epochs:,}",
                "" if phase.is_solved else f"{phase.best_epoch:,}",
                *(_format(name, phase.history.get(name, [])) for name in names),
                duration(phase.seconds),
            )
            for phase in self.phases
        ]
        shares = [to_words(name) for name in names if name.endswith("accuracy")]
        return build_table(columns, rows, align=f"l{'r' * (len(columns) - 1)}", bars=shares)

    def __str__(self) -> str:
        return render_text(self)

    def _repr_html_(self) -> str:
        named = {
            name: values
            for name, values in self.history.items()
            if name not in ("epoch", "phase", "learning_rate")
        }
        curves = "".join(html.curve(to_words(name), values) for name, values in named.items())
        return html.join(html.render_html(self), curves)


def _format(name: str, values: Sequence[float]) -> str:
    """Return the last value of a metric as text."""
    if not values or math.isnan(values[-1]):
        return ""
    return f"{100 * values[-1]:.2f} %" if name.endswith("accuracy") else f"{values[-1]:.4g}"


def to_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return rows as a dict of lists of equal length, with NaN where a row lacks a key.

    Examples:
        >>> to_columns([{"loss": 2.0}, {"loss": 1.0, "accuracy": 0.5}])
        {'loss': [2.0, 1.0], 'accuracy': [nan, 0.5]}
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, math.nan) for row in rows] for name in names}
