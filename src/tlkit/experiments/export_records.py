"""Record in a run's folder its exports, and the comparison of each file with the classifier."""

import json
import os
from pathlib import Path
from typing import Any

from tlkit.deployment.exporter import Export
from tlkit.experiments import checksums, run_files

FOLDER = "exports"
"""The name of the folder in a run's folder for its exports."""

NAME = "exports.json"


def add(run: Path, export: Export) -> None:
    """Add an export to the list of a run, in place of an earlier one with the same path.

    Args:
        run: The folder of the run.
        export: The export; its path is stored relative to the run if it is inside.
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
    with checksums.replace_listed(run / NAME) as temporary:
        text = json.dumps({"exports": [*others, record]}, indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")


def load(run: Path) -> list[dict[str, Any]]:
    """Return the exports of a run in the order in which they were written.

    Raises:
        ConfigError: The file that lists them is damaged.
    """
    path = run / NAME
    if not os.path.lexists(path):
        return []
    found = run_files.read_json(path, "exports")
    with run_files.explain_damage(path):
        return [{**each, "file": str(each["file"])} for each in found["exports"]]
