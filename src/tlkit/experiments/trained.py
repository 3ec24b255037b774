"""The result of training a recipe."""

from dataclasses import dataclass

import keras

from tlkit.evaluation.candidates import Choice
from tlkit.training.records import Run


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A classifier that a recipe trained.

    Attributes:
        recipe: The recipe's name.
        model: The classifier.
        run: The record of its training.
        seconds: The time for building, probing and training, including that of earlier processes.
        budget_ran_out: Where in the training its budget ran out, as text; None if it did not.
        choice: The comparison of fine-tuning with the head alone; None if there was no comparison.
        has_probed: Whether a probe chose the layers that the head reads.
    """

    recipe: str
    model: keras.Model
    run: Run
    seconds: float
    budget_ran_out: str | None = None
    choice: Choice | None = None
    has_probed: bool = False
