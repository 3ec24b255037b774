"""Run the code blocks of Markdown pages, and update the output shown after them.

    python tools/run_docs.py README.md docs/tutorial.md

The blocks of a page run in order in one namespace, in an empty folder. A ```text block after a
```python block is replaced by the output of that block. In a ```console block each line that begins
with "$ tlkit" is run in the same folder and followed by its output. Each image that the page shows
from a folder `figures` is replaced by the file with that name that its code wrote.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

_COMMANDS = re.compile(r"```console\n(?P<lines>.*?)```\n", re.S)
_FIGURE = re.compile(r"!\[[^\]]*\]\((?P<link>[^)]*figures/[^)]*)\)")
_BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n(?P<gap>\n)?(?P<text>```text\n.*?```\n)?", re.S)


def run(page: str) -> str:
    """Return the page with the current output of its code."""
    namespace: dict[str, object] = {"__name__": "__main__"}

    def run_block(block: re.Match[str]) -> str:
        if block["lines"] is not None:
            return f"```console\n{_run_commands(block['lines'])}```\n"
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block["code"], "<page>", "exec"), namespace)  # noqa: S102  # its purpose
        if block["text"] is None:
            return block[0]
        text = "".join(f"{line.rstrip()}\n" for line in printed.getvalue().splitlines())
        return f"```python\n{block['code']}```\n\n```text\n{text}```\n"

    return re.sub(f"{_BLOCK.pattern}|{_COMMANDS.pattern}", run_block, page, flags=re.S)


def _run_commands(lines: str) -> str:
    """Return the commands among the lines, each followed by its current output."""
    shown = []
    for line in lines.splitlines():
        if not line.startswith("$ tlkit "):
            continue
        words = [sys.executable, "-m", "tlkit", *shlex.split(line)[2:]]
        done = subprocess.run(  # noqa: S603  # the page's own commands
            words,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "COLUMNS": "80"},
        )
        if done.returncode:
            raise RuntimeError(f"{line} ended with {done.returncode}: {done.stderr}")
        shown += [line, *(each.rstrip() for each in done.stdout.splitlines())]
    return "".join(f"{line}\n" for line in shown)


@contextlib.contextmanager
def empty_folder() -> Iterator[Path]:
    """Make an empty folder the working directory within a block."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


def main() -> None:
    """Update each page named on the command line."""
    for path in [Path(name).resolve() for name in sys.argv[1:]]:
        with empty_folder() as folder:
            page = run(path.read_text(encoding="utf-8"))
            for figure in _FIGURE.finditer(page):
                target = path.parent / figure["link"]
                [made] = folder.rglob(target.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(made, target)
        path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
