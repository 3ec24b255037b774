"""Load the images that an experiment names, split them, and read image files to classify."""

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

from tlkit._internal import arguments
from tlkit.data import decoding, manifests, naming, scanning
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.image_files import describe_others, divide
from tlkit.data.image_files import find_files as find_in_folder
from tlkit.data.image_folders import from_folder, from_manifest
from tlkit.data.lazy_images import LazyImages
from tlkit.data.splits import Split, split
from tlkit.errors import Argument, ConfigError
from tlkit.experiments.experiment import Experiment
from tlkit.models import backbones

WEIGHTS: tuple[str, ...] = get_args(backbones.PretrainedWeights)
_USUAL_SIZE = 160


def resolve(experiment: Experiment) -> Experiment:
    """Return an experiment with the size of its images; refuse a training that cannot start.

    Raises:
        ConfigError: The weights are neither a known name nor a file, or `image_size` is too small.
    """
    if experiment.weights not in WEIGHTS and not Path(experiment.weights).is_file():
        raise ConfigError(
            Argument("weights"),
            f" must be one of {list(WEIGHTS)} or a file, got {experiment.weights!r}."
            f"{arguments.nearest(experiment.weights, WEIGHTS)}",
        )
    backbone = backbones.get(experiment.backbone)
    if experiment.weights == "starter" and backbone.name != "mobilenet_v2":
        raise ConfigError(
            Argument("weights"),
            f" must be imagenet or a file for {backbone.name}, got starter, of mobilenet_v2.",
        )
    height, width = image_size_of(experiment)
    if min(height, width) < backbone.min_size:
        raise ConfigError(
            Argument("image_size"),
            f" must be at least {backbone.min_size} for {backbone.name}, got {min(height, width)}.",
        )
    return replace(experiment, image_size=height)


def image_size_of(experiment: Experiment) -> tuple[int, int]:
    """Return the height and width of an experiment's images: by default, those of pretraining.

    Of the several sizes that MobileNet and MobileNetV2 have weights for, the default is 160.

    Raises:
        ConfigError: The backbone is unknown.

    Examples:
        >>> image_size_of(Experiment("photos")), image_size_of(Experiment("a", backbone="xception"))
        ((160, 160), (299, 299))
    """
    size = experiment.image_size
    if size is None:
        spec = backbones.get(experiment.backbone)
        size = _USUAL_SIZE if _USUAL_SIZE in spec.weight_sizes else spec.default_size
    return arguments.size("image_size", size)


def load_images(
    experiment: Experiment, *, class_names: Sequence[str] | None = None
) -> ImageDataset:
    """Return the experiment's images; the files are checked now and decoded when needed.

    Args:
        experiment: Where the images are and how to read them.
        class_names: As for `tlkit.sources.from_folder`.

    Raises:
        ConfigError: `data` is neither a folder nor a table, or columns are named for a folder.
        DataError: Some files are damaged or the classes are wrong; the message lists the problems.
    """
    how: dict[str, Any] = {
        "image_size": image_size_of(experiment),
        "channels": experiment.channels,
        "fit": experiment.fit,
        "unreadable": experiment.unreadable,
        "max_unreadable": experiment.max_unreadable,
        "white": experiment.white,
        "class_names": class_names,
    }
    path = Path(experiment.data)
    if not path.exists() or not (path.is_dir() or path.suffix.lower() in manifests.SUFFIXES):
        why = "it is neither" if path.exists() else "no such file"
        raise ConfigError(
            "`data` must be a folder with a subfolder for each class, or a .csv or .parquet "
            f"table, got {experiment.data!r}: {why}."
        )
    if path.is_dir():
        _refuse_columns(experiment)
        return from_folder(experiment.data, **how)
    return from_manifest(
        experiment.data,
        path_column=experiment.path_column,
        label_column=experiment.label_column,
        group_column=experiment.group_column,
        **how,
    )


def _refuse_columns(experiment: Experiment) -> None:
    for field in fields(experiment):
        value = getattr(experiment, field.name)
        if field.name.endswith("_column") and value != field.default:
            raise ConfigError(
                Argument(field.name),
                f" can only be used with a table, got {value!r} for a folder, which has no "
                "columns. List the images, their labels and groups in a .csv table.",
            )


def split_images(experiment: Experiment, dataset: ImageDataset) -> Split:
    """Split images into the experiment's training, validation and test images."""
    return split(
        dataset,
        test=experiment.test,
        validation=experiment.validation,
        duplicates=experiment.duplicates,
        stratify=experiment.stratify,
        seed=experiment.seed,
    )


def find_files(paths: Iterable[str | Path]) -> tuple[list[Path], str]:
    """Return the files among the paths and the images in the folders among them.

    The text tells what was passed over in the folders; it is empty if that is nothing.
    """
    found: list[Path] = []
    others: list[Path] = []
    for path in map(Path, paths):
        images, rest = divide(find_in_folder(path)) if path.is_dir() else ([path], [])
        found, others = found + images, others + rest
    return found, describe_others(others) if others else ""


def read_files(
    files: Sequence[Path], experiment: Experiment
) -> tuple[dict[Path, str], list[Path], LazyImages]:
    """Return what is wrong with damaged files, the other files, and the images in these.

    Args:
        files: The image files.
        experiment: How to read them.
    """
    faults = {file: naming.find_fault(str(file)) for file in files}
    named = [file for file in files if not faults[file]]
    scans = dict(zip(named, scanning.scan_files(named, white=experiment.white), strict=True))
    damaged = {file: faults[file] or scans[file].problem for file in files}
    damaged = {file: problem for file, problem in damaged.items() if problem}
    intact = [file for file in files if file not in damaged]
    white = experiment.white
    if white is None:
        bright = [scans[f].brightest for f in intact if scans[f].form == "16-bit grey"]
        white = decoding.find_white(max(bright, default=0))
    size = image_size_of(experiment)
    images = LazyImages(
        lambda index: decoding.decode(
            intact[index], size, fit=experiment.fit, channels=experiment.channels, white=white
        ),
        range(len(intact)),
        shape=(*size, experiment.channels),
    )
    return damaged, intact, images
