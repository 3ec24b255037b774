import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from tests.samples import SilentBar

import tlkit
from tlkit import sources
from tlkit.data import batches
from tlkit.data.lazy_images import LazyImages
from tlkit.errors import ConfigError, DataError, MissingExtraError
from tlkit.evaluation import label_audit
from tlkit.training import linear, solvers

NAMES = ["never seen", "red", "green", "blue"]
FLIPPED = {7: 1, 22: 3, 40: 2}  # index: its true class
OUTLIER = 50


class _Scaler(TransformerMixin, BaseEstimator):
    """Divides features by the deviations of so many images, as the solver does."""

    def fit(self, features: np.ndarray, labels: np.ndarray) -> "_Scaler":
        self.mean_ = features.mean(axis=0)
        self.scale_ = linear.shrink_deviations(features.std(axis=0), len(features))
        return self

    def transform(self, features: np.ndarray) -> np.ndarray:
        return (features - self.mean_) / self.scale_


@pytest.fixture
def cleanlab() -> None:
    pytest.importorskip("cleanlab")


@pytest.fixture
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    backbone = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(12, 3, activation="relu")]
    )
    return tlkit.build_classifier(backbone, 4, pixels=(0, 1), class_names=NAMES)


def _coloured(*, apart: int = 150) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return 90 noisy images of three colours, their labels with three wrong, and the true ones."""
    random = np.random.default_rng(0)
    truth = np.arange(90) % 3 + 1
    truth[list(FLIPPED)] = list(FLIPPED.values())
    images = random.integers(0, 60, (90, 8, 8, 3))
    images[np.arange(90), :, :, truth - 1] += apart
    images[OUTLIER] = random.integers(0, 2, (8, 8, 3)) * 255  # coarse noise of every colour
    labels = truth.copy()
    for index, true in FLIPPED.items():
        labels[index] = true % 3 + 1
    return images.astype("uint8"), labels, truth


@pytest.mark.usefixtures("cleanlab")
def test_flipped_labels_are_found_and_the_true_ones_suggested(model: keras.Model) -> None:
    images, labels, truth = _coloured()
    paths = [f"{index}.png" for index in range(90)]
    found = label_audit.audit(model, (images, labels), paths=paths)
    suspects = {each.index: each for each in found.suspects}
    assert set(FLIPPED) <= set(suspects) <= {*FLIPPED, OUTLIER}
    for index in FLIPPED:
        assert suspects[index].label == NAMES[labels[index]]
        assert suspects[index].suggested_label == NAMES[truth[index]]
        assert suspects[index].path == f"{index}.png"
        assert suspects[index].score == found.scores[index]


@pytest.mark.usefixtures("cleanlab")
def test_the_most_suspicious_come_first(model: keras.Model) -> None:
    images, labels, _ = _coloured(apart=20)
    ascending = []
    for pair in ((images, labels), (images[::-1], labels[::-1])):
        found = label_audit.audit(model, pair).suspects
        scores = [each.score for each in found]
        assert len(scores) > 1
        assert scores == sorted(scores)
        indices = [each.index for each in found]
        ascending.append(indices == sorted(indices))
    assert not all(ascending)  # it is not the order of the images


@pytest.mark.usefixtures("cleanlab")
def test_an_image_unlike_all_others_is_the_furthest_outlier(model: keras.Model) -> None:
    images, labels, _ = _coloured()
    found = label_audit.audit(model, (images, labels))
    assert found.outliers[0].index == OUTLIER
    assert found.outliers[0].path is None
    nearness = [each.score for each in found.outliers]
    assert nearness == sorted(nearness)
    assert len(found.outliers) < 10
    assert "nearness: how close the most similar other images are, from 0 to 1" in str(found)


@pytest.mark.usefixtures("cleanlab")
def test_duplicates_in_an_image_dataset_do_not_vouch_for_each_other() -> None:
    """Each image is held twice with the same label, and a head of many features learns labels."""
    random = np.random.default_rng(0)
    truth = np.arange(90) % 3
    images = random.integers(0, 200, (90, 8, 8, 3))
    images[np.arange(90), :, :, truth] += 40
    wrong = random.choice(90, 12, replace=False)
    labels = truth.copy()
    labels[wrong] = (labels[wrong] + 1) % 3
    data = sources.from_arrays(
        np.concatenate([images.astype("uint8")] * 2),
        np.concatenate([labels] * 2),
        class_names="abc",
    )
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    backbone = keras.Model(inputs, keras.layers.Conv2D(6, 3, activation="relu")(inputs))
    model = tlkit.build_classifier(
        backbone, 3, pixels=(0, 1), pooling="flatten", class_names=["a", "b", "c"]
    )
    found = [
        {each.index % 90 for each in label_audit.audit(model, data, **settings).suspects}
        for settings in ({"groups": ()}, {})
    ]
    alone, grouped = (len(indices & set(wrong.tolist())) for indices in found)
    assert alone < 4
    assert grouped > 9


@pytest.mark.usefixtures("cleanlab")
def test_a_shuffling_dataset_is_refused(model: keras.Model) -> None:
    images, labels, _ = _coloured()
    shuffled = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(90).batch(9)
    with pytest.raises(DataError, match="`data` must have a fixed order"):
        label_audit.audit(model, shuffled)


@pytest.mark.usefixtures("cleanlab")
def test_each_image_is_judged_by_a_head_not_fitted_to_it(model: keras.Model) -> None:
    """Scikit-learn's cross-validated logistic regression gives the same probabilities."""
    images, labels, _ = _coloured(apart=3)  # so hard that the penalty is high and the minimum clear
    found = label_audit.audit(model, (images, labels), num_folds=3, seed=5)
    features = keras.Model(model.inputs, model.get_layer("logits").input).predict(images, verbose=0)
    penalty = solvers.lbfgs(features, labels - 1, classes=3, seed=5).penalty
    strength = 1 / (penalty * 60)  # two thirds of the images; scikit-learn sums the losses
    reference = cross_val_predict(
        make_pipeline(_Scaler(), LogisticRegression(C=strength, max_iter=2000)),
        features,
        labels,
        cv=StratifiedKFold(3, shuffle=True, random_state=5),
        method="predict_proba",
    )
    # both stop early, each by its own rule; heads that saw the image would be off by more
    others = np.arange(90) != OUTLIER  # far from all others, where small differences count most
    expected = reference[np.arange(90), labels - 1]
    np.testing.assert_allclose(found.scores[others], expected[others], atol=0.01)


