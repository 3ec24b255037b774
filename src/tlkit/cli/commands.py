"""The commands: each signature and docstring gives options and help, each body does the work.

`tlkit` and its packages import their modules on first use, so that `tlkit --help` is quick.
"""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

import tlkit
from tlkit.errors import Argument, ConfigError
from tlkit.experiments.experiment import Experiment, Unreadable

if TYPE_CHECKING:
    import keras

EngineChoice = Literal["auto", "keras", "litert", "onnxruntime", "openvino"]
Tracker = Literal["mlflow", "tensorboard", "wandb"]
Typed = Annotated[Sequence[str], Parameter(parse=False)]  # what was typed, added by `app`
_flat = Parameter(name="*")  # each field of a dataclass is an option
UseCache = Annotated[bool, Parameter(negative="--no-cache")]
_flag = Parameter(negative=(), show_default=False)


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where results go, and where options come from.

    Attributes:
        json: Print one JSON object instead of text.
        config: A JSON or YAML file of options, such as a run's config.json; typed options win.
    """

    json: Annotated[bool, _flag] = False
    config: Path | None = None

    def print(self, value: object) -> None:
        """Print a value: to standard error where standard output holds the JSON object."""
        import rich.console

        console = rich.console.Console(
            stderr=self.json, highlight=False, soft_wrap=True, markup=False, emoji=False
        )
        if not console.is_terminal:
            console.width = 1000  # a file or a pipe does not fold tables
        console.print(value)

    @contextmanager
    def measure(
        self, title: str, *, hidden: bool = False
    ) -> "Iterator[Callable[[int, int], None]]":
        """Yield a function that shows a bar on a terminal: images done, and all."""
        import rich.console

        from tlkit.caching.progress import CacheProgress

        progress = CacheProgress(
            verbose=not hidden, console=rich.console.Console(stderr=True), title=title
        )
        try:
            yield progress.update
        finally:
            progress.close()


@dataclass(frozen=True)
class LabelledImages:
    """Labelled images for a trained classifier.

    Attributes:
        data: A folder with a subfolder of images for each class, or a .csv or .parquet table.
        unreadable: What to do with damaged files; by default as in training.
        path_column: Column of a table that holds image paths; by default as in training.
        label_column: Column of a table that holds class names; by default as in training.
        label_separator: Sign between several labels of an image; by default as in training.
        label_columns: Columns of 0 and 1, one for each class; by default as in training.
        split_column: Column of a table that holds train, val or test.
        group_column: Column of a table that groups images; by default as in training.
    """

    data: str
    _: KW_ONLY
    unreadable: Unreadable | None = None
    path_column: str | None = None
    label_column: str | None = None
    label_separator: str | None = None
    label_columns: tuple[str, ...] | None = None
    split_column: str | None = None
    group_column: str | None = None

    def settings(self) -> dict[str, Any]:
        """Return the settings that were given."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def train(
    experiment: Annotated[Experiment, _flat],
    *,
    out: Path,
    track: tuple[Tracker, ...] = (),
    assert_accuracy: float | None = None,
    cache: UseCache = True,
    output: Annotated[Output, _flat] = Output(),
    typed: Typed = (),
) -> dict[str, Any]:
    """Train a classifier and write a run.

    Args:
        out: The run's folder; it must be new or empty.
        track: Log metrics of every epoch to these trackers; TensorBoard's files go beside the run.
        assert_accuracy: Exit with code 1 if the accuracy is lower; multi-label: all classes right.
        cache: Take features from those of earlier commands, and store them for later ones.
    """
    tlkit.experiments.run_folder.require_empty(out)
    logs = out.parent / "tensorboard" / out.name
    result = tlkit.experiments.run(
        experiment,
        out,
        command=f"tlkit {shlex.join(typed)}",
        cache=tlkit.Cache(folder="auto") if cache else tlkit.Cache(),
        callbacks=[tlkit.training.tracker(name, logs) for name in track],
        on_message=output.print,
        verbose=not output.json,
    )
    return {"run": str(out), **result.to_dict()}


