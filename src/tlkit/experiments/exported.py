"""Use exported files in place of a run: predict image files with them, and evaluate them."""

from pathlib import Path
from typing import Any

import numpy as np

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit.data.image_dataset import ImageDataset
from tlkit.deployment.metadata import Metadata
from tlkit.deployment.predictor import Predictor
from tlkit.deployment.runtimes import is_web_page, read_keras_metadata
from tlkit.evaluation.file_classifier import FileClassifier
from tlkit.evaluation.metrics import Evaluation, compute_metrics

_SUFFIXES = (".onnx", ".tflite", ".xml")


@check_arguments
def is_exported(model: str | Path) -> bool:
    """Return whether a path is an exported file, not a run or a classifier of tlkit.

    Args:
        model: A path, also one that does not exist.
    """
    path = arguments.path("model", model)
    if path.is_dir():
        return (path / "saved_model.pb").is_file() or is_web_page(path)
    if path.suffix == ".keras" and path.is_file():
        return read_keras_metadata(path) is not None
    return path.suffix.lower() in _SUFFIXES


@check_arguments
def load_exported(model: str | Path) -> tuple[FileClassifier, Metadata]:
    """Return an exported file as a classifier for `tlkit.evaluation.predict_files`, and metadata.

    Args:
        model: As for `tlkit.deployment.Predictor`.

    Raises:
        ConfigError: There is no such file, or tlkit did not write it.
        MissingExtraError: The runtime of its format is not installed.
    """
    predictor = Predictor(arguments.path("model", model))
    about = predictor.metadata
    return FileClassifier(
        class_names=about.class_names,
        thresholds=np.asarray(about.thresholds) if about.multi_label else None,
        input_shape=about.input_shape,
        value_range=about.value_range,
        has_ood_score=about.has_ood_score,
        run=predictor.run,
    ), about


@check_arguments
def evaluate_exported(model: str | Path, data: ImageDataset) -> Evaluation:
    """Return the metrics of an exported file on labelled images.

    Args:
        model: As for `tlkit.deployment.Predictor`.
        data: The images; their classes are matched by name.

    Raises:
        ConfigError: There is no such file, or tlkit did not write it.
        DataError: The images don't fit the file.
        MissingExtraError: The runtime of its format is not installed.
    """
    predictor = Predictor(arguments.path("model", model))
    about = predictor.metadata
    ordered = data.reorder(about.class_names)
    return compute_metrics(
        np.asarray(ordered.labels),
        predictor.predict(ordered).probabilities,
        class_names=about.class_names,
        thresholds=about.thresholds,
    )


@check_arguments
def load_images_for(model: str | Path, **settings: Any) -> ImageDataset:
    """Return labelled images, read in the form that an exported file needs.

    Args:
        model: As for `tlkit.deployment.Predictor`.
        settings: Fields of `tlkit.experiments.Experiment`; `data` is required.

    Raises:
        ConfigError: A setting is wrong.
        DataError: The images are wrong.
    """
    from tlkit.experiments import classifiers, loading  # they import Keras

    about = Predictor(arguments.path("model", model)).metadata
    values = {"fit": about.fit, "white": about.white}
    experiment = classifiers.settings_for(about.input_shape, values, **settings)
    return loading.load_images(experiment, class_names=about.class_names)
