"""Choose the layers that a recipe's head reads by a probe, within a part of a time budget."""

import time
from collections.abc import Sequence

import keras
import numpy as np

from tlkit._internal import user_warnings
from tlkit.caching.cache import Cache
from tlkit.data.image_dataset import ImageDataset
from tlkit.evaluation.probing.fitted_sites import min_images
from tlkit.evaluation.probing.linear_probe import MAX_FEATURES, SAMPLE, select_features
from tlkit.evaluation.probing.sites import find_sites
from tlkit.models.builder import FeatureSelector
from tlkit.models.feature_extraction import Pooling

_TIMED = 200  # images for timing a probe
_MIN_MAP = 3  # cells per side


def choose_layers(
    data: ImageDataset,
    *,
    max_layers: int = 1,
    seconds: float | None = None,
    cache: Cache | None = None,
    also: Sequence[ImageDataset] = (),
    verbose: bool = False,
) -> FeatureSelector:
    """Return a function that selects layers, for `build_classifier`.

    Args:
        data: The training images.
        max_layers: As for `select_features`.
        seconds: About how long the probe may take, by probing fewer images; None sets no limit.
        cache: As for `select_features`.
        also: As for `select_features`.
        verbose: As for `select_features`.

    Returns:
        A function that probes. With too few images for a probe, or too many classes for its sample,
        it selects the last layer with maps of at least 3x3 cells instead: smaller maps lose the
        shape of objects.
    """
    classes = len(data.class_names)
    minimum = min_images(classes)
    counted = f"{len(data):,} images of {classes:,} classes"
    if len(data) < minimum:
        why = f"{counted} are too few to choose the layers that the head reads, which takes "
        return _select_last_maps(data, f"{why}{minimum:,}")
    if minimum > SAMPLE:
        why = f"{counted} have too many classes to choose the layers that the head reads by "
        return _select_last_maps(data, f"{why}{SAMPLE:,} images")

    def probe(sample: int, *, quiet: bool = False) -> FeatureSelector:
        return select_features(
            data,
            max_layers=max_layers,
            sample=sample,
            cache=cache,
            also=() if quiet else also,
            verbose=verbose and not quiet,
        )

    timed = max(_TIMED, minimum)
    if seconds is None or len(data) <= timed:
        return probe(SAMPLE)

    def select(model: keras.Model) -> tuple[Sequence[str], Sequence[Pooling]]:
        started = time.perf_counter()
        found = probe(timed, quiet=True)(model)
        took = time.perf_counter() - started
        whole = min(len(data), SAMPLE)
        sample = min(whole, max(timed, int(timed * (seconds - took) / took)))
        if sample < whole:
            user_warnings.warn(
                f"The layers that the head reads were chosen on {sample:,} of {whole:,} images, "
                "to leave time of the budget for training."
            )
        return found if sample == timed else probe(sample)(model)

    return select


def _select_last_maps(data: ImageDataset, reason: str) -> FeatureSelector:
    """Return a function that selects the last layer with maps that are large enough.

    Args:
        data: The training images.
        reason: Why the layers are not probed, for the warning.
    """

    def select(model: keras.Model) -> tuple[Sequence[str], Sequence[Pooling]]:
        found, _ = find_sites(model, np.asarray(data.images[:1]), MAX_FEATURES)
        large = [site for site in found if min(site.map_size or (_MIN_MAP,)) >= _MIN_MAP]
        chosen = large[-1] if large else found[-1]
        if chosen.layer == found[-1].layer:
            chosen = next(site for site in found if site.layer == chosen.layer)  # averaged
        user_warnings.warn(f"{reason}: it reads {chosen.layer}.")
        return [chosen.layer], [chosen.pooling]

    return select
