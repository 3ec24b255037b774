"""Describe an experiment: the plan before the training, the report after it."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlkit._internal import arguments, system, text
from tlkit._internal.signatures import check_arguments
from tlkit.caching.cache import Cache
from tlkit.data import class_coverage
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.splits import Split
from tlkit.errors import Argument, ConfigError
from tlkit.evaluation.candidates import Choice
from tlkit.evaluation.cross_validation import CrossValidation
from tlkit.evaluation.evaluator import evaluate
from tlkit.evaluation.metrics import Evaluation
from tlkit.evaluation.prediction_sets import measure_sets
from tlkit.evaluation.probing.search_result import BackboneSearch
from tlkit.experiments import (
    checksums,
    export_records,
    figures,
    folds,
    recipes,
    run_files,
    run_folder,
    split_csv,
)
from tlkit.experiments.classifiers import load_model
from tlkit.experiments.cluster_images import load_run_images
from tlkit.experiments.divided_images import DividedImages
from tlkit.experiments.experiment import Experiment, settings_of_run
from tlkit.experiments.image_description import describe_images, find_paths, has_two_labels
from tlkit.experiments.loading import split_images
from tlkit.experiments.recipe import Recipe
from tlkit.experiments.recipe_pixels import find_pretraining_range
from tlkit.experiments.recipe_precision import set_precision
from tlkit.experiments.trained import Trained
from tlkit.models.applications import SPECS
from tlkit.models.inspection import is_multi_label
from tlkit.reports import render
from tlkit.reports.facts import PhaseFacts, ReportFacts, model_facts, phase_facts
from tlkit.reports.phase_settings import describe_settings
from tlkit.training.head_solver import solver_of
from tlkit.training.phase import SolvedHead, plan_freezing

_MAX_PAIRS = 3


@check_arguments
def plan(source: ImageDataset, parts: Split) -> str:
    """Describe a training before it starts: images of each class and part, duplicates, memory."""
    unused = len(source) - len(parts.train) - len(parts.validation) - len(parts.test)
    limit = f"{text.plural(unused, 'image')} left out by the limit"
    lines = [str(source), *([limit] if unused > 0 else []), str(parts)]
    if parts.duplicates:
        shown = find_paths(source, parts.duplicates[:_MAX_PAIRS])
        lines.append(f"such as {'; '.join(f'{one} and {other}' for one, other in shown)}")
        twice = sum(has_two_labels(source, pair) for pair in parts.duplicates)
        if twice:
            lines.append(f"{text.plural(twice, 'pair')} of identical images with different labels")
    lines.extend(_describe_uneven(source, parts))
    room = system.free_memory() // 2 / 1e9
    lines.append(f"features are cached in memory up to {room:,.1f} GB, beyond that on disk")
    return "\n".join(lines)


def _describe_uneven(source: ImageDataset, parts: Split) -> list[str]:
    """Return a line about a class of which unexpectedly few or many images are test images."""
    if source.is_multi_label or "test" in parts.own_parts or not len(parts.test):
        return []
    uneven = class_coverage.find_uneven(source, parts.test)
    if uneven is None:
        return []
    name, count, total = uneven
    return [
        f"note: classes are divided unevenly, such as {name!r}: {count:,} of {total:,} are test "
        f"images, of all {100 * len(parts.test) / len(source):.0f} %; `stratify` keeps "
        "proportions equal"
    ]


@check_arguments
def report(
    folder: str | Path,
    *,
    title: str | None = None,
    authors: Sequence[str] = (),
    on_message: Callable[[object], None] = lambda message: None,
) -> Path:
    """Write a run's report again, with figures from its own test images.

    A page or card that you edited is stored beside the new one, as `model_card.md.edited`.

    Args:
        folder: A folder that `run` wrote; its images must not have been moved or changed.
        title: The report's title in place of the run's; it is not stored in the run's settings.
        authors: The names of the authors in place of the run's; as for `title`.
        on_message: Is called with each stage before it starts, for example `print`.

    Raises:
        ConfigError: The folder is not such a run, or `title` or a name is not text in one line.
        DataError: An image is missing, damaged or changed; images added later are ignored.
    """
    target = arguments.path("folder", folder)
    done = run_folder.load_run(target)
    config = run_files.read_json(target / "config.json", "environment")
    experiment, making = _read_settings(target, config)
    words = {"title": title or experiment.title, "authors": authors or experiment.authors}
    experiment = Experiment(**{**vars(experiment), **words})
    model = load_model(target / "model.keras")
    images = load_run_images(experiment, target)
    found = None
    if experiment.folds:
        source, found = folds.load(images, target)
        parts = replace(split_images(experiment, source), test=source)
    else:
        source, parts = split_csv.load_split(images, target / split_csv.NAME)
    trained = Trained(
        recipe=experiment.recipe,
        model=model,
        run=done,
        seconds=making["seconds"],
        has_probed=making["probed"],
    )
    if found is None:
        on_message(f"evaluating {len(parts.test):,} test images")
    evaluation = evaluate(model, parts.test) if found is None else found.pooled
    if making["divided"] is not None and making["divided"].num_sampled is not None:
        evaluation = _restore_metrics(target / "metrics.json", evaluation)
    on_message("drawing the report")
    facts = gather_facts(
        experiment, source, parts, trained, evaluation, making=making, validated=found
    )
    written = {"environment": config["environment"], "exports": export_records.load(target)}
    checksums.keep_edited(target)
    render.write(target, replace(facts, **written))
    checksums.update_pages(target)
    return target


def _restore_metrics(file: Path, sampled: Evaluation) -> Evaluation:
    """Return the metrics of all test images that a run stored, with the predictions of a sample."""
    stored = run_files.read_json(file)
    with run_files.explain_damage(file):
        return Evaluation.from_dict(
            stored, labels=sampled.labels, probabilities=sampled.probabilities
        )


def _read_settings(folder: Path, config: Mapping[str, Any]) -> tuple[Experiment, dict[str, Any]]:
    """Return the settings of a run, and how it was made, from its config.json.

    Raises:
        ConfigError: It holds no experiment, or is damaged.
    """
    if not {"experiment", "making"} <= config.keys():
        raise ConfigError(
            Argument("folder"),
            " must be a run that `tlkit train` or `experiments.run` wrote, got "
            f"{str(folder)!r}, whose config.json holds no experiment. For another, write the "
            "report with tlkit.reports.",
        )
    with run_files.explain_damage(folder / "config.json"):
        return Experiment.from_dict(settings_of_run(config)), _read_making(config["making"])


def write_report(
    folder: Path, gather: Callable[[], ReportFacts], on_message: Callable[[object], None]
) -> None:
    """Write the report of a run that is saved already, or report why it can't be written.

    Args:
        folder: The run's folder.
        gather: A function that returns the values of the report, and draws the figures.
        on_message: Is called with the reason if either fails.
    """
    try:
        render.write(folder, gather())
        checksums.update_pages(folder)
    except Exception as error:  # the report is not worth losing the training
        on_message(
            f"The run is saved, but its report could not be written: {text.reason(error)}. "
            f"To try again, run: tlkit report {shlex.quote(str(folder))}"
        )


def _read_making(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of how a run was made, with the types that a report needs."""
    joules, search, choice = values["joules"], values.get("search"), values.get("choice")
    if search is not None:
        BackboneSearch.from_dict(search)
    if choice is not None:
        Choice.from_dict(choice)
    divided = values.get("divided")
    return {
        **values,
        "divided": None if divided is None else DividedImages.from_dict(divided),
        "command": str(values["command"]),
        "seconds": float(values["seconds"]),
        "joules": None if joules is None else float(joules),
        "probed": values.get("probed") is True,
    }


