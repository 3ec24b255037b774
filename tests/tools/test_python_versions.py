import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_ci_tests_every_python_of_the_classifiers_and_the_lowest_one_first() -> None:
    command = [sys.executable, "tools/python_versions.py"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert printed.startswith(f'["{project["requires-python"].removeprefix(">=")}"')
    for classifier in project["classifiers"]:
        *_, version = classifier.split(" :: ")
        if "Python :: 3." in classifier:
            assert f'"{version}"' in printed
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "python=$(python3 tools/python_versions.py)" in workflow
    assert "python: ${{ fromJSON(needs.versions.outputs.python) }}" in workflow


def test_the_citation_names_the_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"\nversion: {project['version']}\n" in (ROOT / "CITATION.cff").read_text()
