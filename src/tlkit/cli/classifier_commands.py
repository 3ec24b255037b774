"""The commands on a trained classifier: `tlkit evaluate`, `predict`, `report` and others.

Each signature and docstring gives options and help, each body does the work.
"""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tlkit
from tlkit.cli import checks
from tlkit.cli.options import (
    DEFAULT_OUTPUT,
    FLAG,
    LabelledImages,
    Output,
    Typed,
    UseCache,
    check_figure,
    open_cache,
    save_figure,
)
from tlkit.errors import Argument, DataError
from tlkit.experiments.experiment import Experiment

if TYPE_CHECKING:
    import keras


def evaluate(
    model: str,
    images: LabelledImages,
    *,
    part: Literal["train", "validation", "test"] | None = None,
    assert_accuracy: float | None = None,
    output: Output = DEFAULT_OUTPUT,
) -> dict[str, Any]:
    """Evaluate a classifier on labelled images.

    Args:
        model: A run's folder, a .keras file, or an exported file.
        part: Evaluate only the images in this part of the run's split, found by their content.
        assert_accuracy: Exit with code 1 if the accuracy is lower; multi-label: all classes right.
    """
    checks.check_model(model)
    checks.check_images(images.data)
    output.print(f"loading {model}")
    is_exported = tlkit.experiments.is_exported(model)
    if is_exported:
        dataset = tlkit.experiments.load_images_for(model, **images.settings())
    else:
        classifiers = tlkit.experiments.classifiers
        classifier, experiment = classifiers.load_classifier(model, **images.settings())
        if images.group_column is None:  # without a split, groups do not matter
            experiment = replace(experiment, group_column=None)
        dataset = _load(experiment, classifier, output)
    tested, which = _take_tested(model, dataset, part)
    num_trained = tlkit.experiments.split_csv.count_trained(model, tested)
    trained = f"the classifier was trained on {num_trained:,} of these {len(tested):,} images"
    if num_trained and part is None and assert_accuracy is not None:
        raise DataError(
            Argument("assert_accuracy"),
            f" needs images that the classifier was not trained on; {trained}. ",
            Argument("part", "test"),
            " takes the test images of its run.",
        )
    output.print(f"evaluating {which}")
    if is_exported:
        evaluation = tlkit.experiments.evaluate_exported(model, tested)
    else:
        evaluation = tlkit.evaluate(classifier, tested, verbose=not output.json)
    output.print(evaluation)
    if num_trained:
        output.print(f"note: {trained}, so the results are better than on new images")
    return {**evaluation.to_dict(), "trained_on": num_trained}


def _take_tested(
    model: str, dataset: "tlkit.data.ImageDataset", part: str | None
) -> "tuple[tlkit.data.ImageDataset, str]":
    """Return the images of a part of the run's split, or the test images of their own split."""
    if part is None:
        tested = tlkit.experiments.loading.take_test_images(dataset)
        which = f"{len(tested):,} images"
        if len(tested) < len(dataset):
            which = f"{len(tested):,} test images, of {len(dataset):,} images in parts"
    else:
        tested = tlkit.experiments.run_images.take_part(model, dataset, part)
        which = f"the run's {len(tested):,} {part} images, of {len(dataset):,} images"
    return tested, which


def compare(
    models: list[str], *, data: str | None = None, output: Output = DEFAULT_OUTPUT
) -> dict[str, Any]:
    """Compare classifiers on the same images: accuracy, its difference, and McNemar's test.

    Args:
        models: Two or more runs' folders, .keras files, or exported files.
        data: A folder or table of images; by default the test images that all runs have in common.
    """
    for model in models:
        checks.check_model(model, argument="models")
    if data is not None:
        checks.check_images(data)
    output.print(f"loading and evaluating {', '.join(models)}")
    found = tlkit.experiments.compare_runs(models, data=data, verbose=not output.json)
    output.print(found)
    return found.to_dict()


def predict(
    model: str,
    files: list[str],
    *,
    top: int = 1,
    coverage: float | None = None,
    csv: Path | None = None,
    parquet: Path | None = None,
    output: Output = DEFAULT_OUTPUT,
) -> dict[str, Any]:
    """Predict the classes of images.

    Args:
        model: A run's folder, a .keras file, or an exported file.
        files: Image files, or folders of them.
        top: Number of classes to name for each image.
        coverage: Name a set of classes that contains the true one for this share of images, as 0.9.
        csv: Write a row for each image to this .csv file, with columns path, label, probability.
        parquet: The same as a .parquet file; needs the extra "parquet".
    """
    checks.check_model(model)
    checks.check_files(files)
    checks.check_table("csv", csv, ".csv")
    checks.check_table("parquet", parquet, ".parquet")
    output.print(f"loading {model}", stderr=True)
    to_table = csv is not None or parquet is not None
    rows: list[dict[str, Any]] = []

    def show(prediction: "tlkit.evaluation.FilePrediction") -> None:
        if not to_table:
            output.print(str(prediction))
            rows.append(prediction.to_dict())

    with output.measure("predicted", hidden=not (to_table or output.json)) as on_progress:
        written = tlkit.experiments.write_predictions(
            model,
            files,
            csv=csv,
            parquet=parquet,
            top=top,
            coverage=coverage,
            on_prediction=show,
            on_message=output.print,
            on_progress=on_progress,
        )
    if not to_table:
        return {"predictions": rows}
    output.print(str(written))
    return written.to_dict()


