"""What each command of the command line does."""

import argparse
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rich.console

from tlkit._internal import arguments
from tlkit.cli import config
from tlkit.data import decoding, scanning
from tlkit.data.image_folders import images_within
from tlkit.data.lazy_images import LazyImages
from tlkit.errors import ConfigError, DataError
from tlkit.evaluation import label_audit
from tlkit.evaluation.evaluator import evaluate, predict
from tlkit.evaluation.probing.linear_probe import probe
from tlkit.experiments import run_folder, runner
from tlkit.experiments.runner import Experiment
from tlkit.models.builder import build_classifier
from tlkit.models.inspection import class_names
from tlkit.plotting import audit_grids, charts
from tlkit.training.phase import plan_freezing
from tlkit.training.trackers import tracker


def _train(options: argparse.Namespace, console: rich.console.Console) -> dict[str, Any]:
    experiment = config.experiment(options)
    run_folder.check_free(options.out)
    finished = runner.run(
        experiment,
        options.out,
        command=_typed(options),
        callbacks=[
            tracker(name, options.out.parent / "tensorboard" / options.out.name)
            for name in options.track
        ],
        tell=console.print,
        verbose=not options.json,
    )
    return {"run": str(options.out), **finished.figures()}


def _typed(options: argparse.Namespace) -> str:
    return f"tlkit {shlex.join(options.words)}"


def _audit(options: argparse.Namespace, console: rich.console.Console) -> dict[str, Any]:
    model, experiment = config.model(options)
    if options.out is not None:
        _check_picture(options.out)
    source = experiment.source(class_names(model))
    found = label_audit.audit(model, source, seed=experiment.seed)
    console.print(found)
    if options.out is not None and found.suspects:
        audit_grids.audit_grid(found, source).savefig(options.out, dpi=150)
        console.print(f"the first of them are drawn in {options.out}")
    return {
        "suspects": [vars(suspect) for suspect in found.suspects],
        "outliers": [vars(outlier) for outlier in found.outliers],
    }


def _evaluate(options: argparse.Namespace, console: rich.console.Console) -> dict[str, Any]:
    model, experiment = config.model(options)
    if "group_column" not in vars(options):  # what belongs together does not matter here
        experiment = replace(experiment, group_column=None)
    found = evaluate(model, experiment.source(class_names(model)))
    console.print(found)
    return found.figures()


def _report(options: argparse.Namespace, console: rich.console.Console) -> dict[str, Any]:
    folder = runner.report(options.run)
    console.print(f"wrote {folder / 'report.html'}")
    return {"report": str(folder / "report.html")}


def _predict(options: argparse.Namespace, console: rich.console.Console) -> dict[str, Any]:
    arguments.at_least("top", options.top, 1)
    files = [file for given in options.files for file in _files(Path(given))]
    if not files:
        raise DataError(f"No image was given: {options.files} hold none.")
    options.data = str(options.files[0])
    model, experiment = config.model(options)
    height, width = model.input_shape[1:3]
    channels = experiment.channels
    damaged = {
        file: each.problem
        for file, each in zip(files, scanning.scan(files), strict=True)
        if each.problem
    }
    found: list[dict[str, Any]] = []
    for file, reason in damaged.items():
        console.print(f"{file}: unreadable: {reason}")
        found.append({"path": str(file), "problem": reason})
    files = [file for file in files if file not in damaged]
    if not files:
        raise DataError(f"None of the {len(damaged):,} files could be read as an image.")
    images = LazyImages(
        lambda place: decoding.decode(
            files[place], (height, width), fit=experiment.fit, channels=channels
        ),
        range(len(files)),
        shape=(height, width, channels),
    )
    names = class_names(model)
    for file, row in zip(files, predict(model, images), strict=True):
        order = np.argsort(-row)[: options.top]
        calls = [{"class": names[at], "probability": float(row[at])} for at in order]
        said = ", ".join(f"{call['class']} {100 * call['probability']:.1f} %" for call in calls)
        console.print(f"{file}: {said}")
        found.append({"path": str(file), "classes": calls})
    return {"predictions": found}


def _inspect(options: argparse.Namespace, console: rich.console.Console) -> dict[str, Any]:
    experiment = config.experiment(options)
    experiment.check()
    source = experiment.source()
    parts = experiment.split(source)
    console.print(runner.plan(source, parts))
    recipe = runner.RECIPES[experiment.recipe]()
    model = _whole(experiment, source.class_names)
    phase = recipe.head if recipe.fine_tune is None else recipe.fine_tune
    table = plan_freezing(model, phase)
    if options.layers:
        console.print(table)
    first = f", training starts at {table.trained[0].name}" if table.trained else ""
    console.print(
        f"{recipe.name} ends with {len(table.frozen)} of {len(table.backbone.layers)} layers "
        f"frozen{first}"
    )
    kept = recipe.kept_bytes(model, parts.train)
    for name, each in kept.items():
        console.print(_kept(name, each, len(parts.train), most=recipe.features == "auto"))
    return {
        "counts": source.counts,
        "parts": {name: len(getattr(parts, name)) for name in ("train", "validation", "test")},
        "look_alikes": len(parts.pairs),
        "problems": [str(problem) for problem in source.problems],
        "frozen_layers": len(table.frozen),
        "trained_layers": len(table.trained),
        "kept_bytes_per_image": kept,
    }


def _kept(phase: str, each: int, count: int, *, most: bool) -> str:
    if not each:
        return f"{phase} keeps no features: every epoch runs the whole model"
    upto = "up to " if most else ""
    total = each * count / 1e6
    return f"{phase} keeps {upto}{each:,} bytes of features of each image, {upto}{total:,.1f} MB"


def _probe(options: argparse.Namespace, console: rich.console.Console) -> dict[str, Any]:
    experiment = config.experiment(options)
    experiment.check()
    if options.out is not None:
        _check_picture(options.out)
    parts = experiment.split(experiment.source())
    model = _whole(experiment, parts.train.class_names)
    found = probe(model, parts.train, sample=options.sample, seed=experiment.seed)
    console.print(found)
    if options.out is not None:
        charts.probe_curves(found).savefig(options.out, dpi=150)
        console.print(f"drawn in {options.out}")
    return {
        "chosen": found.chosen.layer,
        "standard_error": found.standard_error,
        "layers": [vars(probed) for probed in found.layers],
    }


def _whole(experiment: Experiment, names: Sequence[str]) -> Any:
    recipe = runner.RECIPES[experiment.recipe]()
    return build_classifier(
        recipe.backbone,
        len(names),
        input_shape=(experiment.image_size, experiment.image_size, experiment.channels),
        image_size=experiment.image_size,
        pixels=recipe.pixels,
        weights=experiment.weights,
        class_names=names,
    )


def _files(given: Path) -> list[Path]:
    return sorted(images_within(given)) if given.is_dir() else [given]


def _check_picture(path: Path) -> None:
    if path.suffix.lower() != ".png" or not path.parent.is_dir():
        raise ConfigError(
            f"`out` must be a .png file in a folder that is there, got {str(path)!r}."
        )


COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "train": _train,
    "evaluate": _evaluate,
    "predict": _predict,
    "report": _report,
    "audit": _audit,
    "probe": _probe,
    "inspect": _inspect,
}
"""What each command does: completed options and a console in, what `--json` writes out."""
