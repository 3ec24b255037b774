"""The images of a run, found again and divided into the run's parts."""

from pathlib import Path

import numpy as np

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.splits import Split
from tlkit.errors import Argument, ConfigError, DataError
from tlkit.experiments import folds, run_files, split_csv
from tlkit.experiments.cluster_images import load_run_images
from tlkit.experiments.divided_images import DividedImages
from tlkit.experiments.experiment import Experiment, settings_of_run


@check_arguments
def read_split(run: str | Path) -> Split:
    """Return the images of a run as it split them; with folds, as both training and test images.

    Of a run on a cluster whose images are too many to be listed, these are a sample of the test
    images only; see `find_unlisted`.

    Args:
        run: The run's folder; its images must not have been moved or changed.

    Raises:
        ConfigError: The folder is not a run.
        DataError: The images were moved or changed.
    """
    folder = arguments.path("run", run)
    file = folder / "config.json"
    config = run_files.read_json(file) if file.is_file() else {}
    if "experiment" not in config:
        raise ConfigError(f"`run` must be a run that `tlkit train` wrote, got {str(run)!r}.")
    with run_files.explain_damage(file):
        experiment = Experiment.from_dict(settings_of_run(config))
    images = load_run_images(experiment, folder)
    if not experiment.folds:
        return split_csv.load_split(images, folder / split_csv.NAME)[1]
    source, _ = folds.load(images, folder)
    return Split(train=source, validation=source.take([]), test=source)


@check_arguments
def load_test_images(run: str | Path) -> ImageDataset | None:
    """Return the test images of a run, or its validation images; None if it has neither.

    Args:
        run: As for `read_split`.

    Raises:
        ConfigError: The folder is not a run.
        DataError: The images were moved or changed.
    """
    return take_held_out(read_split(run))


@check_arguments
def take_held_out(split: Split) -> ImageDataset | None:
    """Return the test images of a split, or its validation images; None if it has neither."""
    test = split.test if len(split.test) else split.validation
    return test if len(test) else None


@check_arguments
def find_unlisted(run: str | Path) -> DividedImages | None:
    """Return the counts of a run's images if they are too many to be listed; otherwise None.

    The `split.csv` of such a run, which was trained on a cluster, lists a sample of its test images
    and nothing else.

    Args:
        run: The run's folder.

    Raises:
        ConfigError: The run's config.json is damaged.
    """
    file = Path(run) / "config.json"
    config = run_files.read_json(file) if file.is_file() else {}
    with run_files.explain_damage(file):
        found = (config.get("making") or {}).get("divided")
        divided = None if found is None else DividedImages.from_dict(found)
    return None if divided is None or divided.is_listed else divided


def _require_listed(model: str | Path, part: str) -> None:
    """Refuse a part of which a run's `split.csv` lists only a sample, or nothing."""
    file = split_csv.find(model)
    found = None if file is None else find_unlisted(file.parent)
    if found is None or (part == "test" and found.num_sampled is None):
        return
    listed = f"{found.num_sampled:,}" if found.num_sampled is not None else "the"
    raise ConfigError(
        Argument("part"),
        f" must be left out for this run: it has {sum(found.num_images.values()):,} images, and "
        f"its {split_csv.NAME} lists only {listed} test images. Name images that it was not "
        "trained on instead.",
    )


@check_arguments
def take_part(model: str | Path, dataset: ImageDataset, part: str) -> ImageDataset:
    """Return the images of a dataset that are in one part of a run's split, by their content.

    Args:
        model: The run's folder, its classifier, or a file exported from it.
        dataset: The images, in any folder.
        part: "train", "validation" or "test".

    Raises:
        ConfigError: The run's split is unknown, has no such part, or lists only a sample of it.
        DataError: Some images of the part are missing or have changed.
    """
    digests = split_csv.list_part(model, part)
    if digests is None:
        raise ConfigError(
            Argument("part"),
            f" needs the run of the classifier, with its {split_csv.NAME}; none belongs to "
            f"{str(model)!r}. Leave ",
            Argument("part"),
            " out, and take images that it was not trained on.",
        )
    _require_listed(model, part)
    if not digests:
        raise ConfigError(Argument("part"), f" {part!r} is empty in the run's {split_csv.NAME}.")
    found = split_csv.list_digests(dataset)
    missing = digests - {*found}
    if missing:
        raise DataError(
            f"The run's {part} images must all be there, got {len(missing):,} of "
            f"{len(digests):,} missing or changed."
        )
    return dataset.take(np.flatnonzero([digest in digests for digest in found]))
