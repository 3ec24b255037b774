"""The named recipes: complete settings, each as a function that returns a `Recipe`."""

import inspect
from collections.abc import Callable
from typing import Any

import keras

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit.errors import Argument, ConfigError
from tlkit.evaluation.probing.linear_probe import SAMPLE
from tlkit.experiments.comparison import compare
from tlkit.experiments.experiment import Experiment
from tlkit.experiments.recipe import Recipe
from tlkit.experiments.trained import Trained
from tlkit.models import backbones, freezing
from tlkit.models.freezing import BatchNormPolicy
from tlkit.training.phase import Phase, SolvedHead

__all__ = [
    "Recipe",
    "Trained",
    "best",
    "compare",
    "fast",
    "few_images",
    "for_experiment",
    "get",
    "mnist_as_described",
    "names",
    "tutorial",
]

_BACKBONE = "mobilenet_v2"
_PHOTO_SIZE = 96  # pixels


def names() -> tuple[str, ...]:
    """Return the names of all recipes.

    Examples:
        >>> names()
        ('best', 'fast', 'few_images', 'mnist_as_described', 'tutorial')
    """
    return tuple(_RECIPES)


@check_arguments
def get(name: str, **settings: Any) -> Recipe:
    """Return the recipe of this name.

    Args:
        name: One of `names()`.
        settings: Arguments of the recipe's function: `get("best", epochs=3)`.

    Raises:
        ConfigError: There is no such recipe, or it has no such setting.

    Examples:
        >>> get("few_images", epochs=(2, 3)).head.epochs
        2
    """
    create = _RECIPES[arguments.one_of("recipe", name, _RECIPES)]
    known = [*inspect.signature(create).parameters]
    for setting in settings:
        if setting not in known:
            raise ConfigError(
                f"The recipe {name!r} has no setting {setting!r}; it has {known}."
                f"{arguments.nearest(setting, known)}"
            )
    return create(**settings)


@check_arguments
def for_experiment(experiment: Experiment) -> Recipe:
    """Return the recipe of an experiment, with its backbone and its settings.

    Raises:
        ConfigError: The recipe has no such setting, or its value is wrong.
    """
    settings = experiment.recipe_settings
    try:
        return get(experiment.recipe, backbone=experiment.backbone, **settings)
    except ConfigError as error:
        named = (
            Argument("recipe_options", each.name)
            if isinstance(each, Argument) and each.name in settings
            else each
            for each in error.args
        )
        raise ConfigError(*named) from error


@check_arguments
def mnist_as_described(
    *,
    epochs: tuple[int, int] = (10, 5),
    batchnorm: BatchNormPolicy = "frozen",
    backbone: str | keras.Model = _BACKBONE,
) -> Recipe:
    """Return the recipe for which tlkit was written: MobileNetV2 on grey digits of 32x32 pixels.

    Grey is copied to RGB in [0, 1], followed by global average pooling and a softmax head. The head
    is trained for 10 epochs with Adam on a frozen backbone, then all but the first 100 layers for 5
    epochs at a learning rate of 1e-5, in batches of 32.

    Args:
        epochs: Epochs of the head phase and of fine-tuning.
        batchnorm: How BatchNormalization behaves in fine-tuning, as for `Phase`. The original
            description leaves it open; "train" is the behaviour of plain Keras.
        backbone: As for `build_classifier`; the recipe was measured with the default.

    Examples:
        >>> mnist_as_described().fine_tune.learning_rate
        1e-05
    """
    head, fine_tune = epochs
    return Recipe(
        name="mnist_as_described",
        backbone=backbone,
        pixels=backbones.UNIT if backbone == _BACKBONE else None,
        head=Phase(epochs=head),
        fine_tune=Phase(
            epochs=fine_tune,
            learning_rate=1e-5,
            freeze=_freeze_start(backbone),
            batchnorm=batchnorm,
        ),
    )


@check_arguments
def few_images(
    *,
    epochs: tuple[int, int] = (10, 10),
    learning_rates: tuple[float, float] = (3e-3, 2e-4),
    freeze: freezing.Select | float | None = None,
    batchnorm: BatchNormPolicy = "frozen",
    backbone: str | keras.Model = _BACKBONE,
) -> Recipe:
    """Return the recipe for about a thousand small images: MobileNetV2 at 32x32 pixels.

    Pixels are scaled as in pretraining; a softmax head is trained on a frozen backbone, then all
    but the first 100 layers are fine-tuned at a larger learning rate than usual, with
    BatchNormalization frozen.

    Args:
        epochs: Epochs of the head phase and of fine-tuning.
        learning_rates: The learning rates of both phases.
        freeze: The layers that fine-tuning leaves frozen, as for `best`; by default the first 65 %.
        batchnorm: How BatchNormalization behaves in fine-tuning, as for `Phase`.
        backbone: As for `build_classifier`; the recipe was measured with the default.

    Examples:
        >>> few_images().fine_tune.learning_rate
        0.0002
    """
    head, fine_tune = epochs
    head_rate, rate = learning_rates
    return Recipe(
        name="few_images",
        backbone=backbone,
        pixels=None,
        head=Phase(epochs=head, learning_rate=head_rate),
        fine_tune=Phase(
            epochs=fine_tune,
            learning_rate=rate,
            freeze=_read_freeze(freeze, default=_freeze_start(backbone)),
            batchnorm=batchnorm,
        ),
    )


