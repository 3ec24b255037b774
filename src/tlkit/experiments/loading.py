"""Load the images that an experiment names, and split them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit.data import manifests, naming, part_names
from tlkit.data.drawing import draw_images
from tlkit.data.groups import single_labels
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.image_folders import from_folder, from_manifest
from tlkit.data.joining import join
from tlkit.data.splits import Split, split
from tlkit.data.table_listing import Columns
from tlkit.errors import Argument, ConfigError, TlkitError
from tlkit.experiments import array_data, places
from tlkit.experiments.experiment import Experiment
from tlkit.experiments.one_machine import require_one_machine
from tlkit.models import backbones
from tlkit.models.applications import SPECS
from tlkit.models.backbone_source import BackboneSource

_USUAL_SIZE = 160


@check_arguments
def resolve(
    experiment: Experiment, on_message: Callable[[object], None] = lambda message: None
) -> Experiment:
    """Return an experiment with the size of its images; refuse a training that can't start.

    Args:
        experiment: The settings.
        on_message: Is called with a description of a backbone from a file or a preset.

    Raises:
        ConfigError: There is no such backbone, it has no such weights, it does not take images of
            this size, or its pixel format is unknown.
        DownloadError: The settings of a preset can't be downloaded.
        MissingExtraError: The backbone needs KerasHub, which is not installed.
    """
    if array_data.is_arrays(experiment.data):
        experiment = array_data.resolve(experiment)
    source = describe_backbone(experiment)
    if not experiment.pixels:
        source.require_pixels()
    if source.kind != "keras.applications":
        on_message(str(source))
    return replace(experiment, image_size=source.image_size)


@check_arguments
def describe_backbone(experiment: Experiment) -> BackboneSource:
    """Return the source of an experiment's backbone, and the images that it takes.

    The default size is that at which the weights were trained. MobileNet and MobileNetV2 have
    weights for several sizes; for them it is 160.
    """
    size: Any = experiment.image_size
    spec = SPECS.get(experiment.backbone)
    if size is None and spec is not None and _USUAL_SIZE in spec.weight_sizes:
        size = _USUAL_SIZE
    source = backbones.describe(
        experiment.backbone,
        image_size=size,
        weights=experiment.weights,
        options=experiment.backbone_options,
    )
    if not experiment.pixels:
        return source
    return replace(source, pixels=experiment.pixel_format, pixels_from="as was set")


@check_arguments
def image_size_of(experiment: Experiment) -> tuple[int, int]:
    """Return the height and width of an experiment's images: by default the backbone's own.

    Raises:
        ConfigError: The backbone is unknown.

    Examples:
        >>> image_size_of(Experiment("photos")), image_size_of(Experiment("a", backbone="xception"))
        ((160, 160), (299, 299))
    """
    if experiment.image_size is None:
        return describe_backbone(experiment).image_size
    return arguments.size("image_size", experiment.image_size)


@check_arguments
def load_images(
    experiment: Experiment, *, class_names: Sequence[str] | None = None
) -> ImageDataset:
    """Return the experiment's images; files are checked now and decoded when they are needed.

    Args:
        experiment: The place of the images and the settings to read them with.
        class_names: As for `tlkit.sources.from_folder`.

    Raises:
        ConfigError: `data` is neither a folder nor a table, or columns are named for a folder.
        DataError: Some files are damaged or the classes are wrong; the message lists the problems.
        DownloadError: `data` is the name of a data set that can't be downloaded.
    """
    if array_data.is_arrays(experiment.data):
        return array_data.load(experiment, class_names)
    alone = replace(experiment, add=())
    if any(map(_is_table, experiment.add)) and not (experiment.test_data or _is_table(alone.data)):
        alone = _without_columns(alone)
    source = _load_place(alone, class_names)
    for place in experiment.add:
        places.check_added(place)
        names = naming.sort({*source.class_names, *_list_classes(place, experiment)})
        more = replace(alone, data=place, split="auto", test_data=None, validation_data=None)
        more = replace(more, white=experiment.white or source.white)
        if _is_table(place):
            columns = {name: getattr(experiment, name) for name in _list_columns()}
            more = replace(more, **columns)
        else:
            more = _without_columns(more)
        added = _load_place(more, names if class_names is None else class_names)
        source = join(source, added, folder=place, root=experiment.data)
    return source


@check_arguments
def load_used(experiment: Experiment) -> ImageDataset:
    """Return the images that an experiment trains and tests on; as `load_images`.

    They are all images, except that with folds, which train and test on the same images, a limit
    applies to all of them.
    """
    source = load_images(experiment)
    if not experiment.folds or experiment.limit is None:
        return source
    with _rename("count", "limit"):
        return draw_images(source, experiment.limit, seed=experiment.seed)


def _list_columns() -> dict[str, Any]:
    """Return the settings that name columns of tables, with their defaults."""
    return {each.name: each.default for each in fields(Experiment) if is_of_tables(each.name)}


def _without_columns(experiment: Experiment) -> Experiment:
    return replace(experiment, **_list_columns())


def _list_classes(place: str, experiment: Experiment) -> list[str]:
    """Return the names of the classes in a folder or table."""
    path = Path(place)
    if _is_table(place) and path.is_file():
        column = experiment.label_column
        labels = manifests.read_columns(path, [column])[column]
        return [name for name in naming.from_labels(labels, column=column) if name is not None]
    folders = _list_folders(path)
    if part_names.have_parts([each.name for each in folders]):
        folders = [inner for each in folders for inner in _list_folders(each)]
    return [name for name in (naming.normalize(each.name) for each in folders) if name]


def _list_folders(path: Path) -> list[Path]:
    inside = path.iterdir() if path.is_dir() else ()
    return [each for each in inside if each.is_dir() and not each.name.startswith(".")]


def _load_place(experiment: Experiment, class_names: Sequence[str] | None) -> ImageDataset:
    """Return the images of one folder or table, with those of the experiment's other parts."""
    how: dict[str, Any] = {
        "image_size": image_size_of(experiment),
        "channels": experiment.channels,
        "fit": experiment.fit,
        "unreadable": experiment.unreadable,
        "max_unreadable": experiment.max_unreadable,
        "white": experiment.white,
        "class_names": class_names,
        "test_data": experiment.test_data,
        "validation_data": experiment.validation_data,
    }
    _check_place(experiment)
    if Path(experiment.data).is_dir():
        _refuse_columns(experiment)
        columns = Columns(
            path=experiment.path_column,
            label=experiment.label_column,
            separator=experiment.label_separator,
            labels=experiment.label_columns,
            group=experiment.group_column,
            split=experiment.split_column,
            outside_paths=experiment.outside_paths,
        )
        with _rename("folder", "data"):
            return from_folder(experiment.data, split=experiment.split, columns=columns, **how)
    columns_of_table = {name: getattr(experiment, name) for name in _list_columns()}
    columns_of_table["outside_paths"] = experiment.outside_paths
    with _rename("manifest", "data"):
        return from_manifest(experiment.data, **columns_of_table, **how)


