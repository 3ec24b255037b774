"""Time the two phases with Lightning's BaseFinetuning callback on torchvision's MobileNetV2.

    python benchmarks/peers/lightning_finetuning.py --images 6000 --size 32 --variant defaults

Variants: `defaults` keeps the callback's `train_bn=True`, which trains the BatchNormalization
layers of frozen blocks; `frozen_norms` leaves those layers alone, on stored statistics.
"""

import logging
import time
import warnings
from typing import Any

import common
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

common.tolerate_torchvision()

import lightning  # noqa: E402
from lightning.pytorch.callbacks import BaseFinetuning, Callback  # noqa: E402
from torchvision.models import mobilenet_v2  # noqa: E402

VARIANTS = ("defaults", "frozen_norms")


class Classifier(lightning.LightningModule):
    """MobileNetV2 with a linear head; it resizes the batch itself."""

    def __init__(self, size: int, *, resting: bool) -> None:
        super().__init__()
        self.size = size
        self.resting = resting
        network = mobilenet_v2(num_classes=common.CLASSES)
        self.backbone = network.features
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), network.classifier)

    def on_after_batch_transfer(self, batch: list[torch.Tensor], _: int) -> list[torch.Tensor]:
        return [common.pixels(batch[0], self.size), batch[1]]

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self.head(self.backbone(batch[0])), batch[1])

    def on_train_epoch_start(self) -> None:
        if self.resting:
            common.rest_frozen_norms(self)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        weights = [weight for weight in self.parameters() if weight.requires_grad]
        return torch.optim.Adam(weights, lr=common.LEARNING_RATE, fused=True)


class Finetuning(BaseFinetuning):
    """Train the head in the first epoch, and the last blocks too from the second on."""

    def __init__(self, *, train_bn: bool) -> None:
        super().__init__()
        self.train_bn = train_bn

    def freeze_before_training(self, pl_module: Classifier) -> None:
        self.freeze(pl_module.backbone, train_bn=self.train_bn)

    def finetune_function(
        self, pl_module: Classifier, epoch: int, optimizer: torch.optim.Optimizer
    ) -> None:
        if epoch == 1:
            blocks = pl_module.backbone[common.FROZEN_BLOCKS :]
            self.unfreeze_and_add_param_group(blocks, optimizer, lr=common.LEARNING_RATE)


class Stopwatch(Callback):
    """Seconds and trained weights of each epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.weights: list[int] = []

    def on_train_epoch_start(self, _: Any, pl_module: Classifier) -> None:
        self.weights.append(common.trainable(pl_module))
        self.started = time.perf_counter()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.seconds.append(time.perf_counter() - self.started)


def main() -> None:
    """Train the head, then the tail, for an epoch each."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    chosen = common.options(__doc__, VARIANTS)
    dataset = TensorDataset(*common.pictures(chosen.images))
    fit(chosen.size, chosen.variant, dataset, steps=1)
    stopwatch = fit(chosen.size, chosen.variant, dataset, steps=None)
    common.report("lightning", chosen, seconds=stopwatch.seconds, weights=stopwatch.weights)


def fit(size: int, variant: str, dataset: TensorDataset, *, steps: int | None) -> Stopwatch:
    """Train a new classifier for an epoch in each phase, or only for so many steps."""
    resting = variant == "frozen_norms"
    stopwatch = Stopwatch()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=2,
        limit_train_batches=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Finetuning(train_bn=not resting), stopwatch],
    )
    model = Classifier(size, resting=resting).to(memory_format=torch.channels_last)
    loader = DataLoader(dataset, batch_size=common.BATCH, shuffle=True)
    trainer.fit(model, loader)
    return stopwatch


if __name__ == "__main__":
    main()