@check_arguments
def tutorial(
    *, epochs: tuple[int, int] = (10, 10), backbone: str | keras.Model = _BACKBONE
) -> Recipe:
    """Return the recipe of Keras' guide on transfer learning, with MobileNetV2.

    Pixels are scaled as in pretraining. First only the head on the pooled last layer is trained,
    then the whole backbone at a learning rate of 1e-5, with BatchNormalization frozen
    (https://keras.io/guides/transfer_learning).

    Args:
        epochs: Epochs of the head phase and of fine-tuning.
        backbone: As for `build_classifier`; the recipe was measured with the default.

    Examples:
        >>> tutorial().fine_tune.learning_rate
        1e-05
    """
    head, fine_tune = epochs
    return Recipe(
        name="tutorial",
        backbone=backbone,
        pixels=None,
        head=Phase(epochs=head),
        fine_tune=Phase(epochs=fine_tune, learning_rate=1e-5, freeze=freezing.nothing),
    )


@check_arguments
def best(
    *,
    epochs: int = 8,
    learning_rate: float = 3e-4,
    batch_size: int = 64,
    freeze: freezing.Select | float | None = None,
    max_layers: int = 4,
    augmentation: tuple[keras.layers.Layer, ...] = (),
    held_out: float = 0.25,
    backbone: str | keras.Model = _BACKBONE,
) -> Recipe:
    """Return the most accurate recipe, which takes minutes: `fast`, then gentle fine-tuning.

    The head reads up to four layers joined, and is solved. Then head and backbone are fine-tuned
    with BatchNormalization frozen and gradients clipped, at a learning rate that rises and then
    falls along a cosine.

    Fine-tuning is tried first, on three quarters of the training images, at one to three learning
    rates. On the rest, the head alone is compared with the results of fine-tuning, and with weights
    between both. The best candidate is then trained on all images. So fine-tuning that diverges or
    brings no improvement is left out.

    The defaults suit about a thousand photos. For tens of thousands of small images use larger
    steps, `learning_rate=2e-3, batch_size=256`, and freeze the first two blocks,
    `freeze=freezing.first(18)`: training them takes a third of the time and gains nothing.

    Args:
        epochs: Epochs of fine-tuning; with `Recipe.train(budget=...)`, as many of them as fit. 0
            only solves the head.
        learning_rate: The maximum learning rate of fine-tuning, which is tried first.
        batch_size: Images per step of fine-tuning.
        freeze: Selects the layers that fine-tuning leaves frozen, or is the share of layers from
            the start, 0 to below 1, up to the end of a block. By default, fine-tuning trains all
            layers if images have fewer than 96 pixels per side. Edges and textures of larger images
            are like those of pretraining, so the first 60 % stay frozen.
        max_layers: The maximum number of layers that the head reads.
        augmentation: Layers that change training images at random. Choose changes that keep the
            class: flips suit photos, but not digits.
        held_out: As for `Recipe`: the share of the training images to compare candidates on.
        backbone: As for `build_classifier`; the recipe was measured with the default.

    Examples:
        >>> best().fine_tune.schedule
        'cosine'
    """
    fine_tune = None
    if arguments.at_least("epochs", epochs, 0):
        fine_tune = Phase(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            schedule="cosine",
            warmup=0.5,
            global_clipnorm=1.0,
            freeze=_read_freeze(freeze, default=_freeze_early),
            augmentation=augmentation,
        )
    return Recipe(
        name="best",
        backbone=backbone,
        pixels=None,
        head=SolvedHead(),
        fine_tune=fine_tune,
        features="auto",
        max_layers=arguments.at_least("max_layers", max_layers, 1),
        held_out=held_out,
    )


@check_arguments
def fast(*, max_layers: int = 2, backbone: str | keras.Model = _BACKBONE) -> Recipe:
    """Return the fastest recipe: a logistic regression on the features of a frozen backbone.

    A probe selects the layers after which a linear head is best, and the backbone ends with the
    last of them. The head is solved by L-BFGS, or by ridge regression if it is very large; see
    `SolvedHead`.

    Args:
        max_layers: The maximum number of layers that the head reads with at most 5,000 images; with
            more images it reads one layer.
        backbone: As for `build_classifier`; the recipe was measured with the default.

    Examples:
        >>> fast().head.solver
        'auto'
    """
    return Recipe(
        name="fast",
        backbone=backbone,
        pixels=None,
        head=SolvedHead(),
        fine_tune=None,
        features="auto",
        max_layers=arguments.at_least("max_layers", max_layers, 1),
        max_images_to_join=SAMPLE,
    )


def _read_freeze(
    freeze: freezing.Select | float | None, *, default: freezing.Select
) -> freezing.Select:
    if isinstance(freeze, int | float):
        return freezing.to_block_end(freezing.first_fraction(arguments.fraction("freeze", freeze)))
    return default if freeze is None else freeze


def _freeze_early(backbone: keras.Model) -> list[keras.layers.Layer]:
    """Select the first layers of a backbone, which need no fine-tuning for photos."""
    height = backbone.input_shape[1]
    if height is not None and height < _PHOTO_SIZE:
        return []
    early = freezing.to_block_end(freezing.first_fraction(0.6))(backbone)
    return early if len(early) < len(backbone.layers) else []


def _freeze_start(backbone: str | keras.Model) -> freezing.Select:
    """Return a selection of MobileNetV2's first 100 layers, or of 65 % of another backbone's."""
    if backbone == _BACKBONE:
        return freezing.first(100)
    return freezing.to_block_end(freezing.first_fraction(0.65))


_RECIPES: dict[str, Callable[..., Recipe]] = {
    "best": best,
    "fast": fast,
    "few_images": few_images,
    "mnist_as_described": mnist_as_described,
    "tutorial": tutorial,
}
