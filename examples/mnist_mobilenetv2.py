"""Classify handwritten digits with MobileNetV2: by the recipe `fast`, and by fine-tuning.

`fast` solves a linear head on the layer whose features are classified best. The other recipe trains
a head after the last layer, then fine-tunes. Both use the same images and are compared at the end.

    python examples/mnist_mobilenetv2.py                            # downloads, if it can
    python examples/mnist_mobilenetv2.py --data path/to/mnist.npz   # MNIST from a file
    python examples/mnist_mobilenetv2.py --batchnorm train          # as plain Keras does it
    python examples/mnist_mobilenetv2.py --weights starter          # downloads MNIST only
    python examples/mnist_mobilenetv2.py --recipe fast              # one recipe only

By default it loads MNIST and ImageNet weights from KERAS_HOME or downloads them. If that fails, it
prints so and uses scikit-learn's digits and tlkit's small starter backbone, which are installed.
"""

import argparse
import logging
import shlex
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from tlkit.cli import quiet

with quiet.hide_startup():  # no environment variable hides all that TensorFlow prints of itself
    import keras

import tlkit
from tlkit import freezing, recipes
from tlkit.data import Split
from tlkit.experiments import Experiment, Trained, run_folder
from tlkit.recipes import Recipe

RECIPES = ("mnist_as_described", "few_images", "fast")
WEIGHTS = {"imagenet": "ImageNet weights", "starter": "tlkit's starter weights (alpha 0.35)"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """The results of one recipe."""

    name: str
    evaluation: tlkit.evaluation.Evaluation
    seconds: float
    num_parameters: int


def main(arguments: list[str] | None = None) -> Path:
    """Run the example, and return the run's folder."""
    options = _options(arguments)
    if options.out is not None:
        run_folder.require_empty(options.out)  # before training, not after it
    keras.utils.set_random_seed(options.seed)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of every new model

    _step(1, "Load the images")
    experiment, images = _load(options)
    missing = []
    if experiment.data == "digits":
        missing = [f"{images.train.name} (1,797 real images) in place of MNIST"]
    _step(2, "Load the backbone's weights")
    experiment, model = _build(experiment, images, options)
    recipe, weights = recipes.for_experiment(experiment), WEIGHTS[experiment.weights]
    if experiment.weights == "starter" and options.weights is None:
        missing = [*missing, f"{weights} in place of ImageNet's"]
    if missing:
        print(f"   Downloads failed; this run uses {' and '.join(missing)}.")
    print(f"   {recipe.name} on {images.train.name}: {recipe.backbone}, {weights}")
    print(
        f"   {len(images.train):,} images to train, {len(images.validation):,} held out from "
        f"training for validation, {len(images.test):,} to test"
    )

    rows = []
    if options.recipe is None:
        _step(3, "Train by the recipe fast: probe the backbone, cut it, solve the head")
        rows.append(_train_fast(images, experiment))
    _step(4, "Build the model: grey to RGB, resizing, rescaling, backbone, pooling, softmax head")
    print(f"   {model.input_shape} raw pixels in, {model.output_shape} probabilities out")
    _step(5, "Encode the labels one-hot")
    classes = len(images.train.class_names)
    train, validation, test = (
        (part.images, tlkit.data.one_hot(part.labels, classes))
        for part in (images.train, images.validation, images.test)
    )
    _step(6, "Choose the layers that fine-tuning freezes")
    print(_describe_freezing(model, recipe))

    _step(7, "Train the head, then fine-tune the last layers")
    cache = None if options.plain else tlkit.Cache()
    started = time.perf_counter()
    run = recipe.trainer(seed=options.seed, cache=cache).fit(
        model, train, validation_data=validation if len(images.validation) else None
    )
    seconds = time.perf_counter() - started

    _step(8, "Calibrate on the validation images, and evaluate on the test images")
    if len(images.validation):  # of very few images, none are held out
        print(f"   {tlkit.calibrate(model, validation)}")
    evaluation = tlkit.evaluate(model, test)
    print(evaluation)
    others = {row.name: row.evaluation for row in rows}
    rows.append(_row(recipe.name, model, evaluation, seconds))

    _step(9, "Save the run, and draw its report")
    typed = sys.argv[1:] if arguments is None else arguments
    folder = tlkit.experiments.save_training(
        experiment,
        options.out or Path("runs") / _name(images, experiment),
        images=images,
        trained=Trained(recipe=recipe.name, model=model, run=run, seconds=seconds),
        evaluation=evaluation,
        command=shlex.join(["python", "examples/mnist_mobilenetv2.py", *typed]),
        others=others,
    )
    print(f"   {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    if len(rows) > 1:
        _step(10, "Compare both recipes on the same test images")
        print(_compare(rows))
    return folder


def _load(options: argparse.Namespace) -> tuple[Experiment, Split]:
    """Load MNIST or, if it was not asked for and can't be downloaded, scikit-learn's digits.

    A tenth of the training images is held out. Training is followed and calibrated on these, so
    that the test images are used for the results alone. `tlkit train` holds out the same ones.
    """
    experiment = Experiment(
        options.data or "mnist",
        recipe="fast",  # until it is known which weights there are
        image_size=options.image_size,
        limit=options.limit,
        seed=options.seed,
    )
    try:
        return experiment, tlkit.experiments.load_split(experiment)
    except tlkit.errors.DownloadError:
        if options.data is not None:
            raise
    experiment = replace(experiment, data="digits")
    return experiment, tlkit.experiments.load_split(experiment)


def _build(
    experiment: Experiment, images: Split, options: argparse.Namespace
) -> tuple[Experiment, keras.Model]:
    """Build the model on ImageNet weights or, if they can't be downloaded, the starter's.

    The recipe `mnist_as_described` is for MNIST and ImageNet weights; `few_images` for the others.
    """
    size = options.image_size
    if options.weights != "starter":
        usual = "few_images" if experiment.data == "digits" else "mnist_as_described"
        chosen = replace(experiment, **_settings(options, usual))
        try:
            return chosen, recipes.for_experiment(chosen).build(images.train, image_size=size)
        except tlkit.errors.DownloadError:
            if options.weights == "imagenet":
                raise
    chosen = replace(experiment, **_settings(options, "few_images"), weights="starter")
    recipe = recipes.for_experiment(chosen)
    return chosen, recipe.build(images.train, image_size=size, weights="starter")


def _settings(options: argparse.Namespace, usual: str) -> dict[str, Any]:
    """Return the recipe and its settings, as fields of an Experiment."""
    recipe = options.recipe or usual
    if recipe == "fast":  # it has neither epochs nor BatchNormalization to choose
        return {"recipe": recipe}
    chosen = [f"batchnorm={options.batchnorm}"]
    if options.epochs is not None:
        chosen.append(f"epochs={','.join(map(str, options.epochs))}")
    return {"recipe": recipe, "recipe_options": tuple(chosen)}


def _train_fast(images: Split, experiment: Experiment) -> Row:
    trained = recipes.fast().train(
        images.train,
        image_size=experiment.image_size,
        weights=experiment.weights,
        seed=experiment.seed,
        verbose=False,
    )
    evaluation = tlkit.evaluate(trained.model, images.test)
    last = tlkit.models.backbone_of(trained.model).layers[-1].name
    print(
        f"   the backbone ends at {last}; {evaluation.accuracy:.2%} of the test images are "
        f"classified correctly after {trained.seconds:.0f} s"
    )
    return _row("fast", trained.model, evaluation, trained.seconds)


def _row(
    name: str, model: keras.Model, evaluation: tlkit.evaluation.Evaluation, seconds: float
) -> Row:
    return Row(
        name=name, evaluation=evaluation, seconds=seconds, num_parameters=model.count_params()
    )


def _compare(rows: list[Row]) -> str:
    lines = [f"   {'':<20}{'accuracy':>10}{'loss':>9}{'training':>11}{'parameters':>12}"]
    lines += [
        f"   {row.name:<20}{row.evaluation.accuracy:>10.2%}{row.evaluation.loss:>9.4f}"
        f"{row.seconds:>9.0f} s{row.num_parameters:>12,}"
        for row in rows
    ]
    first, second = (row.evaluation for row in rows)
    test = tlkit.evaluation.mcnemar(first, second)
    return "\n".join([*lines, f"   McNemar's test: {test}"])


def _describe_freezing(model: keras.Model, recipe: Recipe) -> str:
    phase = recipe.fine_tune
    backbone = tlkit.models.backbone_of(model)
    if phase is None:
        last = backbone.layers[-1].name
        return f"   all {len(backbone.layers)} layers stay frozen; the last is {last}"
    plan = freezing.plan(backbone, phase.freeze, batchnorm=phase.batchnorm)
    first = plan.trained[0].name
    return (
        f"   {len(plan.frozen)} of {len(backbone.layers)} layers stay frozen, training starts at "
        f"{first}; BatchNormalization from there: {phase.batchnorm}"
    )


def _name(images: Split, experiment: Experiment) -> str:
    now = time.strftime("%Y%m%d-%H%M%S")
    return f"{images.train.name.replace(' ', '-')}-{experiment.weights}-{now}"


def _step(number: int, what: str) -> None:
    print(f"{number}. {what}", flush=True)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--recipe",
        choices=RECIPES,
        help="run only this recipe (default: fast, then mnist_as_described with MNIST and ImageNet "
        "weights, else few_images)",
    )
    parser.add_argument(
        "--weights",
        choices=("imagenet", "starter"),
        help="weights of the backbone (default: imagenet, or starter if the download fails)",
    )
    parser.add_argument(
        "--batchnorm",
        choices=get_args(freezing.BatchNormPolicy),
        default="frozen",
        help="how BatchNormalization behaves in fine-tuning (default: frozen)",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        nargs=2,
        metavar=("HEAD", "FINE_TUNE"),
        help="epochs of each phase (default: the recipe's)",
    )
    parser.add_argument(
        "--plain",
        action="store_true",
        help="run the frozen part again in every epoch, as plain Keras does",
    )
    parser.add_argument(
        "--image-size", type=int, default=32, help="size that images are resized to (default: 32)"
    )
    parser.add_argument(
        "--data",
        help="path of an mnist.npz, or 'mnist' to stop if MNIST can't be downloaded "
        "(default: MNIST, or scikit-learn's digits if the download fails)",
    )
    parser.add_argument(
        "--out", type=Path, help="the run's folder, new or empty (default: runs/<name>)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="maximum number of training images")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        main()
    except tlkit.errors.TlkitError as error:
        sys.exit(f"{type(error).__name__}: {error}")
