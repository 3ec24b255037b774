"""Scores of heads, kept beside the features that they were fitted to.

A probe of the same features, labels and folds finds the same: `tlkit train` after `tlkit probe`, or
with other settings of what comes after the probe.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import numpy as np

from tlkit._internal import system
from tlkit.caching import entries, location
from tlkit.caching.cache import Cache
from tlkit.caching.entries import Entry
from tlkit.caching.store import Store
from tlkit.errors import StoreError
from tlkit.evaluation.probing import cross_validation
from tlkit.evaluation.probing.cross_validation import CrossValidation, Score

_FORMAT = 2  # raise it with every change of a probe's arithmetic
KIND = "scores of a probe"
"""What the facts of such an entry call it."""


def measure_all(
    sites: Sequence[Sequence[CrossValidation]],
    *,
    cache: Cache | None,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> list[Score]:
    """Return the score of heads at each site, or of heads that read several together.

    Args:
        sites: For each score, the sites that the heads read.
        cache: Names the folder where scores are kept; None keeps none.
        on_done: As for `cross_validation.map_sites`.
    """
    entry = None if not sites or sites[0][0].is_multi_label else _open(cache)
    if entry is None:  # of multi-label, the logits are needed later
        return cross_validation.map_sites(_measure, sites, on_done=on_done)
    lengths = np.array([len(group) for group in sites])
    digests = {id(each): entries.digest(*each.arrays()) for group in sites for each in group}
    name = entries.digest(lengths, np.array([*digests.values()]))
    system.release_memory()  # of the engine, and of parts that each site has joined for its digest
    with suppress(StoreError):
        found = entry.read(name)
        if found is not None and [len(each) for each in found] == [len(sites), len(sites)]:
            pairs = zip(*found, strict=True)
            return [Score(accuracy=float(each[0]), losses=losses) for each, losses in pairs]
    scores = cross_validation.map_sites(_measure, sites, on_done=on_done)
    with suppress(StoreError):  # they are quick to find again
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