@contextmanager
def _rename(argument: str, setting: str) -> Iterator[None]:
    """Make errors name a setting, not the argument of the function that takes it."""
    try:
        yield
    except TlkitError as error:
        raise error.rename_arguments({argument: setting}) from error


def _check_place(experiment: Experiment) -> None:
    """Check that an experiment's images are in a folder or table that exists."""
    places.check_data(experiment.data)
    if not Path(experiment.data).is_dir() and experiment.split != "auto":
        raise ConfigError(
            Argument("split"),
            f" can only be used with a folder, got {show(experiment.split)} for a table. Name the "
            "column of its parts with ",
            Argument("split_column"),
            ".",
        )


def _refuse_columns(experiment: Experiment) -> None:
    others = filter(None, (experiment.test_data, experiment.validation_data))
    if experiment.split_column is None and any(map(_is_table, others)):
        return
    for field in fields(experiment):
        value = getattr(experiment, field.name)
        if is_of_tables(field.name) and value != field.default:
            raise ConfigError(
                Argument(field.name),
                f" can only be used with a table, got {show(value)} for a folder, which has no "
                "columns. List the images, their labels and groups in a .csv table.",
            )


def _is_table(place: str) -> bool:
    return Path(place).suffix.lower() in manifests.SUFFIXES


@check_arguments
def take_test_images(dataset: ImageDataset) -> ImageDataset:
    """Return the test images of a dataset with the user's own split; without one, all images."""
    tested = np.flatnonzero(np.asarray(dataset.parts) == "test")
    return dataset.take(tested) if len(tested) else dataset


def is_of_tables(setting: str) -> bool:
    """Return whether a setting names columns of a table."""
    return setting.endswith(("_column", "_columns", "_separator"))


@check_arguments
def load_split(experiment: Experiment) -> Split:
    """Return the experiment's training, validation and test images, as `tlkit train` splits them.

    Raises:
        ConfigError: There are no such images, or they can't be split in this way.
        DataError: Some files are damaged; the message lists them.
        DownloadError: `data` is the name of a data set that can't be downloaded.

    Examples:
        >>> print(load_split(Experiment("digits", weights="starter")))
        train 900, validation 100, test 797 (train and test as given, validation taken from train)
    """
    require_one_machine(experiment, "`load_split`")
    ready = resolve(experiment)
    return split_images(ready, load_images(ready))


@check_arguments
def split_images(experiment: Experiment, dataset: ImageDataset) -> Split:
    """Split images into the experiment's training, validation and test images.

    With folds, all images are training images. A limit leaves out training images and, in the same
    proportion, validation images that were taken from these.

    Raises:
        ConfigError: The limit is less than the number of classes.
    """
    parts = _split_all(experiment, dataset)
    if experiment.limit is None:
        return parts
    with _rename("count", "limit"):
        limited = parts.limited(experiment.limit, seed=experiment.seed)
    validation = parts.validation
    if "validation" in parts.own_parts or not len(validation):
        return limited
    share = len(limited.train) / len(parts.train)
    count = max(round(share * len(validation)), len(np.unique(single_labels(validation))))
    return replace(limited, validation=draw_images(validation, count, seed=experiment.seed))


def _split_all(experiment: Experiment, dataset: ImageDataset) -> Split:
    if array_data.is_arrays(experiment.data):
        return array_data.split(experiment, dataset)
    return split(
        dataset,
        test=0 if experiment.folds else experiment.test,
        validation=experiment.validation,
        duplicates=experiment.duplicates,
        stratify=experiment.stratify,
        seed=experiment.seed,
    )