def evaluate(
    model: str,
    images: Annotated[LabelledImages, _flat],
    *,
    assert_accuracy: float | None = None,
    output: Annotated[Output, _flat] = Output(),
) -> dict[str, Any]:
    """Evaluate a classifier on labelled images.

    Args:
        model: A run's folder, or a .keras file.
        assert_accuracy: Exit with code 1 if the accuracy is lower; multi-label: all classes right.
    """
    classifier, experiment = tlkit.experiments.loading.load_classifier(model, **images.settings())
    if images.group_column is None:  # without a split, groups do not matter
        experiment = replace(experiment, group_column=None)
    dataset = _load(experiment, classifier)
    tested = tlkit.experiments.loading.take_test_images(dataset)
    if len(tested) < len(dataset):
        output.print(f"evaluating {len(tested):,} test images, of {len(dataset):,} images in parts")
    evaluation = tlkit.evaluate(classifier, tested)
    output.print(evaluation)
    return evaluation.to_dict()


def _load(experiment: Experiment, classifier: "keras.Model") -> "tlkit.data.ImageDataset":
    names = tlkit.models.class_names(classifier)
    return tlkit.experiments.loading.load_images(experiment, class_names=names)


def predict(
    model: str,
    files: list[str],
    *,
    top: int = 1,
    coverage: float | None = None,
    csv: Path | None = None,
    parquet: Path | None = None,
    output: Annotated[Output, _flat] = Output(),
) -> dict[str, Any]:
    """Predict the classes of images.

    Args:
        model: A run's folder, or a .keras file.
        files: Image files, or folders of them.
        top: Number of classes to name for each image.
        coverage: Name a set of classes that contains the true one for this share of images, as 0.9.
        csv: Write a row for each image to this .csv file, with columns path, label, probability.
        parquet: The same as a .parquet file; needs the extra "parquet".
    """
    to_table = csv is not None or parquet is not None
    rows: list[dict[str, Any]] = []

    def show(prediction: "tlkit.evaluation.FilePrediction") -> None:
        if not to_table:
            output.print(str(prediction))
            rows.append(prediction.to_dict())

    with output.measure("predicted", hidden=not (to_table or output.json)) as on_progress:
        written = tlkit.experiments.write_predictions(
            model,
            files,
            csv=csv,
            parquet=parquet,
            top=top,
            coverage=coverage,
            on_prediction=show,
            on_message=output.print,
            on_progress=on_progress,
        )
    if not to_table:
        return {"predictions": rows}
    output.print(str(written))
    return written.to_dict()


def embed(
    model: str,
    files: list[str],
    *,
    out: Path,
    output: Annotated[Output, _flat] = Output(),
) -> dict[str, Any]:
    """Write the features of images: the numbers that the classifier's head reads.

    Args:
        model: A run's folder, or a .keras file.
        files: Image files, or folders of them.
        out: A .parquet, .npz or .csv file; .parquet needs the extra "parquet".
    """
    with output.measure("embedded") as on_progress:
        written = tlkit.experiments.write_features(
            model, files, out, on_message=output.print, on_progress=on_progress
        )
    output.print(str(written))
    return written.to_dict()


def report(run: str, *, output: Annotated[Output, _flat] = Output()) -> dict[str, Any]:
    """Write a run's report again.

    Args:
        run: A run's folder; its images must not have moved or changed.
    """
    file = tlkit.experiments.report(run) / "report.html"
    output.print(f"wrote {file}")
    return {"report": str(file)}


def audit(
    model: str,
    images: Annotated[LabelledImages, _flat],
    *,
    out: Path | None = None,
    num_folds: int = 5,
    cache: UseCache = True,
    output: Annotated[Output, _flat] = Output(),
) -> dict[str, Any]:
    """List labels that are probably wrong.

    Args:
        model: A run's folder, or a .keras file.
        out: A .png file for a figure of the first of them.
        num_folds: Number of folds; each class needs that many images.
        cache: Take features from those of earlier commands, and store them for later ones.
    """
    _check_figure(out)
    classifier, experiment = tlkit.experiments.loading.load_classifier(model, **images.settings())
    dataset = _load(experiment, classifier)
    stored = _use_cache(cache=cache)
    found = tlkit.audit(
        classifier, dataset, num_folds=num_folds, seed=experiment.seed, cache=stored
    )
    _print_usage(output, stored)
    output.print(found)
    if out is not None and found.suspects:
        tlkit.plotting.audit_grid(found, dataset).savefig(out, dpi=150)
        output.print(f"wrote {out}, a figure of the first of them")
    return {
        "suspects": [vars(suspect) for suspect in found.suspects],
        "outliers": [vars(outlier) for outlier in found.outliers],
    }


