"""A finished run as a folder of files: whole or not at all."""

import csv
import itertools
import json
import platform
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras
from matplotlib.figure import Figure

from tlkit._internal import system
from tlkit._internal.files import replace_atomically
from tlkit.errors import ConfigError
from tlkit.evaluation.evaluator import Evaluation
from tlkit.models import saving
from tlkit.reports import render
from tlkit.training.records import PhaseRun, Run, to_columns
from tlkit.training.verification import Movement

_PACKAGES = ("tlkit", "keras", "tensorflow", "numpy", "scikit-learn")


def check_free(folder: str | Path) -> Path:
    """Return the folder where it can take a run: it is not there yet, or empty, and can be written.

    Call it before training, so that hours of work don't end in this error. Makes the folder that
    it is to lie in.

    Raises:
        ConfigError: Something is in the way.
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(
            f"`folder` must be new or empty, got {str(folder)!r}, which holds something. "
            "Choose another, or move it away."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".writing-"):
            pass
    except OSError as error:
        raise ConfigError(
            f"`folder` must be where files can be written, got {str(folder)!r}: {error.strerror}."
        ) from error
    return target


def write(
    folder: str | Path,
    *,
    model: keras.Model,
    run: Run,
    evaluation: Evaluation,
    figures: Mapping[str, Figure],
    about: str,
    config: Mapping[str, Any],
    report: render.ReportFacts | None = None,
    files: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Write a run to a new folder: all of it, or nothing.

    The folder holds `model.keras`, `metrics.json` (the evaluation, the seconds, what each phase
    was proved to move, and how its frozen part was run), `history.csv` (a row an epoch),
    `config.json` (the settings given, and the versions and the machine they ran on), each figure
    as `<name>.png`, and, with a report, what `tlkit.reports.write` writes.

    Args:
        folder: Where; it must be new or empty.
        model: The trained classifier.
        run: What TwoPhaseTrainer.fit returned.
        evaluation: What tlkit.evaluate returned.
        figures: Figures by file name, without ending.
        about: One line that says what was trained on what; it goes into both JSON files.
        config: The settings that made the run, seed included, as values that JSON keeps.
        report: What a report tells of the run; its figures need not be given twice.
        files: More files, as text by name.

    Raises:
        ConfigError: The folder holds something.
    """
    target = check_free(folder)
    with replace_atomically(target) as made:
        made.mkdir()
        saving.save(model, made / "model.keras")
        _write_json(made / "metrics.json", {"about": about, **_metrics(run, evaluation)})
        settings = {"about": about, **config, "environment": environment()}
        _write_json(made / "config.json", settings)
        _write_history(made / "history.csv", run)
        for name, figure in figures.items():
            figure.savefig(made / f"{name}.png", dpi=150)
        for name, text in files.items():
            (made / name).write_text(text, encoding="utf-8")
        if report is not None:
            render.write(made, report)
    return target


def read(folder: str | Path) -> Run:
    """Return what a written run did, but for how its frozen part was run.

    Args:
        folder: What `write` wrote.

    Raises:
        ConfigError: It is no such folder.
    """
    target = Path(folder)
    metrics, history = target / "metrics.json", target / "history.csv"
    if not (metrics.is_file() and history.is_file()):
        raise ConfigError(
            f"`folder` must be a run with metrics.json and history.csv, got {str(folder)!r}."
        )
    told = json.loads(metrics.read_text(encoding="utf-8"))["phases"]
    with history.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return Run(phases=tuple(_phase(each, rows) for each in told))


def _phase(told: Mapping[str, Any], rows: Sequence[Mapping[str, str]]) -> PhaseRun:
    epochs = [
        {
            name: float(value)
            for name, value in row.items()
            if value and name not in ("epoch", "phase")
        }
        for row in rows
        if row["phase"] == told["name"]
    ]
    return PhaseRun(
        name=told["name"],
        history=to_columns(epochs),
        seconds=told["seconds"],
        best_epoch=told["best_epoch"],
        movement=Movement(moved=told["moved"], untouched=told["untouched"]),
    )


def environment() -> dict[str, str]:
    """Return the versions of what a result depends on, the machine, and the date.

    The processor's model and the memory are left out where the system does not tell them. Cores
    and memory are those that this process may use.
    """
    processor, memory = system.processor(), system.known_memory()
    told = {
        "processor": processor,
        "memory": None if memory is None else f"{memory / 2**30:.1f} GiB",
    }
    return {
        **{package: version(package) for package in _PACKAGES},
        "keras_backend": keras.config.backend(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {system.cores()} cores",
        **{name: value for name, value in told.items() if value},
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
    return {**evaluation.figures(), "seconds": run.seconds, "phases": phases}


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _write_history(path: Path, run: Run) -> None:
    numbers = itertools.count(1)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(run.history))  # empty where a phase lacks a metric
        writer.writeheader()
        for phase in run.phases:
            for values in zip(*phase.history.values(), strict=True):
                row = dict(zip(phase.history, values, strict=True))
                writer.writerow({"epoch": next(numbers), "phase": phase.name, **row})
