import csv
import shutil
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest

import tlkit
from tlkit.errors import ConfigError, DataError
from tlkit.experiments import compare_runs, run_comparison
from tlkit.models.inspection import head_of


def _rewrite(run: Path, target: Path, parts: dict[str, str]) -> Path:
    """Copy a run, with other parts of some of its images, by path."""
    copy = shutil.copytree(run, target)
    rows = list(csv.DictReader((copy / "split.csv").open(newline="")))
    lines = ["part,path,digest"]
    lines += [f"{parts.get(r['path'], r['part'])},{r['path']},{r['digest']}" for r in rows[::-1]]
    (copy / "split.csv").write_text("\n".join(lines) + "\n")
    tlkit.experiments.verify_run(copy, accept=True)
    return copy


def _list_test(run: Path) -> list[str]:
    rows = csv.DictReader((run / "split.csv").open(newline=""))
    return [row["path"] for row in rows if row["part"] == "test"]


def test_runs_are_compared_on_the_test_images_that_all_have(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def note(title: str, *, verbose: bool) -> AbstractContextManager[None]:
        shown.append(f"{title}, {verbose}")
        return nullcontext()

    monkeypatch.setattr(run_comparison, "show_waiting", note)
    tested = _list_test(trained)
    other = _rewrite(trained, tmp_path / "other", dict.fromkeys(tested[::2], "train"))
    found = compare_runs([trained, other], verbose=True)
    assert shown == [f"evaluating {trained}, True", f"evaluating {other}, True"]
    first, second = found.runs
    assert found.images == f"{len(tested) // 2} test images that all of them have in common"
    np.testing.assert_array_equal(first.evaluation.labels, second.evaluation.labels)
    np.testing.assert_array_equal(first.evaluation.probabilities, second.evaluation.probabilities)
    assert (first.num_trained, second.num_trained) == (0, 0)
    assert first.against_first is None
    assert second.against_first is not None
    assert second.against_first.difference.mean == 0
    assert "difference: accuracy minus that of" in str(found)


def test_the_difference_is_that_of_the_second_from_the_first(trained: Path, tmp_path: Path) -> None:
    worse = _rewrite(trained, tmp_path / "worse", {})
    model = tlkit.load(worse / "model.keras")
    head = head_of(model)
    head.kernel.assign(head.kernel * 0)  # every image is of one class
    tlkit.save(model, worse / "model.keras")
    tlkit.experiments.verify_run(worse, accept=True)
    first, second = compare_runs([trained, worse]).runs
    assert second.against_first is not None
    gain = second.evaluation.accuracy - first.evaluation.accuracy
    assert gain < -0.3
    assert second.against_first.difference.mean == pytest.approx(gain)
    assert second.against_first.only_first > second.against_first.only_second
    [_, turned] = compare_runs([worse, trained]).runs
    assert turned.against_first is not None
    assert turned.against_first.difference.mean == pytest.approx(-gain)
    assert f"+{-100 * gain:.2f} ±" in str(compare_runs([worse, trained]))


def test_images_that_one_run_was_trained_on_are_named(
    trained: Path, photos: Path, tmp_path: Path
) -> None:
    rows = list(csv.DictReader((trained / "split.csv").open(newline="")))
    everything = {row["path"]: "test" for row in rows}
    other = _rewrite(trained, tmp_path / "other", everything)
    found = compare_runs([trained, other], data=photos)
    num_trained = sum(row["part"] == "train" for row in rows)
    assert [each.num_trained for each in found.runs] == [num_trained, 0]
    assert f"{trained} was trained on {num_trained} of them" in str(found)


def test_runs_without_test_images_in_common_need_others(trained: Path, tmp_path: Path) -> None:
    tested = _list_test(trained)
    parts = dict.fromkeys(tested, "train")
    rows = csv.DictReader((trained / "split.csv").open(newline=""))
    parts |= {row["path"]: "test" for row in rows if row["part"] == "validation"}
    other = _rewrite(trained, tmp_path / "other", parts)
    with pytest.raises(DataError, match="have no test images in common.*set `data`"):
        compare_runs([trained, other])
    none = _rewrite(trained, tmp_path / "none", dict.fromkeys(tested, "train"))
    with pytest.raises(ConfigError, match="was trained on all of its images"):
        compare_runs([trained, none])
    with pytest.raises(ConfigError, match="must be two or more different classifiers"):
        compare_runs([trained, trained])


def test_images_that_changed_are_named_with_what_to_do_before_models_are_loaded(
    photos: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(trained, tmp_path / "old run")
    corrected = shutil.copytree(photos, tmp_path / "photos")
    wrong = sorted((corrected / "digit 0").iterdir())[0]
    wrong.rename(corrected / "digit 1" / wrong.name)
    config = (run / "config.json").read_text()
    (run / "config.json").write_text(config.replace(str(photos), str(corrected)))
    tlkit.experiments.verify_run(run, accept=True)
    other = shutil.copytree(run, tmp_path / "other")
    loaded: list[str] = []
    monkeypatch.setattr(run_comparison, "_load", loaded.append)
    with pytest.raises(DataError) as caught:
        compare_runs([run, other])
    message = str(caught.value)
    assert message.startswith(f"The run {str(run)!r}: The run's images must not have changed, ")
    assert f"1 of 298 missing or changed: digit 0/{wrong.name}. To compare on the" in message
    assert "set `data`: the result says how many of them each run was trained on." in message
    assert message.endswith(f": tlkit train --config '{run / 'config.json'}' --out NEW.")
    assert loaded == []


def test_other_classes_are_refused_and_their_order_does_not_matter(trained: Path) -> None:
    labels = np.array([0, 1, 1, 0])
    rows = np.tile([0.9, 0.1], (4, 1))
    one = tlkit.evaluation.compute_metrics(labels, rows, class_names=["a", "b"])
    turned = tlkit.evaluation.compute_metrics(1 - labels, rows[:, ::-1], class_names=["b", "a"])
    check = run_comparison._check_classes  # two runs with other classes take long
    check(["x", "y"], [one, turned])
    other = tlkit.evaluation.compute_metrics(labels, rows, class_names=["a", "c"])
    with pytest.raises(DataError, match="x and y differ in 'b', 'c'"):
        check(["x", "y"], [one, other])
    relabelled = tlkit.evaluation.compute_metrics(labels[::-1] * 0, rows, class_names=["a", "b"])
    with pytest.raises(DataError, match="must have the same labels"):
        check(["x", "y"], [one, relabelled])
