"""The images of an experiment on a cluster: listed in files, and read only as far as a sample."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from tlkit.data import naming, reading
from tlkit.data.decoding import Picture
from tlkit.data.digests import to_numbers
from tlkit.data.folder_listing import list_by_class, list_parts
from tlkit.data.image_dataset import ImageDataset, Problem
from tlkit.data.listings import PARTS, Listing, read_listing
from tlkit.data.reading import ReadOptions
from tlkit.distributed.drawn_split import DrawnSplit
from tlkit.distributed.manifest import Manifest, find_folder, open_manifest
from tlkit.distributed.manifest_files import ManifestSurvey, survey_manifest, write_manifest
from tlkit.distributed.storage import Location, explain, locate
from tlkit.errors import Argument, ConfigError, DataError, StoreError
from tlkit.evaluation.probing.linear_probe import SAMPLE
from tlkit.experiments import run_files, split_csv
from tlkit.experiments.experiment import Experiment
from tlkit.experiments.loading import image_size_of, load_images

_MAX_GONE = 1 - 1e-9  # a run's images that are missing are reported as such
_MIN_SHARE = 0.1  # of the training images, to draw a sample of them
_SPARE = 1.2  # more images than a sample needs, since some are unreadable


@dataclass(frozen=True, kw_only=True, eq=False)
class ListedImages:
    """The images of an experiment, as a manifest.

    Attributes:
        name: The name of the images in a report.
        place: The manifest's file or folder.
        manifest: The manifest.
        survey: The number of images, and some drawn at random.
        split: The rule that draws the part of each image; parts of the user's own stay.
        problems: Files and folders that are not in the manifest, and why.
        notices: Assumptions, and files that were passed over.
        folders: The parts that the user made, as for `DrawnSplit`.
    """

    name: str
    place: Location
    manifest: Manifest
    survey: ManifestSurvey
    split: DrawnSplit
    problems: tuple[Problem, ...] = ()
    notices: tuple[str, ...] = ()
    folders: tuple[tuple[str, str], ...] = ()

    @property
    def num_training(self) -> int:
        """About how many training images there are; the part of each is not drawn yet."""
        share = 1 - self.split.test - self.split.validation
        return round(share * self.survey.num_eligible)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in order.

        Raises:
            DataError: There are fewer than two.
        """
        place = str(self.manifest.folder)
        return reading.find_class_names(self.survey.class_counts, None, place)

    def __str__(self) -> str:
        lines = [
            f"{self.name}: {self.survey.num_rows:,} images of {len(self.class_names):,} classes, "
            "listed and not loaded",
            *self.notices,
        ]
        return "\n".join(lines)


def _draw_split(experiment: Experiment, folders: tuple[tuple[str, str], ...]) -> DrawnSplit:
    """Return the rule that draws the part of each image; parts of the user's own stay.

    Raises:
        ConfigError: The shares leave no training images.
    """
    own = {part for _, part in folders}
    test = 0.0 if "test" in own else experiment.test
    validation = 0.0 if "validation" in own else experiment.validation
    if test + validation >= 1:
        raise ConfigError(
            Argument("test"),
            " and ",
            Argument("validation"),
            f" must be below 1 together, to leave training images, got {test:g} and "
            f"{validation:g}.",
        )
    return DrawnSplit(
        test=test,
        validation=validation,
        seed=experiment.seed,
        folders=tuple(each for each in folders if each[1] != "train"),
    )


def list_images(experiment: Experiment, place: Location) -> ListedImages:
    """List the images of an experiment, without reading them.

    A folder is listed class by class into a manifest; memory holds the paths of one class, and a
    sample.

    Args:
        experiment: The settings.
        place: Where to write the manifest of a folder of classes.

    Raises:
        ConfigError: There are no such images, or they are no folder of classes and no Parquet; or
            the shares leave no training images.
        DataError: There are no images, or a class can't be named.
        StoreError: The manifest can't be written, or not be read again.
    """
    if _is_manifest(experiment.data):
        split, place = _draw_split(experiment, ()), locate("data", experiment.data)
        try:
            manifest, survey = _read_manifest(
                place,
                None,
                split,
                path_column=experiment.path_column,
                label_column=experiment.label_column,
                outside_paths=experiment.outside_paths,
            )
        except ConfigError as error:
            raise error.rename_arguments({"manifest": "data"}) from error
        name = _name(experiment)
        return ListedImages(name=name, place=place, manifest=manifest, survey=survey, split=split)
    return _list_folder(experiment, place)


def _list_folder(experiment: Experiment, place: Location) -> ListedImages:
    """Write the manifest of a folder of classes, and read it."""
    problems, notices = list[Problem](), list[str]()
    try:
        folders = list_parts(Path(experiment.data), split=experiment.split)
        split = _draw_split(experiment, folders)
        write_manifest(place, _list_classes(experiment, problems, notices))
    except ConfigError as error:
        raise error.rename_arguments({"folder": "data"}) from error
    root = locate("data", experiment.data)
    try:
        manifest, survey = _read_manifest(place, root, split)
    except ConfigError as error:  # its message names a manifest, and the user gave none
        reason = explain(error.__cause__) if error.__cause__ else "it is gone"
        raise StoreError(f"Can't read the list of images '{place}': {reason}.") from error
    return ListedImages(
        name=_name(experiment),
        place=place,
        manifest=manifest,
        survey=survey,
        split=split,
        problems=tuple(problems),
        notices=tuple(notices),
        folders=folders,
    )


