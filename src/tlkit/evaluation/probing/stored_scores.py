"""Scores of heads, stored beside the features that the heads were fitted to.

A probe of the same features, labels and folds has the same scores, so a later probe reads them:
`tlkit train` after `tlkit probe`, or a second `tlkit train` whose other settings differ.
"""

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from importlib.metadata import version
from typing import Any

import numpy as np

from tlkit._internal import system
from tlkit.caching import entries, location
from tlkit.caching.cache import Cache
from tlkit.caching.entries import Entry
from tlkit.caching.progress import CacheProgress
from tlkit.caching.store import Store
from tlkit.errors import StoreError
from tlkit.evaluation.probing import cross_validation
from tlkit.evaluation.probing.cross_validation import CrossValidation, Score

_FORMAT = 2  # raise it with every change of a probe's arithmetic
KIND = "scores of a probe"
"""The kind of such an entry, among the facts that describe it."""


def create_measure(
    title: str, *, cache: Cache | None, verbose: bool
) -> Callable[[Sequence[Sequence[CrossValidation]]], list[Score]]:
    """Return a function that scores heads as `measure_all`, and shows a bar with this title."""

    def measure(sites: Sequence[Sequence[CrossValidation]]) -> list[Score]:
        shown = CacheProgress(verbose=verbose, title=title, shows_speed=False)
        with closing(shown) as progress:
            return measure_all(sites, cache=cache, on_done=progress.update)

    return measure


def measure_all(
    sites: Sequence[Sequence[CrossValidation]],
    *,
    cache: Cache | None,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> list[Score]:
    """Return the score of heads at each site, or of heads that read several together.

    Args:
        sites: For each score, the sites that the heads read.
        cache: Names the folder where scores are stored; with None, they are not stored.
        on_done: As for `cross_validation.map_sites`.
    """
    entry = None if not sites or sites[0][0].is_multi_label else _open(cache)
    if entry is None:  # for multi-label, the logits are needed later
        return cross_validation.map_sites(_measure, sites, on_done=on_done)
    lengths = np.array([len(group) for group in sites])
    digests = {id(each): entries.digest(*each.arrays()) for group in sites for each in group}
    name = entries.digest(lengths, np.array([*digests.values()]))
    system.release_memory()  # of the engine, and of the parts that were joined for digests
    with suppress(StoreError):
        found = entry.read(name)
        if found is not None and [len(each) for each in found] == [len(sites), len(sites)]:
            pairs = zip(*found, strict=True)
            return [Score(accuracy=float(each[0]), losses=losses) for each, losses in pairs]
    scores = cross_validation.map_sites(_measure, sites, on_done=on_done)
    with suppress(StoreError):  # scores that can't be stored are quick to compute again
        accuracies = np.array([[each.accuracy] for each in scores])
        entry.write(name, [accuracies, np.stack([each.losses for each in scores])])
    return scores


def _measure(sites: Sequence[CrossValidation]) -> Score:
    return sites[0].measure() if len(sites) == 1 else cross_validation.measure_joint(sites)


def _open(cache: Cache | None) -> Entry | None:
    if cache is None or cache.folder is None:
        return None
    facts: dict[str, Any] = {"kind": KIND, "format": _FORMAT}
    facts |= {name: version(name) for name in ("numpy", "scipy")}
    return Store(folder=location.locate(cache.folder)).entry(facts)
