"""Named, complete settings: everything that makes an experiment, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from tlkit import backbones, freezing
from tlkit.cache import DEFAULT, Cache
from tlkit.classifier import build_classifier
from tlkit.datasets import ImageSet
from tlkit.phases import Phase
from tlkit.training import TwoPhaseTrainer


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A complete way to train a classifier.

    Attributes:
        name: What it is called.
        backbone: The backbone's name.
        pixels: What the backbone is fed.
        head: The first phase.
        fine_tune: The second phase.
    """

    name: str
    backbone: str
    pixels: backbones.PixelFormat
    head: Phase
    fine_tune: Phase

    def build(
        self,
        images: ImageSet,
        *,
        size: int = 32,
        weights: str | None = "imagenet",
        backbone_options: Mapping[str, Any] | None = None,
    ) -> keras.Model:
        """Build the recipe's classifier for a set of images.

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
            class_names=images.class_names,
        )

    def trainer(self, *, seed: int, cache: Cache | None = DEFAULT) -> TwoPhaseTrainer:
        """Return the trainer that runs both phases.

        Args:
            seed: As for TwoPhaseTrainer.
            cache: As for TwoPhaseTrainer; None runs the whole model in every epoch.
        """
        return TwoPhaseTrainer(head=self.head, fine_tune=self.fine_tune, seed=seed, cache=cache)


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
