"""Write the predictions and the features of image files to tables.

Modules that import Keras are imported when a Keras model needs them, since that takes seconds and
an exported file does not.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit._internal.signatures import check_arguments
from tlkit._internal.table_files import YES_NO, check_target, open_table
from tlkit._internal.text import join_first, plural
from tlkit.data.decoding import Fit
from tlkit.data.image_files import find_images
from tlkit.data.naming import escape
from tlkit.errors import DataError
from tlkit.evaluation.file_classifier import FileClassifier
from tlkit.evaluation.image_files import (
    FileFeatures,
    FilePrediction,
    Meter,
    describe,
    embed_files,
    predict_files,
)
from tlkit.experiments import exported

if TYPE_CHECKING:
    import keras

_MAX_SHOWN = 5  # files that could not be read, in a line


@dataclass(frozen=True, kw_only=True)
class WrittenTables:
    """The number of images that were read, and the tables that were written.

    Attributes:
        images: The number of images.
        unreadable: The number of files that could not be read as an image.
        tables: The paths of the tables.
        problems: The first of these files, each with why it could not be read.
    """

    images: int
    unreadable: int
    tables: tuple[Path, ...]
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        count = f"{plural(self.images, 'image')}, {plural(self.unreadable, 'unreadable file')}"
        lines = [f"wrote {table}: {count}" for table in self.tables]
        if self.problems:
            more = self.unreadable - len(self.problems)
            shown = [*self.problems, *([f"{more:,} more"] if more else [])]
            lines.append(f"unreadable: {join_first(shown, limit=len(shown), separator='; ')}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts and paths as values that JSON can hold."""
        tables = [str(table) for table in self.tables]
        return {"images": self.images, "unreadable": self.unreadable, "tables": tables}


class _Counted:
    """Counts files that were read and files that could not be read."""

    def __init__(self) -> None:
        self.images = self.unreadable = 0
        self.problems: list[str] = []

    def add(self, file: FilePrediction | FileFeatures) -> None:
        """Count a file."""
        self.images += not file.problem
        self.unreadable += bool(file.problem)
        if file.problem and len(self.problems) < _MAX_SHOWN:
            self.problems.append(f"{file.path}: {file.problem}")

    def describe(self, tables: Sequence[Path]) -> WrittenTables:
        """Return the counts, with the tables that were written."""
        return WrittenTables(
            images=self.images,
            unreadable=self.unreadable,
            tables=tuple(tables),
            problems=tuple(self.problems),
        )


@check_arguments
def write_predictions(
    model: "str | Path | keras.Model",
    files: str | Path | Iterable[str | Path],
    *,
    csv: str | Path | None = None,
    parquet: str | Path | None = None,
    top: int = 1,
    coverage: float | None = None,
    fit: Fit | None = None,
    on_prediction: Callable[[FilePrediction], None] = lambda prediction: None,
    on_message: Callable[[str], None] = lambda message: None,
    on_progress: Meter = lambda done, total: None,
) -> WrittenTables:
    """Predict the classes of image files, and write a row for each to tables.

    The columns are `path`, `label`, `probability`, then `label_2`, `probability_2` and so on up to
    `top`, `set` with `coverage` (names separated by |), `ood_score` and `is_unlike` if the
    classifier has such a score (`tlkit.ood_scores`), and `problem`: why a file is unreadable, empty
    for an image. For a multi-label classifier, `labels` comes after `path`: the classes above their
    thresholds, separated by |. A table is written completely or, after an error or an interruption,
    not at all.

    Args:
        model: A run's folder, a .keras file, an exported file, or a classifier.
        files: As for `tlkit.evaluation.predict_files`.
        csv: The path of a .csv file, written in UTF-8; None writes no such file.
        parquet: The path of a .parquet file (extra `parquet`); None writes no such file.
        top: The number of classes to name for each file, at most as many as there are.
        coverage: As for `tlkit.evaluation.predict_files`.
        fit: As for `tlkit.sources.from_folder`; by default as in training.
        on_prediction: Is called with each prediction.
        on_message: Is called with the files in folders that are not images, and with the range of
            the coverage if few validation images were used, for example `print`.
        on_progress: As for `tlkit.evaluation.predict_files`.

    Raises:
        ConfigError: An argument is wrong.
        DataError: There are no images, or no image can be read.
        MissingExtraError: The extra for Parquet is not installed.
        StoreError: A table can't be written.
    """
    targets = []
    for name, target in {"csv": csv, "parquet": parquet}.items():
        if target is not None:
            targets.append(check_target(name, target, [f".{name}"]))
    classifier, settings = _load(model, fit)
    found = _find_images(files, on_message)
    known = describe(classifier)
    if coverage is not None and not isinstance(classifier, FileClassifier):
        _report_range(classifier, coverage, on_message)
    top = min(top, len(known.class_names))
    several = known.thresholds is not None
    columns = {"path": 0, **({"labels": 0} if several else {}), "label": 0, "probability": 1}
    for rank in range(2, top + 1):
        columns |= {f"label_{rank}": 0, f"probability_{rank}": 1}
    has_score = known.has_ood_score
    columns |= {} if coverage is None else {"set": 0}
    columns |= {"ood_score": 1, "is_unlike": YES_NO} if has_score else {}
    settings |= {"top": top, "coverage": coverage, "on_progress": on_progress}
    counted = _Counted()
    with ExitStack() as stack:
        writers = [
            stack.enter_context(open_table(target, {**columns, "problem": 0})) for target in targets
        ]
        for each in predict_files(classifier, found, **settings):
            counted.add(each)
            cells: list[Any] = [cell for pair in each.classes for cell in pair] or [None] * (
                2 * top
            )
            if coverage is not None:
                cells.append(None if each.problem else "|".join(each.prediction_set or ()))
            cells += [each.ood_score, each.is_unlike] if has_score else []
            if several:
                cells.insert(0, None if each.problem else "|".join(each.labels or ()))
            for write in writers:
                write([escape(str(each.path)), *cells, each.problem or None])
            on_prediction(each)
    return counted.describe(targets)


