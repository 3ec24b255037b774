"""Load the classifier of a run, and the settings to read images with as it was trained."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import keras

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit.errors import Argument, ConfigError
from tlkit.experiments import checksums, run_files
from tlkit.experiments.experiment import Experiment, settings_of_run
from tlkit.experiments.loading import is_of_tables
from tlkit.models import saving
from tlkit.models.inspection import file_shape


@check_arguments
def load_classifier(model: str | Path, **settings: Any) -> tuple[keras.Model, Experiment]:
    """Return a classifier, and the settings to read images with, from its run if it has one.

    Args:
        model: A run's folder, or a .keras file.
        settings: Settings that replace those of the run; `data` is required.

    Raises:
        ConfigError: There is no such classifier, or a setting is wrong.
    """
    path = find_classifier(model)
    classifier = load_model(path / "model.keras" if path.is_dir() else path)
    return classifier, read_settings(path, classifier, **settings)


def find_classifier(model: str | Path) -> Path:
    """Return the path of a run's folder or a .keras file.

    Raises:
        ConfigError: There is no such classifier.
    """
    path = arguments.path("model", model)
    if not (path / "model.keras").is_file() and path.suffix != ".keras":
        why = "it has no model.keras" if path.is_dir() else "no such folder"
        if path.is_file():
            is_exported = path.suffix.lower() in (".onnx", ".tflite", ".xml")
            only = "an exported file can be evaluated and predict, and no more"
            why = only if is_exported else "it is another file"
        raise ConfigError(
            f"`model` must be a run's folder or a .keras file, got {str(model)!r}: {why}."
        )
    return path


@check_arguments
def read_settings(model: str | Path, classifier: keras.Model, **settings: Any) -> Experiment:
    """Return the settings to read labelled images with, from a classifier's run if it has one.

    Args:
        model: The run's folder, or the .keras file.
        classifier: The classifier in this folder or file.
        settings: As for `load_classifier`.

    Raises:
        ConfigError: A setting is wrong.
    """
    path = arguments.path("model", model)
    values = _read_settings(path if path.is_dir() else path.parent)
    return settings_for(file_shape(classifier), values, **settings)


def load_model(file: Path) -> keras.Model:
    """Return the classifier in a file; the file of a run must be unchanged.

    Raises:
        ConfigError: The file is damaged, or was changed.
    """
    if file.name == "model.keras":
        with run_files.explain_damage(file):
            checksums.check(file)
    return saving.load(file)


def settings_for(
    shape: tuple[int | None, ...], values: dict[str, Any], **settings: Any
) -> Experiment:
    """Return the settings to read labelled images with, for a trained classifier.

    Args:
        shape: The shape of a batch of its images.
        values: The settings of its training, as far as they are known.
        settings: As for `load_classifier`.
    """
    if settings.get("data") is None:
        raise ConfigError(
            Argument("data"), " must be given: a folder of images, a table or the name of a set."
        )
    values = {**values, "channels": shape[3] if len(shape) == 4 else 1, "add": ()}
    if None not in shape[1:3]:
        values |= {"image_size": shape[1:3]}
    values |= {"test_data": None, "validation_data": None, "split_column": None, "folds": 0}
    if values.get("split") != "random":  # parts are found in the folders of these images
        values["split"] = "auto"
    if Path(settings["data"]).is_dir():  # a folder has no columns, even if the run read a table
        columns = [field for field in fields(Experiment) if is_of_tables(field.name)]
        values |= {field.name: field.default for field in columns}
    if settings.get("label_columns"):  # replaces the run's columns of labels
        values |= {"label_column": "label", "label_separator": None}
    elif "label_separator" in settings:
        values |= {"label_columns": ()}
    return Experiment.from_dict(values | settings)


def _read_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of the experiment in a run's folder; empty for another folder."""
    file = folder / "config.json"
    if not os.path.lexists(file):
        return {}
    config = run_files.read_json(file)
    with run_files.explain_damage(file):
        return settings_of_run(config) if "experiment" in config else {}
