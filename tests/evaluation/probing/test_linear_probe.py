import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from tests.samples import SilentBar

import tlkit
from tlkit import sources
from tlkit.caching.progress import CacheProgress
from tlkit.caching.usage import Usage
from tlkit.errors import ConfigError, DataError
from tlkit.evaluation.head_features import HeadFeatures
from tlkit.evaluation.probing import cross_validation, fitted_sites, linear_probe
from tlkit.evaluation.probing.result import ProbedLayer


def _stripes(count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Return images whose class is the position of a bright stripe, lost when maps are averaged."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, count)
    images = random.integers(0, 60, (count, 16, 16, 3), "uint8")
    for image, label in zip(images, labels, strict=True):
        image[4 + 3 * label : 6 + 3 * label] += (
            150  # away from the edges, whose padding would tell where it is
        )
    return images, labels


def _model() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    early = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="early")(inputs)
    wide = keras.layers.Conv2D(16, 3, padding="same", name="wide")(early)
    late = keras.layers.GlobalAveragePooling2D(name="late")(wide)
    return tlkit.build_classifier(keras.Model(inputs, late), 3, pixels=(0, 1))


@pytest.mark.parametrize("solver", ["ridge", "lbfgs"])
def test_the_layer_that_still_tells_the_classes_apart_is_chosen(solver: str) -> None:
    probe = tlkit.probe(_model(), _stripes(), solver=solver)
    found = {(each.layer, each.pooling): each for each in probe.layers}
    assert set(found) == {("early", "avg"), ("early", "flatten"), ("late", "avg")}
    assert found["early", "flatten"].accuracy == 1.0
    assert found["late", "avg"].accuracy < 0.7
    assert probe.chosen.layer == "early"
    assert found["early", "avg"].num_parameters == 3 * 3 * 3 * 4 + 4
    assert found["early", "avg"].multiply_adds == 16 * 16 * 3 * 3 * 3 * 4
    assert found["early", "flatten"].num_features == 16 * 16 * 4
    assert (probe.num_fitted, probe.num_scored, probe.engine) == (300, 300, "keras")


def test_the_bars_of_a_probe_say_what_they_count(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, int, bool]] = []

    def note(self: CacheProgress, done: int, total: int) -> None:
        shown.append((self.title, total, self.shows_speed))

    monkeypatch.setattr(CacheProgress, "update", note)
    found = tlkit.probe(_model(), _stripes(), max_layers=2)
    assert ("running the backbone", 300, True) in shown
    assert ("scoring layers", len(found.layers), False) in shown
    assert not any(speed for title, _, speed in shown if title.startswith("scoring"))


@pytest.mark.parametrize("solver", ["ridge", "lbfgs"])
def test_no_image_is_scored_by_a_head_fitted_to_it(solver: str) -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (300, 16, 16, 3), "uint8"), random.integers(0, 2, 300)
    inputs = keras.Input((16, 16, 3))
    backbone = keras.Model(inputs, keras.layers.Conv2D(4, 1, name="all")(inputs))
    model = tlkit.build_classifier(backbone, 2, pixels=(0, 1))
    probe = tlkit.probe(model, noise, solver=solver)  # 1,024 features learn 300 labels by heart
    assert probe.best.accuracy < 0.65


def test_no_image_is_scored_by_a_head_fitted_to_another_of_its_group() -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (150, 16, 16, 3), "uint8")
    images, labels = np.concatenate([images] * 2), np.tile(random.integers(0, 2, 150), 2)
    inputs = keras.Input((16, 16, 3))
    backbone = keras.Model(inputs, keras.layers.Conv2D(4, 1, name="all")(inputs))
    model = tlkit.build_classifier(backbone, 2, pixels=(0, 1), class_names=["a", "b"])
    accuracies = [
        tlkit.probe(
            model, sources.from_arrays(images, labels, class_names="ab", groups=groups)
        ).best.accuracy
        for groups in ((), np.arange(300) % 150)
    ]
    assert accuracies[0] > 0.8
    assert accuracies[1] < 0.65


