from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure

import tlkit
from tlkit import sources, splits
from tlkit.caching.cache import Cache
from tlkit.evaluation import evaluator, head_features
from tlkit.experiments import figures, image_description
from tlkit.plotting import charts, curves, image_grids, saliency
from tlkit.training.verification import Movement

NAMES = ["calibration", "confusion", "curves", "errors", "features", "grad_cam", "predictions"]


def _run(epochs: int) -> tlkit.training.Run:
    history = {name: [0.5] * epochs for name in ("loss", "accuracy", "learning_rate")}
    movement = Movement(moved=2, untouched=0)
    phase = tlkit.training.PhaseRun(
        name="head", history=history, seconds=1, best_epoch=1, movement=movement
    )
    return tlkit.training.Run(phases=(phase,))


def _draw(
    backbone: keras.Model, *, classes: int = 3, count: int = 30
) -> tuple[dict[str, Figure], dict[str, str]]:
    model = tlkit.build_classifier(backbone, classes, pixels=(0, 1))
    images = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), "uint8")
    labels = np.arange(count) % classes
    found = tlkit.evaluate(model, (images, labels))
    return figures.draw(model, _run(2), found, (images, labels))


def test_a_run_has_figures_that_explain_it(small_backbone: keras.Model) -> None:
    drawn, errors = _draw(small_backbone)
    assert sorted(drawn) == NAMES
    assert errors == {}


def test_without_maps_there_is_no_grad_cam_but_a_reason() -> None:
    image = keras.Input((16, 16, 3))
    backbone = keras.Model(image, keras.layers.GlobalAveragePooling2D()(image))
    drawn, errors = _draw(backbone)
    assert "grad_cam" not in drawn
    assert errors == {"grad_cam": "Grad-CAM needs a backbone that returns maps, got only features"}


def test_too_many_classes_or_too_few_images_have_no_map(small_backbone: keras.Model) -> None:
    _, many = _draw(small_backbone, classes=31, count=62)
    assert many["features"] == "31 classes are more than colors and markers can distinguish"
    _, few = _draw(small_backbone, count=9)
    assert few["features"] == "9 test images are too few"


def test_figures_that_fail_do_not_cost_the_report(
    small_backbone: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object, **settings: object) -> None:
        raise MemoryError

    for module, function in (
        (charts, "confusion_matrix"),
        (charts, "reliability_diagram"),
        (curves, "learning_curves"),
        (image_grids, "prediction_grid"),
        (saliency, "grad_cam_grid"),
    ):
        monkeypatch.setattr(module, function, fails)
    drawn, errors = _draw(small_backbone)
    assert list(drawn) == ["features"]
    assert sorted([*drawn, *errors]) == NAMES
    assert set(errors.values()) == {"there is not enough memory"}


def test_only_the_same_image_with_two_labels_counts_as_such() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8), "uint8")
    images[2:] = images[:2]
    source = sources.from_arrays(images, [0, 1, 1, 1], class_names="ab")
    pairs = tuple(splits.find_duplicates(source))
    assert len(pairs) == 2
    assert image_description.find_paths(source, pairs) == [
        ("image 0", "image 2"),
        ("image 1", "image 3"),
    ]
    assert [image_description.has_two_labels(source, pair) for pair in pairs] == [True, False]


@pytest.mark.parametrize("is_stored", [False, True])
def test_what_the_head_reads_is_computed_once_for_all_figures(
    is_stored: bool, small_backbone: keras.Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = tlkit.build_classifier(small_backbone, 3, pixels=(0, 1))
    images = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), "uint8")
    data = images, np.arange(30) % 3
    tlkit.fit_ood(model, data)
    calls: list[str] = []
    for owner, name in ((evaluator, "embed"), (head_features.HeadFeatures, "read")):
        original = getattr(owner, name)

        def count(*arguments: Any, name: str = name, original: Any = original) -> np.ndarray:
            calls.append(name)
            return original(*arguments)

        monkeypatch.setattr(owner, name, count)
    cache = Cache(folder=tmp_path) if is_stored else None
    sample = figures.SampledFeatures(model, data, cache)
    drawn, errors = figures.draw(model, _run(2), tlkit.evaluate(model, data), data, sample=sample)
    assert errors == {}
    assert {"features", "ood"} <= set(drawn)
    assert sample.share_rejected() == (tlkit.ood_scores(model, images) > 0.95).mean()
    expected = "read" if is_stored else "embed"
    assert calls == [expected]


def test_of_many_images_a_sample_is_read(
    small_backbone: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "_MAX_IMAGES", 20)
    model = tlkit.build_classifier(small_backbone, 3, pixels=(0, 1))
    images = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), "uint8")
    sample = figures.SampledFeatures(model, (images, np.arange(30) % 3))
    assert len(sample.chosen) == 20
    np.testing.assert_array_equal(sample.features, tlkit.embed(model, images[sample.chosen]))
