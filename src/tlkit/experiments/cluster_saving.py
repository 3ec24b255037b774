"""Save the result of a training on a cluster as a run, with figures of a sample of its images."""

from collections.abc import Callable
from pathlib import Path

from tlkit.data.digests import to_text
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.splits import Split
from tlkit.distributed import drawn_split
from tlkit.distributed.drawn_split import DrawnSplit, Survey
from tlkit.distributed.feature_set import FeatureSet
from tlkit.errors import DataError
from tlkit.evaluation.metrics import Evaluation
from tlkit.experiments import cluster_images, run_saving, split_csv
from tlkit.experiments.cluster_images import ListedImages
from tlkit.experiments.divided_images import DividedImages, keep_problems
from tlkit.experiments.experiment import Experiment
from tlkit.experiments.result import ExperimentResult
from tlkit.experiments.trained import Trained

MAX_LISTED = 200_000
"""The number of images up to which `split.csv` lists all of them."""


def save(
    experiment: Experiment,
    listed: ListedImages,
    split: DrawnSplit,
    *,
    folder: Path,
    sample: ImageDataset,
    features: FeatureSet,
    survey: Survey,
    trained: Trained,
    evaluation: Evaluation,
    command: str,
    on_message: Callable[[object], None],
) -> ExperimentResult:
    """Save the run with its report, and return the result.

    Args:
        experiment: The settings.
        listed: All images.
        split: The rule that drew the part of each image.
        folder: The run's folder, which this process holds.
        sample: Some training images.
        features: The features of all images.
        survey: The number of images in each part, and samples of them.
        trained: The classifier and the record of its training.
        evaluation: The metrics of all test images.
        command: The command that repeats the run.
        on_message: Is called with the reason if the report can't be written.

    Raises:
        DataError: An image has changed since its features were computed.
        StoreError: The folder can't be written.
    """
    test = _read_tested(experiment, listed, survey)
    total = sum(survey.total(part) for part in survey.counts)
    divided = DividedImages(
        name=listed.name,
        counts=survey.class_counts,
        num_sampled=None if len(test) == survey.total("test") else len(test),
        is_listed=total <= MAX_LISTED,
        problems=keep_problems((*listed.problems, *features.problems)),
        own_parts=tuple(part for _, part in listed.folders),
        features={
            "folder": features.folder,
            "engine": features.engine,
            "dtype": features.dtype,
            "num_computed": features.num_computed,
            "seconds": features.seconds,
            "num_workers": len(features.workers),
        },
    )
    result = ExperimentResult(
        folder=folder,
        split=Split(train=sample, validation=sample.take([]), test=test),
        trained=trained,
        evaluation=evaluation,
        divided=divided,
    )
    run_saving.save(
        experiment,
        test,
        result,
        command=command,
        joules=None,
        on_message=on_message,
        listing=_list_split(features, split, survey, whole=divided.is_listed),
    )
    return result


def _read_tested(experiment: Experiment, listed: ListedImages, survey: Survey) -> ImageDataset:
    """Return the sample of the test images, in the order of its features."""
    drawn = survey.samples["test"]
    paths, labels = drawn.paths.tolist(), drawn.labels.tolist()
    test = cluster_images.read_images(experiment, listed, paths, labels)
    if [scan.digest for scan in test.scans] != to_text(drawn.contents):
        raise DataError("The test images must not change during training, got others. Start again.")
    return test


def _list_split(features: FeatureSet, split: DrawnSplit, survey: Survey, *, whole: bool) -> str:
    """Return the text of `split.csv`: all images, or if there are too many the test sample."""
    if whole:
        return split_csv.format_rows(drawn_split.list_rows(features, split), with_labels=True)
    drawn = survey.samples["test"]
    rows = zip(drawn.paths, to_text(drawn.contents), drawn.labels, strict=True)
    return split_csv.format_rows((("test", *row) for row in rows), with_labels=True)
