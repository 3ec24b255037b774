"""Compare trained classifiers on the same images: runs, `.keras` files and exported files."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import rich.console

from tlkit._internal.html import render_html
from tlkit._internal.signatures import check_arguments
from tlkit._internal.tables import build_table, render_text
from tlkit._internal.text import escape_controls
from tlkit.caching.progress import show_waiting
from tlkit.data.image_dataset import ImageDataset
from tlkit.errors import Argument, ConfigError, DataError
from tlkit.evaluation.evaluator import evaluate
from tlkit.evaluation.metrics import Evaluation
from tlkit.evaluation.significance import McNemar, compare_correct
from tlkit.experiments import classifiers, exported, loading, run_images, split_csv
from tlkit.models.inspection import class_names


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """The results of one classifier.

    Attributes:
        name: Its path, as the user wrote it.
        evaluation: Its metrics on the images of the comparison.
        num_trained: How many of these images it was trained on; 0 if this is unknown.
        against_first: The comparison with the first classifier; None for the first.
    """

    name: str
    evaluation: Evaluation
    num_trained: int
    against_first: McNemar | None


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """The results of several classifiers on the same images; `print` shows a table.

    Attributes:
        images: A description of these images.
        runs: The results, in the order of the classifiers.
    """

    images: str
    runs: tuple[ComparedRun, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the results as values that JSON can hold."""
        return {"images": self.images, "runs": [_to_dict(each) for each in self.runs]}

    def __rich__(self) -> rich.console.RenderableType:
        columns = ("classifier", "accuracy, %", "loss", "macro F1, %", "difference, points", "p")
        table = build_table(columns, map(_to_row, self.runs), align="lrrrrr")
        lines = [
            self.images,
            *(
                f"note: {each.name} was trained on {each.num_trained:,} of them, so its results are"
                " better than on new images"
                for each in self.runs
                if each.num_trained
            ),
            f"difference: accuracy minus that of {self.runs[0].name}; p: McNemar's exact test",
        ]
        return rich.console.Group(*lines, table)

    def __str__(self) -> str:
        return render_text(self)

    def _repr_html_(self) -> str:
        return render_html(self)


@check_arguments
def compare_runs(
    models: Sequence[str | Path], *, data: str | Path | None = None, verbose: bool = False
) -> RunComparison:
    """Compare trained classifiers on the same images, each with the first.

    Each classifier reads the images as in its training, at its own size.

    Args:
        models: Two or more paths of runs' folders, `.keras` files or exported files.
        data: A folder of images, a table, or a name such as "mnist", as for
            `tlkit.experiments.Experiment`. By default the test images that all runs have in common.
        verbose: Whether to show the progress of each evaluation in a terminal.

    Raises:
        ConfigError: There is only one classifier, one does not exist, or images are needed.
        DataError: The classes differ, the runs have no test images in common, or the images of a
            run were moved or changed.
    """
    names = [str(model) for model in models]
    if len(names) < 2 or len({*names}) < len(names):
        raise ConfigError(
            Argument("models"), f" must be two or more different classifiers, got {names}."
        )
    for name in names:
        if not exported.is_exported(name):
            classifiers.find_classifier(name)
    common = _find_common(names) if data is None else None  # before classifiers are loaded
    loaded = [_load(name) for name in names]
    datasets = common or [
        _load_images(name, classifier, str(data))
        for name, classifier in zip(names, loaded, strict=True)
    ]
    evaluations = [
        _evaluate(*each, verbose=verbose) for each in zip(names, loaded, datasets, strict=True)
    ]
    _check_classes(names, evaluations)
    which = "test images that all of them have in common" if data is None else f"images of {data}"
    correct = [each.correct for each in evaluations]
    return RunComparison(
        images=f"{len(correct[0]):,} {which}",
        runs=tuple(
            ComparedRun(
                name=name,
                evaluation=evaluations[at],
                num_trained=split_csv.count_trained(name, datasets[at]),
                against_first=compare_correct(correct[0], correct[at]) if at else None,
            )
            for at, name in enumerate(names)
        ),
    )


def _find_common(names: Sequence[str]) -> list[ImageDataset]:
    """Return the test images that all runs share, in the same order, as each run reads them."""
    parts = [_load_test(name) for name in names]
    digests = [split_csv.list_digests(part) for part in parts]
    counts = [Counter(each) for each in digests]
    common = sorted(set.intersection(*map(set, digests)))
    if not common:
        raise DataError(
            f"{' and '.join(names)} have no test images in common. Compare them on images that "
            "none was trained on: set ",
            Argument("data"),
            ".",
        )
    order = [each for each in common for _ in range(min(count[each] for count in counts))]
    return [_take(part, each, order) for part, each in zip(parts, digests, strict=True)]


