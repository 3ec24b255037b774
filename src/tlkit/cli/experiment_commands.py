"""The commands on an experiment's settings: `tlkit inspect`, `tlkit probe`, `tlkit train`.

Each signature and docstring gives options and help, each body does the work.
"""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tlkit
from tlkit.cli import checks
from tlkit.cli.options import (
    DEFAULT_OUTPUT,
    FLAG,
    Output,
    Settings,
    Typed,
    UseCache,
    check_figure,
    open_cache,
    save_figure,
)
from tlkit.errors import Argument, ConfigError
from tlkit.experiments.experiment import Experiment
from tlkit.experiments.one_machine import require_one_machine

if TYPE_CHECKING:
    import keras

EngineChoice = Literal["auto", "keras", "litert", "onnxruntime", "openvino"]
Tracker = Literal["mlflow", "tensorboard", "wandb"]


def train(
    experiment: Settings,
    *,
    out: Path,
    track: tuple[Tracker, ...] = (),
    assert_accuracy: float | None = None,
    resume: bool = True,
    cache: UseCache = True,
    engine: EngineChoice = "auto",
    output: Output = DEFAULT_OUTPUT,
    typed: Typed = (),
) -> dict[str, Any]:
    """Train a classifier and write a run; after an interrupt, the same command goes on.

    Args:
        out: The run's folder; it must be new, empty, or hold an unfinished run.
        track: Log metrics of every epoch to these trackers; TensorBoard's files go beside the run.
        assert_accuracy: Exit with code 1 if the accuracy is lower; multi-label: all classes right.
        resume: Go on with an unfinished run of the same settings; --no-resume starts anew.
        cache: Take features from those of earlier commands, and store them for later ones.
        engine: What runs the frozen part; "keras" gives Keras' numbers to the last digit.
    """
    checks.check_experiment(experiment)
    tlkit.experiments.run_state.check_folder(out)
    logs = out.parent / "tensorboard" / out.name
    result = tlkit.experiments.run(
        experiment,
        out,
        command=f"tlkit {shlex.join(typed)}",
        cache=tlkit.Cache(folder="auto" if cache else None, engine=engine),
        callbacks=[tlkit.training.tracker(name, logs) for name in track],
        on_message=output.print,
        resume=resume,
        verbose=not output.json,
    )
    return {"run": str(out), **result.to_dict()}


def probe(
    experiment: Settings,
    *,
    sample: int = 5000,
    engine: EngineChoice | None = None,
    out: Path | None = None,
    cache: UseCache = True,
    output: Output = DEFAULT_OUTPUT,
) -> dict[str, Any]:
    """Show which layer's features a head classifies best, or which backbone to choose.

    Several --backbones, --image-sizes, or a limit compare by accuracy, time and size.

    Args:
        sample: Maximum number of images to use.
        engine: What runs backbones: by default auto, or to compare several keras, which times all.
        out: A .png file for a figure.
        cache: Take features from those of earlier commands, and store them for later ones.
    """
    require_one_machine(experiment, "`tlkit probe`")
    checks.check_experiment(experiment)
    experiment = tlkit.experiments.backbone_choice.prepare(experiment, output.print)
    check_figure(out)
    split = _split(experiment, output)
    if experiment.is_search:
        stored = open_cache(cache=cache)
        how = {"sample": sample, "engine": engine or "keras", "cache": stored}
        values = _search(experiment, split.train, out, output, **how)
        output.print_usage(stored)
        return values
    classifier = _build(experiment, split.train)
    stored = open_cache(cache=cache)
    found = tlkit.probe(
        classifier,
        split.train,
        sample=sample,
        engine=engine or "auto",
        seed=experiment.seed,
        cache=stored,
        verbose=not output.json,
    )
    output.print_usage(stored)
    output.print(found)
    if out is not None:
        save_figure(tlkit.plotting.probe_curves(found), out)
        output.print(f"wrote {out}")
    return {
        "chosen": found.chosen.layer,
        "standard_error": found.standard_error,
        "layers": [vars(probed) for probed in found.layers],
    }


