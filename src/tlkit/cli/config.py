"""Options from a config file."""

import json
from pathlib import Path
from typing import Any

import cyclopts
from cyclopts.argument import ArgumentCollection
from cyclopts.config import Dict

from tlkit._internal import optional
from tlkit.errors import Argument, ConfigError
from tlkit.experiments.experiment import settings_of_run


def fill_from_file(
    app: cyclopts.App, command: tuple[str, ...], options: ArgumentCollection
) -> None:
    """Give options that were not typed the values in the file that `--config` names.

    A run's own config.json holds an experiment; of that, each command takes the settings that it
    has options for.

    Raises:
        ConfigError: The file does not hold names and values.
    """
    tokens = [token for option in options if option.name == "--config" for token in option.tokens]
    if not tokens:
        return
    path = Path(tokens[-1].value)
    values = _load(path)
    of_run = "experiment" in values
    if of_run:
        folder = str(path.parent)
        values = {"model": folder, "run": folder, **settings_of_run(values)}
    fill = Dict(values, source=str(path), use_commands_as_keys=False, allow_unknown=of_run)
    fill(app, command, options)


def _load(path: Path) -> dict[str, Any]:
    wrong = Argument("config")
    if not path.is_file():
        raise ConfigError(wrong, f" must be a file, got {str(path)!r}: no such file.")
    errors: tuple[type[Exception], ...] = (ValueError,)
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix in (".yaml", ".yml"):
            yaml = optional.require("yaml", extra="yaml")
            errors = (ValueError, yaml.YAMLError)
            values = yaml.safe_load(text)
        else:
            values = json.loads(text)
    except errors as error:
        raise ConfigError(wrong, f" must be JSON, or YAML in a .yaml file: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(wrong, f" must hold names and values, got {type(values).__name__}.")
    return values
