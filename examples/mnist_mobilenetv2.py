"""Handwritten digits with MobileNetV2: the short way, and the experiment tlkit was made for.

The short way ends the backbone where a linear head reads best, and solves the head; the experiment
trains a head after the last layer, then fine-tunes. Both see the same images, and are compared.

    python examples/mnist_mobilenetv2.py                            # whatever can be reached
    python examples/mnist_mobilenetv2.py --data path/to/mnist.npz   # MNIST from a file
    python examples/mnist_mobilenetv2.py --batchnorm train          # as plain Keras does it
    python examples/mnist_mobilenetv2.py --weights starter          # nothing downloaded but MNIST
    python examples/mnist_mobilenetv2.py --recipe fast              # one of them alone

By default it loads MNIST and ImageNet weights the ordinary way, from KERAS_HOME or by download.
Where they can't be reached it says so, and takes what comes with the installed packages:
scikit-learn's digits, and tlkit's own small starter backbone.
"""

import argparse
import logging
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import keras

import tlkit
from tlkit import freezing, recipes
from tlkit.data import Split
from tlkit.experiments import run_folder
from tlkit.plotting import charts
from tlkit.recipes import Recipe

RECIPES = {
    "mnist_as_described": recipes.mnist_as_described,
    "few_images": recipes.few_images,
    "fast": recipes.fast,
}
IMAGENET = "ImageNet weights"
STARTER = "tlkit's starter weights (alpha 0.35)"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way in the comparison."""

    name: str
    evaluation: tlkit.evaluation.Evaluation
    seconds: float
    weights: int


def main(arguments: list[str] | None = None) -> Path:
    """Run the experiment; return the folder it wrote."""
    options = _options(arguments)
    if options.out is not None:
        run_folder.require_empty(options.out)  # before the work, not after it
    keras.utils.set_random_seed(options.seed)
    logging.getLogger("tensorflow").setLevel(
        logging.ERROR
    )  # several models are compiled, once each

    _step(1, "Load the images")
    images, missing = _images(options)
    _step(2, "Load the backbone's weights")
    model, recipe, weights = _model(images, options, described=not missing)
    if weights == STARTER and options.weights is None:
        missing = [*missing, f"{weights} in place of ImageNet's"]
    if missing:
        print(f"   Can't be reached from here, so this run takes {' and '.join(missing)}.")
    about = f"{recipe.name} on {images.train.name}: {recipe.backbone}, {weights}, {options.size} px"
    print(f"   {about}; {len(images.train):,} images to train, {len(images.test):,} to test")

    rows = []
    if options.recipe is None:
        _step(3, "The short way first: probe the backbone, end it there, solve the head")
        rows.append(_short_way(images, weights, options))
    _step(4, "Grey to RGB, resized and rescaled inside the model; pooling and a softmax head")
    print(f"   {model.input_shape} raw pixels in, {model.output_shape} probabilities out")
    _step(5, "Encode the labels one-hot")
    classes = len(images.train.class_names)
    train, test = (
        (part.images, tlkit.data.one_hot(part.labels, classes))
        for part in (images.train, images.test)
    )
    _step(6, "Choose what fine-tuning freezes")
    print(_frozen(model, recipe))

    _step(7, "Train the head, and 8. fine-tune the tail")
    cache = None if options.plain else tlkit.Cache()
    started = time.perf_counter()
    run = recipe.trainer(seed=options.seed, cache=cache).fit(model, train, validation_data=test)
    seconds = time.perf_counter() - started

    _step(9, "Evaluate on the test images")
    evaluation = tlkit.evaluate(model, test)
    print(evaluation)
    count = model.count_params()
    rows.append(Row(name=recipe.name, evaluation=evaluation, seconds=seconds, weights=count))

    _step(10, "Draw the predictions, the learning curves and the confusion matrix")
    figures = {
        "predictions": charts.prediction_grid(model, test, seed=options.seed),
        "curves": charts.learning_curves(run),
        "confusion": charts.confusion_matrix(evaluation),
    }
    for figure in figures.values():
        figure.suptitle(about, fontsize=8, color="0.35")

    _step(11, "Save the model and the run")
    folder = run_folder.save_run(
        options.out or Path("runs") / _name(images, weights),
        model=model,
        run=run,
        evaluation=evaluation,
        figures=figures,
        about=about,
        config={
            "data": images.train.name,
            "weights": weights,
            "recipe": recipe.name,
            **_settings(options, arguments),
            "epochs": [phase.num_epochs for phase in run.phases],
        },
    )
    print(f"   {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    if len(rows) > 1:
        _step(12, "Compare both ways, on the same test images")
        print(_compared(rows))
    return folder


def _short_way(images: Split, weights: str, options: argparse.Namespace) -> Row:
    trained = recipes.fast().train(
        images.train,
        image_size=options.size,
        weights="imagenet" if weights == IMAGENET else "starter",
        seed=options.seed,
        verbose=False,
    )
    evaluation = tlkit.evaluate(trained.model, images.test)
    last = tlkit.models.backbone_of(trained.model).layers[-1].name
    print(
        f"   the head reads {last}: {100 * evaluation.accuracy:.2f} % of the test images right "
        f"after {trained.seconds:.0f} s"
    )
    count = trained.model.count_params()
    return Row(name="fast", evaluation=evaluation, seconds=trained.seconds, weights=count)


def _compared(rows: list[Row]) -> str:
    lines = [f"   {'':<20}{'accuracy':>10}{'loss':>9}{'training':>11}{'weights':>12}"]
    lines += [
        f"   {row.name:<20}{row.evaluation.accuracy:>10.2%}{row.evaluation.loss:>9.4f}"
        f"{row.seconds:>9.0f} s{row.weights:>12,}"
        for row in rows
    ]
    first, second = (row.evaluation for row in rows)
    return "\n".join([*lines, f"   McNemar's test: {tlkit.evaluation.mcnemar(first, second)}"])


def _images(options: argparse.Namespace) -> tuple[Split, list[str]]:
    """Load the images; only where none were asked for may the built-in set take their place."""
    missing = []
    if options.data not in (None, "mnist"):
        images = tlkit.datasets.mnist(options.data)
    else:
        try:
            images = tlkit.datasets.mnist()
        except tlkit.errors.DownloadError:
            if options.data == "mnist":
                raise
            images = tlkit.datasets.digits()
            missing = [f"{images.train.name} (1,797 real images) in place of MNIST"]
    return (images if options.limit is None else images.limited(options.limit)), missing


def _recipe(options: argparse.Namespace, *, fallback: str) -> Recipe:
    if options.recipe == "fast":
        return recipes.fast()  # it has no epochs, and trains no BatchNormalization
    given = {} if options.epochs is None else {"epochs": tuple(options.epochs)}
    return RECIPES[options.recipe or fallback](batchnorm=options.batchnorm, **given)


def _model(
    images: Split, options: argparse.Namespace, *, described: bool
) -> tuple[keras.Model, Recipe, str]:
    """Build on ImageNet weights or, where they can't be reached, on the starter's.

    The described experiment is MNIST on ImageNet weights; anything else gets another recipe.
    """
    if options.weights != "starter":
        recipe = _recipe(options, fallback="mnist_as_described" if described else "few_images")
        try:
            return recipe.build(images.train, image_size=options.size), recipe, IMAGENET
        except tlkit.errors.DownloadError:
            if options.weights == "imagenet":
                raise
    recipe = _recipe(options, fallback="few_images")
    return recipe.build(images.train, image_size=options.size, weights="starter"), recipe, STARTER


def _frozen(model: keras.Model, recipe: Recipe) -> str:
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


def _name(images: Split, weights: str) -> str:
    kind = "imagenet" if weights == IMAGENET else "starter"
    return f"{images.train.name.replace(' ', '-')}-{kind}-{time.strftime('%Y%m%d-%H%M%S')}"


def _settings(options: argparse.Namespace, arguments: list[str] | None) -> dict[str, object]:
    said_elsewhere = ("data", "out", "recipe", "weights")
    settings = {name: value for name, value in vars(options).items() if name not in said_elsewhere}
    words = sys.argv[1:] if arguments is None else arguments
    return {**settings, "command": ["examples/mnist_mobilenetv2.py", *words]}


def _step(number: int, what: str) -> None:
    print(f"{number}. {what}", flush=True)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--recipe",
        choices=RECIPES,
        help="only this one (default: fast, then mnist_as_described for MNIST on ImageNet "
        "weights, else few_images)",
    )
    parser.add_argument(
        "--weights",
        choices=("imagenet", "starter"),
        help="of the backbone (default: ImageNet's, or the starter where they can't be reached)",
    )
    parser.add_argument(
        "--batchnorm",
        choices=get_args(freezing.BatchNormPolicy),
        default="frozen",
        help="what BatchNormalization does in fine-tuning (default: frozen)",
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
    parser.add_argument("--size", type=int, default=32, help="image size (default: 32)")
    parser.add_argument(
        "--data",
        help="path of an mnist.npz, or 'mnist' to insist on MNIST "
        "(default: MNIST, or scikit-learn's digits where it can't be reached)",
    )
    parser.add_argument("--out", type=Path, help="new or empty folder (default: runs/<name>)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="use only so many training images")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        main()
    except tlkit.errors.TlkitError as error:
        sys.exit(f"{type(error).__name__}: {error}")
