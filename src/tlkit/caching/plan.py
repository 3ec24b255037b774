"""Decide which part of the model each phase runs once, or why each epoch runs all of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tlkit._internal.text import byte_size
from tlkit.caching import partition
from tlkit.caching.cache import Cache
from tlkit.caching.extraction import Extraction
from tlkit.caching.partition import Cut, NoFrozenPart
from tlkit.caching.progress import CacheProgress
from tlkit.data import augmentation, batches, chunks, fixed_order
from tlkit.data.fixed_order import has_fixed_order
from tlkit.errors import DataError
from tlkit.models import freezing


@dataclass(frozen=True, kw_only=True, eq=False)
class FrozenPart:
    """The frozen part of one phase.

    Attributes:
        cut: The cut of the model for this phase.
        extraction: Runs the part before the cut; phases may share it.
        cache: The settings of running and storing it.
    """

    cut: Cut
    extraction: Extraction
    cache: Cache


def find_frozen_parts(
    model: keras.Model,
    plans: Mapping[str, freezing.FreezePlan],
    augmentations: Mapping[str, Sequence[keras.layers.Layer]],
    data: batches.Inputs,
    *,
    validation_data: batches.Inputs | None,
    cache: Cache | None,
    progress: CacheProgress,
) -> dict[str, FrozenPart | None]:
    """Find each phase's frozen part; this sets `trainable` of the layers.

    Args:
        model: The classifier.
        plans: The freeze plan of each phase, by the phase's name.
        augmentations: The layers with which each phase augments its training images.
        data: The training images.
        validation_data: The validation images.
        cache: The engine, and where to store features; with None, no phase has a frozen part.
        progress: Prints where the model is cut for each phase, or why it is not.
    """
    parts: dict[str, FrozenPart | None] = dict.fromkeys(plans)
    if cache is None:
        return parts
    sample = next(chunks.read_chunks(data, rows=1, rank=len(model.input_shape))).images
    cuts: dict[str, Cut] = {}
    for name, plan in plans.items():
        try:
            _check_order(data, validation_data)
            if augmentation.mixes_labels(augmentations[name]):
                raise NoFrozenPart("augmentation mixes images and labels anew each time")
            if augmentations[name] and cache.views == 1:
                raise NoFrozenPart(
                    "augmentation changes its images each time; Cache(views=4) would store four "
                    "augmented copies of each"
                )
            set_trainable(model, plan)
            cuts[name] = partition.find_cut(
                model, plan, sample, after=cache.cut, views=cache.views > 1
            )
            progress.print(f"{name}: {cuts[name].reason}")
        except NoFrozenPart as reason:
            progress.print(f"{name}: every epoch runs the whole model: {reason}.")
    for group in _group_phases(cuts, augmentations):
        extraction = Extraction(
            model,
            [cuts[name] for name in group],
            cache,
            augmentation=augmentations[group[0]],
            progress=progress,
        )
        for name in group:
            parts[name] = FrozenPart(cut=cuts[name], extraction=extraction, cache=cache)
    return parts


def _group_phases(
    cuts: Mapping[str, Cut], augmentations: Mapping[str, Sequence[keras.layers.Layer]]
) -> list[list[str]]:
    """Group phases that share an extraction: no later phase trains a layer of an earlier trunk."""
    groups: list[list[str]] = []
    for name, cut in cuts.items():
        if groups and all(
            cut.is_within(cuts[earlier]) and augmentations[name] == augmentations[earlier]
            for earlier in groups[-1]
        ):
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups


def _check_order(data: batches.Inputs, validation_data: batches.Inputs | None) -> None:
    for name, source in {"data": data, "validation_data": validation_data}.items():
        if source is not None and not has_fixed_order(source):
            raise NoFrozenPart(f"`{name}` has no fixed order")


def fix_order(
    data: batches.Inputs,
    validation_data: batches.Inputs | None,
    *,
    cache: Cache,
    progress: CacheProgress,
) -> tuple[batches.Inputs, batches.Inputs | None, int | None]:
    """Return shuffled datasets as images in a fixed order, and the batch size of shuffled `data`.

    Other data is returned unchanged. A dataset whose order can't be fixed is returned too, after
    printing why and what to do.

    Args:
        data: The training images and labels.
        validation_data: The validation images and labels.
        cache: The cache, in whose folder the images are stored.
        progress: Prints which datasets were read.

    Returns:
        `data`, `validation_data`, and the batch size of `data` if it was shuffled, otherwise None.
    """
    given: dict[str, Any] = {"data": data, "validation_data": validation_data}
    batch_size = None
    for name, each in given.items():
        if each is None or has_fixed_order(each):
            continue
        try:
            fixed = fixed_order.fix_order(
                each, folder=None if cache.folder == "auto" else cache.folder
            )
        except DataError as reason:
            progress.print(f"`{name}` can't be cached: {reason}.")
            break
        given[name] = fixed.images, fixed.labels
        batch_size = fixed.batch_size if name == "data" else batch_size
        progress.print(
            f"`{name}` is shuffled: its {len(fixed.labels):,} images were read once into a "
            f"temporary file ({byte_size(fixed.images.size * fixed.images.dtype.itemsize)}), and "
            f"are {'shuffled again in every epoch' if name == 'data' else 'evaluated from there'}."
        )
    return given["data"], given["validation_data"], batch_size


def set_trainable(model: keras.Model, plan: freezing.FreezePlan) -> None:
    """Set which layers of a classifier are trainable; it takes effect at the next `compile`."""
    model.trainable = True
    freezing.apply(plan)


def close_all(parts: Iterable[FrozenPart | None]) -> None:
    """Release the features of all frozen parts."""
    for part in parts:
        if part is not None:
            part.extraction.close()
