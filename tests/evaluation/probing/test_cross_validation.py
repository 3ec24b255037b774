import numpy as np
import pytest
from scipy.special import logsumexp

from tlkit.evaluation.probing import cross_validation
from tlkit.evaluation.probing.cross_validation import NUM_FOLDS, CrossValidation, _best_penalties
from tlkit.training import solvers
from tlkit.training.linear import PENALTIES, Moments


def _data(count: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    centres = random.normal(size=(3, size)) * 0.3
    features = (centres[labels] + random.normal(size=(count, size))).astype("float32")
    return features, labels, random.integers(0, NUM_FOLDS, count)


def _accuracy(features: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> float:
    """Solve each fold and penalty by itself, from all other images."""
    logits = np.empty((len(PENALTIES), len(labels), 3), "float32")
    for fold in range(NUM_FOLDS):
        moments = Moments(features.shape[1], 3)
        moments.add(features[folds != fold], labels[folds != fold])
        held_out = folds == fold
        logits[:, held_out] = [each.logits(features[held_out]) for each in moments.solve()]
    return max(solvers.score(labels, each) for each in logits)


@pytest.mark.parametrize(("count", "size"), [(400, 12), (60, 300)])
@pytest.mark.parametrize("max_kept", [5000, 40])
def test_the_accuracy_is_that_of_each_fold_and_penalty_solved_by_itself(
    monkeypatch: pytest.MonkeyPatch, count: int, size: int, max_kept: int
) -> None:
    features, labels, folds = _data(count, size)
    monkeypatch.setattr(cross_validation, "MAX_SCORED", max_kept)
    site = CrossValidation(size, 3, "ridge")
    for start in range(0, count, 25):  # the last pieces come when no more are kept
        piece = slice(start, start + 25)
        site.add(features[piece], labels[piece], folds[piece])
    if max_kept >= count:
        assert site.measure().accuracy == pytest.approx(
            _accuracy(features, labels, folds), abs=1e-9
        )
    else:
        assert site.counts == (count, max_kept)
        assert (
            site.measure().accuracy > 0.4
        )  # fitted to all images, and scored on those that were kept


def test_a_penalty_is_left_out_that_is_behind_by_more_than_chance() -> None:
    labels = np.zeros(100, int)
    logits = np.zeros((3, 100, 2))
    logits[0, :, 0] = logits[1, 5:, 0] = logits[2, 30:, 0] = 1  # 100, 95 and 70 correct
    logits[1, :5, 1] = logits[2, :30, 1] = 1
    assert _best_penalties(logits, labels, quick=False).tolist() == [0, 1]
    assert _best_penalties(logits, labels, quick=True).tolist() == [0]


def test_sites_are_scored_on_all_cores_in_their_order() -> None:
    assert cross_validation.map_sites(lambda value: value + 1, [3, 1, 2]) == [4, 2, 3]


def test_the_loss_is_that_of_the_best_temperature() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 400)
    logits = random.normal(size=(400, 3)) + 2 * np.eye(3)[labels]
    at_best = cross_validation.calibrated_losses(logits, labels)
    assert cross_validation.calibrated_losses(9 * logits, labels) == pytest.approx(
        at_best, rel=1e-3
    )
    for scale in (0.5, 0.8, 1.25, 2):
        scaled = scale * logits
        losses = logsumexp(scaled, axis=1) - scaled[np.arange(400), labels]
        assert at_best.mean() < losses.mean() + 1e-4


def test_a_score_improves_by_more_than_the_standard_error_of_the_difference() -> None:
    def score(losses: np.ndarray) -> cross_validation.Score:
        return cross_validation.Score(accuracy=0.5, losses=losses)

    before = np.random.default_rng(0).random(100)
    better = score(before - 0.01)  # by the same for each image: the difference has no error
    noisy = score(before - 0.01 + np.tile([0.2, -0.2], 50))
    assert better.improves(score(before))
    assert not noisy.improves(score(before))
    assert not score(before).improves(score(before))
    assert not score(np.empty(0)).improves(score(np.empty(0)))
