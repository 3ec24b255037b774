"""Save a run to a folder atomically, and load it again."""

import csv
import itertools
import json
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import joblib
import keras
from matplotlib.figure import Figure

from tlkit._internal import arguments, system, user_warnings
from tlkit._internal.backends import package_versions
from tlkit._internal.files import fill_atomically, replace_atomically
from tlkit._internal.signatures import check_arguments
from tlkit._internal.temporaries import temporary_folder
from tlkit._internal.text import reason
from tlkit.errors import Argument, ConfigError
from tlkit.evaluation.metrics import Evaluation
from tlkit.experiments import checksums, run_files
from tlkit.models import saving
from tlkit.reports import images, render
from tlkit.reports.facts import ReportFacts
from tlkit.training.records import PhaseRun, Run, to_columns
from tlkit.training.verification import Movement

_NUMBERS = re.compile(r"\[\s+([-+.,\dEeNa\s]+?)\s+\]")
_PACKAGES = ("tlkit", "keras", "numpy", "scikit-learn")


@check_arguments
def require_empty(folder: str | Path) -> Path:
    """Return the folder if a run can be saved in it: it is new or empty, and can be written.

    Call it before training, so that hours of work don't end in this error. It creates the parent
    folder.

    Raises:
        ConfigError: The folder is not empty, or can't be written.
    """
    target = arguments.path("folder", folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(
            Argument("folder"),
            f" must be new or empty, got {str(folder)!r}, which is not empty. "
            "Choose another folder, or move this one.",
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(target.parent):
            pass
    except OSError as error:
        raise ConfigError(
            Argument("folder"),
            f" must be where files can be written, got {str(folder)!r}: {error.strerror}.",
        ) from error
    return target


@check_arguments
def save_run(
    folder: str | Path,
    *,
    model: keras.Model,
    run: Run,
    evaluation: Evaluation,
    figures: Mapping[str, Figure],
    about: str,
    config: Mapping[str, Any],
    report: ReportFacts | None = None,
    files: Mapping[str, str | bytes] = MappingProxyType({}),
    metrics: Mapping[str, Any] = MappingProxyType({}),
    is_claimed: bool = False,
) -> Path:
    """Save a run to a new folder atomically; then draw its figures.

    The folder holds `model.keras`, `metrics.json` (the evaluation, the seconds, how many weights
    each phase changed, and how its frozen part was computed), `history.csv` (one row per epoch),
    `config.json` (the settings, the package versions and the machine), each figure as `<name>.png`
    and, with a report, the files of `tlkit.reports.write`. `SHA256SUMS` lists all of them; see
    `tlkit.experiments.verify_run`.

    Args:
        folder: The run's folder; it must be new or empty.
        model: The trained classifier.
        run: The result of TwoPhaseTrainer.fit.
        evaluation: The result of tlkit.evaluate.
        figures: Figures by file name, without ".png".
        about: One line about the model and the images; both JSON files hold it.
        config: The settings of the run, including the seed, as values that JSON can hold.
        report: The contents of a report; its figures need not be in `figures`.
        files: More files by name, of text or bytes.
        metrics: More entries of `metrics.json`.
        is_claimed: Whether this process holds the folder by `tlkit.experiments.run_state.claim`;
            the folder may then contain files of the training.

    Raises:
        ConfigError: The folder is not empty.
        StoreError: The folder can't be written; it contains no part of the run.

    Warns:
        UserWarning: A figure can't be drawn; the run is saved without it.
    """
    target = Path(folder) if is_claimed else require_empty(folder)
    with fill_atomically(target) as made:
        saving.save(model, made / "model.keras")
        _write_json(made / "metrics.json", {"about": about, **_metrics(run, evaluation), **metrics})
        settings = {"about": about, **config, "environment": environment()}
        _write_json(made / "config.json", settings)
        _write_history(made / "history.csv", run)
        for name, content in files.items():
            (made / name).write_bytes(content.encode() if isinstance(content, str) else content)
        checksums.write(made)
    for name, figure in figures.items():
        _write_figure(target / f"{name}.png", figure)
    if report is not None:
        render.write(target, report)
    checksums.update_pages(target)
    return target


def _write_figure(path: Path, figure: Figure) -> None:
    try:
        picture = images.encode_light(images.rasterize(figure))
    except Exception as error:  # a figure is not worth losing the run
        user_warnings.warn(f"{path} was not drawn: {reason(error)}.")
        return
    with replace_atomically(path) as temporary:
        temporary.write_bytes(picture)


@check_arguments
def load_run(folder: str | Path) -> Run:
    """Return the record of a saved run, except how its frozen part was computed.

    Args:
        folder: A folder that `save_run` wrote.

    Raises:
        ConfigError: The folder is not a run, or a file in it is damaged.
    """
    target = arguments.path("folder", folder)
    metrics, history = target / "metrics.json", target / "history.csv"
    if not (metrics.is_file() and history.is_file()):
        raise ConfigError(
            Argument("folder"),
            f" must be a run with metrics.json and history.csv, got {str(folder)!r}.",
        )
    phases = run_files.read_json(metrics, "phases")["phases"]
    rows = run_files.read_csv(history, "epoch", "phase")
    with run_files.explain_damage(history):
        epochs = [_load_epoch(row) for row in rows]
    with run_files.explain_damage(metrics):
        return Run(phases=tuple(_load_phase(phase, epochs) for phase in phases))


@check_arguments
def is_fine_tuned(model: str | Path) -> bool:
    """Return whether a run has trained its backbone; False if the run is not known.

    Args:
        model: The run's folder, or its classifier.
    """
    path = Path(model)
    run = path if path.is_dir() else path.parent
    if not (run / "metrics.json").is_file() or not (run / "history.csv").is_file():
        return False
    return len(load_run(run).phases) > 1


def _load_epoch(row: Mapping[str, str]) -> tuple[str, dict[str, float]]:
    """Return the phase of an epoch, and its values."""
    others = ("epoch", "phase")
    values = {name: float(text) for name, text in row.items() if text and name not in others}
    return row["phase"], values


def _load_phase(
    phase: Mapping[str, Any], epochs: Sequence[tuple[str, dict[str, float]]]
) -> PhaseRun:
    return PhaseRun(
        name=phase["name"],
        history=to_columns([values for name, values in epochs if name == phase["name"]]),
        seconds=phase["seconds"],
        best_epoch=phase["best_epoch"],
        movement=Movement(moved=phase["moved"], untouched=phase["untouched"]),
    )


def environment() -> dict[str, str]:
    """Return the package versions, the machine and the date.

    Cores and memory are those that this process may use. The processor's name and the memory are
    missing if the system does not report them.
    """
    processor, memory = system.processor(), system.known_memory()
    known = {
        "processor": processor,
        "memory": None if memory is None else f"{memory / 2**30:.1f} GiB",
    }
    return {
        **package_versions(*_PACKAGES, keras.config.backend()),
        "keras_backend": keras.config.backend(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {joblib.cpu_count()} cores",
        **{name: value for name, value in known.items() if value},
        "date": datetime.now(UTC).date().isoformat(),
    }


def _metrics(run: Run, evaluation: Evaluation) -> dict[str, Any]:
    phases = [
        {
            "name": phase.name,
            "seconds": phase.seconds,
            "epochs": phase.num_epochs,
            "best_epoch": phase.best_epoch,
            **vars(phase.movement),
            "frozen_part": None if phase.trunk is None else vars(phase.trunk),
        }
        for phase in run.phases
    ]
    return {**evaluation.to_dict(), "seconds": run.seconds, "phases": phases}


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    text = json.dumps(values, indent=2)
    # A matrix of 1,000 classes would take a million lines, so lists of numbers take one line each.
    text = _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text)
    path.write_text(text + "\n", encoding="utf-8")


def _write_history(path: Path, run: Run) -> None:
    numbers = itertools.count(1)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(run.history))  # cells of missing metrics are empty
        writer.writeheader()
        for phase in run.phases:
            for values in zip(*phase.history.values(), strict=True):
                row = dict(zip(phase.history, values, strict=True))
                writer.writerow({"epoch": next(numbers), "phase": phase.name, **row})
