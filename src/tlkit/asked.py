"""What the words of a command ask for: an experiment, or a classifier and its images."""

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from tlkit import _optional, saving
from tlkit.errors import ConfigError
from tlkit.experiment import Experiment


def experiment(options: argparse.Namespace) -> Experiment:
    """Return the experiment of the config file, with what was said on the command line."""
    values: dict[str, Any] = {}
    if options.config is not None:
        values = _config(options.config)
    given = vars(options)
    names = [field.name for field in fields(Experiment)]
    return Experiment.of({**values, **{name: given[name] for name in names if name in given}})


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"`config` must be a file, got {str(path)!r}: no such file.")
    broken: tuple[type[Exception], ...] = (ValueError,)
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix in (".yaml", ".yml"):
            yaml = _optional.require("yaml", extra="yaml")
            broken = (ValueError, yaml.YAMLError)
            values = yaml.safe_load(text)
        else:
            values = json.loads(text)
    except broken as error:
        raise ConfigError(f"`config` must be JSON, or YAML in a .yaml file: {error}") from error
    found = values
    if isinstance(values, dict):
        found = values.get("experiment", values)  # a run's own config.json has it under this name
    if not isinstance(found, dict):
        raise ConfigError(f"`config` must hold names and values, got {type(found).__name__}.")
    return dict(found)


def model(options: argparse.Namespace) -> tuple[Any, Experiment]:
    """Return a classifier, and how its images were read where its run says so."""
    path = Path(options.model)
    folder = path if path.is_dir() else path.parent
    values = _config(folder / "config.json") if (folder / "config.json").is_file() else {}
    if "data" not in values:  # it is not what `tlkit train` wrote
        values = {}
    loaded = saving.load(path / "model.keras" if path.is_dir() else path)
    given = {
        name: value
        for name, value in vars(options).items()
        if name in {field.name for field in fields(Experiment)}
    }
    shape = loaded.input_shape
    taken: dict[str, Any] = {"size": shape[1], "channels": shape[3] if len(shape) == 4 else 1}
    if Path(given.get("data", "")).is_dir():  # which has no columns, whatever was trained on
        taken |= {
            field.name: field.default
            for field in fields(Experiment)
            if field.name.endswith("_column")
        }
    values = {**values, **taken, **given}
    return loaded, Experiment.of(values)
