from pathlib import Path

import keras
import numpy as np
import pytest
from tests.samples import make_stripes, small_classifier

from tlkit import Cache, sources
from tlkit.caching.usage import Usage
from tlkit.data.folds import assign_folds
from tlkit.data.image_dataset import ImageDataset
from tlkit.errors import ConfigError
from tlkit.evaluation import Estimate, cross_validate
from tlkit.evaluation.evaluator import predict
from tlkit.training import SolvedHead, train_phase

NAMES = ("0", "1", "2")


@pytest.fixture
def stripes() -> ImageDataset:
    images, labels = make_stripes(45, contrast=60)
    return sources.from_arrays(images, labels, class_names=NAMES)


@pytest.mark.parametrize("solver", ["lbfgs", "ridge"])
def test_a_fold_is_predicted_as_by_a_classifier_trained_without_it(
    small_backbone: keras.Model, stripes: ImageDataset, solver: str
) -> None:
    model = small_classifier(small_backbone, class_names=NAMES)
    before = [weight.copy() for weight in model.get_weights()]
    found = cross_validate(model, stripes, folds=3, solver=solver, seed=2)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    fold_of = assign_folds(stripes, folds=3, seed=2)
    np.testing.assert_array_equal(found.fold_of, fold_of)
    np.testing.assert_array_equal(found.pooled.labels, stripes.labels)
    other = small_classifier(small_backbone, class_names=NAMES)
    fitted, held_out = (stripes.take(np.flatnonzero(each)) for each in (fold_of != 1, fold_of == 1))
    train_phase(other, SolvedHead(solver=solver), fitted, seed=2, verbose=False)
    np.testing.assert_allclose(
        found.pooled.probabilities[fold_of == 1], predict(other, held_out), rtol=1e-3, atol=1e-5
    )


def test_the_results_are_pooled_and_averaged(
    small_backbone: keras.Model, stripes: ImageDataset
) -> None:
    model = small_classifier(small_backbone, class_names=NAMES)
    found = cross_validate(model, stripes, folds=4)
    correct = found.pooled.probabilities.argmax(axis=1) == stripes.labels
    assert found.pooled.accuracy == correct.mean()
    shares = [correct[found.fold_of == fold].mean() for fold in range(4)]
    assert found.accuracies == pytest.approx(shares)
    assert found.accuracy == Estimate.from_values(found.accuracies)
    assert str(found).startswith(f"4 folds: accuracy {100 * np.mean(shares):.2f} ± ")
    assert found.to_dict()["count"] == 4
    with pytest.raises(ConfigError, match="`data` must be an ImageDataset, such as"):
        cross_validate(model, (stripes.images, stripes.labels))
    with pytest.raises(ConfigError, match="`solver` must be one of"):
        cross_validate(model, stripes, solver="sgd")


def test_other_folds_of_the_same_images_run_none_of_them(
    small_backbone: keras.Model, stripes: ImageDataset, tmp_path: Path
) -> None:
    model = small_classifier(small_backbone, class_names=NAMES)
    plain = cross_validate(model, stripes, folds=5, seed=3)
    for folds, seed, computed in ((3, 0, len(stripes)), (5, 3, 0)):
        usage = Usage()
        cache = Cache(folder=tmp_path / "features", usage=usage)
        found = cross_validate(model, stripes, folds=folds, seed=seed, cache=cache)
        assert (usage.num_images, usage.num_computed) == (len(stripes), computed)
    np.testing.assert_allclose(
        found.pooled.probabilities, plain.pooled.probabilities, rtol=1e-4, atol=1e-6
    )
