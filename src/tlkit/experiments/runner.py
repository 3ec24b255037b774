"""Run an experiment whole: images on disk in; a folder with model, figures and report out."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from tlkit._internal import system
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.splits import Pair, Split
from tlkit.errors import ConfigError
from tlkit.evaluation import calibration
from tlkit.evaluation.evaluator import Evaluation, evaluate
from tlkit.experiments import energy, run_folder, split_csv
from tlkit.experiments import figures as report_figures
from tlkit.experiments.experiment import AUGMENTATIONS, RECIPES, Experiment
from tlkit.experiments.recipes import Trained
from tlkit.models import saving
from tlkit.models.inspection import probabilities_of
from tlkit.reports import render
from tlkit.training.phase import plan_freezing

__all__ = ["AUGMENTATIONS", "RECIPES", "Experiment", "Finished", "plan", "report", "run"]

_SAME_PAIRS = 3
_WERE = {
    "allow": "left where they fell",
    "refuse": "all in one part by chance",
    "together": "kept in one part",
}


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
        return {
            **self.evaluation.figures(),
            "seconds": self.trained.seconds,
            "images": {name: len(getattr(self.parts, name)) for name in split_csv.PARTS},
        }


def run(
    experiment: Experiment,
    folder: str | Path,
    *,
    command: str = "",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    tell: Callable[[object], None] = lambda told: None,
    verbose: bool = False,
) -> Finished:
    """Train, measure and write a run: model, figures, report, and the config that repeats it.

    Args:
        experiment: What to do.
        folder: Where to write; it must be new or empty.
        command: What was typed, for the report; by default this call.
        callbacks: Are told every epoch, also the one of a phase that is solved; see
            `tlkit.training.trackers`.
        tell: Is given the plan before the work, and the figures after it: `print` shows all.
        verbose: Whether to write a line for every epoch.

    Raises:
        ConfigError: The folder holds something, or a value is wrong.
        DataError: Something is wrong with the images.
        DownloadError: Weights can't be fetched.
    """
    run_folder.check_free(folder)
    _refuse_within(experiment.data, folder)
    experiment.check()
    source = experiment.source()
    parts = experiment.split(source)
    tell(plan(source, parts))
    with energy.metered() as used:
        trained = experiment.train(parts, callbacks=callbacks, verbose=verbose)
    if len(parts.validation):
        tell(calibration.calibrate(trained.model, parts.validation))
    evaluation = evaluate(trained.model, parts.test)
    tell(evaluation)
    about = (
        f"{experiment.recipe} on {source.name}, {experiment.image_size} px, {experiment.weights}"
    )
    making = {
        "command": command or f"experiments.run({experiment}, {str(folder)!r})",
        "seconds": trained.seconds,
        "joules": used.joules,
        "data": str(Path(experiment.data).resolve()),
    }
    run_folder.write(
        folder,
        model=trained.model,
        run=trained.run,
        evaluation=evaluation,
        figures={},
        about=about,
        config={"experiment": experiment.values(), "making": making},
        report=_report(experiment, source, parts, trained, evaluation, making=making),
        files={split_csv.NAME: split_csv.written(parts)},
    )
    return Finished(folder=Path(folder), parts=parts, trained=trained, evaluation=evaluation)


def report(folder: str | Path) -> Path:
    """Write a run's report again, its figures measured anew on its own test images.

    Args:
        folder: What `run` wrote; the images must be where they were.

    Raises:
        ConfigError: It is no such folder.
        DataError: Something is wrong with the images, or one of them is gone or changed; images
            that were added since are left aside.
    """
    target = Path(folder)
    done = run_folder.read(target)
    config = json.loads((target / "config.json").read_text(encoding="utf-8"))
    if not {"experiment", "making"} <= config.keys():
        raise ConfigError(
            "`folder` must be a run that `tlkit train` or `experiments.run` wrote, got "
            f"{str(folder)!r}, whose config.json doesn't say which experiment made it. For "
            "another, write the report with tlkit.reports."
        )
    experiment = Experiment.of(Experiment.values_of_run(config))
    model = saving.load(target / "model.keras")
    source, parts = split_csv.read(experiment.source(), target / split_csv.NAME)
    making = config["making"]
    seconds = making["seconds"]
    trained = Trained(recipe=experiment.recipe, model=model, run=done, seconds=seconds)
    evaluation = evaluate(model, parts.test)
    facts = _report(experiment, source, parts, trained, evaluation, making=making)
    return render.write(target, replace(facts, environment=config["environment"]))


def _report(
    experiment: Experiment,
    source: ImageDataset,
    parts: Split,
    trained: Trained,
    evaluation: Evaluation,
    *,
    making: Mapping[str, Any],
) -> render.ReportFacts:
    recipe = RECIPES[experiment.recipe]()
    phases = {"head": recipe.head, "fine_tune": recipe.fine_tune}
    told = []
    for run in trained.run.phases:
        phase = phases[run.name]
        if phase is not None:
            plan = plan_freezing(trained.model, phase)
            told.append(render.phase_facts(run, plan))
    shown = report_figures.figures(trained.model, trained.run, evaluation, parts.test)
    named = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    return render.ReportFacts(
        title=f"Classifying {source.name}",
        source=source.name,
        counts={name: part.counts for name, part in named.items() if len(part)},
        preprocessing=(*_reading(experiment), *render.preprocessing(trained.model)),
        backbone=recipe.backbone,
        weights=experiment.weights,
        model=(*render.model_lines(trained.model), *_temperature(trained.model)),
        phases=told,
        evaluation=evaluation,
        figures=shown.made,
        left_out=shown.left_out,
        environment=run_folder.environment(),
        seed=experiment.seed,
        command=making["command"],
        seconds=making["seconds"],
        joules=making["joules"],
        unreadable=[(problem.path, problem.reason) for problem in source.problems],
        duplicates=_paths(source, parts.pairs),
        two_labels=_paths(source, [pair for pair in parts.pairs if _has_two_labels(source, pair)]),
        duplicates_were=_WERE[experiment.duplicates],
    )


def _refuse_within(images: str, folder: str | Path) -> None:
    """Refuse to write where the next training would take figures for photos."""
    place = Path(images).resolve()
    if place.is_dir() and Path(folder).resolve().is_relative_to(place):
        raise ConfigError(
            f"`folder` must lie outside the images' folder {images!r}, got {str(folder)!r}: its "
            "pictures would be taken for images of a class."
        )


def _reading(experiment: Experiment) -> list[str]:
    """Return what was done to the images before the classifier saw them."""
    ways = {
        "crop": "cropped to a square",
        "pad": "padded with black to a square",
        "squash": "stretched to a square",
    }
    lines = [
        f"Files are read at {experiment.image_size} x {experiment.image_size} pixels, "
        f"{ways[experiment.fit]}, rotated as their EXIF data say, with transparency on white."
    ]
    if experiment.augment:
        changed = ", ".join(experiment.augment)
        lines.append(f"During training only, images were also changed at random: {changed}.")
    return lines


def _temperature(model: keras.Model) -> list[str]:
    found = probabilities_of(model).temperature
    if found == 1:
        return []
    return [f"Logits are divided by a temperature of {found:.3f}, fitted on validation images."]


def plan(source: ImageDataset, parts: Split) -> str:
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
        twice = sum(_has_two_labels(source, pair) for pair in parts.pairs)
        if twice:
            lines.append(f"{twice:,} of these are the same image with two labels")
    room = system.free_memory() // 2 / 1e9
    lines.append(
        f"features of the frozen part are kept in memory up to {room:,.1f} GB, beyond that on disk"
    )
    return "\n".join(lines)


def _path(source: ImageDataset, place: int) -> str:
    return source.paths[place] if source.paths else f"image {place}"


def _paths(source: ImageDataset, pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    return [(_path(source, pair.first), _path(source, pair.second)) for pair in pairs]


def _has_two_labels(source: ImageDataset, pair: Pair) -> bool:
    return pair.exact and bool(source.labels[pair.first] != source.labels[pair.second])