def _take(part: ImageDataset, digests: Sequence[str], order: Sequence[str]) -> ImageDataset:
    place = {digest: at for at, digest in enumerate(digests)}  # equal images have one prediction
    return part.take(np.asarray([place[digest] for digest in order]))


def _load_test(name: str) -> ImageDataset:
    if not Path(name, "model.keras").is_file():
        raise ConfigError(
            Argument("data"),
            f" must be set, since {name!r} is not a run with test images of its own.",
        )
    try:
        split = run_images.read_split(name)
    except DataError as error:
        again = shlex.join(["--config", str(Path(name, "config.json"))])
        raise DataError(
            f"The run {name!r}: ",
            *error.args,
            " To compare on the images as they are now, set ",
            Argument("data"),
            ": the result says how many of them each run was trained on. Or train the run's "
            f"settings again on them: tlkit train {again} --out NEW.",
        ) from error
    if not len(split.test) or split.test is split.train:
        raise ConfigError(
            Argument("data"), f" must be set: the run {name!r} was trained on all of its images."
        )
    return split.test


def _load(name: str) -> keras.Model | None:
    """Return a classifier; None for an exported file, which is loaded when it is evaluated."""
    return None if exported.is_exported(name) else classifiers.load_classifier(name, data="")[0]


def _evaluate(
    name: str, classifier: keras.Model | None, dataset: ImageDataset, *, verbose: bool
) -> Evaluation:
    with show_waiting(f"evaluating {escape_controls(name)}", verbose=verbose):
        if classifier is None:
            return exported.evaluate_exported(name, dataset)
        return evaluate(classifier, dataset)


def _load_images(name: str, classifier: keras.Model | None, data: str) -> ImageDataset:
    """Return images as a classifier reads them, with its classes."""
    if classifier is None:
        return loading.take_test_images(exported.load_images_for(name, data=data))
    experiment = classifiers.read_settings(name, classifier, data=data)
    experiment = replace(experiment, group_column=None)  # without a split, groups do not matter
    dataset = loading.load_images(experiment, class_names=class_names(classifier))
    return loading.take_test_images(dataset)


def _check_classes(names: Sequence[str], evaluations: Sequence[Evaluation]) -> None:
    """Check that all classifiers have the same classes, and the images the same labels."""
    first, *others = evaluations
    for name, other in zip(names[1:], others, strict=True):
        if {*other.class_names} != {*first.class_names}:
            differing = sorted({*other.class_names} ^ {*first.class_names})
            raise DataError(
                f"The classifiers must have the same classes; {names[0]} and {name} differ in "
                f"{', '.join(map(repr, differing[:5]))}."
            )
        if other.labels.shape != first.labels.shape or (_true(other) != _true(first)).any():
            raise DataError(
                f"The images must have the same labels for all classifiers; those of {names[0]} "
                f"and {name} differ. Compare them on images with the right labels: set ",
                Argument("data"),
                ".",
            )


def _true(evaluation: Evaluation) -> np.ndarray:
    """Return the true classes of each image, in a form that is independent of the class order."""
    if evaluation.is_multi_label:
        return np.asarray(evaluation.labels[:, np.argsort(evaluation.class_names)])
    return np.asarray(np.asarray(evaluation.class_names)[evaluation.labels])


def _to_row(run: ComparedRun) -> tuple[str, ...]:
    found = run.evaluation
    low, high = found.accuracy_interval
    row = (
        run.name,
        f"{100 * found.accuracy:.2f} ({100 * low:.2f} to {100 * high:.2f})",
        f"{found.loss:.4f}",
        f"{100 * found.macro_f1:.2f}",
    )
    if run.against_first is None:
        return (*row, "", "")
    difference = run.against_first.difference.format(0.01, 2, signed=True)
    return (*row, difference, run.against_first.format_p().removeprefix("= "))


def _to_dict(run: ComparedRun) -> dict[str, Any]:
    against = run.against_first
    return {
        "name": run.name,
        "trained_on": run.num_trained,
        **run.evaluation.to_dict(),
        "against_first": None
        if against is None
        else {
            "difference": against.difference.mean,
            "interval": against.difference.interval,
            "only_first": against.only_first,
            "only_this": against.only_second,
            "p_value": against.p_value,
        },
    }
