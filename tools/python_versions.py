"""Print the supported Python versions as a JSON list, for the matrix of CI.

    python tools/python_versions.py

They are written once, as classifiers in `pyproject.toml`.
"""

import json
import tomllib
from pathlib import Path

_PREFIX = "Programming Language :: Python :: 3."


def list_versions(pyproject: str) -> list[str]:
    """Return the versions that the classifiers of a `pyproject.toml` name.

    Examples:
        >>> list_versions('project.classifiers = ["Programming Language :: Python :: 3.12"]')
        ['3.12']
    """
    classifiers = tomllib.loads(pyproject)["project"]["classifiers"]
    return [f"3.{each.removeprefix(_PREFIX)}" for each in classifiers if each.startswith(_PREFIX)]


if __name__ == "__main__":
    path = Path(__file__).parent.parent / "pyproject.toml"
    print(json.dumps(list_versions(path.read_text("utf-8"))))