def _search(
    experiment: Experiment,
    train: "tlkit.data.ImageDataset",
    out: Path | None,
    output: Output,
    **how: Any,
) -> dict[str, Any]:
    search = tlkit.experiments.backbone_choice.search
    found = search(experiment, train, on_message=output.print, **how)
    output.print(found)
    if out is not None:
        save_figure(tlkit.plotting.backbone_chart(found), out)
        output.print(f"wrote {out}")
    return found.to_dict()


def inspect(
    experiment: Settings,
    *,
    layers: Annotated[bool, FLAG] = False,
    output: Output = DEFAULT_OUTPUT,
) -> dict[str, Any]:
    """Show memory needed and layers frozen, without training.

    Args:
        layers: List every layer of the backbone.
    """
    checks.check_experiment(experiment)
    loading = tlkit.experiments.loading
    require_one_machine(experiment, "`tlkit inspect`")
    if experiment.is_search:
        raise ConfigError(
            Argument("backbones"),
            ", image sizes and limits can't be inspected: they choose a backbone by its accuracy. "
            "Use `tlkit probe`, and inspect the one that it recommends.",
        )
    experiment = loading.resolve(experiment, output.print)
    with output.measure_reading():
        dataset = loading.load_used(experiment)
        split = loading.split_images(experiment, dataset)
    output.print(tlkit.experiments.plan(dataset, split))
    if experiment.folds:
        output.print(tlkit.experiments.folds.describe(experiment, dataset))
    recipe = tlkit.experiments.recipes.for_experiment(experiment)
    classifier = _build(experiment, dataset)
    phase = recipe.head if recipe.fine_tune is None else recipe.fine_tune
    plan = tlkit.training.plan_freezing(classifier, phase)
    if layers:
        output.print(plan)
    output.print(_describe_freezing(recipe, plan))
    cached = recipe.cached_bytes(classifier, split.train)
    for name, size in cached.items():
        output.print(_describe_caching(recipe, name, size, len(split.train)))
    return {
        "counts": dataset.counts,
        "parts": {name: len(getattr(split, name)) for name in ("train", "validation", "test")},
        "own_parts": list(split.own_parts),
        "duplicates": len(split.duplicates),
        "problems": [str(problem) for problem in dataset.problems],
        "notices": list(dataset.notices),
        "frozen_layers": len(plan.frozen),
        "trained_layers": len(plan.trained),
        "cached_bytes_per_image": cached,
    }


def _describe_freezing(
    recipe: "tlkit.experiments.Recipe", plan: "tlkit.models.freezing.FreezePlan"
) -> str:
    first = f", training starts at {plan.trained[0].name}" if plan.trained else ""
    return (
        f"{recipe.name} ends with {len(plan.frozen)} of {len(plan.backbone.layers)} layers "
        f"frozen{first}"
    )


def _describe_caching(
    recipe: "tlkit.experiments.Recipe", phase: str, size: int, num_images: int
) -> str:
    """Return what a phase caches in a line.

    Args:
        size: Bytes of features of an image.
    """
    if not size:
        return f"{phase} caches no features: every epoch runs the whole model"
    upto = "up to " if recipe.features == "auto" else ""
    total = size * num_images / 1e6
    return f"{phase} caches {upto}{size:,} bytes of features of each image, {upto}{total:,.1f} MB"


def _build(experiment: Experiment, images: "tlkit.data.ImageDataset") -> "keras.Model":
    recipe = tlkit.experiments.recipes.for_experiment(experiment)
    size = tlkit.experiments.loading.image_size_of(experiment)
    return tlkit.build_classifier(
        recipe.backbone,
        len(images.class_names),
        input_shape=images.images.shape[1:],
        image_size=size,
        pixels=experiment.pixel_format or recipe.pixels,
        num_prefix_tokens=experiment.num_prefix_tokens,
        weights=experiment.weights,
        backbone_options=experiment.backbone_options,
        class_names=images.class_names,
        multi_label=experiment.is_multi_label,
    )


def _split(experiment: Experiment, output: Output) -> "tlkit.data.Split":
    loading = tlkit.experiments.loading
    with output.measure_reading():
        return loading.split_images(experiment, loading.load_images(experiment))
