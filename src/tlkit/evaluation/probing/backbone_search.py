"""Choose a backbone, its image size and its depth: accuracy against time and size."""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from tlkit._internal import arguments, system, text
from tlkit._internal.signatures import check_arguments
from tlkit.caching.cache import Cache
from tlkit.caching.engines import selection
from tlkit.data import splits
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.lazy_images import LazyImages
from tlkit.errors import Argument, ConfigError, EngineError
from tlkit.evaluation.probing import cross_validation, fitted_sites, timing
from tlkit.evaluation.probing.candidates import BackboneCandidate, read_candidates
from tlkit.evaluation.probing.contenders import Contender, build_all, nothing_left
from tlkit.evaluation.probing.cross_validation import CrossValidation
from tlkit.evaluation.probing.paired import standard_error, wilson_interval
from tlkit.evaluation.probing.search_result import (
    BackboneSearch,
    LeftOutBackbone,
    ProbedBackbone,
    find_best,
    with_difference,
    within_limits,
)
from tlkit.evaluation.probing.sites import Site

_MAX_FEATURES = 1024  # as in `probe`


@dataclass(frozen=True, kw_only=True, eq=False)
class _Measured:
    """A depth of a contender: its row without a time, its correct images and a call to time."""

    row: ProbedBackbone
    correct: np.ndarray
    groups: Sequence[str]
    engine: str
    run: Callable[[], object]


@check_arguments
def probe_backbones(
    backbones: Sequence[str | BackboneCandidate],
    data: ImageDataset,
    *,
    image_sizes: Sequence[int | tuple[int, int]] = (),
    max_ms: float | None = None,
    max_mb: float | None = None,
    weights: str | None = "imagenet",
    sample: int | None = 5000,
    engine: str = "keras",
    batch_size: int = 32,
    seed: int = 0,
    cache: Cache | None = None,
    on_message: Callable[[object], None] = lambda message: None,
) -> BackboneSearch:
    """Compare backbones, image sizes and depths by accuracy, time and size, and recommend one.

    Each backbone runs once for each image size over the same training images. At the end of every
    block, the backbone is treated as if it ended there: a linear head is fitted in five folds, as
    `probe` does, and the time from pixels to probabilities is measured. Backbones whose weights
    can't be downloaded, and image sizes too small for a backbone, are left out and listed.

    Args:
        backbones: Names as for `build_classifier`, also with options: "mobilenet_v2:alpha=0.35",
            "mobilenet:weights=file.h5", "starter", "starter:image_size=32"; or candidates.
        data: The training images. Files are read again at each image size.
        image_sizes: Sizes of images to choose from, or pairs (height, width); by default the size
            that each backbone was trained at.
        max_ms: Maximum milliseconds per image of the recommended backbone; None sets no limit.
        max_mb: Maximum megabytes of weights of the recommended backbone; None sets no limit.
        weights: The weights of backbones whose text does not name weights.
        sample: How many training images to use, chosen at random. None uses all to fit heads; at
            most 5,000 are scored.
        engine: The engine that runs the backbones and is timed, as in `Cache`.
        batch_size: Images in a batch when times are measured; 1 measures the time of one image.
        seed: The seed of the sample and of the folds.
        cache: Where features are stored, as for `probe`.
        on_message: Is called with a line of text when a backbone is measured at an image size.

    Raises:
        ConfigError: An argument is wrong, or no backbone is left.
        DataError: There are too few images, or all are of one class.
        DownloadError: The weights of no backbone can be downloaded.
        EngineError: The engine can't run any backbone.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> from tlkit import sources
        >>> inputs = keras.Input((8, 8, 3))
        >>> model = keras.Model(inputs, keras.layers.Conv2D(4, 3, name="edges")(inputs))
        >>> images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), "uint8")
        >>> data = sources.from_arrays(images, np.arange(60) % 2, class_names="ab")
        >>> search = probe_backbones([BackboneCandidate(backbone=model, pixels=(0, 1))], data)
        >>> search.recommended.layer
        'edges'
    """
    started = time.perf_counter()
    candidates = read_candidates(backbones, weights)
    _check(data, max_ms, max_mb, sample, batch_size)
    left_out: list[tuple[LeftOutBackbone, Exception]] = []
    contenders = build_all(candidates, image_sizes, data, left_out)
    chosen = np.random.default_rng(seed).permutation(len(data))[:sample]
    sampled = _group(data.take(np.sort(chosen)))
    fit = functools.partial(
        fitted_sites.fit_sites,
        sample=None,
        max_features=_MAX_FEATURES,
        engine=engine,
        seed=seed,
        cache=cache,
    )
    measured: list[_Measured] = []
    for contender, images in _read_images(contenders, sampled, cache):
        begun = time.perf_counter()
        try:
            fitted = fit(contender.model, images)
        except EngineError as error:
            left_out.append((LeftOutBackbone(candidate=contender.name, reason=str(error)), error))
            continue
        depths = _measure(contender, images, fitted, batch_size)
        measured += depths
        spent = text.duration(time.perf_counter() - begun)
        best = max(depth.row.accuracy for depth in depths)
        on_message(f"{contender.name}: {text.percent(best, of=len(images))} at best, {spent}")
    if not measured:
        raise nothing_left(left_out)
    return BackboneSearch(
        rows=_add_differences(_time(measured, batch_size), measured, max_ms, max_mb),
        left_out=tuple(each for each, _ in left_out),
        num_images=len(measured[0].correct),
        engine=" and ".join(dict.fromkeys(each.engine for each in measured)),
        batch_size=batch_size,
        max_ms=max_ms,
        max_mb=max_mb,
        seconds=time.perf_counter() - started,
    )


