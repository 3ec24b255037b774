"""Put measured tables into the pages that show them."""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tlkit

RESULTS = "results"


def insert(page: Path, text: str, mark: str = RESULTS) -> None:
    """Replace what stands between two comments of a page: `mark`, and `end of mark`.

    Raises:
        ValueError: The page has not each comment once, in order.
    """
    start, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->\n"
    content = page.read_text("utf-8")
    once = content.count(start) == content.count(end) == 1
    if not once or content.index(end) < content.index(start):
        raise ValueError(f"{page} must have {start!r} and then {end!r}, once each.")
    before, rest = content.split(start)
    page.write_text(f"{before}{start}\n{text}\n{end}{rest.split(end)[1]}", "utf-8")


def parser(about: str, name: str) -> argparse.ArgumentParser:
    """Return a parser of where the data sets are, and where results and finished parts go."""
    made = argparse.ArgumentParser(description=about.splitlines()[0])
    made.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    made.add_argument("--out", type=Path, default=Path(f"docs/results/{name}.json"))
    work = Path(tempfile.gettempdir()) / f"tlkit-{name.replace('_', '-')}"
    made.add_argument("--work", type=Path, default=work)
    return made


def kept(path: Path, measure: Callable[[], Any]) -> Any:
    """Return what was measured before, or measure it now."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(measure()))
        print(path.stem, path.read_text(), flush=True)
    return json.loads(path.read_text())


def publish(page: Path, out: Path, rows: Any, text: str, mark: str = RESULTS) -> None:
    """Print a table, put it into its page, and its figures beside the versions they came from."""
    print(text)
    record = {"rows": rows, "environment": tlkit.experiments.run_folder.environment()}
    out.write_text(json.dumps(record, indent=1) + "\n")
    insert(page, text, mark)