@check_arguments
def write_features(
    model: "str | Path | keras.Model",
    files: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    fit: Fit | None = None,
    on_message: Callable[[str], None] = lambda message: None,
    on_progress: Meter = lambda done, total: None,
) -> WrittenTables:
    """Write the features that a classifier's head reads of image files to a table, a row for each.

    A `.parquet` file has the columns `path`, `features` (a list of numbers) and `problem`; a `.csv`
    file has a column for each feature. Both have a row for an unreadable file, without features. A
    `.npz` file has the arrays `path` and `features`, of the images only.

    Args:
        model: A run's folder, a .keras file, or a classifier.
        files: As for `write_predictions`.
        out: The path of the .parquet (extra `parquet`), .npz or .csv file.
        fit: As for `write_predictions`.
        on_message: As for `write_predictions`.
        on_progress: As for `write_predictions`.

    Raises:
        ConfigError: An argument is wrong.
        DataError: There are no images, or no image can be read.
        MissingExtraError: The extra for Parquet is not installed.
        StoreError: The table can't be written.
    """
    from tlkit.models.inspection import features_of

    target = check_target("out", out, [".parquet", ".npz", ".csv"])
    classifier, settings = _load(model, fit)
    found = _find_images(files, on_message)
    columns = {"path": 0, "features": features_of(classifier).output_shape[-1]}
    is_npz = target.suffix.lower() == ".npz"
    counted = _Counted()
    with open_table(target, columns if is_npz else {**columns, "problem": 0}) as write:
        for each in embed_files(classifier, found, on_progress=on_progress, **settings):
            counted.add(each)
            row = [escape(str(each.path)), each.features]
            if not is_npz:
                write([*row, each.problem or None])
            elif not each.problem:
                write(row)
    return counted.describe([target])


def _find_images(
    files: str | Path | Iterable[str | Path], on_message: Callable[[str], None]
) -> list[Path]:
    found, passed_over = find_images([files] if isinstance(files, str | Path) else files)
    if not found:
        raise DataError(f"`files` must name at least one image, got none. {passed_over}".strip())
    if passed_over:
        on_message(passed_over)
    return found


def _report_range(
    classifier: "keras.Model", coverage: float, on_message: Callable[[str], None]
) -> None:
    from tlkit.evaluation import prediction_sets

    line = prediction_sets.describe_range(classifier, coverage)
    if line is not None:
        on_message(line)


def _load(model: "str | Path | keras.Model", fit: Fit | None) -> tuple[Any, dict[str, Any]]:
    """Return a classifier, and the settings to read images with for it."""
    if not isinstance(model, str | Path):
        return model, {"fit": fit or "squash"}
    if exported.is_exported(model):
        loaded, about = exported.load_exported(model)
        return loaded, {"fit": fit or about.fit, "white": about.white}
    from tlkit.experiments.classifiers import load_classifier

    classifier, experiment = load_classifier(model, data="")
    return classifier, {"fit": fit or experiment.fit, "white": experiment.white}
