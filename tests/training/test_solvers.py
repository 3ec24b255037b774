from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_info, threadpool_limits

from tlkit.training import linear, logistic_regression, samples, solvers


def _blobs(count: int = 300, size: int = 6, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, count)
    centres = random.normal(size=(classes, size))
    features = centres[labels] + random.normal(size=(count, size))
    return (features * np.arange(1, size + 1) + 7).astype("float32"), labels


@pytest.mark.parametrize("multi_label", [False, True])
def test_few_images_are_solved_for_as_many_are(multi_label: bool) -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(20, 50)).astype("float32")
    features[:, 7] = 1  # constant
    labels = np.arange(20) % 3
    rows = random.integers(0, 2, (20, 3)) if multi_label else labels
    moments = linear.Moments(50, 3)
    moments.add(features.astype("float64"), rows)
    for few, many in zip(linear.solve_dual(features, rows, 3), moments.solve(), strict=True):
        np.testing.assert_allclose(few.kernel, many.kernel, atol=1e-5)
        np.testing.assert_allclose(few.bias, many.bias, atol=1e-5)
        assert few.penalty == many.penalty


def test_moments_solve_ridge_regression_as_scikit_learn_does() -> None:
    features, labels = _blobs()
    moments = linear.Moments(6, 3)
    for start in range(0, 300, 70):
        moments.add(features[start : start + 70], labels[start : start + 70])
    [found] = moments.solve([0.1])
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    expected = Ridge(alpha=0.1 * 300).fit(standard, np.eye(3)[labels]).predict(standard)
    np.testing.assert_allclose(found.logits(features), expected, atol=2e-4)