@pytest.mark.usefixtures("cleanlab")
def test_lazy_images_and_datasets_are_read_a_batch_at_a_time(model: keras.Model) -> None:
    images, labels, _ = _coloured()
    whole = label_audit.audit(model, (images, labels))
    read: list[list[int]] = []

    class Recorded(LazyImages):
        def __getitem__(self, index: object) -> np.ndarray:
            read.append(np.atleast_1d(np.arange(90)[index]).tolist())
            return super().__getitem__(index)

    lazy = Recorded(lambda index: images[index], range(90), shape=(8, 8, 3))
    found = label_audit.audit(model, (lazy, batches.one_hot(labels, 4)), batch_size=32)
    assert [each.index for each in found.suspects] == [each.index for each in whole.suspects]
    np.testing.assert_allclose(found.scores, whole.scores, atol=1e-3)  # batches round differently
    assert read[-3:] == [list(range(start, min(start + 32, 90))) for start in (0, 32, 64)]
    assert max(map(len, read)) == 32
    tlkit.plotting.audit_grid(found, (lazy, labels), count=2)
    assert read[-2:] == [[each.index] for each in found.suspects[:2]]


@pytest.mark.usefixtures("cleanlab")
def test_the_model_is_unchanged_and_the_seed_decides_the_folds(model: keras.Model) -> None:
    images, labels, _ = _coloured()
    before = [weight.copy() for weight in model.get_weights()]
    one, again, other = (
        label_audit.audit(model, (images, labels), seed=seed) for seed in (1, 1, 2)
    )
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    np.testing.assert_array_equal(one.scores, again.scores)
    assert not np.array_equal(one.scores, other.scores)


