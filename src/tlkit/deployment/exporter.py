"""Export a classifier to a file of another format that predicts the same as the model."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from tlkit._internal import arguments, failpoints
from tlkit._internal.backends import package_versions
from tlkit._internal.files import explain_disk, rename, sync, sync_folder, to_write_error
from tlkit._internal.signatures import check_arguments
from tlkit._internal.temporaries import temporary_folder
from tlkit._internal.text import show
from tlkit.caching.engines.compilers import silence
from tlkit.data import decoding, unlabelled
from tlkit.data.batches import Arrays, Data
from tlkit.data.decoding import Fit
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.image_files import find_images
from tlkit.data.lazy_images import LazyImages
from tlkit.data.unlabelled import Images
from tlkit.deployment import formats
from tlkit.deployment.graph import Graph
from tlkit.deployment.metadata import Metadata, Precision
from tlkit.deployment.plain_model import find_detector, to_plain
from tlkit.deployment.proof import TOLERANCES, Proof, prove
from tlkit.deployment.runtimes import is_web_page
from tlkit.deployment.web.runtime import WebRuntime, find_runtime
from tlkit.errors import Argument, ConfigError, EngineError, TlkitError
from tlkit.models.inspection import class_names, file_shape, is_multi_label, thresholds, value_range
from tlkit.training.inputs import validate_arrays
from tlkit.training.ood_detector import KEPT

_MAX_CALIBRATION = 300  # images; more images change the ranges of int8 little
_MAX_COMPARED = 256  # test images in float32, where all differences are rounding errors


@dataclass(frozen=True, kw_only=True)
class Export:
    """An exported file, and its comparison with the classifier.

    Attributes:
        path: The file, or the folder of a SavedModel.
        metadata: The metadata in the file.
        proof: The comparison with the classifier.
    """

    path: Path
    metadata: Metadata
    proof: Proof

    def __str__(self) -> str:
        return f"wrote {self.path}: {self.metadata.format}, {self.metadata.precision}\n{self.proof}"

    def to_dict(self) -> dict[str, Any]:
        """Return path, metadata and proof as values that JSON can hold."""
        proof = {"proof": self.proof.to_dict()}
        return {"path": str(self.path), **self.metadata.to_dict(), **proof}


@check_arguments
def export(
    model: keras.Model,
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002  # as in Keras' Model.export
    precision: Precision = "float32",
    calibration_data: Images | Data | None = None,
    test_data: Data | None = None,
    tolerance: float | None = None,
    max_drop: float | None = None,
    input_dtype: Literal["float32", "uint8"] | None = None,
    fit: Fit = "squash",
    run_id: str | None = None,
    source: str | Path | None = None,
    web_runtime: str | Path | None = None,
    on_message: Callable[[str], None] = lambda message: None,
) -> Export:
    """Write a classifier for another runtime; the file takes raw images, preprocessing included.

    The outputs are the probabilities, with the classifier's temperature, and the
    out-of-distribution score if the classifier has it; an int8 file has no score. The file also
    holds the class names, a description of its input, and versions.

    A `Predictor` runs the written file on raw images in a new process without Keras, and the
    results are compared with `tlkit.predict`. The file is kept only if it predicts the same. The
    result of the comparison is in a `.json` file beside it.

    Args:
        model: A classifier from build_classifier. With Keras' TensorFlow backend every format can
            be written; with torch only ONNX, OpenVINO, the web page and plain Keras, in float32;
            with JAX only plain Keras.
        path: The path to write to: `.onnx`, `.tflite`, `.xml` (OpenVINO), `.keras` (plain Keras,
            which loads without tlkit), or a folder for a SavedModel or a web page.
        format: One of `tlkit.deployment.formats.names()`; by default the format is chosen by the
            end of the path. A web page must be chosen here: "web".
        precision: "float32"; for LiteRT "float16", which halves the file; for LiteRT and OpenVINO
            "int8", which computes with 8 bits except in the head.
            "int8", which computes with 8 bits but for the head.
        calibration_data: For int8, images or a dataset like those that the file will see, such as
            the training images: at most 300 of them are used, evenly spread.
        test_data: Images and labels for the comparison; by default random pixels without labels.
        tolerance: The largest difference between probabilities that is accepted; by default 1e-4
            for float32, 0.01 for float16, and no limit for int8.
        max_drop: How much lower the accuracy on `test_data` may be than the model's, such as 0.01;
            by default there is no limit.
        input_dtype: The dtype of images: "uint8", the default where black and white are 0 and 255,
            or "float32", which takes fractions too.
        fit: How the training images were fitted into their shape; a `Predictor` does the same.
        run_id: The id of the run that trained the classifier, for the file's metadata.
        source: The classifier's `.keras` file; its SHA-256 becomes part of the metadata.
        web_runtime: For a web page, a folder with the npm package onnxruntime-web; by default npm
            downloads it, once, to the user's cache.
        on_message: Is called with each stage before it starts, for example `print`.

    Raises:
        AccuracyError: The file is less accurate than `max_drop` allows.
        ConfigError: An argument is wrong, or Keras runs on a backend that can't write this format.
        DataError: Images don't fit the model.
        DownloadError: npm can't download the runtime that a web page needs.
        EngineError: The file predicts other values, or the format can't represent the model.
        MissingExtraError: A package that the format needs is not installed.

    Examples:
        >>> import tempfile
        >>> from tlkit import build_classifier
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> model = build_classifier(backbone, 2, input_shape=(8, 8, 3), pixels=(0, 1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export(model, Path(folder) / "model.tflite").proof.agreement
        1.0
    """
    target = arguments.path("path", path)
    name = _choose_format(target, format)
    arguments.one_of("precision", precision, formats.get(name).PRECISIONS)
    _check_limits(tolerance, max_drop, test_data)
    backend = _check_backend(name, precision)
    about = _describe(
        model,
        name,
        precision,
        input_dtype=_choose_dtype(model, name, input_dtype),
        fit=decoding.check_fit(fit),
        run_id=run_id,
        source_sha256=None if source is None else _hash(arguments.path("source", source)),
    )
    calibration = _take_calibration(model, calibration_data, about)
    test = None if test_data is None else _take_test(model, test_data, precision)
    formats.check_installed(name, backend)
    runtime = _find_runtime(about, web_runtime)
    graph = Graph(
        plain=to_plain(model, dtype=about.input_dtype, with_score=about.has_ood_score),
        metadata=about,
        calibration_images=calibration,
        test_images=None if test is None else test[0],
        web_runtime=runtime,
    )
    limit = TOLERANCES[precision] if tolerance is None else tolerance
    _check_place(target)
    with explain_disk(target), temporary_folder(target.parent) as folder:
        temporary = folder / target.name
        on_message(f"writing the file: {name}, {precision}")
        _write(graph, temporary)
        on_message("comparing the file with the classifier, in another process")
        proof = prove(model, temporary, about, test, tolerance=limit, max_drop=max_drop)
        found = Export(path=target, metadata=about, proof=proof)
        text = json.dumps({**about.to_dict(), "proof": proof.to_dict()}, indent=2)
        temporary.with_name(f"{target.name}.json").write_text(text + "\n", encoding="utf-8")
        _move(folder, target)
    return found


def _write(graph: Graph, path: Path) -> None:
    name = graph.metadata.format
    try:
        with silence():
            formats.get(name).write(graph, path)
        failpoints.reach("write", path)
    except (ImportError, TlkitError):
        raise
    except OSError as error:
        raise to_write_error(path, error) from error
    except Exception as cause:  # each converter has its own classes
        reason = next(iter(str(cause).splitlines()), type(cause).__name__)
        raise EngineError(f"{name} can't hold this classifier: {reason}") from cause


def _choose_format(path: Path, name: str | None) -> str:
    modules = {each: formats.get(each) for each in formats.names()}
    endings = {each.EXTENSION: key for key, each in modules.items() if each.BY_ENDING}
    if name is not None:
        chosen = arguments.one_of("format", name, formats.names())
        ending = formats.get(chosen).EXTENSION
        if path.suffix != ending:
            wanted = f"must end in {ending}" if ending else "must be a folder without an ending"
            raise ConfigError(
                Argument("path"), f" {wanted} for the format {chosen!r}, got {str(path)!r}."
            )
        return chosen
    if path.suffix not in endings:
        raise ConfigError(
            f"`path` must end in one of {sorted(filter(None, endings))}, or be a folder without an "
            f"ending, got {str(path)!r}."
        )
    return endings[path.suffix]


def _check_limits(tolerance: float | None, max_drop: float | None, test_data: object) -> None:
    if tolerance is not None:
        arguments.positive("tolerance", tolerance)
    if max_drop is not None:
        arguments.fraction("max_drop", max_drop)
        if test_data is None:
            raise ConfigError(
                Argument("max_drop"),
                " needs labelled test images to measure the accuracy on. Pass ",
                Argument("test_data"),
                ".",
            )


def _check_backend(name: str, precision: Precision) -> str:
    """Return the backend that Keras runs on, if it can write this format in this precision."""
    backend = str(keras.config.backend())
    if backend != "tensorflow" and (
        backend not in formats.backends(name) or precision != "float32"
    ):
        can = [each for each in formats.names() if backend in formats.backends(each)]
        raise ConfigError(
            f"{name!r} in {precision} needs Keras' TensorFlow backend, got {show(backend)}, which "
            f"can write {can} in float32. Save the model with tlkit.save, and export it in a "
            "process with KERAS_BACKEND=tensorflow, where TensorFlow is installed."
        )
    return backend


def _choose_dtype(model: keras.Model, name: str, dtype: str | None) -> str:
    is_byte = value_range(model) == (0, 255)
    if dtype is None:  # Keras would truncate fractions if a model took 8 bits
        return "uint8" if is_byte and name != "keras" else "float32"
    chosen = arguments.one_of("input_dtype", dtype, ("float32", "uint8"))
    if chosen == "uint8" and not is_byte:
        raise ConfigError(
            Argument("input_dtype"),
            f" can only be 'uint8' where black and white are 0 and 255, got {value_range(model)}.",
        )
    return chosen


def _describe(model: keras.Model, name: str, precision: Precision, **values: Any) -> Metadata:
    """Return the metadata of the file."""
    several = is_multi_label(model)
    return Metadata(
        format=name,
        precision=precision,
        class_names=class_names(model),
        multi_label=several,
        thresholds=tuple(thresholds(model).tolist()) if several else None,
        input_shape=file_shape(model),
        value_range=value_range(model),
        has_ood_score=precision != "int8" and find_detector(model) is not None,
        ood_threshold=KEPT,
        versions=package_versions("tlkit", "keras", keras.config.backend()),
        **values,
    )


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(
            Argument("source"), f" must be a file, got {str(path)!r}: {error.strerror}."
        ) from error


def _find_runtime(about: Metadata, folder: str | Path | None) -> WebRuntime | None:
    """Return the runtime that a web page needs in a browser; None for other formats."""
    if about.format != "web":
        if folder is not None:
            raise ConfigError(
                Argument("web_runtime"), f" must be left out for {about.format!r}: it is for 'web'."
            )
        return None
    channels = (*about.input_shape[1:], 1)[2]
    if channels not in (1, 3):
        raise ConfigError(
            f"A web page takes grey or RGB images; this classifier has {channels} channels."
        )
    return find_runtime(folder)


def _take_calibration(model: keras.Model, data: Any, about: Metadata) -> np.ndarray | None:
    """Return up to 300 images, evenly spread over the data; None unless for int8."""
    if about.precision != "int8":
        return None
    if data is None:
        raise ConfigError(
            Argument("calibration_data"),
            " must be images like those that the file will see, such as the training images, for "
            "int8: it learns the ranges of numbers in the network from them.",
        )
    if isinstance(data, ImageDataset):
        data = data.images
    elif isinstance(data, tuple) and len(data) == 2:
        data = data[0]
    elif isinstance(data, str | Path):
        data, _ = find_images([data])
    if hasattr(data, "__len__") and len(data):
        count = min(len(data), _MAX_CALIBRATION)
        chosen = np.unique(np.linspace(0, len(data) - 1, count, dtype=int))
        is_lazy = isinstance(data, LazyImages)
        data = data.take(chosen) if is_lazy else [data[at] for at in chosen]
    settings: Any = {"value_range": value_range(model), "fit": about.fit}
    images = unlabelled.read_array(data, input_shape=about.input_shape, **settings)
    return images.astype(about.input_dtype)


def _take_test(model: keras.Model, data: Data, precision: Precision) -> Arrays:
    """Return test images and labels, checked; for float32 at most 256 of them, evenly spread."""
    images, labels = validate_arrays(data, model, "test_data", lenient=True)
    if precision != "float32" or len(images) <= _MAX_COMPARED:
        return images, labels
    chosen = np.linspace(0, len(images) - 1, _MAX_COMPARED, dtype=int)
    return images[chosen], labels[chosen]


def _check_place(target: Path) -> None:
    """Refuse to replace a folder that is not an earlier export; create its parent folders."""
    is_export = (target / "saved_model.pb").is_file() or is_web_page(target)
    if target.is_dir() and any(target.iterdir()) and not is_export:
        raise ConfigError(
            f"`path` must be a new or empty folder, or an earlier export, got {str(target)!r}, "
            "which holds other files."
        )
    if target.is_file() and not target.suffix:
        raise ConfigError(f"`path` must be a folder for this format, got the file {str(target)!r}.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise to_write_error(target, error) from error


def _move(folder: Path, target: Path) -> None:
    """Move the written files to their place, the named file last, so that a power cut is safe."""
    sync(folder)
    if target.is_dir():
        shutil.rmtree(target)
    for each in sorted(folder.iterdir(), key=lambda path: path.name == target.name):
        rename(each, target.with_name(each.name))
    sync_folder(target.parent)