def embed(
    model: str,
    files: list[str],
    *,
    out: Path,
    output: Output = DEFAULT_OUTPUT,
) -> dict[str, Any]:
    """Write the features of images: the numbers that the classifier's head reads.

    Args:
        model: A run's folder, or a .keras file.
        files: Image files, or folders of them.
        out: A .parquet, .npz or .csv file; .parquet needs the extra "parquet".
    """
    checks.check_model(model, exported=False)
    checks.check_files(files)
    checks.check_table("out", out, ".parquet", ".npz", ".csv")
    output.print(f"loading {model}", stderr=True)
    with output.measure("embedded") as on_progress:
        written = tlkit.experiments.write_features(
            model, files, out, on_message=output.print, on_progress=on_progress
        )
    output.print(str(written))
    return written.to_dict()


def report(
    run: str,
    *,
    title: str | None = None,
    authors: tuple[str, ...] = (),
    output: Output = DEFAULT_OUTPUT,
) -> dict[str, Any]:
    """Write a run's report again.

    Args:
        run: A run's folder; its images must not have moved or changed.
        title: Title of the report in place of the run's.
        authors: Names of the authors in place of the run's.
    """
    checks.check_run(run)
    output.print(f"loading {run}")
    folder = tlkit.experiments.report(run, title=title, authors=authors, on_message=output.print)
    file = folder / "report.html"
    output.print(f"wrote {file}")
    return {"report": str(file)}


def verify(
    run: str, *, accept: Annotated[bool, FLAG] = False, output: Output = DEFAULT_OUTPUT
) -> dict[str, Any]:
    """Check that the files of a run are as they were written, by the list SHA256SUMS in it.

    Args:
        run: A run's folder.
        accept: Take the files as they are now for the right ones, after a change on purpose.
    """
    checks.check_run(run)
    found = tlkit.experiments.verify_run(run, accept=accept)
    output.print(str(found))
    return found.to_dict()


def audit(
    model: str,
    images: LabelledImages,
    *,
    csv: Path | None = None,
    out: Path | None = None,
    num_folds: int = 5,
    cache: UseCache = True,
    output: Output = DEFAULT_OUTPUT,
    typed: Typed = (),
) -> dict[str, Any]:
    """List labels that are probably wrong.

    Args:
        model: A run's folder, or a .keras file.
        csv: A .csv file for a table of all of them; the terminal shows the first ten.
        out: A .png file for a figure of the first of them.
        num_folds: Number of folds; each class needs that many images.
        cache: Take features from those of earlier commands, and store them for later ones.
    """
    checks.check_model(model, exported=False)
    checks.check_images(images.data)
    check_figure(out)
    checks.check_table("csv", csv, ".csv")
    output.print(f"loading {model}")
    classifier, experiment = tlkit.experiments.load_classifier(model, **images.settings())
    dataset = _load(experiment, classifier, output)
    stored = open_cache(cache=cache)
    found = tlkit.audit(
        classifier,
        dataset,
        num_folds=num_folds,
        seed=experiment.seed,
        cache=stored,
        verbose=not output.json,
    )
    output.print_usage(stored)
    output.print(found)
    if tlkit.experiments.run_folder.is_fine_tuned(model):
        output.print(
            "note: this run has fine-tuned its backbone, which then fits wrong labels too; with a "
            "run of the recipe fast, more of them are found"
        )
    if csv is not None:
        _write_audit(found, csv)
        output.print(f"wrote {csv}, a table of all of them")
    elif found.suspects or found.outliers:
        again = shlex.join(typed)
        output.print(f"next: look at these images; for all of them: tlkit {again} --csv audit.csv")
    if out is not None and found.suspects:
        save_figure(tlkit.plotting.audit_grid(found, dataset), out)
        output.print(f"wrote {out}, a figure of the first of them")
    return {
        "suspects": [vars(suspect) for suspect in found.suspects],
        "outliers": [vars(outlier) for outlier in found.outliers],
    }


def _write_audit(found: "tlkit.evaluation.Audit", path: Path) -> None:
    """Write a row for each suspicious label, then for each image unlike the others."""
    from tlkit._internal.table_files import open_table
    from tlkit.evaluation.label_audit import image_name

    columns = {"path": 0, "finding": 0, "label": 0, "suggested_label": 0, "score": 1}
    with open_table(path, columns) as write:
        for each in found.suspects:
            labels = (each.label, each.suggested_label)
            write([image_name(each), "suspicious label", *labels, each.score])
        for outlier in found.outliers:
            write([image_name(outlier), "unlike the others", None, None, outlier.score])


def _load(
    experiment: Experiment, classifier: "keras.Model", output: Output
) -> "tlkit.data.ImageDataset":
    names = tlkit.models.class_names(classifier)
    with output.measure_reading():
        return tlkit.experiments.loading.load_images(experiment, class_names=names)
