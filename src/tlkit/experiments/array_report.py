"""The report of a training on arrays, for a recipe that a program has changed."""

from tlkit._internal.signatures import check_arguments
from tlkit.data.splits import Split
from tlkit.evaluation.metrics import Evaluation
from tlkit.experiments import figures, run_folder
from tlkit.experiments.recipe import Recipe
from tlkit.experiments.recipe_pixels import find_pretraining_range
from tlkit.experiments.reporting import describe_phases
from tlkit.experiments.trained import Trained
from tlkit.models.inspection import backbone_of
from tlkit.reports.facts import ReportFacts, model_facts
from tlkit.reports.titles import name_images


@check_arguments
def describe_training(
    recipe: Recipe,
    parts: Split,
    trained: Trained,
    evaluation: Evaluation,
    *,
    weights: str | None,
    command: str,
    seed: int,
) -> ReportFacts:
    """Return the values that the report of a training states, with its figures, for `save_run`.

    For images on disk, `tlkit.experiments.run` does this.

    Args:
        recipe: The recipe that was trained.
        parts: The training, validation and test images.
        trained: The classifier and the record of its training.
        evaluation: The evaluation of the classifier on the test images.
        weights: The weights that the backbone started from: "imagenet", "starter", or None for
            random weights.
        command: The command that repeats the training; may be empty.
        seed: The seed of the training.
    """
    model = trained.model
    named = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    drawn, errors = figures.draw(model, trained.run, evaluation, parts.test)
    backbone = recipe.backbone if isinstance(recipe.backbone, str) else backbone_of(model).name
    facts = ReportFacts(
        title=f"Classifying {name_images(parts.train.name)}",
        source=name_images(parts.train.name),
        counts={name: part.counts for name, part in named.items() if len(part)},
        num_images={name: len(part) for name, part in named.items()},
        own_parts=parts.own_parts,
        backbone=backbone,
        weights=weights,
        model=model_facts(model),
        phases=describe_phases(recipe, trained),
        evaluation=evaluation,
        figures=drawn,
        figure_errors=errors,
        environment=run_folder.environment(),
        command=command,
        seed=seed,
        seconds=trained.seconds,
        has_probed=trained.has_probed,
        pretraining_range=find_pretraining_range(recipe),
    )
    return figures.draw_portfolio(model, evaluation, parts.test, facts=facts)
