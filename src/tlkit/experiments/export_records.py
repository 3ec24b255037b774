"""Keep in a run's folder what was exported from it, and how each file compared."""

import json
from pathlib import Path
from typing import Any

from tlkit._internal.files import replace_atomically
from tlkit.deployment.exporter import Export
from tlkit.errors import ConfigError

NAME = "exports.json"


def add(run: Path, export: Export) -> None:
    """Add an export to those of a run, in place of an earlier one of the same path.

    Args:
        run: The folder of the run.
        export: The export; its path is kept relative to the run if it is in there.
    """
    path = export.path.resolve()
    is_inside = path.is_relative_to(run.resolve())
    name = path.relative_to(run.resolve()).as_posix() if is_inside else path.name
    facts = export.metadata
    record = {
        "file": name,
        "format": facts.format,
        "precision": facts.precision,
        "proof": export.proof.to_dict(),
    }
    others = [each for each in load(run) if each["file"] != name]
    with replace_atomically(run / NAME) as temporary:
        text = json.dumps([*others, record], indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")


def load(run: Path) -> list[dict[str, Any]]:
    """Return the exports of a run in the order in which they were written.

    Raises:
        ConfigError: The file that lists them is damaged.
    """
    path = run / NAME
    if not path.is_file():
        return []
    try:
        records: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(
            f"{str(path)!r} must list the exports of a run, got a file that is not JSON: {error}. "
            "Delete it, and export again."
        ) from error
    return records