def gather_facts(
    experiment: Experiment,
    source: ImageDataset,
    parts: Split,
    trained: Trained,
    evaluation: Evaluation,
    *,
    making: Mapping[str, Any],
    validated: CrossValidation | None,
    cache: Cache | None = None,
) -> ReportFacts:
    """Return the values that the report of an experiment states, with its figures.

    Args:
        experiment: The settings.
        source: All images.
        parts: The training, validation and test images.
        trained: The classifier and the record of its training.
        evaluation: The metrics on the test images.
        making: The record of how the run was made: the command, seconds, joules, and choices.
        validated: The results of the folds; None without folds.
        cache: Where the features that the head reads are stored; None if they are not stored.
    """
    searched = making.get("search")
    search = None if searched is None else BackboneSearch.from_dict(searched)
    compared = making.get("choice")
    chosen = None if compared is None else Choice.from_dict(compared)
    sample = figures.SampledFeatures(trained.model, parts.test, cache)
    drawn, errors = figures.draw(
        trained.model, trained.run, evaluation, parts.test, search=search, sample=sample
    )
    rejected = sample.share_rejected() if validated is None and "ood" in drawn else None
    divided: DividedImages | None = making.get("divided")
    facts = ReportFacts(
        **(divided.describe(experiment) if divided else describe_images(experiment, source, parts)),
        **_describe_recipe(experiment, trained, chosen),
        authors=experiment.authors,
        sets=None if validated else measure_sets(trained.model, evaluation),
        ood_rejected=rejected,
        model=model_facts(trained.model),
        evaluation=evaluation,
        figures=drawn,
        figure_errors=errors,
        environment=run_folder.environment(),
        seed=experiment.seed,
        command=making["command"],
        seconds=making["seconds"],
        joules=making["joules"],
        num_folds=0 if validated is None else validated.num_folds,
        fold_accuracy=None if validated is None else validated.accuracy,
        additions=making.get("additions"),
        others=making.get("others", ()),
        search=search,
        choice=chosen,
    )
    return figures.draw_portfolio(trained.model, evaluation, parts.test, facts=facts)


