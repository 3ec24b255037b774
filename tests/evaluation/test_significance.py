import math

import numpy as np
import pytest
from scipy.stats import binom

from tlkit.errors import DataError
from tlkit.evaluation.metrics import Evaluation, compute_metrics
from tlkit.evaluation.significance import compare_correct, mcnemar


def _evaluation(predicted: list[int], labels: list[int]) -> Evaluation:
    return compute_metrics(np.array(labels), np.eye(3)[predicted] * 0.7 + 0.1, class_names="abc")


def test_only_images_that_one_classifier_alone_gets_right_count() -> None:
    labels = [0] * 20
    first = _evaluation([0] * 12 + [1] * 8, labels)
    second = _evaluation([0] * 4 + [1] * 8 + [0] * 1 + [2] * 7, labels)
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (8, 1)
    assert found.p_value == pytest.approx(2 * binom.cdf(1, 9, 0.5))
    assert found.accuracies == (0.6, 0.25)
    assert "8 images correct by the first alone, 1 by the second alone, p = 0.039" in str(found)
    assert mcnemar(first, first).p_value == 1.0


def test_evaluations_of_different_images_are_refused() -> None:
    with pytest.raises(DataError, match="got 2 and 2 images with different labels"):
        mcnemar(_evaluation([0, 1], [0, 1]), _evaluation([0, 1], [1, 1]))


def test_the_interval_of_a_difference_is_the_adjusted_wald_interval() -> None:
    # 8 images correct by the first alone, 1 by the second alone, of 20: (2 - 9) / 22 +- 1.96 * s
    first = np.arange(20) < 8
    second = np.arange(20) == 10
    found = compare_correct(first, second)
    share_first, share_second = 9 / 22, 2 / 22
    spread = math.sqrt((share_first + share_second - (share_second - share_first) ** 2) / 22)
    assert found.difference.mean == pytest.approx(-7 / 20)
    assert found.difference.interval == pytest.approx(1.96 * spread)
    assert found.count == 20


def test_the_interval_of_a_difference_covers_the_true_one_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        draw = random.random(150)
        found = compare_correct(draw < 0.85, (draw < 0.8) | (draw > 0.92)).difference
        covered += abs(found.mean - 0.03) <= found.interval
    assert 0.93 <= covered / 1000 <= 0.975


def test_what_is_correct_must_be_of_the_same_images() -> None:
    with pytest.raises(DataError, match=r"got shapes \(3,\) and \(2,\)"):
        compare_correct(np.ones(3, bool), np.ones(2, bool))
    with pytest.raises(DataError, match="got shapes"):
        compare_correct(np.ones(0, bool), np.ones(0, bool))
