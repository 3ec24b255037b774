"""Write a folder for a container image: an exported file and its server, without TensorFlow."""

import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from string import Template

import tlkit
from tlkit._internal import arguments
from tlkit._internal.files import fill_atomically, to_write_error
from tlkit._internal.signatures import check_arguments
from tlkit.deployment.predictor import Predictor
from tlkit.errors import Argument, ConfigError

_RUNTIMES = {"litert": "ai-edge-litert", "onnx": "onnxruntime", "openvino": "openvino"}
_PACKAGES = ("cyclopts", "fastapi", "numpy", "pillow", "python-multipart", "uvicorn")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "weights")  # starter weights are for training


@check_arguments
def write_container(path: str | Path, folder: str | Path) -> Path:
    """Write a folder from which `docker build` makes a container image, and return its path.

    It has a Dockerfile, the exported file, the code of this tlkit, and requirements in the versions
    that are installed here: NumPy, Pillow, the runtime of the format and the server, but no
    TensorFlow and no Keras. The server runs as an unprivileged user, is checked by its `/health`,
    and answers all accepted requests before it stops.

    Args:
        path: A `.onnx`, `.tflite` or `.xml` (OpenVINO) file that `tlkit.export` wrote.
        folder: A new or empty folder.

    Raises:
        ConfigError: The file is of another format, or the folder is not empty.
        MissingExtraError: The runtime of the file's format is not installed.
        StoreError: The folder can't be written.

    Examples:
        >>> from tlkit.deployment import write_container
        >>> write_container("run/exports/model.onnx", "container")  # doctest: +SKIP
    """
    file, target = arguments.path("path", path), arguments.path("folder", folder)
    name = Predictor(file).metadata.format
    if name not in _RUNTIMES:
        raise ConfigError(
            Argument("path"),
            f" must be a .onnx, .tflite or .xml file, got {str(file)!r}: other formats need "
            "TensorFlow. Export the classifier with `tlkit export --format onnx`.",
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(
            Argument("folder"), f" must be a new or empty folder, got {str(target)!r}."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with fill_atomically(target) as made:
            _write(file, made, _RUNTIMES[name])
    except OSError as error:
        raise to_write_error(target, error) from error
    return target


def _write(file: Path, target: Path, runtime: str) -> None:
    weights = [file.with_suffix(".bin")] if file.suffix == ".xml" else []
    proof = file.with_name(f"{file.name}.json")
    for each in (file, *weights, *filter(Path.is_file, [proof])):
        shutil.copy(each, target / each.name)
    shutil.copytree(Path(tlkit.__file__).parent, target / "tlkit", ignore=_LEFT_OUT)
    lines = sorted(_pin(package) for package in (*_PACKAGES, runtime))
    (target / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (target / ".dockerignore").write_text("**/__pycache__\n.venv\n", encoding="utf-8")
    template = (files(__package__) / "templates" / "Dockerfile").read_text(encoding="utf-8")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    text = Template(template).substitute(python=python, model=file.name)
    (target / "Dockerfile").write_text(text, encoding="utf-8")


def _pin(package: str) -> str:
    """Return a requirement with the installed version, which the proof of the file used."""
    try:
        return f"{package}=={version(package)}"
    except PackageNotFoundError:  # LiteRT may be part of TensorFlow
        return package
