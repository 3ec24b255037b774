import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tlkit
from tlkit import recipes
from tlkit.data.splits import Split
from tlkit.errors import ConfigError
from tlkit.evaluation.estimates import Estimate
from tlkit.experiments import comparison


def test_an_estimate_is_a_mean_with_students_interval() -> None:
    estimate = Estimate.from_values([1.0, 2.0, 3.0])
    assert estimate.mean == 2.0
    assert estimate.interval == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert estimate.format(1, 1) == "2.0 ± 2.5"
    assert Estimate.from_values([1.5]).format(1, 1) == "1.5"


@pytest.mark.slow
def test_recipes_are_compared_on_the_same_images() -> None:
    digits = tlkit.datasets.digits().limited(300)
    found = tlkit.experiments.compare(
        [recipes.fast(), replace(recipes.few_images(epochs=(1, 1)), fine_tune=None)],
        digits,
        seeds=2,
        weights="starter",
        verbose=False,
    )
    fast, usual = found.recipes
    assert (found.seeds, fast.name, usual.name) == (2, "fast", "few_images")
    assert fast.accuracy.mean > max(0.95, usual.accuracy.mean)
    assert fast.num_parameters.mean < usual.num_parameters.mean / 5  # of two layers
    assert fast.model_bytes.median < usual.model_bytes.median
    assert 0 < fast.seconds.lowest <= fast.seconds.median <= fast.seconds.highest
    assert fast.memory is None or fast.memory.lowest >= 0
    lines = str(found).splitlines()
    assert len(lines) == 7
    assert lines[5].startswith("fast ")
    assert "±" in lines[5]


def _compare_fakes(
    monkeypatch: pytest.MonkeyPatch, data: Split | list[Split], **settings: int
) -> tuple[comparison.Comparison, list[tuple[str, int, Split]]]:
    """Compare two recipes whose trainings are left out: b classifies one of four images better."""
    runs: list[tuple[str, int, Split]] = []

    def train(self: recipes.Recipe, data: object, *, seed: int, **_: object) -> str:
        runs.append((self.name, seed, data))
        return self.name

    def measure(name: str, split: Split) -> tuple[dict[str, float], np.ndarray]:
        correct = np.arange(len(split.test)) % 4 > (2 if name == "a" else 1)
        measured = dict.fromkeys(("loss", "seconds", "model_bytes", "num_parameters"), 1.0)
        return {"accuracy": float(correct.mean()), **measured}, correct

    monkeypatch.setattr(recipes.Recipe, "train", train)
    monkeypatch.setattr(comparison, "_evaluate", measure)
    named = {"a": recipes.fast(), "b": recipes.fast()}
    return tlkit.experiments.compare(named, data, verbose=False, **settings), runs


def test_a_difference_on_one_split_counts_the_chance_in_its_test_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digits = tlkit.datasets.digits()
    found, runs = _compare_fakes(monkeypatch, digits)
    assert [seed for _, seed, _ in runs] == [0, 0, 1, 1, 2, 2]
    first, second = found.recipes
    gains = np.arange(len(digits.test)) % 4 == 2
    error = gains.std(ddof=1) / math.sqrt(len(gains))
    assert first.difference is None
    assert second.accuracy.interval == 0  # over the seeds, which change nothing
    assert second.difference is not None
    assert second.difference.mean == pytest.approx(gains.mean())
    assert second.difference.interval == pytest.approx(1.96 * error)
    assert "on one split: mean ± 95 % interval over the seeds" in str(found)


