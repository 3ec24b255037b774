"""Time the two phases with Hugging Face's Trainer and its own MobileNetV2.

    python benchmarks/peers/hf_trainer.py --images 6000 --size 32 --variant defaults

Variants: `defaults` transforms image by image, as the library's image-classification example does;
`workers` does so in 2 worker processes; `batches` transforms a whole batch in the collator;
`frozen_norms` does that too, and keeps frozen BatchNormalization layers on stored statistics.
"""

import tempfile
import time
from collections.abc import Callable
from typing import Any

import common
import torch
from torch.utils.data import Dataset, Subset

common.tolerate_torchvision()

from torchvision.transforms import v2  # noqa: E402
from transformers import (  # noqa: E402
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

Item = dict[str, torch.Tensor]
VARIANTS = ("defaults", "workers", "batches", "frozen_norms")


class RestingMobileNetV2ForImageClassification(MobileNetV2ForImageClassification):
    """The library's classifier, whose frozen norms the Trainer's train() leaves alone.

    The library picks the loss by the end of the class's name.
    """

    def train(self, mode: bool = True) -> "RestingMobileNetV2ForImageClassification":
        super().train(mode)
        if mode:
            common.rest_frozen_norms(self)
        return self


class Pictures(Dataset):
    """Arrays in memory, transformed when an image is asked for."""

    def __init__(self, count: int, transform: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.pictures, self.labels = common.pictures(count)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Item:
        picture = self.transform(self.pictures[index])
        return {"pixel_values": picture, "labels": self.labels[index]}


class Stopwatch(TrainerCallback):
    """Seconds from the epoch's beginning to its end."""

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self.started = time.perf_counter()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        self.seconds = time.perf_counter() - self.started


def main() -> None:
    """Train the head, then the tail, for an epoch each."""
    chosen = common.options(__doc__, VARIANTS)
    by_image = chosen.variant in ("defaults", "workers")
    dataset = Pictures(chosen.images, image_transform(chosen.size) if by_image else lambda x: x)
    collate = collator(None if by_image else chosen.size)
    workers = common.WORKERS if chosen.variant == "workers" else 0

    model = classifier(resting=chosen.variant == "frozen_norms")
    base = model.mobilenet_v2
    seconds, weights = [], []
    for phase in (freeze_base, freeze_first_blocks):
        phase(base)
        weights.append(common.trainable(model))
        fit(model, Subset(dataset, range(common.BATCH)), collate, workers)
        seconds.append(fit(model, dataset, collate, workers))
    common.report("transformers", chosen, seconds=seconds, weights=weights)


def classifier(*, resting: bool) -> MobileNetV2ForImageClassification:
    """Return a classifier with random weights."""
    kind = (
        RestingMobileNetV2ForImageClassification if resting else MobileNetV2ForImageClassification
    )
    model = kind(MobileNetV2Config(num_labels=common.CLASSES))
    return model.to(memory_format=torch.channels_last)


def fit(model: torch.nn.Module, dataset: Dataset, collate: Callable, workers: int) -> float:
    """Train for one epoch; return its seconds."""
    stopwatch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                num_train_epochs=1,
                per_device_train_batch_size=common.BATCH,
                learning_rate=common.LEARNING_RATE,
                lr_scheduler_type="constant",
                max_grad_norm=0,
                dataloader_num_workers=workers,
                dataloader_pin_memory=False,
                logging_strategy="no",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
            ),
            train_dataset=dataset,
            data_collator=collate,
            callbacks=[stopwatch],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return stopwatch.seconds


def freeze_base(base: torch.nn.Module) -> None:
    """Freeze the whole backbone."""
    base.requires_grad_(False)


def freeze_first_blocks(base: torch.nn.Module) -> None:
    """Freeze only the first blocks; the stem holds the first two of torchvision's."""
    base.requires_grad_(True)
    for block in (base.conv_stem, *base.layer[: common.FROZEN_BLOCKS - 2]):
        block.requires_grad_(False)


def image_transform(size: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what makes one grey picture RGB, resized and between -1 and 1."""
    steps = v2.Compose(
        [
            v2.Resize((size, size)),
            v2.RGB(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean=[0.5] * 3, std=[0.5] * 3),
        ]
    )
    return lambda picture: steps(picture[None])


def collator(size: int | None) -> Callable[[list[Item]], Item]:
    """Return what stacks items into a batch, and resizes it if given a size."""

    def collate(items: list[Item]) -> Item:
        stacked = torch.stack([item["pixel_values"] for item in items])
        ready = common.channels_last(stacked) if size is None else common.pixels(stacked, size)
        return {"pixel_values": ready, "labels": torch.stack([item["labels"] for item in items])}

    return collate


if __name__ == "__main__":
    main()