def _check(
    data: ImageDataset,
    max_ms: float | None,
    max_mb: float | None,
    sample: int | None,
    batch_size: int,
) -> None:
    if not isinstance(data, ImageDataset):
        raise ConfigError(
            Argument("data"),
            f" must be an ImageDataset, such as split.train, got {type(data).__name__}. "
            "tlkit.sources makes one of arrays, files or batches.",
        )
    if data.is_multi_label:
        raise ConfigError(
            Argument("data"),
            " must have one class for each image to compare backbones, got images with several.",
        )
    for name, limit in (("max_ms", max_ms), ("max_mb", max_mb)):
        if limit is not None:
            arguments.positive(name, limit)
    if sample is not None:
        arguments.at_least("sample", sample, 10)
    arguments.at_least("batch_size", batch_size, 1)


def _group(data: ImageDataset) -> ImageDataset:
    """Return images whose groups include duplicate files, to find these once for all backbones."""
    if not data.known_scans:
        return data
    return replace(data, groups=tuple(splits.find_groups(data)), known_scans=())


def _read_images(
    contenders: Sequence[Contender], data: ImageDataset, cache: Cache | None
) -> Iterator[tuple[Contender, ImageDataset]]:
    """Yield each contender with the images at its size, size by size."""
    for size in dict.fromkeys(each.image_size for each in contenders):
        images = data.at_size(size)
        if cache is None or cache.folder is None:  # with a folder, only new images are read
            images = _in_memory(images)
        for each in contenders:
            if each.image_size == size:
                yield each, images


def _in_memory(images: ImageDataset) -> ImageDataset:
    """Return images for several backbones, read only once if they fit into memory."""
    lazy = images.images
    if (
        not isinstance(lazy, LazyImages)
        or lazy.size * lazy.dtype.itemsize > system.free_memory() // 4
    ):
        return images
    return replace(images, images=lazy[:])


def _measure(
    contender: Contender, images: ImageDataset, fitted: fitted_sites.FittedSites, batch_size: int
) -> list[_Measured]:
    """Return the depths of a contender that are worth timing, without their times."""
    classes = len(images.class_names)
    candidate, (height, width) = contender.candidate, contender.image_size
    batch = np.asarray(images.images[np.arange(batch_size) % len(images)])
    corrects = cross_validation.map_sites(partial(CrossValidation.correct, quick=True), fitted.fits)
    groups = fitted.groups[: cross_validation.MAX_SCORED]
    measured = []
    for index in _worth_timing(fitted.sites, corrects, classes):
        site, correct = fitted.sites[index], corrects[index]
        engine = fitted.engine if fitted.engine in selection.ENGINES else "keras"
        run = selection.compile_batch(engine, fitted.reader.cut(index, classes), batch)
        row = ProbedBackbone(
            candidate=str(candidate),
            backbone=candidate.name,
            options=dict(candidate.options),
            weights=candidate.weights,
            image_size=height if height == width else (height, width),
            layer=site.layer,
            pooling=site.pooling,
            num_parameters=_count_parameters(site, classes),
            accuracy=float(correct.mean()),
            interval=wilson_interval(correct, groups),
            milliseconds=0.0,
            pixels=candidate.pixels if isinstance(candidate.pixels, str) else None,
            num_prefix_tokens=candidate.num_prefix_tokens,
        )
        measured.append(
            _Measured(
                row=row,
                correct=correct,
                groups=groups,
                engine=fitted.engine,
                run=functools.partial(run, batch),
            )
        )
    return measured


def _time(measured: Sequence[_Measured], batch_size: int) -> list[ProbedBackbone]:
    """Return the rows with the milliseconds per image, measured in turns."""
    seconds = timing.time_in_turns([each.run for each in measured])
    return [
        replace(each.row, milliseconds=1000 * each_seconds / batch_size)
        for each, each_seconds in zip(measured, seconds, strict=True)
    ]


def _count_parameters(site: Site, classes: int) -> int:
    return site.num_parameters + (site.num_features + 1) * classes


# A prefix of a network takes no longer than a longer prefix. So a depth need not be timed if
# another depth of the same network is at least as accurate, and neither deeper nor larger.
def _worth_timing(sites: Sequence[Site], corrects: Sequence[np.ndarray], classes: int) -> list[int]:
    keys = [
        (site.multiply_adds, _count_parameters(site, classes), -int(correct.sum()))
        for site, correct in zip(sites, corrects, strict=True)
    ]
    return [
        index
        for index, key in enumerate(keys)
        if not any(
            other != key and all(a <= b for a, b in zip(other, key, strict=True)) for other in keys
        )
        and key not in keys[:index]
    ]


def _add_differences(
    rows: Sequence[ProbedBackbone],
    measured: Sequence[_Measured],
    max_ms: float | None,
    max_mb: float | None,
) -> tuple[ProbedBackbone, ...]:
    """Return the rows with their differences from the best row within the limits."""
    best = find_best(within_limits(rows, max_ms, max_mb) or rows)
    reference = measured[[row is best for row in rows].index(True)].correct
    found = []
    for row, each in zip(rows, measured, strict=True):
        differences = reference.astype(float) - each.correct
        error = standard_error(differences, each.groups)
        found.append(with_difference(row, float(differences.mean()), error))
    return tuple(found)
