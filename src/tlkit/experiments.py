"""Run an experiment whole: images on disk in; a folder with model, figures and report out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
from matplotlib.figure import Figure

from tlkit import calibration, plotting, runs
from tlkit.evaluation import Evaluation, evaluate
from tlkit.experiment import AUGMENTATIONS, RECIPES, Experiment
from tlkit.recipes import Trained
from tlkit.source import Source
from tlkit.splits import Split

__all__ = ["AUGMENTATIONS", "RECIPES", "Experiment", "Finished", "plan", "run"]

_SAME_PAIRS = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Finished:
    """What an experiment came to.

    Attributes:
        folder: Where it was written.
        parts: What was trained and tested on.
        trained: The classifier and what its training did.
        evaluation: What it does on the test images.
    """

    folder: Path
    parts: Split
    trained: Trained
    evaluation: Evaluation

    def figures(self) -> dict[str, Any]:
        """Return the figures as plain values that JSON keeps."""
        names = ("train", "validation", "test")
        return {
            **self.evaluation.figures(),
            "seconds": self.trained.seconds,
            "images": {name: len(getattr(self.parts, name)) for name in names},
        }


def run(
    experiment: Experiment,
    folder: str | Path,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    tell: Callable[[str], None] = lambda line: None,
    verbose: bool = False,
) -> Finished:
    """Train, measure and write a run: model, figures, report, and the config that repeats it.

    Args:
        experiment: What to do.
        folder: Where to write; it must be new or empty.
        callbacks: Are told every epoch, of phases that have any; see `tlkit.trackers`.
        tell: Is given the plan before the work, and the figures after it.
        verbose: Whether to write a line for every epoch.

    Raises:
        ConfigError: The folder holds something, or a value is wrong.
        DataError: Something is wrong with the images.
        DownloadError: Weights can't be fetched.
    """
    runs.check_free(folder)
    source = experiment.source()
    parts = experiment.split(source)
    tell(plan(source, parts))
    trained = experiment.train(parts, callbacks=callbacks, verbose=verbose)
    if len(parts.validation):
        tell(str(calibration.calibrate(trained.model, parts.validation.pair)))
    evaluation = evaluate(trained.model, parts.test.pair)
    tell(str(evaluation))
    runs.write(
        folder,
        model=trained.model,
        run=trained.run,
        evaluation=evaluation,
        figures=_figures(trained, evaluation, parts),
        about=f"{experiment.recipe} on {source.name}, {experiment.size} px, {experiment.weights}",
        config={"experiment": experiment.values()},
    )
    return Finished(folder=Path(folder), parts=parts, trained=trained, evaluation=evaluation)


def _figures(trained: Trained, evaluation: Evaluation, parts: Split) -> dict[str, Figure]:
    grid = partial(plotting.prediction_grid, trained.model, *parts.test.pair)
    return {
        "predictions": grid(),
        "errors": grid(which="confident"),
        "curves": plotting.learning_curves(trained.run),
        "confusion": plotting.confusion_matrix(evaluation),
        "reliability": plotting.reliability_diagram(evaluation),
    }


def plan(source: Source, parts: Split) -> str:
    """Return what is about to happen: how many images of what, what they take, what looks alike."""
    counts = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    lines = [
        str(source),
        ", ".join(f"{name} {len(part):,}" for name, part in counts.items() if len(part)),
    ]
    if parts.pairs:
        shown = "; ".join(
            f"{_path(source, pair.first)} and {_path(source, pair.second)}"
            for pair in parts.pairs[:_SAME_PAIRS]
        )
        lines.append(f"{len(parts.pairs):,} pairs are the same or look it, such as {shown}")
    return "\n".join(lines)


def _path(source: Source, place: int) -> str:
    return source.paths[place] if source.paths else f"image {place}"
