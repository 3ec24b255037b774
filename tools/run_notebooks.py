"""Execute notebooks, say what changed in their outputs, and write them as pages of the site.

    python tools/run_notebooks.py docs/notebooks/*.ipynb
    python tools/run_notebooks.py --check docs/notebooks/*.ipynb

Each notebook runs in an empty folder, in a kernel of its own. What its cells print is compared with
what the file shows, numbers aside, and each difference is a line of the output. Then the notebook
is replaced, and beside it the page `<name>.md` with its pictures in `<name>/`. What goes to
standard error, mostly TensorFlow's messages about the machine, is left out. With `--check` nothing
is written, and the exit code is 1 if a cell fails, or no longer shows the same kinds of output.
"""

import argparse
import base64
import difflib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError

_NUMBER = re.compile(r"\d[\d,.]*(?:e[+-]?\d+)?")
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_TAG = re.compile(r"<[^>]+>")
_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3"}


def execute(notebook: Any, *, seconds: int = 600) -> Any:
    """Return a notebook with the outputs of its cells, run in an empty folder.

    Args:
        notebook: The notebook.
        seconds: How long a cell may take.

    Raises:
        CellExecutionError: A cell failed.
        CellTimeoutError: A cell took longer.
    """
    done = nbformat.from_dict(notebook)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            done, timeout=seconds, resources={"metadata": {"path": folder}}, record_timing=False
        ).execute(env=os.environ | _ENVIRONMENT)
    for cell in done.cells:
        if cell.cell_type == "code":
            cell.outputs = _join_lines([each for each in cell.outputs if _is_kept(each)])
            cell.metadata = {}
    return done


def _is_kept(output: Any) -> bool:
    """Return whether an output shows something; a bar that was removed does not."""
    is_error = output.output_type == "stream" and output.name == "stderr"
    return not is_error and any(text.strip() for text in _texts(output).values())


def _join_lines(outputs: list[Any]) -> list[Any]:
    """Return outputs with lines of text in one output, which bars had divided."""
    joined: list[Any] = []
    for output in outputs:
        if joined and output.output_type == joined[-1].output_type == "stream":
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def _texts(output: Any) -> dict[str, str]:
    """Return what an output shows, by its kind."""
    if output.output_type == "stream":
        return {output.name: output.text}
    data = output.get("data", {})
    kind = next((each for each in ("text/html", "image/png", "text/plain") if each in data), None)
    return {} if kind is None else {kind: data[kind]}


def list_kinds(notebook: Any) -> list[list[str]]:
    """Return the kinds of output of each cell."""
    return [
        [kind for output in cell.get("outputs", ()) for kind in _texts(output)]
        for cell in notebook.cells
    ]


def list_changes(before: Any, after: Any) -> list[str]:
    """Return the lines of text that two executions of a notebook do not share, numbers aside."""
    old, new = (list(_list_lines(each)) for each in (before, after))
    masked = [[_NUMBER.sub("#", line) for line in lines] for lines in (old, new)]
    changes = []
    for how, a, b, c, d in difflib.SequenceMatcher(None, *masked, autojunk=False).get_opcodes():
        if how != "equal":
            changes += [f"- {line}" for line in old[a:b]] + [f"+ {line}" for line in new[c:d]]
    return changes


def _list_lines(notebook: Any) -> Iterator[str]:
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            for kind, text in _texts(output).items():
                if kind == "image/png":
                    yield "a picture"
                else:
                    yield from filter(None, map(str.strip, _TAG.sub("\n", text).splitlines()))


def write_page(notebook: Any, path: Path) -> None:
    """Write a notebook as Markdown, with its pictures in a folder beside the page.

    Args:
        notebook: The notebook, executed.
        path: The notebook's file.
    """
    folder = path.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
    parts = []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for order, output in enumerate(cell.outputs):
            for kind, text in _texts(output).items():
                parts.append(_to_markdown(kind, text, folder / f"{number}-{order}.png"))
    path.with_suffix(".md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _to_markdown(kind: str, text: str, picture: Path) -> str:
    if kind == "text/html":
        return "\n".join(line for line in text.splitlines() if line.strip())
    if kind == "image/png":
        picture.parent.mkdir(exist_ok=True)
        picture.write_bytes(base64.b64decode(text))
        return f"![The figure that the code above draws]({picture.parent.name}/{picture.name})"
    lines = "\n".join(line.rstrip() for line in text.rstrip().splitlines())
    return f"```text\n{lines}\n```"


def main() -> int:
    """Execute the notebooks named on the command line, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--seconds", type=int, default=600, help="how long a cell may take")
    parser.add_argument("notebooks", nargs="+", type=Path)
    options = parser.parse_args()
    failed = False
    for path in options.notebooks:
        before = nbformat.read(path, as_version=4)
        try:
            after = execute(before, seconds=options.seconds)
        except (CellExecutionError, CellTimeoutError) as error:
            print(f"{path}: a cell failed\n{_COLOUR.sub('', str(error))}", flush=True)
            failed = True
            continue
        changes = list_changes(before, after)
        print(f"{path}: {len(changes)} lines changed", *changes, sep="\n", flush=True)
        failed |= list_kinds(before) != list_kinds(after)
        if not options.check:
            nbformat.write(after, path)
            write_page(after, path)
    return int(failed and options.check)


if __name__ == "__main__":
    sys.exit(main())
