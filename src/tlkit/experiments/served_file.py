"""Find the exported file to serve for a run, or export one; without importing Keras."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from tlkit._internal import arguments, processes, regular_files
from tlkit._internal.optional import installed
from tlkit._internal.runtimes import LITERT
from tlkit._internal.signatures import check_arguments
from tlkit.deployment import runtimes
from tlkit.errors import Argument, ConfigError, MissingExtraError
from tlkit.experiments import checksums

_NEEDED = {
    "onnx": ("model.onnx", ("onnxruntime",), ("tf2onnx",)),
    "litert": ("model.tflite", (LITERT,), ()),
    "openvino": ("model.xml", ("openvino",), ()),
}
"""For each format, the best for a server first: file, runtimes, packages needed to write it."""


@check_arguments
def find_served_file(
    model: str | Path, *, on_message: Callable[[object], None] = lambda message: None
) -> Path:
    """Return the exported file to serve for a classifier.

    For a run this is an export of its present classifier, in a format whose runtime is installed. A
    run without such an export is exported first, as by `tlkit export`, in another process, so that
    this process does not import Keras.

    Args:
        model: A run's folder, a .keras file, or an exported file.
        on_message: Is called with the steps that are taken.

    Raises:
        ConfigError: There is no such run or file.
        EngineError: The classifier can't be exported.
        MissingExtraError: No runtime is installed.
    """
    path = arguments.path("model", model)
    source = _find_source(path)
    if source is None:
        return path
    folder = source.parent / "exports"
    digest = checksums.hash_file(source)
    for file in _list_exports(folder):
        if _read_digest(file) == digest:
            return file
        on_message(f"{file} belongs to another state of {source.name}, and is not used")
    return _export(path, folder, on_message)


def _find_source(path: Path) -> Path | None:
    """Return the .keras file of a run; None for an exported file."""
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return None
        source = path / "model.keras"
        if not source.is_file():
            raise ConfigError(
                Argument("model"),
                f" must be a run's folder or an exported file, got {str(path)!r}: it has no "
                "model.keras.",
            )
        return source
    is_run = path.suffix == ".keras" and path.is_file()
    return path if is_run and runtimes.read_keras_metadata(path) is None else None


def _list_exports(folder: Path) -> Iterator[Path]:
    for name, modules, _ in _NEEDED.values():
        if (folder / name).is_file() and all(map(installed, modules)):
            yield folder / name


def _read_digest(file: Path) -> str | None:
    """Return the SHA-256 of the .keras file that was exported, from the proof beside the export."""
    proof = file.with_name(f"{file.name}.json")
    try:
        digest = json.loads(regular_files.read_text(proof))["source_sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return str(digest)


def _export(path: Path, folder: Path, on_message: Callable[[object], None]) -> Path:
    kind = _choose_format()
    name = _NEEDED[kind][0]
    on_message(f"{path} has no export of its classifier that runs here: writing {folder / name}")
    words = ("-m", "tlkit", "export", str(path), "--format", kind)
    problem = f"The classifier of {path} can't be exported"
    on_message(processes.run_python(*words, problem=problem))
    return folder / name


def _choose_format() -> str:
    """Return the format that the installed packages can write and run."""
    for kind, (_, modules, writers) in _NEEDED.items():
        if all(map(installed, (*modules, *writers, "keras"))):
            return kind
    raise MissingExtraError(
        "A server needs Keras and one runtime, to export the classifier and run it. Run: "
        "pip install 'tlkit[serve,onnx]'"
    )
