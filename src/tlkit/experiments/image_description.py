"""Describe the images of an experiment for its report: counts, how they are read, duplicates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlkit._internal.text import join_first
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.splits import DuplicatePair, Split
from tlkit.experiments import array_data
from tlkit.experiments.experiment import Experiment
from tlkit.experiments.loading import image_size_of
from tlkit.reports.titles import name_images
from tlkit.training.class_weights import balance


def describe_images(experiment: Experiment, source: ImageDataset, parts: Split) -> dict[str, Any]:
    """Return the fields of `ReportFacts` on the images: counts, how they are read, duplicates.

    Args:
        experiment: The settings.
        source: All images.
        parts: The training, validation and test images.
    """
    named = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    described: dict[str, Any] = {
        "title": experiment.title or f"Classifying {name_images(source.name)}",
        "source": _name_places(experiment, source),
        "counts": {name: part.counts for name, part in named.items() if len(part)},
        "num_images": {name: len(part) for name, part in named.items()},
        "class_weights": None if experiment.class_weight is None else _balance(parts.train),
        "limit": _find_limit(experiment, parts),
        "own_parts": _list_own_parts(experiment, parts),
    }
    if array_data.is_arrays(experiment.data):  # no files were read, and duplicates not searched
        return described
    part_of = {path: name for name, part in named.items() for path in part.paths}
    found = [
        pair
        for pair in parts.duplicates
        if all(path in part_of for path in find_paths(source, [pair])[0])  # not beyond a limit
    ]
    pairs = find_paths(source, found)
    conflicting = [pair for pair in found if has_two_labels(source, pair)]
    return {
        **described,
        "image_size": image_size_of(experiment),
        "fit": experiment.fit,
        "unreadable": [(problem.path, problem.reason) for problem in source.problems],
        "num_replaced": source.num_replaced,
        "duplicates": pairs,
        "duplicates_apart": sum(part_of[one] != part_of[other] for one, other in pairs),
        "duplicates_policy": experiment.duplicates,
        "conflicting_labels": find_paths(source, conflicting),
        "test_source": experiment.test_data and Path(experiment.test_data).resolve().name,
    }


def _name_places(experiment: Experiment, source: ImageDataset) -> str:
    """Return the names of the folder of the images and of those that were added to it."""
    added = [Path(place).resolve().name for place in experiment.add]
    return join_first([*dict.fromkeys([name_images(source.name), *added])])


def _find_limit(experiment: Experiment, parts: Split) -> int | None:
    """Return the limit of training images; None without one, or if there were not so many."""
    limit = experiment.limit
    return None if limit is None or len(parts.train) < limit else limit


def _list_own_parts(experiment: Experiment, parts: Split) -> tuple[str, ...]:
    """Return the parts of the user's own split that are used as they were given."""
    limited = () if experiment.limit is None else ("train",)
    return tuple(name for name in parts.own_parts if name not in limited)


def _balance(data: ImageDataset) -> dict[str, float]:
    return dict(zip(data.counts, balance(list(data.counts.values())), strict=True))


def find_paths(source: ImageDataset, pairs: Sequence[DuplicatePair]) -> list[tuple[str, str]]:
    """Return the paths of the images of each pair; an image without a file has its number."""

    def path(index: int) -> str:
        return source.paths[index] if source.paths else f"image {index}"

    return [(path(pair.first), path(pair.second)) for pair in pairs]


def has_two_labels(source: ImageDataset, pair: DuplicatePair) -> bool:
    """Return whether a pair is one image with two labels."""
    return pair.exact and bool(np.any(source.labels[pair.first] != source.labels[pair.second]))