def _describe_recipe(
    experiment: Experiment, trained: Trained, choice: Choice | None
) -> dict[str, Any]:
    """Return the fields of `ReportFacts` on backbone and recipe."""
    recipe = recipes.for_experiment(experiment)
    used = set_precision(_set_chosen_rate(recipe, choice), experiment.precision)
    own_pixels = experiment.pixel_format is not None
    return {
        "augmentation": _list_augmentation(experiment, trained),
        "backbone": _name_backbone(experiment),
        "weights": (*list_weights(experiment), "own")[0],
        "phases": describe_phases(used, trained),
        "has_probed": trained.has_probed,
        "pretraining_range": None if own_pixels else find_pretraining_range(recipe),
    }


def _set_chosen_rate(recipe: Recipe, choice: Choice | None) -> Recipe:
    """Return a recipe with the learning rate of fine-tuning that was chosen from several."""
    rate = None if choice is None else choice.chosen.learning_rate
    if rate is None or recipe.fine_tune is None:
        return recipe
    return replace(recipe, fine_tune=replace(recipe.fine_tune, learning_rate=rate))


def describe_phases(recipe: Recipe, trained: Trained) -> list[PhaseFacts]:
    """Return the values that a report states about the phases of a training.

    Args:
        recipe: The recipe, with the settings of each phase.
        trained: The classifier and the record of its training.
    """
    phases = {"head": recipe.head, "fine_tune": recipe.fine_tune}
    found = []
    for run in trained.run.phases:
        if (phase := phases.get(run.name)) is not None:
            if isinstance(phase, SolvedHead):
                phase = replace(phase, solver=solver_of(trained.model, phase))
            frozen = plan_freezing(trained.model, phase)
            several = is_multi_label(trained.model)
            settings = describe_settings(phase, frozen, multi_label=several)
            found.append(phase_facts(run, frozen, settings))
    return found


def _list_augmentation(experiment: Experiment, trained: Trained) -> tuple[str, ...]:
    """Return the random changes of images; empty if the phase that applies them was left out."""
    recipe = recipes.for_experiment(experiment)
    augmented = "head" if recipe.fine_tune is None else "fine_tune"
    done = any(run.name == augmented for run in trained.run.phases)
    return experiment.augment if done else ()


def _name_backbone(experiment: Experiment) -> str:
    name = " ".join([experiment.backbone, *experiment.options])
    if experiment.backbone in SPECS:
        return name
    is_file = experiment.backbone.endswith(".keras")
    return f"{name} ({'a .keras file' if is_file else 'a preset of KerasHub'})"


def list_weights(experiment: Experiment) -> list[str]:
    """Return the weights that were loaded into the backbone; empty for a file or a preset."""
    return [experiment.weights] if experiment.backbone in SPECS else []