@pytest.mark.usefixtures("cleanlab")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.r_[np.full(88, 2), 1, 1]}, r"at least 5 images of each class.*'red' \(2\)"),
        ({"labels": np.full(90, 1)}, "at least 2 classes, got only one"),
        ({"paths": ["a.png"]}, "`paths` must have one entry for each of the 90 images, got 1"),
    ],
)
def test_unsuitable_data_are_refused(
    model: keras.Model, change: dict[str, object], message: str
) -> None:
    images, labels, _ = _coloured()
    with pytest.raises(DataError, match=message):
        label_audit.audit(
            model, (images, change.get("labels", labels)), paths=change.get("paths", ())
        )


@pytest.mark.usefixtures("cleanlab")
def test_duplicates_in_one_group_do_not_vouch_for_each_other(model: keras.Model) -> None:
    """Nine duplicates of one image, all with the same wrong label."""
    images, labels, truth = _coloured()
    copies = np.flatnonzero(truth == 1)[-9:]
    images[copies], labels[copies] = images[copies[0]], 3
    groups = [str(index) for index in range(90)]
    for copy in copies:
        groups[copy] = "copies"
    alone = label_audit.audit(model, (images, labels))
    together = label_audit.audit(model, (images, labels), groups=groups)
    assert together.scores[copies].max() < 0.2
    assert alone.scores[copies].min() > together.scores[copies].max() + 0.1


@pytest.mark.usefixtures("cleanlab")
def test_a_class_in_a_single_group_is_refused(model: keras.Model) -> None:
    images, labels, _ = _coloured()
    groups = ["one" if label == 3 else str(index) for index, label in enumerate(labels)]
    with pytest.raises(DataError, match="`groups` must leave images of every class"):
        label_audit.audit(model, (images, labels), groups=groups)
    with pytest.raises(
        DataError, match="`groups` must have one entry for each of the 90 images, got 2"
    ):
        label_audit.audit(model, (images, labels), groups=["a", "b"])


def test_one_fold_is_refused(model: keras.Model) -> None:
    with pytest.raises(
        ConfigError, match="`num_folds` must be a whole number of at least 2, got 1"
    ):
        label_audit.audit(model, _coloured()[:2], num_folds=1)


def test_without_cleanlab_the_error_says_how_to_install_it(
    model: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cleanlab", "cleanlab.rank"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tlkit\[audit\]'"):
        label_audit.audit(model, _coloured()[:2])


def _make_audit(count: int, path: str | None) -> label_audit.Audit:
    suspects = tuple(
        label_audit.Suspect(
            index=index, path=path, label="a", suggested_label="b", score=index / 100
        )
        for index in range(count)
    )
    outliers = (label_audit.Outlier(index=3, path=path, score=0.25),)
    return label_audit.Audit(
        suspects=suspects, outliers=outliers, scores=np.linspace(0, 1, 40), num_folds=5
    )


def test_an_audit_prints_as_short_tables() -> None:
    lines = str(_make_audit(12, None)).splitlines()
    assert lines[0] == "40 images: 12 with a suspicious label, 1 unlike the others"
    assert lines[1] == "label  suggested  probability of label  image"
    assert lines[2] == "a      b                         0.000  image 0"
    assert lines[12] == "and 2 more suspicious labels"
    assert len(lines) == 1 + 1 + 10 + 1 + 1 + 1 + 1
    assert lines[-2] == "   0.250  image 3"
    assert lines[-1] == "nearness: how close the most similar other images are, from 0 to 1"


def test_a_bar_is_closed_on_an_error(
    opened_bars: list[SilentBar], monkeypatch: pytest.MonkeyPatch
) -> None:
    solve, num_solved = solvers.lbfgs, 0

    def solve_two(*given: Any, **how: Any) -> linear.Linear:
        nonlocal num_solved
        num_solved += 1
        if num_solved > 2:  # the first chooses the penalty
            raise DataError("features are not finite")
        return solve(*given, **how)

    monkeypatch.setattr(solvers, "lbfgs", solve_two)
    features = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
    how: dict[str, Any] = {"num_folds": 3, "seed": 0, "verbose": True}
    with pytest.raises(DataError, match="not finite"):
        label_audit._out_of_fold(features, np.arange(60) % 2, [], **how)
    assert [(bar.title, bar.is_closed) for bar in opened_bars] == [("judging labels", True)]