def test_a_probe_does_not_change_the_model() -> None:
    model = _model()
    before = model.get_weights()
    nodes = [len(layer._inbound_nodes) for layer in tlkit.models.backbone_of(model).layers]
    tlkit.probe(model, _stripes())
    assert nodes == [len(layer._inbound_nodes) for layer in tlkit.models.backbone_of(model).layers]
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_dataset_is_probed_with_validation_data() -> None:
    images, labels = _stripes()

    class Batches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 10

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            rows = slice(30 * index, 30 * index + 30)
            return images[rows], labels[rows]

    probe = tlkit.probe(_model(), Batches(), validation_data=(images[:50], labels[:50]))
    assert (probe.num_fitted, probe.num_scored) == (300, 50)
    assert probe.chosen.layer == "early"


def test_ridge_keeps_the_features_of_a_few_images_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_validation, "MAX_SCORED", 40)
    probe = tlkit.probe(_model(), _stripes(), sample=None)
    assert (probe.num_fitted, probe.num_scored) == (300, 40)
    assert probe.chosen.layer == "early"


def _two_signs(count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Return images whose class needs two layers: the position of a stripe, and the brightness."""
    random = np.random.default_rng(0)
    places, levels = random.integers(0, 2, count), random.integers(0, 2, count)
    images = random.integers(0, 30, (count, 16, 16, 3)).astype("uint8")
    for image, place, level in zip(images, places, levels, strict=True):
        image[4 + 6 * place : 6 + 6 * place] += 100
        image += (40 * level).astype("uint8")
    return images, 2 * places + levels


def test_layers_are_combined_if_that_improves_the_accuracy() -> None:
    inputs = keras.Input((16, 16, 3))
    keras.utils.set_random_seed(0)
    place = keras.layers.Conv2D(4, 1, name="seen_first")(inputs)
    flat = keras.layers.LayerNormalization(axis=(1, 2, 3), name="no_level")(place)
    wide = keras.layers.Conv2D(8, 1, name="late")(flat)
    backbone = keras.Model(inputs, wide)
    model = tlkit.build_classifier(backbone, 4, pixels=(0, 1))
    probe = tlkit.probe(model, _two_signs(), max_layers=3, max_features=64)
    assert probe.joint_accuracy >= probe.best.accuracy
    assert set(probe.joint) <= set(probe.layers)
    assert len({each.layer for each in probe.joint}) == len(probe.joint)
    alone = tlkit.probe(model, _two_signs(), max_features=64)
    assert alone.joint == (min(alone.layers, key=lambda each: each.loss),)
    built = tlkit.build_classifier(
        backbone,
        4,
        pixels=(0, 1),
        features=linear_probe.select_features(_two_signs(), max_layers=3),
    )
    assert built.predict(_two_signs(4)[0], verbose=0).shape == (4, 4)


def _layer(name: str, *, multiply_adds: int = 1, num_features: int = 4) -> ProbedLayer:
    return ProbedLayer(
        layer=name,
        pooling="avg",
        num_features=num_features,
        multiply_adds=multiply_adds,
        num_parameters=1,
        accuracy=0.5,
    )


def _score(loss: float) -> cross_validation.Score:
    return cross_validation.Score(accuracy=0.5, losses=np.full(50, loss))


def _select(joint_losses: dict[str, float], max_layers: int = 3) -> list[str]:
    """Select among "a" (loss 0.5), "b" (0.4), and layers too deep or wide to be joined with it."""
    layers = [_layer("a"), _layer("b", multiply_adds=2), _layer("deep", multiply_adds=4)]
    layers.append(_layer("wide", num_features=2048))
    fits = [SimpleNamespace(name=each.layer, standard_error=lambda _: 0.1) for each in layers]

    def measure(groups: list[list[SimpleNamespace]]) -> list[cross_validation.Score]:
        return [_score(joint_losses["+".join(sorted(fit.name for fit in fits))]) for fits in groups]

    scores = [_score(loss) for loss in (0.5, 0.4, 0.9, 0.9)]
    joint, _ = linear_probe._select_joint(layers, scores, fits, max_layers, measure)
    return [each.layer for each in joint]


def test_layers_are_joined_as_long_as_the_loss_falls() -> None:
    assert _select({"a+b": 0.3}) == ["a", "b"]
    assert _select({"a+b": 0.3}, max_layers=1) == ["b"]
    assert _select({"a+b": 0.4}) == ["b"]


def test_only_layers_that_complement_the_best_one_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(linear_probe, "_MAX_TRIED", 1)
    best = np.repeat([0.1, 2.0], 25)  # nats: wrong on the second half of the images
    losses = {"best": best, "alike": best + 0.1, "other": np.repeat([2.2, 0.1], 25)}
    scores = [cross_validation.Score(accuracy=0.5, losses=each) for each in losses.values()]
    layers = [_layer(name) for name in losses]
    tried = []

    def measure(groups: list[list[str]]) -> list[cross_validation.Score]:
        tried.extend(groups)
        return [_score(0.05) for _ in groups]

    fits = [SimpleNamespace(name=name, standard_error=lambda _: 0.1) for name in losses]
    linear_probe._select_joint(layers, scores, fits, 2, measure)
    assert [[each.name for each in group] for group in tried] == [["best", "other"]]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"solver": "lbfgs"}, "`solver` must be 'ridge' if `max_layers` is above 1, got 'lbfgs'"),
        (
            {"validation_data": _stripes(30)},
            "`validation_data` must be None if `max_layers` is above 1",
        ),
    ],
)
def test_combining_layers_needs_ridge_and_no_validation_data(
    settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        tlkit.probe(_model(), _stripes(), max_layers=2, **settings)


def test_a_classifier_is_built_on_the_selected_layer() -> None:
    images, labels = _stripes()
    backbone = tlkit.models.backbone_of(_model())
    model = tlkit.build_classifier(
        backbone, 3, pixels=(0, 1), features=linear_probe.select_features((images, labels))
    )
    assert [layer.name for layer in tlkit.models.backbone_of(model).layers][-1] == "early"
    assert model.get_layer("logits").input.shape == (None, 1024)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"solver": "svm"}, ConfigError, "`solver` must be one of"),
        ({"sample": 3}, ConfigError, "`sample` must be a whole number of at least 10"),
        ({"max_features": 0}, ConfigError, "`max_features`"),
    ],
)
def test_wrong_arguments_are_refused(
    settings: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        tlkit.probe(_model(), _stripes(), **settings)


def test_too_few_images_are_refused() -> None:
    images, labels = _stripes(2)
    with pytest.raises(
        DataError, match="must hold at least 10 images to fit and score 3 classes, got 2"
    ):
        tlkit.probe(_model(), (images, labels))


def _sorted(count: int, classes: int = 3) -> tf.data.Dataset:
    """Return a dataset of stripes, one class after the other."""
    images, labels = _stripes(count)
    labels = labels % classes
    order = np.argsort(labels, kind="stable")
    return tf.data.Dataset.from_tensor_slices((images[order], labels[order])).batch(32)


def test_a_sample_of_a_dataset_sorted_by_class_is_refused() -> None:
    words = (
        "`data` must contain at least 2 of the model's 3 classes, got the first 512 images of a "
        "dataset, all of one class. If the dataset is sorted by class, shuffle it first, or pass"
    )
    with pytest.raises(DataError, match=words):
        tlkit.probe(_model(), _sorted(1800), sample=100)


def test_classes_missing_from_the_sample_give_a_warning() -> None:
    with pytest.warns(UserWarning, match="`data` contains 2 of the model's 3 classes") as caught:
        tlkit.probe(_model(), _sorted(1200), sample=500, max_features=16)
    assert [warning.filename for warning in caught] == [__file__]


def test_a_sorted_dataset_that_is_read_whole_gives_no_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    probe = tlkit.probe(_model(), _sorted(600), sample=600, max_features=16)
    assert probe.num_fitted == 600
    tlkit.probe(
        _model(), _sorted(600, classes=2), sample=600, max_features=16
    )  # the third class has no image
    assert not [each for each in recwarn if "classes" in str(each.message)]


def test_arrays_and_validation_of_one_class_are_refused() -> None:
    images, labels = _stripes(100)
    with pytest.raises(
        DataError, match="`data` must contain .* got 100 images, all of one class.$"
    ):
        tlkit.probe(_model(), (images, 0 * labels))
    with pytest.raises(
        DataError, match="`validation_data` must contain at least 2 .* got 100 images"
    ):
        tlkit.probe(_model(), (images, labels), validation_data=(images, 0 * labels))


def _sequential() -> keras.Sequential:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="early"),
            keras.layers.Conv2D(16, 3, padding="same", name="wide"),
            keras.layers.GlobalAveragePooling2D(name="late"),
        ]
    )


@pytest.mark.slow
def test_a_sequential_backbone_is_probed_as_the_same_functional_one() -> None:
    sequential = _sequential()
    model = tlkit.build_classifier(sequential, 3, pixels=(0, 1))
    nodes = [len(layer._inbound_nodes) for layer in sequential.layers]
    probe, same = (tlkit.probe(each, _stripes()) for each in (model, _model()))
    assert probe.layers == same.layers
    assert nodes == [len(layer._inbound_nodes) for layer in sequential.layers]
    built = tlkit.build_classifier(
        sequential, 3, pixels=(0, 1), features=linear_probe.select_features(_stripes())
    )
    assert tlkit.models.backbone_of(built).layers[-1].name == "early"


def test_the_error_for_a_nested_backbone_names_the_inner_model() -> None:
    inner = _sequential()
    inner.name = "inner"
    backbone = keras.Sequential([keras.Input((16, 16, 3)), inner], name="outer")
    chosen = linear_probe.select_features(_stripes())
    words = "must hold its layers itself, got 'outer', .*get_layer.'inner'"
    with pytest.raises(ConfigError, match=words):
        tlkit.build_classifier(
            backbone, 3, pixels=(0, 1), features=linear_probe.select_features(_stripes())
        )
    built = tlkit.build_classifier(backbone.get_layer("inner"), 3, pixels=(0, 1), features=chosen)
    assert tlkit.models.backbone_of(built).layers[-1].name == "early"


def test_a_backbone_without_a_readable_layer_is_refused() -> None:
    inputs = keras.Input((16, 16, 3))
    flat = keras.layers.Flatten()(keras.layers.AveragePooling2D(8)(inputs))
    backbone = keras.Model(inputs, flat, name="plain")
    with pytest.raises(
        ConfigError, match="must have a layer with weights .* got 'plain' without one"
    ):
        tlkit.probe(tlkit.build_classifier(backbone, 3, pixels=(0, 1)), _stripes())


def test_a_scored_site_keeps_no_logits() -> None:
    random, classes = np.random.default_rng(0), 200
    site = cross_validation.CrossValidation(4, classes, "ridge")
    features = random.random((500, 4), "float32")
    site.add(features, np.arange(500) % classes, np.arange(500) % 5)
    tracemalloc.start()
    site.measure()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 500 * classes * 4 / 10
    several = cross_validation.CrossValidation(4, 3, "ridge")
    several.add(features, random.integers(0, 2, (500, 3)), np.arange(500) % 5)
    several.measure()
    assert several.logits.base is None  # not a part of the logits of all penalties


def test_what_a_head_of_two_layers_reads_is_taken_from_the_probe(tmp_path: Path) -> None:
    cache = tlkit.Cache(folder=tmp_path, engine="keras")
    model = tlkit.build_classifier(
        tlkit.models.backbone_of(_model()), 3, pixels=(0, 1), input_shape=(16, 16, 3)
    )
    data = _stripes(60)
    tlkit.probe(model, data, cache=cache)
    built = tlkit.build_classifier(
        tlkit.models.backbone_of(model),
        3,
        pixels=(0, 1),
        input_shape=(16, 16, 3),
        features=["early", "late"],
        pooling=["flatten", "avg"],
    )
    usages = [Usage(), Usage()]
    caches = [replace(cache, usage=usage) for usage in usages]
    tlkit.train_phase(built, tlkit.SolvedHead(), data, seed=0, cache=caches[0], verbose=False)
    HeadFeatures(built, caches[1]).predict(data[0])
    assert [usage.num_images for usage in usages] == [60, 60]
    assert [usage.num_computed for usage in usages] == [0, 0]


def test_a_bar_is_closed_on_an_error(
    opened_bars: list[SilentBar], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DataError("an image is damaged")

    monkeypatch.setattr(fitted_sites, "_add", fail)
    with pytest.raises(DataError):
        tlkit.probe(_model(), _stripes(64), verbose=True)
    assert [(bar.title, bar.is_closed) for bar in opened_bars] == [("running the backbone", True)]
