"""A run's files without the paths of this machine, so that they can be published."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from tlkit.experiments.experiment import PLACES

_ABSOLUTE = re.compile(
    r"(?<![\w.:/\\~-])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\'\"`,;|<>()]+[/\\])+[^\s/\\'\"`,;|<>()]*"
)


def find_places(config: Mapping[str, Any]) -> list[str]:
    """Return the paths of the user that a run's `config.json` names, the longest first.

    Args:
        config: The content of `config.json`.
    """
    found: set[str] = set()
    for part in (config.get("experiment"), config.get("making")):
        values = part if isinstance(part, Mapping) else {}
        named = [values.get(name) for name in (*PLACES, "weights", "backbone")]
        named += values.get("add") or []
        found |= {str(place) for place in named if place and _is_path(str(place))}
    return sorted(found, key=len, reverse=True)


def remove_paths(content: str, places: Iterable[str]) -> str:
    """Return a text in which each path of a folder or file is replaced by its last part.

    Args:
        content: The text.
        places: Known paths, which may contain spaces; other absolute paths are found in the text.

    Examples:
        >>> remove_paths("train '/home/me/my photos' --out /tmp/run", ["/home/me/my photos"])
        "train 'my photos' --out run"
        >>> remove_paths("1/2 of https://a.org/b/c", [])
        '1/2 of https://a.org/b/c'
    """
    for place in places:
        content = content.replace(place, _last_name(place))
    return _ABSOLUTE.sub(lambda found: _last_name(found[0]), content)


def clean_config(config: Mapping[str, Any], places: Iterable[str]) -> dict[str, Any]:
    """Return the content of a `config.json` without paths of this machine.

    Args:
        config: The content.
        places: The result of `find_places` for this content.
    """
    known = list(places)
    return {name: _clean(value, known) for name, value in config.items()}


def clean_json(content: str, places: Iterable[str]) -> str:
    """Return a JSON file without paths of this machine; a file without such paths is unchanged."""
    values = json.loads(content)
    cleaned = clean_config(values, places) if isinstance(values, dict) else values
    return content if cleaned == values else json.dumps(cleaned, indent=2) + "\n"


def _clean(value: Any, places: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {name: _clean(each, places) for name, each in value.items()}
    if isinstance(value, list):
        return [_clean(each, places) for each in value]
    if not isinstance(value, str):
        return value
    is_path = PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute()
    return _last_name(value) if is_path else remove_paths(value, places)


def _is_path(value: str) -> bool:
    """Return whether a value is a path with folders, and not a preset such as "hf://a/b"."""
    return "://" not in value and bool(re.search(r"[/\\]", value))


def _last_name(path: str) -> str:
    return PureWindowsPath(path).name or "."


def find_leftovers(content: bytes, places: Iterable[str]) -> list[str]:
    """Return the paths of this machine in a file: known ones, and the home folder.

    Args:
        content: The content of the file.
        places: The result of `find_places`.
    """
    home = str(Path.home())
    known = [*places, *([home] if len(PurePosixPath(home).parts) > 2 else [])]
    absolute = [each for each in known if Path(each).is_absolute()]
    return [each for each in absolute if each.encode() in content]
