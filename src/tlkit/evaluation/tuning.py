"""The results of tuning: settings of a recipe, compared by folds of the training images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import rich.console

from tlkit._internal.html import render_html
from tlkit._internal.tables import build_table, render_text
from tlkit._internal.text import plural
from tlkit.evaluation.estimates import Estimate

Measure = Literal["loss", "accuracy"]
_MAX_SHOWN = 10  # trials


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One choice of settings, trained and scored on each fold in turn.

    Attributes:
        name: "trial 3"; "defaults" or "head alone" for those that the others are compared with.
        settings: Arguments of the recipe's function.
        augment: Names of augmentations, as for `tlkit.data.create_augmentation`.
        parameters: The parameters of the search space that these settings follow from.
        losses: The cross-entropy on each fold, at its best temperature, in nats.
        accuracies: The accuracy on each fold, 0 to 1.
        seconds: How long it took.
        is_complete: Whether all folds were trained. A trial is stopped if it is worse than the
            median of the others after its first folds; the defaults are incomplete too if the time
            was over before their last fold.
    """

    name: str
    settings: Mapping[str, Any]
    augment: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    losses: tuple[float, ...] = ()
    accuracies: tuple[float, ...] = ()
    seconds: float = 0.0
    is_complete: bool = True

    @property
    def loss(self) -> float:
        """The mean loss over the folds."""
        return _mean(self.losses)

    @property
    def accuracy(self) -> float:
        """The mean accuracy over the folds."""
        return _mean(self.accuracies)

    def __str__(self) -> str:
        parts = [f"{self.name}: loss {self.loss:.4f}, accuracy {100 * self.accuracy:.2f} %"]
        parts += [f"{self.seconds:.0f} s"]
        parts += [] if self.is_complete else [f"stopped after {plural(len(self.losses), 'fold')}"]
        settings = self.describe()
        return ", ".join(parts) + (f" ({settings})" if settings else "")

    def __rich__(self) -> str:
        return str(self)

    def describe(self) -> str:
        """Return its settings in one line."""
        shown = [f"{name}={_show(value)}" for name, value in self.settings.items()]
        return " ".join([*shown, *(["augment=" + "+".join(self.augment)] if self.augment else [])])

    def to_dict(self) -> dict[str, Any]:
        """Return the trial as values that JSON can hold."""
        return {**asdict(self), "settings": dict(self.settings)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Trial":
        """Return the trial with these values, the inverse of `to_dict`."""
        lists = ("augment", "losses", "accuracies")
        return cls(**{**values, **{name: tuple(values[name]) for name in lists}})


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """The results of `tlkit.experiments.tune`; `print(tuning)` shows the best trials.

    Attributes:
        recipe: The name of the recipe that was tuned.
        measure: The measure that was optimised, "loss" or "accuracy": its mean over the folds.
        num_images: How many images there were.
        num_folds: How many folds.
        defaults: The trial of the recipe's default settings.
        head_alone: The trial of the head without fine-tuning; None for a recipe whose head is not
            solved.
        trials: All other trials, in the order in which they were tried.
        importances: How much of the measure's variance each setting explains, 0 to 1, by fANOVA
            (Hutter et al., 2014); empty with fewer than five complete trials.
        seconds: How long the tuning took, in all processes.
        budget_ran_out: Whether the time was over before the last trial.
    """

    recipe: str
    measure: Measure
    num_images: int
    num_folds: int
    defaults: Trial
    head_alone: Trial | None = None
    trials: tuple[Trial, ...] = ()
    importances: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    budget_ran_out: bool = False

    @property
    def compared(self) -> tuple[Trial, ...]:
        """The head alone, the defaults and all trials, including those that were stopped."""
        first = () if self.head_alone is None else (self.head_alone,)
        return (*first, self.defaults, *self.trials)

    @property
    def ranking(self) -> tuple[Trial, ...]:
        """The complete trials, the best first."""
        whole = [each for each in self.compared if each.is_complete]
        sign = 1 if self.measure == "loss" else -1
        return tuple(sorted(whole, key=lambda each: sign * getattr(each, self.measure)))

    @property
    def best(self) -> Trial:
        """The best complete trial; the defaults if no trial is complete."""
        return next(iter(self.ranking), self.defaults)

    def gain(self, over: Trial) -> Estimate:
        """Return by how much the best trial is better than another, by fold, with 95 % interval.

        The gain is slightly too optimistic, because the best of many trials is partly the best by
        chance. Test images that were not used for tuning measure it without this bias.

        Args:
            over: A complete trial.
        """
        pairs = zip(getattr(over, _VALUES[self.measure]), self._best_values, strict=True)
        sign = 1 if self.measure == "loss" else -1
        return Estimate.from_values([sign * (other - best) for other, best in pairs])

    @property
    def _best_values(self) -> Sequence[float]:
        values: Sequence[float] = getattr(self.best, _VALUES[self.measure])
        return values

    def summary(self) -> str:
        """Return the number of trials and the gain of the best one, in a few lines."""
        stopped = sum(not each.is_complete for each in self.trials)
        lines = [
            f"{plural(len(self.trials), 'trial')} of {self.recipe} on {self.num_folds} folds "
            f"of {self.num_images:,} images in {self.seconds:.0f} s"
            + (f", {stopped} of them stopped early" if stopped else "")
            + (": the time was over" if self.budget_ran_out else "")
        ]
        others = [self.defaults, *([] if self.head_alone is None else [self.head_alone])]
        for other in others:
            if other.is_complete and other is not self.best:
                unit, digits, word = (
                    (0.01, 2, "points") if self.measure == "accuracy" else (1, 4, "")
                )
                gain = self.gain(other)
                chance = ", which may be chance" if not gain.mean > gain.interval else ""
                by = f"{gain.format(unit, digits)} {word}".rstrip()
                lines.append(f"{self.measure} better than {other.name} by {by}{chance}")
        if self.importances:
            shares = [f"{name} {100 * share:.0f} %" for name, share in self.importances.items()]
            lines.append(f"what mattered: {', '.join(shares)}")
        return "\n".join(lines)

    def __rich__(self) -> rich.console.RenderableType:
        if not self.ranking:
            return self.summary()
        rows = [
            (each.name, f"{each.loss:.4f}", f"{100 * each.accuracy:.2f} %", each.describe())
            for each in self.ranking[:_MAX_SHOWN]
        ]
        table = build_table(("trial", "loss", "accuracy", "settings"), rows, align="lrrl")
        return rich.console.Group(self.summary(), table)

    def __str__(self) -> str:
        return render_text(self)

    def _repr_html_(self) -> str:
        return render_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the tuning as values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Tuning":
        """Return the tuning with these values, the inverse of `to_dict`."""
        alone = values["head_alone"]
        trials = {
            "defaults": Trial.from_dict(values["defaults"]),
            "head_alone": None if alone is None else Trial.from_dict(alone),
            "trials": tuple(map(Trial.from_dict, values["trials"])),
        }
        return cls(**{**values, **trials})


_VALUES = {"loss": "losses", "accuracy": "accuracies"}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _show(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_show, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)
