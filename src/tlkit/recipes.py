"""Named, complete settings: everything that makes an experiment, as one value."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from tlkit import _checks, backbones, freezing
from tlkit.budgeting import train_within
from tlkit.building import build_classifier
from tlkit.cache import DEFAULT, Cache
from tlkit.datasets import ImageSet
from tlkit.history import Run
from tlkit.phases import Phase
from tlkit.training import TwoPhaseTrainer, train_phase


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A complete way to train a classifier.

    Attributes:
        name: What it is called.
        backbone: The backbone's name.
        pixels: What the backbone is fed; None is what it was trained on.
        head: The first phase.
        fine_tune: The second phase; None leaves it out.
        features: What the head reads, as in `build_classifier`.
        pooling: How maps become features, as in `build_classifier`.
        most_layers: How many layers "auto" may read together, as in `build_classifier`.
    """

    name: str
    backbone: str
    pixels: backbones.PixelFormat | None
    head: Phase
    fine_tune: Phase | None
    features: str | tuple[str, ...] | None = None
    pooling: str | int | None = None
    most_layers: int = 1

    def build(
        self,
        images: ImageSet,
        *,
        size: int = 32,
        weights: str | None = "imagenet",
        backbone_options: Mapping[str, Any] | None = None,
    ) -> keras.Model:
        """Build the recipe's classifier for a set of images; with "auto" features, probe first.

        Args:
            images: What it is to classify: their shape, range and classes.
            size: Height and width the images are resized to.
            weights: "imagenet", "starter", None for random, or a file's path.
            backbone_options: More arguments of the backbone's constructor: `{"alpha": 0.35}`.
        """
        shape = images.train[0].shape[1:]
        return build_classifier(
            self.backbone,
            len(images.class_names),
            input_shape=shape if len(shape) == 3 else (*shape, 1),
            size=size,
            image_range=images.image_range,
            pixels=self.pixels,
            weights=weights,
            backbone_options=backbone_options,
            features=self.features,
            pooling=self.pooling,
            most_layers=self.most_layers,
            train=images.train if self.features == "auto" else None,
            class_names=images.class_names,
        )

    def trainer(self, *, seed: int, cache: Cache | None = DEFAULT) -> TwoPhaseTrainer:
        """Return the trainer that runs both phases.

        Args:
            seed: As for TwoPhaseTrainer.
            cache: As for TwoPhaseTrainer; None runs the whole model in every epoch.
        """
        return TwoPhaseTrainer(head=self.head, fine_tune=self.fine_tune, seed=seed, cache=cache)

    def train(
        self,
        images: ImageSet,
        *,
        size: int = 32,
        weights: str | None = "imagenet",
        backbone_options: Mapping[str, Any] | None = None,
        seed: int = 0,
        budget: float | None = None,
        cache: Cache | None = DEFAULT,
        verbose: bool = True,
    ) -> "Trained":
        """Build a classifier and train it, on the training images alone.

        Args:
            images: What to train on.
            size: As for `build`.
            weights: As for `build`.
            backbone_options: As for `build`.
            seed: Of the head's start, the order of images, and all else that is random.
            budget: Minutes that it may take: fine-tuning gets as many of its epochs as fit, judged
                by a few steps timed first, is left out where none does, and is stopped where it
                was misjudged. Building, probing and the head count, and are not cut.
            cache: As for TwoPhaseTrainer.
            verbose: Whether to write a line for every epoch.

        Raises:
            ConfigError: The budget is not above 0.

        Warns:
            UserWarning: Fine-tuning was stopped before its last epoch, for the budget.
        """
        started = time.perf_counter()
        if budget is not None:
            _checks.positive("budget", budget)
        keras.utils.set_random_seed(seed)
        model = self.build(images, size=size, weights=weights, backbone_options=backbone_options)
        given: dict[str, Any] = {"cache": cache, "verbose": verbose}
        if budget is None:
            run = self.trainer(seed=seed, cache=cache).fit(model, images.train, verbose=verbose)
        else:
            phases = [train_phase(model, self.head, images.train, name="head", seed=seed, **given)]
            if self.fine_tune is not None:
                more = train_within(
                    model,
                    self.fine_tune,
                    images.train,
                    name="fine_tune",
                    seconds=60 * budget - (time.perf_counter() - started),
                    seed=seed + 1,
                    **given,
                )
                phases += [] if more is None else [more]
            run = Run(phases=tuple(phases))
        return Trained(
            recipe=self.name, model=model, run=run, seconds=time.perf_counter() - started
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """What a recipe made.

    Attributes:
        recipe: Its name.
        model: The classifier.
        run: What its phases did.
        seconds: How long all of it took: building, probing and training.
    """

    recipe: str
    model: keras.Model
    run: Run
    seconds: float


def mnist_as_described(*, epochs: tuple[int, int] = (10, 5), batchnorm: str = "frozen") -> Recipe:
    """Return the experiment tlkit was made for: MobileNetV2 on grey digits of 32x32 pixels.

    Grey is copied to RGB in [0, 1]; global average pooling and a softmax head; the head for 10
    epochs with Adam on a frozen backbone, then all but the first 100 layers for 5 epochs at a
    learning rate of 1e-5; batches of 32.

    Args:
        epochs: Epochs of the head phase and of fine-tuning.
        batchnorm: What BatchNormalization does in fine-tuning. The description does not say;
            "train" is what plain Keras does.

    Examples:
        >>> mnist_as_described().fine_tune.learning_rate
        1e-05
    """
    head, fine_tune = epochs
    return Recipe(
        name="mnist_as_described",
        backbone="mobilenet_v2",
        pixels=backbones.UNIT,
        head=Phase(epochs=head),
        fine_tune=Phase(
            epochs=fine_tune,
            learning_rate=1e-5,
            freeze=freezing.first(100),
            batchnorm=batchnorm,
        ),
    )


def few_images(*, epochs: tuple[int, int] = (10, 10), batchnorm: str = "frozen") -> Recipe:
    """Return what tlkit recommends for about a thousand small images: MobileNetV2 at 32x32 pixels.

    The pixels the backbone was trained on; a softmax head on a frozen backbone, then all but the
    first 100 layers at a learning rate that moves them, BatchNormalization frozen.

    Args:
        epochs: Epochs of the head phase and of fine-tuning.
        batchnorm: What BatchNormalization does in fine-tuning.

    Examples:
        >>> few_images().fine_tune.learning_rate
        0.0002
    """
    head, fine_tune = epochs
    return Recipe(
        name="few_images",
        backbone="mobilenet_v2",
        pixels=backbones.SIGNED,
        head=Phase(epochs=head, learning_rate=3e-3),
        fine_tune=Phase(
            epochs=fine_tune,
            learning_rate=2e-4,
            freeze=freezing.first(100),
            batchnorm=batchnorm,
        ),
    )


def tutorial(*, epochs: tuple[int, int] = (10, 10)) -> Recipe:
    """Return what Keras' guide on transfer learning does, with MobileNetV2.

    The pixels the backbone was trained on; the last layer pooled, the head alone, then the whole
    backbone at a learning rate of 1e-5 with BatchNormalization frozen
    (https://keras.io/guides/transfer_learning).

    Args:
        epochs: Epochs of the head phase and of fine-tuning.

    Examples:
        >>> tutorial().fine_tune.learning_rate
        1e-05
    """
    head, fine_tune = epochs
    return Recipe(
        name="tutorial",
        backbone="mobilenet_v2",
        pixels=backbones.SIGNED,
        head=Phase(epochs=head),
        fine_tune=Phase(epochs=fine_tune, learning_rate=1e-5, freeze=freezing.nothing),
    )


def best(
    *,
    epochs: int = 8,
    learning_rate: float = 3e-4,
    batch_size: int = 64,
    freeze: freezing.Select = freezing.nothing,
    augmentation: tuple[keras.layers.Layer, ...] = (),
) -> Recipe:
    """Return what is most accurate where minutes don't matter: `fast`, then gentle fine-tuning.

    The head reads up to four layers together and is solved; then the backbone is trained with it,
    BatchNormalization frozen, gradients clipped, at a learning rate that rises, then falls along a
    cosine. The defaults suit about a thousand photos. Tens of thousands of small images bear
    larger steps, `learning_rate=2e-3, batch_size=256`, and gain nothing from the first two blocks,
    which cost a third of the time: `freeze=freezing.first(18)`.

    Args:
        epochs: Epochs of fine-tuning; `Recipe.train(budget=...)` takes as many as fit.
        learning_rate: The highest that fine-tuning has.
        batch_size: Images a step of fine-tuning.
        freeze: What of the backbone fine-tuning leaves as it is.
        augmentation: Layers that change training images at random. Which changes leave the class
            what it is depends on the images: flips for photos, not for digits.

    Examples:
        >>> best().fine_tune.schedule
        'cosine'
    """
    return Recipe(
        name="best",
        backbone="mobilenet_v2",
        pixels=backbones.SIGNED,
        head=Phase(solver="lbfgs"),
        fine_tune=Phase(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            schedule="cosine",
            warmup=0.5,
            global_clipnorm=1.0,
            freeze=freeze,
            augmentation=augmentation,
        ),
        features="auto",
        most_layers=4,
    )


def fast() -> Recipe:
    """Return the quickest way to a good classifier: read where it pays, and solve the head.

    The backbone is probed, ends at the cheapest layer within one standard error of the best, and
    is not trained; the head is a logistic regression by L-BFGS.

    Examples:
        >>> fast().head.solver
        'lbfgs'
    """
    return Recipe(
        name="fast",
        backbone="mobilenet_v2",
        pixels=backbones.SIGNED,
        head=Phase(solver="lbfgs"),
        fine_tune=None,
        features="auto",
    )
