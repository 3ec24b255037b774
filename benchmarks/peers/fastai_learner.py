"""Time the two phases with fastai's vision_learner on torchvision's MobileNetV2.

    python benchmarks/peers/fastai_learner.py --images 6000 --size 32 --variant defaults

Variants: `defaults` keeps fastai's own Adam and its `train_bn=True`, which trains the
BatchNormalization layers of frozen blocks; `frozen_norms` leaves those layers alone (BnFreeze) and
takes PyTorch's fused Adam.
"""

import time
from functools import partial

import common
import torch
from torch.utils.data import TensorDataset

common.tolerate_torchvision()

from fastai.callback.training import BnFreeze  # noqa: E402
from fastai.data.core import DataLoaders  # noqa: E402
from fastai.data.load import DataLoader  # noqa: E402
from fastai.learner import Callback, CancelValidException, Learner  # noqa: E402
from fastai.losses import CrossEntropyLossFlat  # noqa: E402
from fastai.optimizer import OptimWrapper  # noqa: E402
from fastai.torch_core import params  # noqa: E402
from fastai.vision.learner import model_meta, vision_learner  # noqa: E402
from torchvision.models import mobilenet_v2  # noqa: E402

VARIANTS = ("defaults", "frozen_norms")


class Stopwatch(Callback):
    """Seconds of the training pass of an epoch; there is no validation pass."""

    def before_train(self) -> None:
        self.started = time.perf_counter()

    def after_train(self) -> None:
        self.seconds = time.perf_counter() - self.started

    def before_validate(self) -> None:
        raise CancelValidException


def main() -> None:
    """Train the head, then the tail, for an epoch each."""
    chosen = common.options(__doc__, VARIANTS)
    grey, labels = common.pictures(chosen.images)
    whole = loaders(grey, labels, chosen.size)
    first = loaders(grey[: common.BATCH], labels[: common.BATCH], chosen.size)
    learn = learner(whole, chosen.variant)
    torch.set_num_threads(chosen.threads)

    seconds, weights = [], []
    for group in (-1, 1):  # the head alone; everything from the second group on
        learn.freeze_to(group)
        weights.append(common.trainable(learn.model))
        for data in (first, whole):
            learn.dls = data
            learn.fit(1, common.LEARNING_RATE)
        seconds.append(learn.stopwatch.seconds)
    common.report("fastai", chosen, seconds=seconds, weights=weights)


def learner(data: DataLoaders, variant: str) -> Learner:
    """Return a learner with three groups of weights: first blocks, other blocks, head."""
    settings = {}
    if variant == "frozen_norms":
        adam = partial(OptimWrapper, opt=partial(torch.optim.Adam, fused=True))
        settings = {"opt_func": adam, "train_bn": False}
    # fastai would look for a pooling layer to cut at; this network has none
    model_meta[mobilenet_v2] = {"cut": 1, "split": groups}
    learn = vision_learner(
        data,
        mobilenet_v2,
        pretrained=False,
        n_out=common.CLASSES,
        concat_pool=False,
        lin_ftrs=[],
        loss_func=CrossEntropyLossFlat(),
        cbs=[Stopwatch()] + [BnFreeze()] * (variant == "frozen_norms"),
        **settings,
    )
    learn.model.to(memory_format=torch.channels_last)
    learn.remove_cb(learn.progress)
    learn.recorder.train_metrics = learn.recorder.valid_metrics = False
    learn.logger = lambda _: None
    return learn


def groups(model: torch.nn.Sequential) -> list[list[torch.nn.Parameter]]:
    """Return the weights of the first blocks, of the other blocks and of the head."""
    blocks, head = model[0][0], model[1]
    frozen = common.FROZEN_BLOCKS
    return [params(blocks[:frozen]), params(blocks[frozen:]), params(head)]


def loaders(grey: torch.Tensor, labels: torch.Tensor, size: int) -> DataLoaders:
    """Return loaders that keep the images in memory and transform them batch by batch."""

    def after_batch(batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return common.pixels(batch[0], size), batch[1]

    loader = DataLoader(
        TensorDataset(grey, labels),
        bs=common.BATCH,
        shuffle=True,
        num_workers=0,
        pin_memory=False,
        after_batch=after_batch,
    )
    return DataLoaders(loader, loader, device=torch.device("cpu"))


if __name__ == "__main__":
    main()
