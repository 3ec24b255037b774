import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils.class_weight import compute_class_weight
from tests.samples import make_stripes, small_classifier

import tlkit
from tlkit import Phase, SolvedHead, train_phase
from tlkit.errors import ConfigError
from tlkit.training import class_weights, linear, solvers

COUNTS = (150, 40, 10)


def _unequal_blobs(size: int = 5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), COUNTS)
    features = random.normal(size=(3, size))[labels] + random.normal(size=(len(labels), size))
    order = random.permutation(len(labels))
    return features[order].astype("float32"), labels[order]


def _unequal_stripes() -> tuple[np.ndarray, np.ndarray]:
    images, labels = make_stripes(900, contrast=10)
    kept = np.concatenate([np.flatnonzero(labels == at)[:count] for at, count in enumerate(COUNTS)])
    return images[kept], labels[kept]


def _standardize(features: np.ndarray) -> np.ndarray:
    return (features - features.mean(axis=0)) / features.std(axis=0)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    _, labels = _unequal_blobs()
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(class_weights.balance(np.bincount(labels)), expected)


def test_a_class_without_images_does_not_change_the_weights_of_the_others() -> None:
    assert class_weights.balance([90, 0, 10]) == (100 / 180, 1.0, 5.0)


def test_lbfgs_balances_classes_as_scikit_learn_does() -> None:
    features, labels = _unequal_blobs()
    weights = np.array(class_weights.balance(np.bincount(labels)))[labels]
    found = solvers.lbfgs(features, labels, classes=3, penalty=0.01, weights=weights)
    model = LogisticRegression(C=1 / (0.01 * len(labels)), class_weight="balanced", tol=1e-8)
    expected = model.fit(_standardize(features), labels).predict_proba(_standardize(features))
    logits = found.logits(features)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, expected, atol=0.01)
    unweighted = solvers.lbfgs(features, labels, classes=3, penalty=0.01).logits(features)
    assert (unweighted.argmax(axis=1) == 2).sum() < (logits.argmax(axis=1) == 2).sum()


def test_moments_solve_weighted_ridge_regression_as_scikit_learn_does() -> None:
    features, labels = _unequal_blobs()
    weights = np.array(class_weights.balance(np.bincount(labels)))[labels]
    moments = linear.Moments(5, 3)
    for part in (slice(70), slice(70, None)):
        moments.add(features[part], labels[part], weights[part])
    [found] = moments.solve([0.1])
    mean = np.average(features, axis=0, weights=weights)
    standard = (features - mean) / np.sqrt(
        np.average((features - mean) ** 2, axis=0, weights=weights)
    )
    ridge = Ridge(alpha=0.1 * weights.sum())
    expected = ridge.fit(standard, np.eye(3)[labels], sample_weight=weights).predict(standard)
    np.testing.assert_allclose(found.logits(features), expected, atol=2e-4)


def test_classes_of_a_dataset_and_of_one_hot_labels_are_counted() -> None:
    _, labels = _unequal_stripes()
    batches = [(np.zeros((50, 9, 9)), labels[at : at + 50]) for at in range(0, 200, 50)]
    for data in (batches, (None, labels), (None, tlkit.data.one_hot(labels, 3))):
        assert class_weights.count_classes(data, 3).tolist() == list(COUNTS)


@pytest.mark.parametrize("solver", ["lbfgs", "ridge"])
def test_a_solved_head_with_balanced_classes_finds_more_of_the_rare_ones(
    small_backbone: keras.Model, solver: str
) -> None:
    test = make_stripes(200, contrast=10, seed=1)
    plain, balanced = (
        _train(small_backbone, SolvedHead(solver=solver, class_weight=given), test)
        for given in (None, "balanced")
    )
    assert balanced.balanced_accuracy > plain.balanced_accuracy + 0.02
    assert balanced.classes[2].recall > plain.classes[2].recall


def test_balanced_is_the_same_as_its_weights_in_numbers(small_backbone: keras.Model) -> None:
    data = make_stripes(50, contrast=10, seed=1)
    one, other = (
        _train(small_backbone, Phase(class_weight=given), data).probabilities
        for given in ("balanced", class_weights.balance(COUNTS))
    )
    np.testing.assert_array_equal(one, other)


def _train(
    backbone: keras.Model, phase: Phase | SolvedHead, test: tuple[np.ndarray, np.ndarray]
) -> tlkit.evaluation.Evaluation:
    model = small_classifier(backbone, pooling="flatten")
    train_phase(model, phase, _unequal_stripes(), seed=0, verbose=False)
    return tlkit.evaluate(model, test)


def test_a_learning_rate_is_found_with_balanced_classes(small_backbone: keras.Model) -> None:
    model, data = small_classifier(small_backbone), _unequal_stripes()
    search = tlkit.training.find_learning_rate
    losses = [
        search(model, Phase(class_weight=given), data, steps=3, seed=0).losses
        for given in ("balanced", class_weights.balance(COUNTS))
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1.0], "must have a weight for each of the 3 classes, got 1"),
        ({3: 1.0}, "must have class indices from 0 to 2, got 3"),
        ({0: 0.0, 1: 0.0, 2: 0.0}, "must be above 0 for some class that has training images"),
    ],
)
def test_class_weights_of_a_solved_head_must_fit(
    small_backbone: keras.Model, given: object, message: str
) -> None:
    model = small_classifier(small_backbone)
    with pytest.raises(ConfigError, match=message):
        train_phase(model, SolvedHead(class_weight=given), _unequal_stripes(), verbose=False)