def test_a_difference_over_splits_is_paired_by_split_and_widened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digits = tlkit.datasets.digits()
    splits = [replace(digits, test=digits.test.take(slice(count))) for count in (100, 102, 105)]
    found, runs = _compare_fakes(monkeypatch, splits)
    assert [(name, seed) for name, seed, _ in runs] == [(n, s) for s in range(3) for n in "ab"]
    gains = [float((np.arange(len(each.test)) % 4 == 2).mean()) for each in splits]
    share = np.mean([len(each.test) / len(each.train) for each in splits])
    plain = Estimate.from_values(gains)
    difference = found.recipes[1].difference
    assert difference is not None
    assert difference.mean == pytest.approx(plain.mean)
    assert difference.interval == pytest.approx(plain.interval * math.sqrt(1 + 3 * share))
    assert "3 runs each, a split and a seed each" in str(found)
    assert "too few for a useful interval of the mean accuracy and the difference" in str(found)
    with pytest.raises(ConfigError, match="`data` must be a split, or one for each of `seeds`"):
        _compare_fakes(monkeypatch, splits, seeds=2)


def test_a_stopped_comparison_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digits = tlkit.datasets.digits()
    trained: list[tuple[str, int]] = []

    def train(self: recipes.Recipe, data: object, *, seed: int, **_: object) -> str:
        if len(trained) == 3 and (self.name, seed) == ("b", 1):
            trained.append(("stopped", seed))
            raise KeyboardInterrupt
        trained.append((self.name, seed))
        return self.name

    def measure(name: str, split: Split) -> tuple[dict[str, float], np.ndarray]:
        measured = dict.fromkeys(("loss", "seconds", "model_bytes", "num_parameters"), 1.0)
        return {"accuracy": 0.5, **measured}, np.arange(len(split.test)) % 2 == (name == "a")

    monkeypatch.setattr(recipes.Recipe, "train", train)
    monkeypatch.setattr(comparison, "_evaluate", measure)
    named = {"a": recipes.fast(), "b": recipes.fast()}
    how: dict[str, Any] = {"seeds": 2, "folder": tmp_path / "kept"}
    with pytest.raises(KeyboardInterrupt, match=r"after 3 of 4 runs\. The same call goes on\."):
        tlkit.experiments.compare(named, digits, **how)
    capsys.readouterr()
    found = tlkit.experiments.compare(named, digits, **how)
    assert trained == [("a", 0), ("b", 0), ("a", 1), ("stopped", 1), ("b", 1)]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("a, seed 0: accuracy 49.94 %, measured before")
    assert lines[3].startswith("b, seed 1: run 4 of 4, about ")
    again = tlkit.experiments.compare(named, digits, verbose=False, **how)
    assert again == found
    assert len(trained) == 5


def test_a_difference_that_depends_on_the_seed_has_a_wide_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gains = iter([0.0552, 0.0043, -0.0236])

    def measure(name: str, split: Split) -> tuple[dict[str, float], np.ndarray]:
        measured = dict.fromkeys(("loss", "seconds", "model_bytes", "num_parameters"), 1.0)
        share = 0.5 + (next(gains) if name == "b" else 0.0)
        correct = np.arange(10_000) < share * 10_000
        return {"accuracy": float(correct.mean()), **measured}, correct

    monkeypatch.setattr(recipes.Recipe, "train", lambda self, *_, **__: self.name)
    monkeypatch.setattr(comparison, "_evaluate", measure)
    named = {"a": recipes.fast(), "b": recipes.fast()}
    found = tlkit.experiments.compare(named, tlkit.datasets.digits(), verbose=False)
    second = found.recipes[1]
    assert second.accuracies == pytest.approx((0.5552, 0.5043, 0.4764))
    assert second.difference is not None
    assert second.difference.mean == pytest.approx(0.012, abs=1e-4)
    assert second.difference.interval == pytest.approx(0.099, abs=0.002)  # by Student's t
    assert "± 95 % interval over seeds and test images" in str(found)


def test_splits_with_the_same_test_images_are_not_widened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digits = tlkit.datasets.digits()
    splits = [digits.limited(100, seed=seed) for seed in range(3)]
    copied = replace(digits.test, images=digits.test.images.copy())
    splits.append(replace(splits[0], test=copied))
    found, _ = _compare_fakes(monkeypatch, splits)
    difference = found.recipes[1].difference
    gains = np.arange(len(digits.test)) % 4 == 2
    assert difference is not None
    assert difference.interval == pytest.approx(1.96 * gains.std(ddof=1) / math.sqrt(len(gains)))


