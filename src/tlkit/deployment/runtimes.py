"""Run an exported file: one function for each format, which imports only its own runtime."""

import importlib
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tlkit._internal import runtimes
from tlkit._internal.optional import require
from tlkit._internal.regular_files import MAX_BYTES, find_obstacle
from tlkit.deployment import litert_metadata
from tlkit.deployment.metadata import INPUT, KEY
from tlkit.errors import ConfigError, MissingExtraError

Run = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Returns the outputs for a batch of images by name; several threads may call it at once."""

SAVED_MODEL_METADATA = Path("assets.extra", "tlkit.json")
"""The metadata's place in a SavedModel, in a folder that TensorFlow reserves for users."""

WEB_PAGE, WEB_MODEL = "index.html", "model.onnx"
"""The files that mark the folder of a web page."""

KERAS_METADATA = "tlkit.json"
"""The member of a `.keras` file, which is a zip file, with the metadata of an export."""


@dataclass(frozen=True, kw_only=True)
class Started:
    """An exported file that is ready to run.

    Attributes:
        run: Computes the outputs for a batch of images.
        metadata: The text of the metadata in the file; None if there are none.
        package: The name of the package that runs it.
    """

    run: Run
    metadata: str | None
    package: str


def start(path: Path, *, num_threads: int) -> Started:
    """Start an exported file.

    Args:
        path: The file, or the folder of a SavedModel or a web page.
        num_threads: How many threads compute a batch.

    Raises:
        ConfigError: There is no such file, or it is not of a known format.
        MissingExtraError: The runtime is not installed.
    """
    if is_web_page(path):
        path = path / WEB_MODEL
    kind = _find_kind(path)
    package, starter = _STARTERS[kind]
    try:
        run, text = starter(path, num_threads)
    except MissingExtraError as error:
        raise MissingExtraError(f"{path.name!r} needs {package}. Run: pip install {package}") from (
            error
        )
    except Exception as error:  # each runtime has its own classes
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ConfigError(
            f"`path` must be a file that tlkit exported, got {str(path)!r}, which {package} can't "
            f"read: {reason}"
        ) from error
    return Started(run=_explain(run, path, package), metadata=text, package=package)


def _explain(run: Run, path: Path, package: str) -> Run:
    """Return a function whose errors name the file that failed."""

    def run_explained(images: np.ndarray) -> Mapping[str, np.ndarray]:
        try:
            return run(images)
        except MemoryError:
            raise
        except Exception as error:  # each runtime has its own classes
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise ConfigError(
                f"{str(path)!r} can't be run by {package}: {reason.rstrip('.')}. Export the "
                "classifier again if the file is damaged."
            ) from error

    return run_explained


def is_web_page(path: Path) -> bool:
    """Return whether a path is the folder of a web page that tlkit exported."""
    return all((path / name).is_file() for name in (WEB_PAGE, WEB_MODEL))


def _find_kind(path: Path) -> str:
    kind = "" if path.is_dir() else path.suffix.lower()
    if not path.exists():
        why = "no such file"
    elif path.is_file() and path.stat().st_size == 0:
        why = "it is empty"
    elif kind == "" and path.is_dir() and not (path / "saved_model.pb").is_file():
        why = "the folder is no SavedModel and no web page"
    elif kind == ".bin":
        why = "of OpenVINO's two files, name the .xml"
    elif kind in _STARTERS and (kind or path.is_dir()):
        return kind
    else:
        why = "its ending is none of these"
    raise ConfigError(
        "`path` must be a .tflite, .onnx, .xml (OpenVINO) or .keras file that tlkit exported, or "
        f"the folder of a SavedModel or a web page, got {str(path)!r}: {why}."
    )


class _Pool:
    """Lends each caller an object of its own, and makes another when all are in use."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make, self._idle = make, deque([make()])

    @contextmanager
    def borrow(self) -> Iterator[Any]:
        try:
            one = self._idle.pop()
        except IndexError:
            one = self._make()
        try:
            yield one
        finally:
            self._idle.append(one)


def _start_litert(path: Path, num_threads: int) -> tuple[Run, str | None]:
    content = path.read_bytes()
    start_one = partial(runtimes.start_litert, content, num_threads=num_threads)
    runners = _Pool(lambda: start_one().get_signature_runner())

    def run(images: np.ndarray) -> Mapping[str, np.ndarray]:
        with runners.borrow() as runner:
            outputs: Mapping[str, np.ndarray] = runner(**{INPUT: images})
            return outputs

    return run, litert_metadata.read(content, KEY)


def _start_onnx(path: Path, num_threads: int) -> tuple[Run, str | None]:
    session = runtimes.start_onnx(path, num_threads=num_threads)
    names = [output.name for output in session.get_outputs()]

    def run(images: np.ndarray) -> Mapping[str, np.ndarray]:
        return dict(zip(names, session.run(names, {INPUT: images}), strict=True))

    return run, session.get_modelmeta().custom_metadata_map.get(KEY)


def _start_openvino(path: Path, num_threads: int) -> tuple[Run, str | None]:
    model = runtimes.import_openvino().Core().read_model(path)
    compiled = runtimes.compile_openvino(model, num_threads=num_threads)
    requests = _Pool(compiled.create_infer_request)

    def run(images: np.ndarray) -> Mapping[str, np.ndarray]:
        with requests.borrow() as request:
            outputs = request.infer([images])
            return {output.get_any_name(): values.copy() for output, values in outputs.items()}

    text = model.get_rt_info([KEY]).astype(str) if model.has_rt_info([KEY]) else None
    return run, text


def _start_saved_model(path: Path, num_threads: int) -> tuple[Run, str | None]:
    tensorflow = require("tensorflow", extra="tensorflow")
    served = tensorflow.saved_model.load(str(path)).signatures["serving_default"]
    text = path / SAVED_MODEL_METADATA

    def run(images: np.ndarray) -> Mapping[str, np.ndarray]:
        outputs = served(**{INPUT: tensorflow.constant(images)})
        return {name: np.asarray(values) for name, values in outputs.items()}

    return run, text.read_text(encoding="utf-8") if text.is_file() else None


def _start_keras(path: Path, num_threads: int) -> tuple[Run, str | None]:
    text = read_keras_metadata(path)
    model = importlib.import_module("tlkit._internal.keras_loading").load_checked(path)

    def run(images: np.ndarray) -> Mapping[str, np.ndarray]:
        return {name: np.asarray(rows) for name, rows in model.predict_on_batch(images).items()}

    return run, text


def read_keras_metadata(path: Path) -> str | None:
    """Return the metadata in an exported `.keras` file; None in a file from `tlkit.save`."""
    if find_obstacle(path) or not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as file:
        found = KERAS_METADATA in file.namelist()
        if not found or file.getinfo(KERAS_METADATA).file_size > MAX_BYTES:
            return None
        return file.read(KERAS_METADATA).decode(errors="replace")


_Starter = Callable[[Path, int], tuple[Run, str | None]]
_STARTERS: dict[str, tuple[str, _Starter]] = {
    "": ("tensorflow", _start_saved_model),
    ".keras": ("keras", _start_keras),
    ".onnx": ("onnxruntime", _start_onnx),
    ".tflite": ("ai-edge-litert", _start_litert),
    ".xml": ("openvino", _start_openvino),
}
