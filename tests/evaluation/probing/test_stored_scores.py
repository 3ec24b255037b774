from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.samples import SilentBar

from tlkit.caching.cache import Cache
from tlkit.caching.store import Store
from tlkit.errors import StoreError
from tlkit.evaluation.probing import cross_validation, stored_scores
from tlkit.evaluation.probing.cross_validation import CrossValidation, Score


def _sites(
    *, seed: int = 0, solver: str = "ridge", labels: np.ndarray | None = None
) -> list[CrossValidation]:
    random = np.random.default_rng(seed)
    found = []
    labels = np.arange(60) % 3 if labels is None else labels
    for size in (4, 7):
        fit = CrossValidation(size, 3, solver)
        fit.add(random.normal(size=(60, size)).astype("float32"), labels, np.arange(60) % 5)
        found.append(fit)
    return found


def _measure(sites: list[CrossValidation], folder: Path | None) -> list[tuple[float, list[float]]]:
    found = stored_scores.measure_all([[each] for each in sites], cache=Cache(folder=folder))
    return [_values(each) for each in found]


def _values(score: Score) -> tuple[float, list[float]]:
    return score.accuracy, score.losses.tolist()


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many sites each measurement had."""
    counts: list[int] = []
    map_sites = cross_validation.map_sites

    def count(function: object, sites: list[object], **how: object) -> list[object]:
        counts.append(len(sites))
        return map_sites(function, sites, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(cross_validation, "map_sites", count)
    return counts


def test_the_same_features_are_measured_once(tmp_path: Path, measured: list[int]) -> None:
    expected = [_values(site.measure()) for site in _sites()]
    assert _measure(_sites(), tmp_path) == expected
    assert _measure(_sites(), tmp_path) == expected
    assert measured == [2]


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"solver": "lbfgs"},
        {"labels": np.arange(60) // 20},
    ],
)
def test_anything_else_is_measured_anew(
    other: dict[str, object], tmp_path: Path, measured: list[int]
) -> None:
    _measure(_sites(), tmp_path)
    expected = [_values(site.measure()) for site in _sites(**other)]  # type: ignore[arg-type]
    assert _measure(_sites(**other), tmp_path) == expected  # type: ignore[arg-type]
    assert measured == [2, 2]


def test_sites_read_together_are_not_taken_for_single_ones(
    tmp_path: Path, measured: list[int]
) -> None:
    sites = _sites()
    _measure(sites, tmp_path)
    [together] = stored_scores.measure_all([sites], cache=Cache(folder=tmp_path))
    assert _values(together) == _values(cross_validation.measure_joint(sites))
    assert measured == [2, 1]


def test_images_that_only_the_sums_hold_count_too(tmp_path: Path, measured: list[int]) -> None:
    more = np.random.default_rng(5).normal(size=(10, 4)).astype("float32")
    both = []
    for labels in (np.zeros(10, int), np.ones(10, int)):
        site = _sites()[0]
        site.add(more, labels, np.full(10, cross_validation.FIT_ONLY))
        both.append(site)
    for site in both:
        assert _measure([site], tmp_path) == [_values(site.measure())]
    assert measured == [1, 1]


@pytest.mark.parametrize("folder", [None, "multi-label"])
def test_without_a_folder_or_for_several_classes_nothing_is_kept(
    folder: str | None, tmp_path: Path, measured: list[int]
) -> None:
    labels = None if folder is None else np.random.default_rng(0).integers(0, 2, (60, 3))
    for _ in range(2):
        _measure(_sites(labels=labels), None if folder is None else tmp_path)
    assert measured == [2, 2]
    assert Store(folder=tmp_path).entries() == []


def test_a_full_disk_costs_no_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StoreError("no room")

    monkeypatch.setattr("tlkit.caching.entries.Entry.write", fail)
    assert _measure(_sites(), tmp_path) == [_values(site.measure()) for site in _sites()]


def test_a_bar_is_closed_on_an_error(
    opened_bars: list[SilentBar], monkeypatch: pytest.MonkeyPatch
) -> None:
    def map_sites(function: object, sites: object, *, on_done: Callable[[int, int], None]) -> None:
        on_done(1, 2)
        raise StoreError("the disk is full")

    monkeypatch.setattr(cross_validation, "map_sites", map_sites)
    measure = stored_scores.create_measure("scoring layers", cache=None, verbose=True)
    with pytest.raises(StoreError):
        measure([[each] for each in _sites()])
    assert [bar.is_closed for bar in opened_bars] == [True]
