"""What the peers' scripts share: the pictures, the settings and the line that they print."""

import argparse
import json
import os
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

BATCH = 32
CLASSES = 10
FROZEN_BLOCKS = 12  # features[0] to features[11], as torchvision counts them
LEARNING_RATE = 1e-3
WORKERS = 2


def options(description: str, variants: Sequence[str]) -> argparse.Namespace:
    """Read the arguments that every script takes, and set PyTorch's threads and seed."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--variant", choices=variants, default=variants[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    return chosen


def pictures(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return grey bytes of shape (count, 28, 28), as MNIST holds them, and labels 0 to 9."""
    random = np.random.default_rng(0)
    drawn = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    return torch.from_numpy(drawn), torch.from_numpy(random.integers(0, CLASSES, count))


def pixels(grey: torch.Tensor, size: int) -> torch.Tensor:
    """Resize a whole batch of grey bytes at once; return RGB between -1 and 1."""
    scaled = grey[:, None].float() / 127.5 - 1
    resized = torch.nn.functional.interpolate(scaled, size=(size, size), mode="bilinear")
    return channels_last(resized.expand(-1, 3, -1, -1))


def channels_last(batch: torch.Tensor) -> torch.Tensor:
    """Lay a batch out as PyTorch's convolutions on a CPU want it."""
    return batch.contiguous(memory_format=torch.channels_last)


def rest_frozen_norms(model: torch.nn.Module) -> None:
    """Put frozen BatchNormalization layers on stored statistics, the others on the batch's."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train(module.weight.requires_grad)


def trainable(model: torch.nn.Module) -> int:
    """Return how many weights training would change."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def tolerate_torchvision() -> None:
    """Let torchvision be imported where its compiled operators don't fit this PyTorch.

    PyPI's wheel of torchvision is made for CUDA, and beside a CPU build of PyTorch its import
    fails for want of two detection operators, which MobileNetV2 has no use for. Name them.
    """
    folder = Path(find_spec("torchvision").origin).parent
    try:
        for library in folder.glob("_C*.so"):
            torch.ops.load_library(library)
    except OSError:
        for operator in ("nms", "qnms"):
            signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{operator}", signature)


def report(
    peer: str,
    chosen: argparse.Namespace,
    *,
    seconds: Sequence[float],
    weights: Sequence[int],
) -> None:
    """Print one line of JSON: seconds and trained weights of the head phase, then of the tail."""
    line = {
        "peer": peer,
        "version": version(peer),
        "variant": chosen.variant,
        "size": chosen.size,
        "batch": BATCH,
        "images": chosen.images,
        "head_seconds": round(seconds[0], 3),
        "tail_seconds": round(seconds[1], 3),
        "head_weights": weights[0],
        "tail_weights": weights[1],
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    print(json.dumps(line), flush=True)
