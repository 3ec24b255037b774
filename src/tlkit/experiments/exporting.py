"""Export the classifier of a run, and compare the file with it on the run's test images."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit.data.splits import Split
from tlkit.deployment import formats
from tlkit.deployment.exporter import Export, export
from tlkit.deployment.metadata import Precision
from tlkit.errors import Argument, ConfigError, TlkitError
from tlkit.experiments import checksums, export_records, reporting, run_files, run_images
from tlkit.experiments.classifiers import load_classifier


@check_arguments
def export_run(
    run: str | Path,
    *,
    format: str | None = None,  # noqa: A002  # as for tlkit.export
    out: str | Path | None = None,
    precision: Precision = "float32",
    tolerance: float | None = None,
    max_drop: float | None = None,
    web_runtime: str | Path | None = None,
    on_message: Callable[[object], None] = lambda message: None,
) -> Export:
    """Export the classifier of a run; see `tlkit.export`.

    The file is compared with the classifier on the run's test images. An int8 file finds the ranges
    of the network's values on up to 300 training images. The result is added to the run's
    `exports.json` and, if the run's images are still there, to its report, which is written again.

    Args:
        run: A run's folder, or a .keras file, which has no images to compare on.
        format: One of `tlkit.deployment.formats.names()`; by default the end of `out` chooses it.
        out: The path to write to; by default in the folder `exports` of the run.
        precision: As for `tlkit.export`.
        tolerance: As for `tlkit.export`.
        max_drop: As for `tlkit.export`.
        web_runtime: As for `tlkit.export`.
        on_message: Is called with each stage before it starts, with assumptions, and with the
            result.

    Raises:
        AccuracyError: The file is less accurate than `max_drop` allows.
        ConfigError: An argument is wrong, or there is no such run.
        DataError: The run's images were moved or changed, and they are needed.
        EngineError: The file predicts other values, or the format can't represent the model.
        MissingExtraError: A package that the format needs is not installed.
    """
    folder = arguments.path("run", run)
    target = _choose_path(folder, format, precision, out)
    model, experiment = load_classifier(folder, data="")
    file = folder / "model.keras" if folder.is_dir() else folder
    split = None
    if folder.is_dir():
        on_message("reading the images of the run")
        if precision == "int8":
            _require_training_images(folder)
        split = _load_split(folder, on_message, needed=precision == "int8" or max_drop is not None)
    found = export(
        model,
        target,
        format=format,
        precision=precision,
        tolerance=tolerance,
        max_drop=max_drop,
        web_runtime=web_runtime,
        fit=experiment.fit,
        run_id=_identify(folder),
        source=file,
        test_data=None if split is None else run_images.take_held_out(split),
        calibration_data=None if split is None else split.train,
        on_message=on_message,
    )
    on_message(str(found))
    if folder.is_dir():
        export_records.add(folder, found)
        checksums.update(folder, _list_written(found.path))
    if split is not None:
        reporting.report(folder, on_message=on_message)
        on_message("added to the run's report")
    return found


def _list_written(path: Path) -> list[Path]:
    """Return the files, or the folder, of an export."""
    return [path, path.with_name(f"{path.name}.json"), path.with_suffix(".bin")]


def _choose_path(folder: Path, name: str | None, precision: str, out: str | Path | None) -> Path:
    if name is None:
        if out is None:
            raise ConfigError(
                Argument("format"), " must be set, or ", Argument("out"), ", whose ending says it."
            )
        return arguments.path("out", out)
    ending = formats.get(arguments.one_of("format", name, formats.names())).EXTENSION
    if out is not None:
        target = arguments.path("out", out)
        if target.suffix != ending:
            wanted = f"end in {ending}" if ending else "be a folder without an ending"
            raise ConfigError(
                Argument("out"), f" must {wanted} for the format {name!r}, got {str(out)!r}."
            )
        return target
    suffix = "" if precision == "float32" else f"-{precision}"
    place = folder if folder.is_dir() else folder.parent
    return place / export_records.FOLDER / (f"model{suffix}{ending}" if ending else name)


def _identify(folder: Path) -> str | None:
    """Return a run's name and the start of the SHA-256 of its config; None if it is not a run."""
    config = folder / "config.json"
    if not config.is_file():
        return None
    digest = hashlib.sha256(run_files.read_text(config).encode()).hexdigest()
    return f"{folder.resolve().name}-{digest[:8]}"


def _require_training_images(folder: Path) -> None:
    """Refuse a run whose training images are too many to be listed."""
    found = run_images.find_unlisted(folder)
    if found is not None:
        raise ConfigError(
            Argument("precision", "int8"),
            " needs the training images of the run, which are not listed: there are "
            f"{found.num_images['train']:,}. Choose another precision, or use `tlkit.export` with "
            "some of them as `calibration_data`.",
        )


def _load_split(
    folder: Path, on_message: Callable[[object], None], *, needed: bool
) -> Split | None:
    """Return the images of a run as it split them; None, with a message, if they are missing."""
    try:
        return run_images.read_split(folder)
    except TlkitError as error:
        if needed:
            raise
        on_message(f"compared on random pixels, without the run's test images: {error}")
        return None
