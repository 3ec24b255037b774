import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from tlkit.errors import DataError
from tlkit.training import ood_detector


def _features(count: int = 400, size: int = 12, classes: int = 3, seed: int = 0) -> tuple:
    centres = 3 * np.random.default_rng(0).normal(size=(classes, size))
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    scale = np.arange(1, size + 1)
    return ((centres[labels] + random.normal(size=(count, size))) * scale).astype("float32"), labels


def test_distances_are_those_of_scipy_where_all_components_are_used() -> None:
    features, labels = _features()
    found = ood_detector.fit(features, labels)
    others, _ = _features(50, seed=1)
    centres = np.stack([features[labels == label].mean(axis=0) for label in range(3)])
    residuals = features - centres[labels]
    whole = np.linalg.inv(np.cov(features.T, bias=True))
    within = residuals.T @ residuals / (len(labels) - 3) + 0.01 * np.cov(features.T, bias=True)
    mean = cdist(others, features.mean(axis=0)[None], "mahalanobis", VI=whole)[:, 0] ** 2
    classes = np.sort(cdist(others, centres, "mahalanobis", VI=np.linalg.inv(within)) ** 2, axis=1)
    expected = np.stack([classes[:, 0] - mean, mean, classes[:, 0] / classes[:, 1]], axis=1)
    np.testing.assert_allclose(found._measure_each(others), expected, rtol=1e-2, atol=0.05)


def test_most_components_are_left_to_one_variance() -> None:
    features, labels = _features(size=60)
    found = ood_detector.fit(features[:200], labels[:200])
    assert found.projection.shape == (60, 25)
    assert (found.score(_features(300, size=60, seed=1)[0]) > 0.95).mean() < 0.15
    assert (found.score(-features) == 1).mean() > 0.9


def test_the_threshold_keeps_95_percent_of_new_images_and_finds_others() -> None:
    features, labels = _features(1000)
    found = ood_detector.fit(features, labels)
    new, _ = _features(2000, seed=1)
    assert 0.93 < (found.score(new) <= ood_detector.KEPT).mean() < 0.97
    left_out = ood_detector.fit(features[labels > 0], labels[labels > 0])
    scores = left_out.measure(new)
    assert roc_auc_score(np.arange(2000) % 3 == 0, scores) > 0.9


def test_an_image_between_two_classes_is_far_from_both() -> None:
    """Its distance from the mean is less than that of any class."""
    features, labels = _features(900)
    found = ood_detector.fit(features, labels)
    first, second = (features[labels == label] for label in (0, 1))
    between = (first + second) / 2
    distances = found._measure_each(between)[:, 1]
    assert np.median(distances) < np.median(found._measure_each(features)[:, 1])
    assert (found.score(between) > ood_detector.KEPT).mean() > 0.9


def test_it_is_the_same_after_a_change_of_units_and_with_a_constant_feature() -> None:
    features, labels = _features()
    other = np.concatenate([1000 * features + 5, np.full((len(labels), 1), 7.0)], axis=1)
    one, two = ood_detector.fit(features, labels), ood_detector.fit(other, labels)
    np.testing.assert_allclose(one.measure(features), two.measure(other), rtol=0.02, atol=0.02)


def test_arrays_make_the_detector_again() -> None:
    features, labels = _features()
    found = ood_detector.fit(features, labels)
    again = ood_detector.from_arrays(found.to_arrays())
    assert again is not None
    np.testing.assert_array_equal(again.score(features), found.score(features))
    assert ood_detector.from_arrays({}) is None


@pytest.mark.parametrize("count", [20, 21])
def test_few_images_of_classes_of_one_image_have_finite_scores(count: int) -> None:
    features, _ = _features(count)
    found = ood_detector.fit(features, np.arange(count))
    assert np.isfinite(found.measure(features)).all()


def test_too_few_images_are_refused() -> None:
    with pytest.raises(DataError, match="at least 20 images to tell which images are unlike"):
        ood_detector.fit(*_features(19))


@pytest.mark.parametrize(("count", "expected"), [(5, 5), (50, 10)])
def test_images_are_drawn_if_there_are_too_many(
    count: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ood_detector, "MAX_IMAGES", 10)
    rows = ood_detector.draw_images(count, np.random.default_rng(3))
    assert len(np.unique(rows)) == expected
    assert (np.diff(rows) > 0).all()
    assert rows.max() < count