@pytest.mark.parametrize(("seeds", "is_warned"), [(1, False), (2, True), (3, True), (5, False)])
def test_few_runs_have_a_warning_and_a_range(
    monkeypatch: pytest.MonkeyPatch, seeds: int, is_warned: bool
) -> None:
    seconds = iter([10.0, 1.0, 12.0, 1.0, 30.0, 1.0, 14.0, 1.0, 11.0, 1.0])

    def measure(trained: object, split: Split) -> tuple[dict[str, float], np.ndarray]:
        measured = dict.fromkeys(("accuracy", "loss", "model_bytes", "num_parameters"), 1.0)
        return {**measured, "seconds": next(seconds)}, np.ones(len(split.test))

    monkeypatch.setattr(recipes.Recipe, "train", lambda *_, **__: "trained")
    monkeypatch.setattr(comparison, "_evaluate", measure)
    named = {"a": recipes.fast(), "b": recipes.fast()}
    found = tlkit.experiments.compare(named, tlkit.datasets.digits(), seeds=seeds, verbose=False)
    words = f"{seeds} runs are too few for a useful interval of the mean accuracy"
    assert (words in str(found)) == is_warned
    if seeds == 3:
        assert "12.0 (10.0 to 30.0)" in str(found)
        assert "seconds, memory and file: median (lowest to highest)" in str(found)


def test_it_says_which_run_is_running_and_how_long_the_rest_will_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Stop(Exception):  # noqa: N818  # the training itself is not what is tested
        pass

    now = [0.0]

    def train(self: recipes.Recipe, *_: object, seed: int, **__: object) -> None:
        if (self.name, seed) == ("b", 1):
            raise Stop
        now[0] += {"a": 10, "b": 30}[self.name]

    measured = dict.fromkeys(("accuracy", "loss", "seconds", "model_bytes", "num_parameters"), 1.0)
    monkeypatch.setattr(recipes.Recipe, "train", train)
    monkeypatch.setattr(comparison, "_evaluate", lambda trained, data: (measured, np.ones(3)))
    monkeypatch.setattr(comparison.time, "perf_counter", lambda: now[0])
    named = [replace(recipes.fast(), name=name) for name in "ab"]
    with pytest.raises(Stop):
        tlkit.experiments.compare(named, tlkit.datasets.digits(), seeds=2)
    assert capsys.readouterr().out.splitlines() == [
        "a, seed 0: run 1 of 4",
        "a, seed 0: accuracy 100.00 % after 10 s",
        "b, seed 0: run 2 of 4, about 30.0 s left",
        "b, seed 0: accuracy 100.00 % after 30 s",
        "a, seed 1: run 3 of 4, about 40.0 s left",
        "a, seed 1: accuracy 100.00 % after 10 s",
        "b, seed 1: run 4 of 4, about 30.0 s left",
    ]


def test_each_run_begins_with_the_weights_of_a_model_as_it_was(small_backbone: keras.Model) -> None:
    tuned = recipes.few_images(epochs=(1, 1))
    assert tuned.fine_tune is not None
    tuned = replace(
        tuned,
        backbone=small_backbone,
        pixels=(0, 1),
        features=None,
        fine_tune=replace(tuned.fine_tune, freeze=tlkit.freezing.nothing, learning_rate=0.1),
    )
    digits, before = tlkit.datasets.digits().limited(40), small_backbone.get_weights()
    found = recipes.compare({"a": tuned, "b": tuned}, digits, seeds=1, verbose=False)
    one, other = found.recipes
    assert one.loss.mean == pytest.approx(other.loss.mean, rel=1e-5)
    assert all(map(np.array_equal, before, small_backbone.get_weights()))
    assert small_backbone.trainable


def test_no_recipe_or_equal_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="`recipes` must be at least one, with different names"):
        tlkit.experiments.compare([], tlkit.datasets.digits())
    with pytest.raises(ConfigError, match="got \\['fast', 'fast'\\]"):
        tlkit.experiments.compare([recipes.fast()] * 2, tlkit.datasets.digits())
