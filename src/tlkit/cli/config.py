"""Options from a config file."""

import json
from pathlib import Path
from typing import Any

import cyclopts
from cyclopts.argument import ArgumentCollection
from cyclopts.config import Dict

from tlkit._internal import optional, regular_files
from tlkit._internal.text import show
from tlkit.errors import Argument, ConfigError
from tlkit.experiments.experiment import settings_of_run

_MAX_BYTES, _MAX_YAML_BYTES = 64 * 2**20, 2**20
_MAX_DEPTH = 20


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
    is_yaml = path.suffix in (".yaml", ".yml")
    why = regular_files.find_obstacle(path)
    if why:
        raise ConfigError(wrong, f" must be a file, got {show(str(path))}: {why}.")
    try:
        text = regular_files.read_text(path, max_bytes=_MAX_YAML_BYTES if is_yaml else _MAX_BYTES)
        values = _parse_yaml(text) if is_yaml else json.loads(text, object_pairs_hook=_to_dict)
    except RecursionError as error:
        raise ConfigError(wrong, f" must not be nested deeply, as {str(path)!r} is.") from error
    except (OSError, ValueError) as error:
        reason = regular_files.reason(error) if isinstance(error, OSError) else error
        raise ConfigError(
            wrong, f" must be JSON, or YAML in a .yaml file, got {str(path)!r}: {reason}"
        ) from error
    if not isinstance(values, dict):
        raise ConfigError(wrong, f" must hold names and values, got {type(values).__name__}.")
    return values


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is there twice")
    return values


# A YAML file of 600 bytes can stand for gigabytes, by names for parts that hold names of others.
# So it is read as a list of events first, which takes no more than its length.
def _parse_yaml(text: str) -> Any:
    yaml = optional.require("yaml", extra="yaml")
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(f"it has the alias *{event.anchor}: write its value")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise RecursionError
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if isinstance(root, yaml.MappingNode):
            _to_dict([(str(key.value), None) for key, _ in root.value])
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
