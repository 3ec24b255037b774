"""Candidates for a classifier, compared on images that were held out of the training."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import rich.console

from tlkit._internal.html import render_html
from tlkit._internal.tables import build_table, render_text
from tlkit.caching.cache import Cache
from tlkit.data.image_dataset import ImageDataset
from tlkit.evaluation.calibration import MIN_MISCLASSIFIED
from tlkit.evaluation.evaluator import evaluate
from tlkit.evaluation.reliability import calibrated_loss, fit_temperature


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A classifier that was compared on the images held out.

    Attributes:
        learning_rate: The maximum learning rate of fine-tuning; None for the head alone.
        share: Where its weights are between those before fine-tuning (0) and those after it (1).
        accuracy: Its accuracy on the images held out, 0 to 1.
        loss: Its cross-entropy on them at the best temperature, in nats.
        diverged: Whether its fine-tuning diverged.
        temperature: The best temperature; 1 if fewer than ten of the images were misclassified.
    """

    learning_rate: float | None = None
    share: float = 0.0
    accuracy: float
    loss: float
    diverged: bool = False
    temperature: float = 1.0

    def improves(self, alone: "Candidate") -> bool:
        """Return whether it is better than the head alone, and did not diverge."""
        better = self.loss < alone.loss and self.accuracy >= alone.accuracy
        return better and not self.diverged

    @property
    def name(self) -> str:
        """A short description of the candidate."""
        if self.learning_rate is None:
            return "head alone"
        rate = f"fine-tuned at {self.learning_rate:.3g}"
        if self.diverged:
            rate += ", diverged"
        return rate if self.share == 1 else f"{rate}, {100 * self.share:.0f} % of the way"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which candidate a recipe chose; `print` shows all of them.

    Attributes:
        candidates: The candidates in the order in which they were tried, the head alone first.
        num_held_out: How many images were held out to compare them.
        refitted: Whether the chosen one was then trained on all images.
        seconds: How long all trials took.
    """

    candidates: tuple[Candidate, ...]
    num_held_out: int
    refitted: bool = False
    seconds: float = 0.0

    @property
    def chosen(self) -> Candidate:
        """The candidate with the lowest loss, of the head alone and those that improve on it.

        A candidate improves on the head alone if its loss is lower, its accuracy is not lower and
        its fine-tuning did not diverge.
        """
        alone, *tuned = self.candidates
        return best([alone, *(each for each in tuned if each.improves(alone))])

    def __rich__(self) -> rich.console.RenderableType:
        rows = [
            (
                f"{each.name}{' (chosen)' if each is self.chosen else ''}",
                f"{100 * each.accuracy:.1f} %",
                f"{each.loss:.4f}",
            )
            for each in self.candidates
        ]
        title = (
            f"candidates on {self.num_held_out:,} training images that were held out; chosen is "
            "the lowest loss of those whose accuracy is not below that of the head alone"
        )
        table = build_table(
            ("candidate", "accuracy", "loss"), rows, align="lrr", bars=("accuracy",)
        )
        return rich.console.Group(title, table)

    def __str__(self) -> str:
        return render_text(self)

    def _repr_html_(self) -> str:
        return render_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Choice":
        """Return the choice with these values, the inverse of `to_dict`."""
        candidates = tuple(Candidate(**each) for each in values["candidates"])
        return cls(**{**values, "candidates": candidates})


def measure(
    model: keras.Model, held_out: ImageDataset, *, cache: Cache | None = None, **candidate: Any
) -> Candidate:
    """Evaluate a model on the images held out, and return the result as a candidate.

    Args:
        model: The classifier, in the state to compare.
        held_out: Images and labels that it was not trained on.
        cache: As for `evaluate`, if the backbone has not been trained.
        candidate: The candidate's learning rate, share and whether its fine-tuning diverged.
    """
    found = evaluate(model, held_out, cache=cache)
    enough = int((~found.correct).sum()) >= MIN_MISCLASSIFIED
    return Candidate(
        accuracy=found.accuracy,
        loss=calibrated_loss(found.labels, found.probabilities),
        temperature=fit_temperature(found.labels, found.probabilities) if enough else 1.0,
        **candidate,
    )


def best(candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate with the lowest loss; if several are equal, the first."""
    return min(candidates, key=lambda each: each.loss)
