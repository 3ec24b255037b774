"""The command `tlkit export`: the classifier of a run for other runtimes, proven to be the same.

The signature and docstring give options and help, the body does the work.
"""

from pathlib import Path
from typing import Any, Literal

import tlkit
from tlkit.cli import checks
from tlkit.cli.options import DEFAULT_OUTPUT, Output

Format = Literal["keras", "litert", "onnx", "openvino", "saved_model", "web"]
Precision = Literal["float16", "float32", "int8"]


def export(
    run: str,
    *,
    format: Format | None = None,  # noqa: A002  # as for tlkit.export
    precision: Precision = "float32",
    out: Path | None = None,
    tolerance: float | None = None,
    max_drop: float | None = None,
    web_runtime: Path | None = None,
    output: Output = DEFAULT_OUTPUT,
) -> dict[str, Any]:
    """Export a classifier to a file for other software, compared with it on the test images.

    Args:
        run: A run's folder, or a .keras file.
        format: What to write, by default as out ends. "web" is a page that needs no server.
        precision: The numbers in the file: "float16" for litert; "int8" for litert and openvino.
        out: Where to write; by default to the folder exports of the run.
        tolerance: Largest difference of a probability; by default 0.0001, or 0.01 for float16.
        max_drop: Exit with code 1 if the accuracy on the test images is lower by more, as 0.01.
        web_runtime: For web, a folder with the npm package onnxruntime-web, in place of npm.
    """
    checks.check_model(run, argument="run", exported=False)
    output.print(f"loading {run}")
    return tlkit.experiments.export_run(
        run,
        format=format,
        precision=precision,
        out=out,
        tolerance=tolerance,
        max_drop=max_drop,
        web_runtime=web_runtime,
        on_message=output.print,
    ).to_dict()