@pytest.mark.parametrize("weighted", [False, True])
def test_sums_by_class_are_those_of_a_matrix_product(
    weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, labels = _blobs()
    labels[labels == 1] = 5  # some classes have no images
    weights = np.linspace(0.5, 1.5, 300) if weighted else None
    products = linear.Moments(6, 7)
    products.add(features, labels, weights)
    monkeypatch.setattr(linear, "_MAX_PRODUCT", 6)
    by_class = linear.Moments(6, 7)
    by_class.add(features, labels, weights)
    for one, other in zip(products.arrays(), by_class.arrays(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_ridge_with_many_classes_chooses_the_penalty_on_fewer_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features, labels = _blobs(3000, classes=20)
    whole = solvers.ridge(features, labels, classes=20, seed=0)
    seen: list[int] = []
    solve = solvers.solve_ridge

    def count(moments: Any, held_out: Any, total: int) -> linear.Linear:
        seen.append(sum(len(rows) for _, rows, _ in held_out))
        return solve(moments, held_out, total)

    monkeypatch.setattr(solvers, "solve_ridge", count)
    monkeypatch.setattr(solvers, "_MAX_LOGITS", 4000)
    monkeypatch.setattr(solvers, "_MIN_CHOICE", 50)
    fewer = solvers.ridge(features, labels, classes=20, seed=0)
    assert seen == [200]  # of 300 that are held out
    assert fewer.accuracy(features, labels) == pytest.approx(
        whole.accuracy(features, labels), abs=0.03
    )


def _scales(features: np.ndarray) -> np.ndarray:
    return linear.shrink_deviations(features.std(axis=0), len(features))


def test_lbfgs_solves_logistic_regression_as_scikit_learn_does() -> None:
    features, labels = _blobs()
    found = solvers.lbfgs(features, labels, classes=3, penalty=0.01)
    standard = (features - features.mean(axis=0)) / _scales(features)
    model = LogisticRegression(C=1 / (0.01 * 300), tol=1e-8).fit(standard, labels)
    logits = found.logits(features)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, model.predict_proba(standard), atol=0.01)


@pytest.mark.parametrize("classes", [2, 3])
def test_lbfgs_minimises_the_mean_loss_and_half_the_penalty_times_the_squared_weights(
    classes: int,
) -> None:
    features, labels = _blobs(classes=classes)
    standard = (features - features.mean(axis=0)) / _scales(features)

    def objective(values: np.ndarray) -> float:
        weights = values.reshape(7, classes)
        loss = linear.cross_entropy(standard @ weights[:-1] + weights[-1], labels)
        return loss + 0.05 * float((weights[:-1] ** 2).sum())

    best = minimize(objective, np.zeros(7 * classes)).x.reshape(7, classes)
    found = solvers.lbfgs(features, labels, classes=classes, penalty=0.1)
    np.testing.assert_allclose(found.kernel * _scales(features)[:, None], best[:-1], atol=0.01)


@pytest.mark.parametrize("solver", get_args(solvers.Solver))
def test_a_solver_beats_chance_with_a_constant_feature_and_a_class_without_images(
    solver: str,
) -> None:
    features, labels = _blobs()
    features[:, 2] = 5.0
    found = getattr(solvers, solver)(features, labels, classes=4, seed=0)
    assert found.accuracy(features, labels) > 0.75
    assert found.loss(features, labels) < 0.7
    assert (found.logits(features).argmax(axis=1) < 3).all()
    assert not found.kernel[2].any()


@pytest.mark.parametrize("solver", get_args(solvers.Solver))
def test_probabilities_are_calibrated(solver: str) -> None:
    features, labels = _blobs(4000)
    found = getattr(solvers, solver)(features[:3000], labels[:3000], classes=3, seed=0)
    logits = found.logits(features[3000:])
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    accuracy = found.accuracy(features[3000:], labels[3000:])
    assert abs(shares.max(axis=1).mean() - accuracy) < 0.05


@given(count=st.integers(2, 40), size=st.integers(1, 5), classes=st.integers(2, 4))
@settings(max_examples=30, deadline=None)
def test_a_few_images_give_finite_weights(count: int, size: int, classes: int) -> None:
    random = np.random.default_rng(count)
    features = random.normal(size=(count, size)).astype("float32")
    labels = random.integers(0, classes, count)
    for solver in (solvers.ridge, solvers.lbfgs):
        found = solver(features, labels, classes=classes, seed=0)
        assert np.isfinite(found.kernel).all()
        assert np.isfinite(found.bias).all()
        assert found.kernel.shape == (size, classes)


def test_the_seed_chooses_the_images_held_out() -> None:
    features, labels = _blobs()
    one, same = (solvers.ridge(features, labels, classes=3, seed=1) for _ in range(2))
    np.testing.assert_array_equal(one.kernel, same.kernel)


@pytest.mark.parametrize("solver", get_args(solvers.Solver))
def test_few_images_give_no_overconfident_probabilities(solver: str) -> None:
    """A tenth of 40 images is 4, which are often all classified correctly."""
    random = np.random.default_rng(3)
    losses = []
    for seed in range(8):
        centres = random.normal(size=(3, 60))
        labels = random.integers(0, 3, 1040)
        features = (centres[labels] + 2.5 * random.normal(size=(1040, 60))).astype("float32")
        few, rest = slice(0, 40), slice(40, None)
        found = getattr(solvers, solver)(features[few], labels[few], classes=3, seed=seed)
        losses.append(found.loss(features[rest], labels[rest]))
    assert max(losses) < np.log(3)  # no worse than equal probabilities


def test_each_image_of_a_small_set_is_held_out_once() -> None:
    for count in (2, 7, 1999):
        parts = samples._split(count, 0)
        assert sorted(np.concatenate([part for _, part in parts])) == list(range(count))
        assert all(len(fitted) + len(part) == count for fitted, part in parts)
        assert all(not set(fitted) & set(part) for fitted, part in parts)
    [(fitted, part)] = samples._split(2000, 0)
    assert (len(fitted), len(part)) == (1800, 200)


def test_few_images_do_not_blow_up_a_feature_that_hardly_varies() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(300) % 3
    useful = 3 * np.eye(3)[labels] + random.normal(size=(300, 3))
    idle = 0.01 * random.normal(size=(300, 400))  # noise, which a division by its deviation raises
    features = np.concatenate([useful, idle], axis=1).astype("float32")
    few = solvers.lbfgs(features[:6], labels[:6], classes=3)
    assert few.penalty == 1e-2
    assert few.accuracy(features[6:], labels[6:]) > 0.85


def test_deviations_of_many_images_are_hardly_shrunk() -> None:
    deviations = np.array([0.0, 1.0, 3.0])
    few = linear.shrink_deviations(deviations, 5)
    many = linear.shrink_deviations(deviations, 100_000)
    assert few[0] == many[0] == np.inf  # a constant feature is ignored
    assert many[1:] == pytest.approx([1, 3], rel=3e-3)
    assert few[2] / few[1] < 1.2
    variances = deviations**2
    assert few[1] ** 2 == pytest.approx((5 * 1 + 100 * variances.mean()) / 105)


def test_a_penalty_is_chosen_from_ten_images_a_class_on() -> None:
    assert logistic_regression.find_fixed_penalty(29, 3) == 1e-2
    assert logistic_regression.find_fixed_penalty(30, 3) is None


@pytest.mark.parametrize(("limit", "expected"), [(2**28, {1}), (0, {2})])
def test_small_products_are_computed_by_one_thread(
    monkeypatch: pytest.MonkeyPatch, limit: int, expected: set[int]
) -> None:
    threads = set()

    def measure(*arguments: Any) -> Any:
        found = [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]
        threads.add(max(found))
        return solvers_measure(*arguments)

    solvers_measure = logistic_regression.measure_errors
    monkeypatch.setattr(logistic_regression, "measure_errors", measure)
    monkeypatch.setattr(logistic_regression, "_MAX_BY_ONE", limit)
    random = np.random.default_rng(0)
    features, labels = random.normal(size=(100, 8)).astype("float32"), np.arange(100) % 2
    with threadpool_limits(limits=2, user_api="blas"):
        solvers.lbfgs(features, labels, classes=2, penalty=0.1)
    assert threads == expected
