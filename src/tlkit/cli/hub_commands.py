"""The commands `tlkit push` and `tlkit pull`: a run as a repository of the Hugging Face Hub.

Each signature and docstring gives options and help, each body does the work.
"""

from pathlib import Path
from typing import Annotated, Any

import tlkit
from tlkit.cli import checks
from tlkit.cli.options import DEFAULT_OUTPUT, FLAG, Output


def push(
    run: str,
    repo: str,
    *,
    private: Annotated[bool, FLAG] = False,
    output: Output = DEFAULT_OUTPUT,
) -> dict[str, Any]:
    """Send a run to the Hugging Face Hub; log in first with `hf auth login`, or set HF_TOKEN.

    Args:
        run: A run's folder.
        repo: A model repository, such as me/flowers; it is created if it does not exist.
        private: Only you see the repository; one that is public is refused.
    """
    checks.check_run(run)
    return tlkit.experiments.push(run, repo, private=private, on_message=output.print).to_dict()


def pull(
    repo: str,
    folder: Path,
    *,
    revision: str | None = None,
    output: Output = DEFAULT_OUTPUT,
) -> dict[str, Any]:
    """Get a run from the Hugging Face Hub that `tlkit push` sent.

    Args:
        repo: A model repository, such as me/flowers.
        folder: Where to write; it must be new or empty.
        revision: A branch, tag or commit; by default the newest commit.
    """
    written = tlkit.experiments.pull(repo, folder, revision=revision)
    output.print(f"wrote {written}")
    return {"run": str(written)}
