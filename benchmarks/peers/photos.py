"""Train on the photos of a run's split with fastai, or with scikit-learn on timm's features.

    python benchmarks/peers/photos.py fastai --run runs/flowers --images flowers227 --epochs 4 \
        --weights mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_160_no_top.h5

The backbone is timm's MobileNetV2 with TensorFlow's padding and the ImageNet weights of Keras'
file, so that all sides start from the same function; `--check` compares its features with a file of
Keras'. Prints one line of JSON: the test accuracy and the seconds from the first image to the last
prediction, imports left out.
"""

import argparse
import csv
import json
import time
from pathlib import Path

import h5py
import numpy as np
import timm
import torch
from torch import nn

_MEAN, _STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)  # pixels from -1 to 1, as the weights expect


def main() -> None:
    """Train and evaluate one side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("side", choices=("fastai", "scikit-learn"))
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--check", type=Path, help="an .npz of images and their features by Keras")
    options = parser.parse_args()
    backbone = load_backbone(options.weights)
    if options.check:
        check(backbone, options.check)
    parts = read_split(options.run / "split.csv", options.images)
    train = fine_tune if options.side == "fastai" else solve
    started = time.perf_counter()
    accuracy = train(backbone, parts, options)
    print(json.dumps({"accuracy": accuracy, "seconds": time.perf_counter() - started}))


def load_backbone(weights: Path) -> nn.Module:
    """Return timm's MobileNetV2 with the weights of a file of Keras."""
    model = timm.create_model(
        "mobilenetv2_100", pretrained=False, num_classes=0, pad_type="same", bn_eps=1e-3
    )
    arrays = read_layers(weights)
    convolutions = [each for each in model.modules() if isinstance(each, nn.Conv2d)]
    norms = [each for each in model.modules() if isinstance(each, nn.BatchNorm2d)]
    kernels = [each for each in arrays if len(each) == 1]
    statistics = [each for each in arrays if len(each) == 4]
    with torch.no_grad():
        for layer, [kernel] in zip(convolutions, kernels, strict=True):
            # Keras: height, width, in, out; of a depthwise one: height, width, channels, 1
            axes = (2, 3, 0, 1) if layer.groups > 1 else (3, 2, 0, 1)
            layer.weight.copy_(torch.from_numpy(kernel.transpose(axes)))
        for layer, (scale, shift, mean, variance) in zip(norms, statistics, strict=True):
            for target, array in (
                (layer.weight, scale),
                (layer.bias, shift),
                (layer.running_mean, mean),
                (layer.running_var, variance),
            ):
                target.copy_(torch.from_numpy(array))
    return model.to(memory_format=torch.channels_last)


def read_layers(path: Path) -> list[list[np.ndarray]]:
    """Return the arrays of each layer with weights, in the network's order."""
    with h5py.File(path) as file:
        names = [
            name for name in file.attrs["layer_names"] if len(file[name].attrs["weight_names"])
        ]
        return [
            [file[name][each][()] for each in file[name].attrs["weight_names"]] for name in names
        ]


def check(backbone: nn.Module, path: Path) -> None:
    """Compare the features with those of Keras."""
    with np.load(path) as file:
        images, expected = file["images"], file["features"]
    found = embed(backbone, torch.from_numpy(images.transpose(0, 3, 1, 2) / np.float32(127.5) - 1))
    error = np.abs(found - expected).max() / np.abs(expected).max()
    if not error < 1e-4:
        raise SystemExit(
            f"timm's features must be those of Keras, got a difference of {error:.1e}."
        )


def read_split(path: Path, images: Path) -> dict[str, list[tuple[Path, str]]]:
    """Return files and class names of the training and the test images."""
    parts: dict[str, list[tuple[Path, str]]] = {"train": [], "test": []}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            parts[row["part"]].append((images / row["path"], row["path"].split("/")[0]))
    return parts


def fine_tune(backbone: nn.Module, parts: dict, options: argparse.Namespace) -> float:
    """Return the test accuracy after fastai's `fine_tune`, with its other defaults."""
    from fastai.vision.all import (
        CategoryBlock,
        DataBlock,
        ImageBlock,
        Learner,
        Normalize,
        Resize,
        ResizeMethod,
        accuracy,
        aug_transforms,
        create_head,
        default_split,
    )

    labels = dict(row for part in parts.values() for row in part)
    held_out = {path for path, _ in parts["test"]}
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_y=lambda path: labels[path],
        splitter=lambda paths: (
            [i for i, path in enumerate(paths) if path not in held_out],
            [i for i, path in enumerate(paths) if path in held_out],
        ),
        item_tfms=Resize(options.size, method=ResizeMethod.Squish),
        batch_tfms=[*aug_transforms(size=options.size), Normalize.from_stats(_MEAN, _STD)],
    )
    data = block.dataloaders(list(labels), bs=64, num_workers=0)
    body = nn.Sequential(Maps(backbone))
    model = nn.Sequential(body, create_head(1280, data.c))
    learn = Learner(data, model, splitter=default_split, metrics=accuracy)
    learn.freeze()
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(options.epochs)
        return float(learn.validate()[1])


class Maps(nn.Module):
    """The maps before the pooling."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return maps."""
        return self.backbone.forward_features(images)


def solve(backbone: nn.Module, parts: dict, options: argparse.Namespace) -> float:
    """Return the test accuracy of logistic regression, its penalty chosen by cross-validation."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found = {name: read_features(backbone, part, options.size) for name, part in parts.items()}
    labels = {name: [label for _, label in part] for name, part in parts.items()}
    head = LogisticRegressionCV(Cs=5, cv=5, max_iter=1000, scoring="accuracy")
    model = make_pipeline(StandardScaler(), head).fit(found["train"], labels["train"])
    return float(model.score(found["test"], labels["test"]))


def read_features(backbone: nn.Module, part: list, size: int) -> np.ndarray:
    """Return the pooled features of images, read one after the other."""
    from PIL import Image

    found = []
    for at in range(0, len(part), 32):
        pictures = [
            Image.open(path).convert("RGB").resize((size, size)) for path, _ in part[at : at + 32]
        ]
        pixels = np.stack([np.asarray(picture) for picture in pictures]).transpose(0, 3, 1, 2)
        found.append(embed(backbone, torch.from_numpy(pixels / np.float32(127.5) - 1)))
    return np.concatenate(found)


def embed(backbone: nn.Module, images: torch.Tensor) -> np.ndarray:
    """Return the pooled features of a batch."""
    backbone.eval()
    with torch.inference_mode():
        return backbone(images.to(memory_format=torch.channels_last)).numpy()


if __name__ == "__main__":
    main()
