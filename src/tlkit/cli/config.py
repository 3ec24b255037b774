"""What the words of a command ask for: an experiment, or a classifier and its images."""

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from tlkit._internal import arguments, optional
from tlkit.cli.words import REQUIRED
from tlkit.errors import Argument, ConfigError
from tlkit.experiments.experiment import Experiment
from tlkit.models import saving


def completed(options: argparse.Namespace) -> argparse.Namespace:
    """Return the options with what the config says of the rest, else with their fallbacks.

    Raises:
        ConfigError: The config is none, or says what the command does not know; or something must
            be said and is not.
    """
    given = dict(vars(options))
    said = {} if given.get("config") is None else _said(given["config"], options)
    for name, option in options.known.items():
        if name in given:
            continue
        if name in said:
            given[name] = said[name]
        elif option.fallback is REQUIRED:
            what = option.action.option_strings[0] if option.action.option_strings else name
            raise ConfigError(f"`{what}` must be given, or be in `--config`: {option.action.help}.")
        elif option.fallback != argparse.SUPPRESS:
            given[name] = option.fallback
    return argparse.Namespace(**given)


def _said(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return what a config says of a command's options; of a run's own, what concerns it."""
    known = options.known
    values = _config(path)
    if "experiment" in values:
        run = str(path.parent)
        values = {"model": run, "run": run, **Experiment.values_of_run(values)}
        values = {name: value for name, value in values.items() if name in known}
    for name in values:
        if name not in known or name == "config":
            names = sorted(set(known) - {"config"})
            raise ConfigError(
                f"`config` must hold options of `tlkit {options.command}`, got {name!r}; it has "
                f"{names}.{arguments.nearest(name, names)}"
            )
    own = {field.name for field in fields(Experiment)}  # which checks its values itself
    return {
        name: value if name in own else _typed(name, known[name].action, value)
        for name, value in values.items()
    }


def _typed(name: str, action: argparse.Action, value: Any) -> Any:
    """Return a config's value as the command line would have read it."""
    if action.nargs in ("*", "+"):
        if not isinstance(value, list):
            raise ConfigError(f"`{name}` must be a list, got {value!r}.")
        return [_one(name, action, each) for each in value]
    return None if value is None else _one(name, action, value)


def _one(name: str, action: argparse.Action, value: Any) -> Any:
    kind: Any = bool if isinstance(action.const, bool) else action.type or str
    wanted: Any = {float: (int, float), int: int, bool: bool}.get(kind, str)
    if not isinstance(value, wanted) or (kind is not bool and isinstance(value, bool)):
        raise ConfigError(Argument(name), f" must be of type {kind.__name__}, got {value!r}.")
    if action.choices is not None:
        arguments.one_of(name, value, tuple(action.choices))
    return kind(value)


def experiment(options: argparse.Namespace) -> Experiment:
    """Return the experiment that completed options ask for."""
    given = vars(options)
    names = [field.name for field in fields(Experiment)]
    return Experiment.of({name: given[name] for name in names if name in given})


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"`config` must be a file, got {str(path)!r}: no such file.")
    broken: tuple[type[Exception], ...] = (ValueError,)
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix in (".yaml", ".yml"):
            yaml = optional.require("yaml", extra="yaml")
            broken = (ValueError, yaml.YAMLError)
            values = yaml.safe_load(text)
        else:
            values = json.loads(text)
    except broken as error:
        raise ConfigError(f"`config` must be JSON, or YAML in a .yaml file: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"`config` must hold names and values, got {type(values).__name__}.")
    return values


def model(options: argparse.Namespace) -> tuple[Any, Experiment]:
    """Return a classifier, and how its images were read where its run says so."""
    path = Path(options.model)
    if not (path / "model.keras").is_file() and path.suffix != ".keras":
        why = "there is no model.keras in it" if path.is_dir() else "no such folder"
        raise ConfigError(
            f"`model` must be a run's folder or a .keras file, got {options.model!r}: {why}."
        )
    folder = path if path.is_dir() else path.parent
    config = _config(folder / "config.json") if (folder / "config.json").is_file() else {}
    values = (
        Experiment.values_of_run(config) if "experiment" in config else {}
    )  # `tlkit train` wrote it
    loaded = saving.load(path / "model.keras" if path.is_dir() else path)
    given = {
        name: value
        for name, value in vars(options).items()
        if name in {field.name for field in fields(Experiment)}
    }
    shape = loaded.input_shape
    taken: dict[str, Any] = {"image_size": shape[1], "channels": shape[3] if len(shape) == 4 else 1}
    if Path(given.get("data", "")).is_dir():  # which has no columns, whatever was trained on
        taken |= {
            field.name: field.default
            for field in fields(Experiment)
            if field.name.endswith("_column")
        }
    values = {**values, **taken, **given}
    return loaded, Experiment.of(values)