def _read_manifest(
    place: Location, folder: Location | None, split: DrawnSplit, **columns: Any
) -> tuple[Manifest, ManifestSurvey]:
    """Open a manifest and draw enough of its images for a sample of the training images."""
    how = {"path_column": "path", "label_column": "label", "outside_paths": False, **columns}
    manifest = open_manifest(place, folder=folder, **how)
    share = max(1 - split.test - split.validation, _MIN_SHARE)
    survey = survey_manifest(
        manifest,
        max_drawn=int(_SPARE * SAMPLE / share),
        seed=split.seed,
        excluded=tuple(start for start, _ in split.folders),
    )
    return manifest, survey


def _is_manifest(data: str) -> bool:
    """Return whether images are listed in Parquet files."""
    path = Path(data)
    if "://" in data or (data.endswith(".parquet") and not path.is_dir()):
        return True
    if not path.is_dir():
        raise ConfigError(
            Argument("data"),
            " must be a folder of classes, or a Parquet file of paths and labels or a folder of "
            "them, to train with ",
            Argument("cluster"),
            f", got {data!r}: {'it is neither' if path.exists() else 'no such file'}.",
        )
    inside = path.rglob("*") if path.suffix == ".parquet" else path.iterdir()
    return any(file.suffix == ".parquet" for file in inside if file.is_file())


def _list_classes(
    experiment: Experiment, problems: list[Problem], notices: list[str]
) -> Iterator[tuple[str, str]]:
    """Yield path and class of each image of a folder; add to problems and notices."""
    num_listed = 0
    for listing in list_by_class(Path(experiment.data), split=experiment.split):
        problems += listing.problems
        notices += listing.notices
        for path, label in zip(listing.paths, listing.labels, strict=True):
            if fault := naming.find_fault(path):
                problems.append(Problem(path=naming.escape(path), reason=fault))
            else:
                num_listed += 1
                yield path, str(label)
    if not num_listed:
        raise DataError(
            Argument("data"),
            f" must contain images, got none in {experiment.data!r}.",
        )


def read_training_sample(experiment: Experiment, listed: ListedImages) -> ImageDataset:
    """Return at most 5,000 training images, drawn at random, in the order of the manifest.

    Raises:
        DataError: Too few of the images that were drawn can be read.
    """
    drawn, split, limit = listed.survey, listed.split, experiment.max_unreadable
    how: dict[str, Any] = {"unreadable": "skip", "max_unreadable": limit}
    dataset = read_images(experiment, listed, drawn.paths, drawn.labels, **how)
    contents = to_numbers(scan.digest for scan in dataset.scans)
    training = np.flatnonzero(split.divide(contents, dataset.paths) == PARTS.index("train"))
    ranks = split.rank(contents[training])
    return dataset.take(np.sort(training[np.argsort(ranks, kind="stable")[:SAMPLE]]))


def read_images(
    experiment: Experiment,
    listed: ListedImages,
    paths: Sequence[str],
    labels: Sequence[str],
    **how: Any,
) -> ImageDataset:
    """Return some images as a dataset, read as on one machine.

    Args:
        experiment: The settings.
        listed: All images.
        paths: The paths of the images, as in the manifest.
        labels: Their class names.
        how: Settings of `ReadOptions` that differ from those of the experiment.

    Raises:
        DataError: Images can't be read.
    """
    manifest = listed.manifest
    faults = {at: manifest.find_fault(path) for at, path in enumerate(paths)}
    listing = Listing(
        fetch=lambda at: _fetch(manifest.folder.join(paths[at])),
        labels=labels,
        paths=paths,
        faults={at: fault for at, fault in faults.items() if fault},
    )
    options = replace(read_options(experiment, listed.class_names), **how)
    return read_listing(listing, name=listed.name, place=experiment.data, options=options)


def read_options(experiment: Experiment, class_names: Sequence[str]) -> ReadOptions:
    """Return how the images of an experiment are read.

    Args:
        experiment: The settings.
        class_names: The names of the classes.
    """
    return ReadOptions(
        image_size=image_size_of(experiment),
        fit=experiment.fit,
        channels=experiment.channels,
        unreadable=experiment.unreadable,
        max_unreadable=experiment.max_unreadable,
        class_names=class_names,
        white=experiment.white,
    )


def _fetch(file: Location) -> Picture:
    return Path(file.text) if file.is_local else file.read()


def load_run_images(experiment: Experiment, run: Path) -> ImageDataset:
    """Return the images of a run; of a run on a cluster only those that its `split.csv` lists.

    Args:
        experiment: The settings of the run.
        run: The run's folder.

    Raises:
        ConfigError: There is no such file, or no such images.
        DataError: Images can't be read.
    """
    if experiment.cluster is None:
        return load_images(experiment)
    rows = run_files.read_csv(run / split_csv.NAME, "part", "path", "digest", "label")
    folder = _find_folder(experiment)
    listing = Listing(
        fetch=lambda at: _fetch(folder.join(rows[at]["path"])),
        labels=[row["label"] for row in rows],
        paths=[row["path"] for row in rows],
    )
    names = naming.sort(row["label"] for row in rows)
    options = replace(read_options(experiment, names), unreadable="skip", max_unreadable=_MAX_GONE)
    name = _name(experiment)
    return read_listing(listing, name=name, place=experiment.data, options=options)


def _find_folder(experiment: Experiment) -> Location:
    """Return the folder that paths of images start from.

    Raises:
        ConfigError: The bucket can't be reached.
    """
    place = locate("data", experiment.data)
    try:
        return find_folder(place)
    except OSError as error:
        raise ConfigError(
            Argument("data"), f" must be readable, got {str(place)!r}: {explain(error)}."
        ) from error


def _name(experiment: Experiment) -> str:
    """Return the name of the images in a report: of the folder, or of the table without ending."""
    path = PurePosixPath(locate("data", experiment.data).text)
    return path.stem if path.suffix == ".parquet" else path.name
