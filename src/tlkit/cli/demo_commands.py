"""The command `tlkit demo`: a page to try a classifier in a browser, or the files of a Space.

The signature and docstring give options and help, the body does the work.
"""

from pathlib import Path
from typing import Any

import tlkit
from tlkit.cli import checks
from tlkit.cli.options import DEFAULT_OUTPUT, Output


def demo(
    model: str,
    *,
    host: str | None = None,
    port: int | None = None,
    top: int = 5,
    examples: int = 0,
    flags: Path = Path("flagged"),
    title: str | None = None,
    write: Path | None = None,
    output: Output = DEFAULT_OUTPUT,
) -> dict[str, Any]:
    """Try a classifier in a browser: drop images, see classes and why, flag what is wrong.

    Args:
        model: A run's folder, a .keras file, or an exported file.
        host: The address to listen on; by default 127.0.0.1, this machine alone.
        port: The port; by default the first free one from 7860 on.
        top: Number of classes to show.
        examples: Number of the run's test images to offer.
        flags: Keep wrong predictions in this folder, which train takes with --add.
        title: The heading of the page.
        write: Serve nothing, but write the files of a Hugging Face Space to this new folder.
    """
    checks.check_model(model)
    settings: dict[str, Any] = {"top": top, "examples": examples, "title": title}
    if write is not None:
        space = tlkit.experiments.write_space(model, write, on_message=output.print, **settings)
        return {"space": str(space)}
    page = tlkit.experiments.create_demo(model, flags=flags, **settings)
    tlkit.experiments.serve_demo(page, host=host, port=port, on_message=output.print)
    return {"flags": str(flags)}