def probe(
    experiment: Annotated[Experiment, _flat],
    *,
    sample: int = 5000,
    engine: EngineChoice = "keras",
    out: Path | None = None,
    cache: UseCache = True,
    output: Annotated[Output, _flat] = Output(),
) -> dict[str, Any]:
    """Show which layer's features a head classifies best, or which backbone to choose.

    Several --backbones, --image-sizes, or a limit compare by accuracy, time and size.

    Args:
        sample: Maximum number of images to use.
        engine: The engine that runs and times backbones.
        out: A .png file for a figure.
        cache: Take features from those of earlier commands, and store them for later ones.
    """
    experiment = tlkit.experiments.backbone_choice.prepare(experiment, output.print)
    _check_figure(out)
    split = _split(experiment)
    if experiment.is_search:
        stored = _use_cache(cache=cache)
        how = {"sample": sample, "engine": engine, "cache": stored}
        values = _search(experiment, split.train, out, output, **how)
        _print_usage(output, stored)
        return values
    classifier = _build(experiment, split.train.class_names)
    stored = _use_cache(cache=cache)
    found = tlkit.probe(
        classifier, split.train, sample=sample, engine=engine, seed=experiment.seed, cache=stored
    )
    _print_usage(output, stored)
    output.print(found)
    if out is not None:
        tlkit.plotting.probe_curves(found).savefig(out, dpi=150)
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
        tlkit.plotting.backbone_chart(found).savefig(out, dpi=150)
        output.print(f"wrote {out}")
    return found.to_dict()


def inspect(
    experiment: Annotated[Experiment, _flat],
    *,
    layers: Annotated[bool, _flag] = False,
    output: Annotated[Output, _flat] = Output(),
) -> dict[str, Any]:
    """Show memory needed and layers frozen, without training.

    Args:
        layers: List every layer of the backbone.
    """
    loading = tlkit.experiments.loading
    if experiment.is_search:
        raise ConfigError(
            Argument("backbones"),
            ", image sizes and limits can't be inspected: they choose a backbone by its accuracy. "
            "Use `tlkit probe`, and inspect the one that it recommends.",
        )
    experiment = loading.resolve(experiment, output.print)
    dataset = loading.load_images(experiment)
    split = loading.split_images(experiment, dataset)
    output.print(tlkit.experiments.plan(dataset, split))
    if experiment.folds:
        output.print(tlkit.experiments.folds.describe(experiment, dataset))
    recipe = tlkit.experiments.recipes.get(experiment.recipe, backbone=experiment.backbone)
    classifier = _build(experiment, dataset.class_names)
    phase = recipe.head if recipe.fine_tune is None else recipe.fine_tune
    plan = tlkit.training.plan_freezing(classifier, phase)
    if layers:
        output.print(plan)
    first = f", training starts at {plan.trained[0].name}" if plan.trained else ""
    output.print(
        f"{recipe.name} ends with {len(plan.frozen)} of {len(plan.backbone.layers)} layers "
        f"frozen{first}"
    )
    cached = recipe.cached_bytes(classifier, split.train)
    upto = "up to " if recipe.features == "auto" else ""
    for name, size in cached.items():
        total = size * len(split.train) / 1e6
        output.print(
            f"{name} caches {upto}{size:,} bytes of features of each image, {upto}{total:,.1f} MB"
            if size
            else f"{name} caches no features: every epoch runs the whole model"
        )
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


def _build(experiment: Experiment, names: Sequence[str]) -> "keras.Model":
    recipe = tlkit.experiments.recipes.get(experiment.recipe, backbone=experiment.backbone)
    size = tlkit.experiments.loading.image_size_of(experiment)
    return tlkit.build_classifier(
        recipe.backbone,
        len(names),
        input_shape=(*size, experiment.channels),
        image_size=size,
        pixels=experiment.pixel_format or recipe.pixels,
        weights=experiment.weights,
        backbone_options=experiment.backbone_options,
        class_names=names,
        multi_label=experiment.is_multi_label,
    )


def _use_cache(*, cache: bool) -> "tlkit.Cache | None":
    usage = tlkit.caching.Usage()
    return tlkit.Cache(folder="auto", usage=usage) if cache else None


def _print_usage(output: Output, cache: "tlkit.Cache | None") -> None:
    if cache is not None:
        output.print(str(cache.usage))


def _split(experiment: Experiment) -> "tlkit.data.Split":
    loading = tlkit.experiments.loading
    return loading.split_images(experiment, loading.load_images(experiment))


def _check_figure(path: Path | None) -> None:
    if path is not None and (path.suffix.lower() != ".png" or not path.parent.is_dir()):
        raise ConfigError(
            Argument("out"), f" must be a .png file in an existing folder, got {str(path)!r}."
        )
